/** `fip admin ban`, `unban` and `bans`. */
import { Effect, Option } from "effect"
import { Flag } from "effect/cli"
import type { AdminBan } from "../../server/admin/Commands.ts"
import { formatCount, formatTable, formatTime } from "../shell/format.ts"
import { adminCommand } from "./adminCommand.ts"
import { lasting, user, userFlag } from "./inputs.ts"

const ending = (timestamp: string | null): string => timestamp === null ? "for good" : `until ${formatTime(timestamp)}`

const stateOf = ({ active, expires_at, lifted_at }: AdminBan): string =>
  active ? ending(expires_at) : `ended ${formatTime(lifted_at ?? expires_at ?? "")}`

export const banCommand = adminCommand({
  asks: "ban",
  summary: "Keep a user out, at once and everywhere; files and grants stay",
  input: {
    user: user("whom to ban"),
    reason: Flag.String("reason").pipe(
      Flag.withMetavar("text"),
      Flag.withDescription("why; for administrators"),
      Flag.withDefault("")
    ),
    time: lasting("for how long: 2h, 7d, 4w, or permanent (the default)").pipe(
      Flag.withDefault<number | undefined>(undefined)
    )
  },
  request: ({ reason, time, user }) => Effect.succeed({ username: user, reason, lasts_ms: time ?? null }),
  say: ({ expires_at, sessions_ended, username }) => ({
    message: `${username} is banned ${ending(expires_at)}; ${formatCount(sessions_ended, "session")} ended`
  })
})

export const unbanCommand = adminCommand({
  asks: "unban",
  summary: "Let a banned user in again",
  input: { user: user("whom to let in") },
  request: ({ user }) => Effect.succeed({ username: user }),
  say: ({ username }) => ({ message: `${username} is no longer banned` })
})

export const bansCommand = adminCommand({
  asks: "bans",
  summary: "Bans that are in force; with --all, the history",
  input: {
    user: userFlag.pipe(Flag.withDescription("only this user's")),
    all: Flag.Boolean("all").pipe(Flag.withDescription("those that are over, too"), Flag.withDefault(false))
  },
  request: ({ all, user }) => Effect.succeed({ all, ...(Option.isSome(user) ? { username: user.value } : {}) }),
  say: ({ bans }) => ({
    message: formatCount(bans.length, "ban"),
    text: formatTable(
      [{ title: "user" }, { title: "since" }, { title: "state" }, { title: "reason" }],
      bans.map((ban) => [ban.username, formatTime(ban.banned_at), stateOf(ban), ban.reason])
    )
  })
})
