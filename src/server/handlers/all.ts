/**
 * What a server answers: a handler for every request. Most are a method of a service and nothing else, and are made from
 * the table of requests; the others are beside this file.
 */
import { Effect } from "effect"
import { ActivityQueries } from "../activity/ActivityQueries.ts"
import type { Handlers } from "../Dispatch.ts"
import { FileStore } from "../FileStore.ts"
import { Permissions } from "../Permissions.ts"
import { UserManager } from "../UserManager.ts"
import { answers } from "./answers.ts"
import { authHandlers } from "./auth.ts"
import { feedHandlers } from "./feed.ts"
import { fileHandlers } from "./file.ts"
import { infoHandlers } from "./info.ts"

export const requestHandlers = Effect.gen(function*() {
  const handlers: Handlers = {
    ...answers({
      ...yield* UserManager,
      ...yield* FileStore,
      ...yield* Permissions,
      ...yield* ActivityQueries
    }),
    ...yield* infoHandlers,
    ...yield* authHandlers,
    ...yield* fileHandlers,
    ...yield* feedHandlers
  }
  return handlers
})
