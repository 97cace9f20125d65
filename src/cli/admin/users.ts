/** `fip admin users …`. */
import { Effect, Option } from "effect"
import { Command, Flag } from "effect/cli"
import type { AdminUser } from "../../server/admin/Commands.ts"
import { UsageError } from "../shell/Failure.ts"
import { formatBytes, formatCount, formatPairs, formatTable, formatTime } from "../shell/format.ts"
import { adminCommand } from "./adminCommand.ts"
import { bytesLimit, filesLimit, lasting, user } from "./inputs.ts"

const bannedUntil = (timestamp: string | null): string =>
  timestamp === null ? "for good" : `until ${formatTime(timestamp)}`

const shown = (user: AdminUser): string =>
  formatPairs([
    ["user", user.username],
    ["since", formatTime(user.created_at)],
    ["sessions", String(user.sessions)],
    ...(user.banned_until === undefined ? [] : [["banned", bannedUntil(user.banned_until)] as const]),
    ["bytes", `${formatBytes(user.bytes_used)} of ${formatBytes(user.bytes_limit)}`],
    ["files", `${user.files_used} of ${user.files_limit}`]
  ])

const list = adminCommand({
  asks: "users list",
  summary: "All accounts, with what they use",
  input: {},
  request: () => Effect.succeed({}),
  say: ({ users }) => ({
    message: formatCount(users.length, "user"),
    text: formatTable(
      [
        { title: "user" },
        { title: "since" },
        { title: "sessions", right: true },
        { title: "files", right: true },
        { title: "used", right: true },
        { title: "limit", right: true },
        { title: "banned" }
      ],
      users.map((user) => [
        user.username,
        formatTime(user.created_at),
        String(user.sessions),
        String(user.files_used),
        formatBytes(user.bytes_used),
        formatBytes(user.bytes_limit),
        user.banned_until === undefined ? "" : bannedUntil(user.banned_until)
      ])
    )
  })
})

const show = adminCommand({
  asks: "users show",
  summary: "One account",
  input: { user: user("whom to show") },
  request: ({ user }) => Effect.succeed({ username: user }),
  say: (user) => ({ message: user.username, text: shown(user) })
})

const quota = adminCommand({
  asks: "users quota",
  summary: "Set how much a user may keep; `default` is the server's own limit",
  input: { user: user("whose limits to set"), bytes: bytesLimit, files: filesLimit },
  request: ({ bytes, files, user }) =>
    Option.isNone(bytes) && Option.isNone(files)
      ? Effect.fail(new UsageError({ message: "say what to set: --bytes, --files, or both" }))
      : Effect.succeed({
        username: user,
        ...(Option.isSome(bytes) ? { bytes_limit: bytes.value } : {}),
        ...(Option.isSome(files) ? { files_limit: files.value } : {})
      }),
  say: (user) => ({
    message: `${user.username} may keep ${formatBytes(user.bytes_limit)} and ${formatCount(user.files_limit, "file")}`
  })
})

const remove = adminCommand({
  asks: "users delete",
  summary: "Delete an account and all that it owns",
  input: {
    user: user("whom to delete"),
    yes: Flag.Boolean("yes").pipe(Flag.withDescription("you mean it"), Flag.withDefault(false))
  },
  request: ({ user, yes }) =>
    yes
      ? Effect.succeed({ username: user })
      : Effect.fail(
        new UsageError({
          message: `this deletes the account ${user} and every file that it owns: add --yes if you mean it`
        })
      ),
  say: ({ bytes_deleted, files_deleted, username }) => ({
    message: `deleted the account ${username} and its files (${formatCount(files_deleted, "file")}, ${
      formatBytes(bytes_deleted)
    })`
  })
})

const DAY = 86_400_000

const resetPassword = adminCommand({
  asks: "users reset-password",
  summary: "Make a code with which the user sets a new password (UPASS --user); it is shown once",
  input: {
    user: user("whose password"),
    time: lasting("how long it is good: 2h, 1d (the default), 7d").pipe(Flag.withDefault<number | undefined>(DAY))
  },
  request: ({ time, user }) =>
    time === undefined
      ? Effect.fail(new UsageError({ message: "a code cannot be good for ever: say for how long" }))
      : Effect.succeed({ username: user, lasts_ms: time }),
  say: ({ code, expires_at, username }) => ({
    message: `${username} sets a new password with it until ${formatTime(expires_at)}: UPASS --user ${username}`,
    text: code,
    both: true
  })
})

export const usersCommand = Command.make("users").pipe(
  Command.withDescription("Accounts: list, show, limit, reset a password, delete"),
  Command.withSubcommands([list, show, quota, resetPassword, remove])
)
