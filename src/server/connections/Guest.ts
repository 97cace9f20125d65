/**
 * What holds on a connection until somebody has logged in: little of everything.
 *
 * A guest may ask for so many things and send so many bytes, and then has to connect again, which the door counts.
 */
import { HEADER_BYTES, MAX_SKIP_BYTES } from "../../protocol/Limits.ts"
import { Refusal, refuse } from "../../protocol/Refusal.ts"
import type { RequestName } from "../../protocol/Request.ts"

export interface GuestOptions {
  readonly loginMillis: number
  readonly messageMillis: number
  readonly requests: number
  /** True while guests together leave so many replies unread that none of them is answered. */
  readonly areDeaf: () => boolean
  /** Somebody has logged in. */
  readonly onLogin: () => void
  /** The peer broke a rule of the wire, or a time limit. */
  readonly onOffence: () => void
}

/** Replies that wait for a guest to read them, before its socket is no longer read. */
export const GUEST_UNREAD_BYTES = 16 * 1024

/** What a guest may send in all: enough for the requests that a client repeats when its token has expired. */
const GUEST_BYTES = MAX_SKIP_BYTES

/** By what a guest becomes a user without a token. */
export const LOGINS: ReadonlySet<RequestName> = new Set(["Login", "Refresh"])

export const NO_LOGIN = refuse("2:unsp", "nobody has logged in on this connection for too long: connect again")
export const CROWDED = new Refusal({
  code: "2:rlex",
  message: "too many connections wait for a login: try again in a moment",
  retry_after_ms: 1000
})
const ENOUGH = refuse("2:rlex", "too much was asked on this connection without a login: connect again")

export class Guest {
  readonly options: GuestOptions
  private requests = 0
  private bytes = 0

  constructor(options: GuestOptions) {
    this.options = options
  }

  /** Counts a message that is announced; a refusal when it is one too many, and the connection is to be closed. */
  count(bytes: number): Refusal | undefined {
    this.requests++
    this.bytes += HEADER_BYTES + bytes
    return this.requests > this.options.requests || this.bytes > GUEST_BYTES ? ENOUGH : undefined
  }
}
