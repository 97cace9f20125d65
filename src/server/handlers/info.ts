/** INFO requests about the server itself. */
import { Effect } from "effect"
import { VERSION } from "../../protocol/Limits.ts"
import { refuse } from "../../protocol/Refusal.ts"
import type { Handlers } from "../Dispatch.ts"
import { ServerIdentity } from "../Identity.ts"

export const infoHandlers: Effect.Effect<Handlers<"Heartbeat" | "Credentials">, never, ServerIdentity> = Effect.gen(
  function*() {
    const identity = yield* ServerIdentity
    return {
      Heartbeat: () => Effect.succeed({ code: "1:hb", result: { server_version: VERSION } }),
      Credentials: Effect.fnUntraced(function*({ body, peer }) {
        const session = peer.session()
        if (session === undefined) return yield* refuse("2:opcf", "the connection is closed")
        return { code: "1:qa", result: yield* identity.prove(session, body.pinned) }
      })
    }
  }
)
