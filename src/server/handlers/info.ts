/** INFO requests that belong to no other subsystem. */
import { Effect } from "effect"
import { VERSION } from "../../protocol/Limits.ts"
import type { Handlers } from "../Dispatch.ts"

export const infoHandlers: Handlers<"Heartbeat"> = {
  Heartbeat: () => Effect.succeed({ code: "1:hb", result: { server_version: VERSION } })
}
