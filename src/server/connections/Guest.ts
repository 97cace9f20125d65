/**
 * What holds on a connection until somebody has logged in: little of everything.
 *
 * A guest may ask for so many things and send so many bytes, and then has to connect again, which the door counts.
 */
import { HEADER_BYTES, MAX_SKIP_BYTES } from "../../protocol/Limits.ts"
import { Refusal, refuse } from "../../protocol/Refusal.ts"
import type { AuthKind, RequestName } from "../../protocol/Request.ts"

export interface GuestLoad {
  /** Requests that run. */
  running: number
  /** Bytes of replies that are unread. */
  readonly unread: () => number
}

export interface GuestOptions {
  readonly loginMillis: number
  readonly messageMillis: number
  readonly requests: number
  /** What guests together keep the server busy with; one for all of them. */
  readonly load: GuestLoad
  /** Somebody has logged in. */
  readonly onLogin: () => void
  /** The peer broke a rule of the wire, or a time limit. */
  readonly onOffence: () => void
}

/** Replies that wait for a guest to read them, before its socket is no longer read. */
export const GUEST_UNREAD_BYTES = 16 * 1024

/** What a guest may send in all: enough for the requests that a client repeats when its token has expired. */
const GUEST_BYTES = MAX_SKIP_BYTES

/** Requests that bring a password or a digest, of one guest at the same time; each costs a look into the database. */
const PROOFS_AT_ONCE = 16

/** Of all guests together: requests that run, and replies left unread, beyond which none of them is answered. */
const RUNNING = 2000
const UNREAD_BYTES = 64 * 1024 * 1024

/** By what a guest becomes a user without a token. */
export const LOGINS: ReadonlySet<RequestName> = new Set(["Login", "Refresh"])

export const NO_LOGIN = refuse("2:unsp", "nobody has logged in on this connection for too long: connect again")
export const CROWDED = new Refusal({
  code: "2:rlex",
  message: "too many connections wait for a login: try again in a moment",
  retry_after_ms: 1000
})
const TOO_MANY = new Refusal({
  code: "2:rlex",
  message: `at most ${PROOFS_AT_ONCE} logins at the same time on one connection: try again when they are answered`,
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

  /** Why a request is not begun while so many of this guest run; `undefined` when it may be. */
  deny(kind: AuthKind, running: number): Refusal | undefined {
    const { load } = this.options
    if (load.running >= RUNNING || load.unread() > UNREAD_BYTES) return CROWDED
    return (kind === "password" || kind === "digest") && running >= PROOFS_AT_ONCE ? TOO_MANY : undefined
  }

  /** Counts a request that runs; what is given is to be called when it has ended. */
  begin(): () => void {
    const { load } = this.options
    load.running++
    return () => {
      load.running--
    }
  }

  /** Counts a message that is announced; a refusal when it is one too many, and the connection is to be closed. */
  count(bytes: number): Refusal | undefined {
    this.requests++
    this.bytes += HEADER_BYTES + bytes
    return this.requests > this.options.requests || this.bytes > GUEST_BYTES ? ENOUGH : undefined
  }
}
