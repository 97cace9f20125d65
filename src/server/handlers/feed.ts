/** Handler of the INFO request that waits for changes. */
import { Effect } from "effect"
import { refuse } from "../../protocol/Refusal.ts"
import type { Handlers } from "../Dispatch.ts"
import { Feed } from "../Feed.ts"
import { UserManager } from "../UserManager.ts"

export const feedHandlers: Effect.Effect<Handlers<"Watch">, never, Feed | UserManager> = Effect.gen(function*() {
  const feed = yield* Feed
  const users = yield* UserManager
  return {
    Watch: ({ body, caller }) =>
      Effect.flatMap(feed.watch(caller, body), (result) =>
        // The session may have ended while it waited.
        users.isEnded(caller.sessionId)
          ? Effect.fail(refuse("2:auth", "the session has ended: log in again", "token"))
          : Effect.succeed({ code: "1:qa", result }))
  }
})
