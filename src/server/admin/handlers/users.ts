/** Handlers of the admin commands about accounts and sessions. */
import { Effect } from "effect"
import { UserAdmin } from "../../users/UserAdmin.ts"
import type { AdminHandlers } from "../Handler.ts"

type Name = "users list" | "users show" | "users quota" | "users delete" | "sessions list" | "sessions end"

export const userCommands: Effect.Effect<AdminHandlers<Name>, never, UserAdmin> = Effect.map(UserAdmin, (users) => ({
  "users list": () => Effect.map(users.list, (users) => ({ users })),
  "users show": ({ username }) => users.show(username),
  "users quota": users.setQuota,
  "users delete": ({ username }) => users.delete(username),
  "sessions list": ({ username }) => Effect.map(users.sessions(username), (sessions) => ({ sessions })),
  "sessions end": (input) =>
    Effect.map(
      "session_id" in input ? users.endSession(input.session_id) : users.endSessions(input.username),
      (sessions_ended) => ({ sessions_ended })
    )
}))
