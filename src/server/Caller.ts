/** Who asks. */
import type { SessionId, Username } from "../protocol/Identity.ts"

/** The other end of a connection. */
export interface Peer {
  /** IP address, as text. */
  readonly address: string
}

/** A user proven by a valid access token. */
export interface Caller extends Peer {
  readonly userId: number
  readonly username: Username
  readonly sessionId: SessionId
  /** When the access token ends, in milliseconds since 1970. */
  readonly expiresAt: number
}
