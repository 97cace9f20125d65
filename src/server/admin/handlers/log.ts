/** Handler of the admin command that shows what people did. */
import { Clock, Effect } from "effect"
import { ActivityLog } from "../../ActivityLog.ts"
import type { AdminHandlers } from "../Handler.ts"

export const logCommands: Effect.Effect<AdminHandlers<"log">, never, ActivityLog> = Effect.map(
  ActivityLog,
  (log) => ({
    log: Effect.fnUntraced(function*({ since_ms, ...filter }) {
      const now = yield* Clock.currentTimeMillis
      return {
        activities: yield* log.list({
          ...filter,
          since: since_ms === undefined ? undefined : new Date(now - since_ms)
        })
      }
    })
  })
)
