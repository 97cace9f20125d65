/** Handler of the INFO request about what people did. */
import { Effect } from "effect"
import { ActivityQueries } from "../activity/ActivityQueries.ts"
import type { Handlers } from "../Dispatch.ts"

export const activityHandlers: Effect.Effect<Handlers<"QueryActivity">, never, ActivityQueries> = Effect.map(
  ActivityQueries,
  (activity) => ({
    QueryActivity: ({ body, caller }) =>
      Effect.map(activity.query(caller, body), (result) => ({ code: "1:qa", result }))
  })
)
