/** `fip admin sessions …`. */
import { Effect, Option } from "effect"
import { Command, Flag } from "effect/cli"
import { UsageError } from "../shell/Failure.ts"
import { formatCount, formatTable, formatTime } from "../shell/format.ts"
import { adminCommand } from "./adminCommand.ts"
import { session, userFlag } from "./inputs.ts"

const list = adminCommand({
  asks: "sessions list",
  summary: "Sessions that live",
  input: { user: userFlag.pipe(Flag.withDescription("only this user's")) },
  request: ({ user }) => Effect.succeed(Option.isSome(user) ? { username: user.value } : {}),
  say: ({ sessions }) => ({
    message: formatCount(sessions.length, "session"),
    text: formatTable(
      [{ title: "user" }, { title: "session" }, { title: "address" }, { title: "since" }, { title: "last seen" }],
      sessions.map((session) => [
        session.username,
        session.session_id,
        session.address,
        formatTime(session.created_at),
        formatTime(session.last_seen_at)
      ])
    )
  })
})

const end = adminCommand({
  asks: "sessions end",
  summary: "End a session, or all sessions of a user; its tokens are worth nothing at once",
  input: { session, user: userFlag.pipe(Flag.withDescription("all sessions of this user")) },
  request: ({ session, user }) => {
    if (Option.isSome(session) && Option.isNone(user)) return Effect.succeed({ session_id: session.value })
    if (Option.isSome(user) && Option.isNone(session)) return Effect.succeed({ username: user.value })
    return Effect.fail(new UsageError({ message: "say which: the id of a session, or --user for all of a user" }))
  },
  say: ({ sessions_ended }) => ({ message: `ended ${formatCount(sessions_ended, "session")}` })
})

export const sessionsCommand = Command.make("sessions").pipe(
  Command.withDescription("Sessions: list, end"),
  Command.withSubcommands([list, end])
)
