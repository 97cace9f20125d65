/** What a server answers: a handler for every request. */
import { Effect } from "effect"
import { activityHandlers } from "./activity.ts"
import { authHandlers } from "./auth.ts"
import { feedHandlers } from "./feed.ts"
import { fileHandlers } from "./file.ts"
import { infoHandlers } from "./info.ts"
import { permissionHandlers } from "./permission.ts"

export const requestHandlers = Effect.gen(function*() {
  return {
    ...yield* infoHandlers,
    ...yield* activityHandlers,
    ...yield* authHandlers,
    ...yield* fileHandlers,
    ...yield* permissionHandlers,
    ...yield* feedHandlers
  }
})
