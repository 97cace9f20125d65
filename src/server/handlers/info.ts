/** INFO requests about the server itself. */
import { Effect } from "effect"
import { VERSION } from "../../protocol/Limits.ts"
import { refuse } from "../../protocol/Refusal.ts"
import type { TlsPeer } from "../Caller.ts"
import type { Handlers } from "../Dispatch.ts"
import { ServerIdentity } from "../Identity.ts"

/** A client asks once before it trusts, and once after. Anybody may ask, and the answer can be long. */
const PROOFS_PER_CONNECTION = 4

export const infoHandlers: Effect.Effect<Handlers<"Heartbeat" | "Credentials">, never, ServerIdentity> = Effect.gen(
  function*() {
    const identity = yield* ServerIdentity
    const proofs = new WeakMap<TlsPeer, number>()
    return {
      Heartbeat: () => Effect.succeed({ code: "1:hb", result: { server_version: VERSION } }),
      Credentials: Effect.fnUntraced(function*({ body, peer }) {
        const given = proofs.get(peer) ?? 0
        if (given === PROOFS_PER_CONNECTION) {
          return yield* refuse("2:rlex", `${PROOFS_PER_CONNECTION} proofs are enough for a connection: connect again`)
        }
        proofs.set(peer, given + 1)
        const session = peer.session()
        if (session === undefined) return yield* refuse("2:opcf", "the connection is closed")
        return { code: "1:qa", result: yield* identity.prove(session, body.pinned) }
      })
    }
  }
)
