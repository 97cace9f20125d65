/**
 * Decides whether a server is the one that was meant, before anything is written to it (docs/protocol.md, section 7).
 *
 * The first key is pinned, a pinned key goes on, another key is refused. A key that this client has accepted once stays
 * accepted while the client lives; blind trust widens what is accepted first, never what comes after it, and never
 * touches a pin.
 */
import { Effect } from "effect"
import type { Fingerprint } from "../protocol/Identity.ts"
import { type LocalFileError, TrustError } from "./ClientError.ts"
import type { ClientOptions } from "./FipClient.ts"
import { formatHostPort, type HostPort } from "./HostPort.ts"
import { defaultPath, findPin, pin } from "./KnownHosts.ts"

export type Settle = (presented: Fingerprint) => Effect.Effect<void, TrustError | LocalFileError>

const changed = (address: HostPort, pinned: Fingerprint, presented: Fingerprint, path: string): TrustError =>
  new TrustError({
    ...address,
    pinned,
    presented,
    message: `the key of ${formatHostPort(address)} has changed: it was ${pinned} and is now ${presented}. ` +
      "Somebody may be listening in; nothing was sent. Ask the server's administrator for its fingerprint. " +
      `If the new key is right, remove the line of ${formatHostPort(address)} from ${path} and connect again`
  })

/** Settles trust for the connections of one client. */
export const makeTrust = (address: HostPort, options: ClientOptions): Settle => {
  const path = options.knownHosts ?? defaultPath()
  const notice = options.onNotice ?? (() => {})
  const at = formatHostPort(address)
  let accepted: Fingerprint | undefined

  const firstUse = Effect.fnUntraced(function*(presented: Fingerprint) {
    if (options.confirmTrust !== undefined) {
      const trusted = yield* options.confirmTrust({ ...address, fingerprint: presented })
      if (!trusted) {
        return yield* new TrustError({
          ...address,
          pinned: undefined,
          presented,
          message: `the key ${presented} of ${at} was not trusted; nothing was sent`
        })
      }
    }
    // Another program may have pinned a key meanwhile: then that one counts.
    const pinned = yield* pin(path, address, presented)
    if (pinned !== presented) return yield* changed(address, pinned, presented, path)
    notice(`${at} is new: its key ${presented} is pinned in ${path}`)
  })

  const settleFresh = Effect.fnUntraced(function*(presented: Fingerprint) {
    if (options.blindTrust === true) {
      // A client that has sent a credential to one key does not send it to another unasked.
      if (accepted !== undefined) return yield* changed(address, accepted, presented, path)
      const pinned = yield* findPin(path, address)
      if (pinned !== presented) {
        notice(
          `the key ${presented} of ${at} is trusted blindly` +
            (pinned === undefined ? "" : `, although ${pinned} is pinned in ${path}`)
        )
      }
      return
    }
    const pinned = yield* findPin(path, address)
    if (pinned === undefined) return yield* firstUse(presented)
    if (pinned !== presented) return yield* changed(address, pinned, presented, path)
  })

  return (presented) =>
    presented === accepted
      ? Effect.void
      : Effect.tap(settleFresh(presented), () =>
        Effect.sync(() => {
          accepted = presented
        }))
}
