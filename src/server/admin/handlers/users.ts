/** Handlers of the admin commands about accounts, sessions and bans. */
import { Effect } from "effect"
import { UserAdmin } from "../../users/UserAdmin.ts"
import type { AdminHandlers } from "../Handler.ts"

type Name =
  | "users list"
  | "users show"
  | "users quota"
  | "users delete"
  | "users reset-password"
  | "sessions list"
  | "sessions end"
  | "ban"
  | "unban"
  | "bans"

export const userCommands: Effect.Effect<AdminHandlers<Name>, never, UserAdmin> = Effect.map(UserAdmin, (users) => ({
  "users list": () => Effect.map(users.list, (users) => ({ users })),
  "users show": ({ username }) => users.show(username),
  "users quota": users.setQuota,
  "users delete": ({ username }) => users.delete(username),
  "users reset-password": users.resetPassword,
  ban: users.ban,
  unban: ({ username }) => users.unban(username),
  bans: (input) => Effect.map(users.bans(input), (bans) => ({ bans })),
  "sessions list": ({ username }) => Effect.map(users.sessions(username), (sessions) => ({ sessions })),
  "sessions end": (input) =>
    Effect.map(
      "session_id" in input ? users.endSession(input.session_id) : users.endSessions(input.username),
      (sessions_ended) => ({ sessions_ended })
    )
}))
