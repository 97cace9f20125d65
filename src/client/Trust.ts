/**
 * Decides whether a server is the one that was meant, before anything secret is written to it (docs/protocol.md, section
 * 7).
 *
 * The first key is pinned, a pinned key goes on, and so does the key that a pinned one has announced. Any other key must
 * prove that it follows from the pinned one, or is refused. A key that this client has accepted once stays accepted
 * while the client lives; blind trust widens what is accepted first, never what comes after it, and never touches a pin.
 */
import { Effect } from "effect"
import type { Pin } from "../protocol/ContinuityProof.ts"
import type { Fingerprint } from "../protocol/Identity.ts"
import { type LocalFileError, TrustError } from "./ClientError.ts"
import type { Connection } from "./Connection.ts"
import type { Dialled } from "./Dial.ts"
import type { ClientOptions } from "./FipClient.ts"
import { formatHostPort, type HostPort } from "./HostPort.ts"
import { advance, defaultPath, findPin, pin } from "./KnownHosts.ts"
import { proveFrom } from "./Proof.ts"

export interface Trust {
  /** Succeeds when the server at the other end may be told secrets. The connection is used for the proof alone. */
  readonly settle: (dialled: Dialled, connection: Connection) => Effect.Effect<void, TrustError | LocalFileError>
  /** True when a pin from before vouched for the server: it was met neither for the first time nor blindly. */
  readonly isKnown: () => boolean
  /** Keeps with the pin what the server says of its keys to come. To be run on a trusted connection, beside its use. */
  readonly learn: (dialled: Dialled, connection: Connection) => Effect.Effect<void>
}

/** Settles trust for the connections of one client. */
export const makeTrust = (address: HostPort, options: ClientOptions): Trust => {
  const path = options.knownHosts ?? defaultPath()
  const notice = options.onNotice ?? (() => {})
  const at = formatHostPort(address)
  let accepted: Fingerprint | undefined
  let learnt: Fingerprint | undefined
  let known = false

  const changed = (pinned: Fingerprint, presented: Fingerprint, why: string): TrustError =>
    new TrustError({
      ...address,
      pinned,
      presented,
      message: `the key of ${at} has changed: it was ${pinned} and is now ${presented}, and ${why}. ` +
        "Somebody may be listening in; no name, password or file was sent. " +
        "Ask the server's administrator for its fingerprint, by another way than this connection. " +
        `If the key has to change, pin the one they name with "fip known-hosts replace ${at} <fingerprint>" (in ${path})`
    })

  const confirm = Effect.fnUntraced(function*(presented: Fingerprint) {
    if (options.confirmTrust === undefined) return
    const trusted = yield* options.confirmTrust({ ...address, fingerprint: presented })
    if (trusted) return
    return yield* new TrustError({
      ...address,
      pinned: undefined,
      presented,
      message: `the key ${presented} of ${at} was not trusted; nothing was sent`
    })
  })

  const firstUse = Effect.fnUntraced(function*(dialled: Dialled, connection: Connection) {
    const presented = dialled.fingerprint
    yield* confirm(presented)
    const bare: Pin = { fingerprint: presented, standing: undefined }
    // With the key comes what vouches for its successors, where the server can say.
    const first = yield* Effect.orElseSucceed(proveFrom(bare, dialled, connection), () => bare)
    // Another program may have pinned a key meanwhile: then that one counts.
    const pinned = yield* pin(path, address, first)
    if (pinned.fingerprint !== presented) {
      return yield* changed(pinned.fingerprint, presented, "both were met at the same moment")
    }
    learnt = presented
    notice(`${at} is new: its key ${presented} is pinned in ${path}`)
  })

  const follow = Effect.fnUntraced(function*(pinned: Pin, dialled: Dialled, connection: Connection) {
    const presented = dialled.fingerprint
    const proven = yield* Effect.mapError(
      proveFrom(pinned, dialled, connection),
      ({ message }) => changed(pinned.fingerprint, presented, message)
    )
    const now = yield* advance(path, address, pinned.fingerprint, proven)
    if (now?.fingerprint !== presented) {
      return yield* changed(now?.fingerprint ?? pinned.fingerprint, presented, "the pin was changed meanwhile")
    }
    learnt = presented
    notice(
      `the key of ${at} has changed from ${pinned.fingerprint} to ${presented}; the server has proven that it is the ` +
        `same, and the new key is pinned in ${path}`
    )
  })

  /** True when the pinned key has announced the one that is presented. */
  const announced = Effect.fnUntraced(function*({ fingerprint, standing }: Pin, presented: Fingerprint) {
    if (standing === undefined || standing.next !== presented) return false
    const next = { ...standing, sequence: standing.sequence + 1, next: undefined }
    const now = yield* advance(path, address, fingerprint, { fingerprint: presented, standing: next })
    return now?.fingerprint === presented
  })

  const blindly = Effect.fnUntraced(function*(dialled: Dialled, connection: Connection) {
    const presented = dialled.fingerprint
    if (accepted !== undefined) {
      // A client that has sent a credential to one key does not send it to another unasked.
      const before = accepted
      yield* Effect.mapError(
        proveFrom({ fingerprint: before, standing: undefined }, dialled, connection),
        ({ message }) => changed(before, presented, message)
      )
      return
    }
    const pinned = yield* findPin(path, address)
    if (pinned?.fingerprint !== presented) {
      notice(
        `the key ${presented} of ${at} is trusted blindly` +
          (pinned === undefined ? "" : `, although ${pinned.fingerprint} is pinned in ${path}`)
      )
    }
  })

  const settleFresh = Effect.fnUntraced(function*(dialled: Dialled, connection: Connection) {
    if (options.blindTrust === true) return yield* blindly(dialled, connection)
    const pinned = yield* findPin(path, address)
    if (pinned === undefined) return yield* firstUse(dialled, connection)
    if (pinned.fingerprint !== dialled.fingerprint && !(yield* announced(pinned, dialled.fingerprint))) {
      yield* follow(pinned, dialled, connection)
    }
    known = true
  })

  return {
    isKnown: () => known,
    settle: (dialled, connection) =>
      dialled.fingerprint === accepted
        ? Effect.void
        : Effect.tap(settleFresh(dialled, connection), () =>
          Effect.sync(() => {
            accepted = dialled.fingerprint
          })),
    learn: Effect.fnUntraced(
      function*(dialled, connection) {
        const { fingerprint } = dialled
        if (options.blindTrust === true || learnt === fingerprint) return
        const pinned = yield* findPin(path, address)
        if (pinned?.fingerprint !== fingerprint) return
        learnt = fingerprint
        const proven = yield* proveFrom(pinned, dialled, connection)
        const { next, recovery } = proven.standing
        if (pinned.standing?.next === next && pinned.standing?.recovery === recovery) return
        yield* advance(path, address, fingerprint, proven)
      },
      // What is not learnt now is asked again by the next client: until then, trust is by the pin alone.
      (learning) => Effect.ignore(learning)
    )
  }
}
