/** Who asks. */
import type { SessionId, Username } from "../protocol/Identity.ts"
import type { ProvenSession } from "./identity/prove.ts"

/** The other end of a connection. */
export interface Peer {
  /** IP address, as text. */
  readonly address: string
}

/** A peer on its TLS session. */
export interface TlsPeer extends Peer {
  /** What a proof of the server's identity is bound to; `undefined` once the connection is gone. */
  readonly session: () => ProvenSession | undefined
}

/** A user proven by a valid access token. */
export interface Caller extends Peer {
  readonly userId: number
  readonly username: Username
  readonly sessionId: SessionId
  /** When the access token ends, in milliseconds since 1970. */
  readonly expiresAt: number
}
