/** `fip login`, `fip logout` and `fip whoami`: sessions that are kept on this machine, so that no command asks again. */
import { DateTime, Effect, Option, Redacted } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { NotLoggedIn } from "../client/ClientError.ts"
import { FipClient } from "../client/FipClient.ts"
import { listKept, sessionsFolder } from "../client/KeptSessions.ts"
import { accessFlags, ending, runOnServer } from "./onServer.ts"
import { findServer, fromEnvironment, parseServerName } from "./ServerName.ts"
import { failureOf, UsageError } from "./shell/Failure.ts"
import { formatTable, formatTime } from "./shell/format.ts"
import { Output } from "./shell/Output.ts"
import { JsonMode, reportFailure, reportOutcome } from "./shell/Report.ts"
import { fromArguments } from "./shell/Tokenizer.ts"
import { ShellExit } from "./ShellExit.ts"

const input = {
  server: Argument.String("server").pipe(
    Argument.withDescription("a profile, a host, or user@host:port (default profile)"),
    Argument.withDefault("")
  ),
  ...accessFlags
}

const find = Effect.fnUntraced(function*(text: string, username?: string) {
  const name = yield* parseServerName(text)
  if (username !== undefined && name.username !== undefined && name.username !== username) {
    return yield* new UsageError({ message: `say the user once: ${name.username} or ${username}` })
  }
  return yield* findServer({ ...name, username: username ?? name.username })
})

const lines = (name: string, ...words: ReadonlyArray<string>) =>
  ({ _tag: "Lines", name, lines: [fromArguments(words)] }) as const

export const loginCommand = Command.make(
  "login",
  {
    ...input,
    username: Flag.String("username").pipe(
      Flag.withAlias("u"),
      Flag.withDescription("log in as this user (or FIP_USERNAME, or user@ before the server)"),
      Flag.optional
    )
  },
  (given) =>
    Effect.gen(function*() {
      const server = yield* find(given.server, Option.getOrUndefined(given.username))
      const { passwordCommand, username } = server
      const secret = yield* fromEnvironment("FIP_PASSWORD")
      const password = username === undefined
        ? undefined
        : secret ?? (passwordCommand === undefined ? undefined : Redacted.value(yield* passwordCommand))
      const who = username === undefined ? [] : [username, ...(password === undefined ? [] : [password])]
      return yield* runOnServer({ ...given, server }, lines("auth", "AUTH", "--keep", "--", ...who), FipClient.layer)
    }).pipe(ending("login", given.json))
).pipe(
  Command.withDescription("Log in and stay so: what follows needs no password, until fip logout"),
  Command.withExamples([
    { command: "fip login work", description: "Asks for the password, without echo" },
    { command: "fip login alice_smith@files.example.org:7000" },
    { command: "fip login files.example.org --username alice_smith" }
  ])
)

export const logoutCommand = Command.make(
  "logout",
  input,
  (given) =>
    Effect.gen(function*() {
      const server = yield* find(given.server)
      return yield* runOnServer({ ...given, server, login: false }, lines("sterm", "STERM"), FipClient.layer)
    }).pipe(ending("logout", given.json))
).pipe(Command.withDescription("End the session that is kept for a server, there and here"))

const timeOf = (millis: number): string => DateTime.formatIso(DateTime.makeUnsafe(millis))

/** What this machine remembers, without asking anybody. */
const listSessions = Effect.gen(function*() {
  const all = yield* listKept(sessionsFolder())
  if (all.length === 0) {
    return yield* new NotLoggedIn({ message: "no session is kept here: \"fip login <server>\" makes one" })
  }
  const sessions = all.map((kept) => ({
    server: kept.server,
    username: kept.username,
    session_id: kept.session_id,
    logged_in_at: timeOf(kept.logged_in_at),
    expires_at: timeOf(kept.refresh_expires_at)
  }))
  yield* reportOutcome("WHOAMI", {
    code: "local:ok",
    message: `${sessions.length} sessions`,
    result: { sessions },
    text: formatTable(
      [{ title: "server" }, { title: "user" }, { title: "since" }, { title: "unless used, until" }],
      sessions.map((kept) => [
        kept.server,
        kept.username,
        formatTime(kept.logged_in_at),
        formatTime(kept.expires_at)
      ])
    )
  })
})

const whoIsKept = (json: boolean) =>
  listSessions.pipe(
    Effect.catchTag("OutputClosed", () => Effect.void),
    Effect.catch((error) => {
      const failure = failureOf(error, "request")
      return Effect.andThen(reportFailure("WHOAMI", failure), Effect.fail(new ShellExit({ status: failure.status })))
    }),
    Effect.provideService(JsonMode, json),
    Effect.provide(Output.layer)
  )

export const whoamiCommand = Command.make(
  "whoami",
  {
    ...input,
    server: Argument.optional(
      Argument.String("server").pipe(
        Argument.withDescription("a server to ask who one is to it; without it, the sessions that are kept here")
      )
    )
  },
  (given) =>
    Option.isNone(given.server)
      ? whoIsKept(given.json)
      : Effect.flatMap(find(given.server.value), (server) =>
        runOnServer({ ...given, server, login: false }, lines("whoami", "WHOAMI"), FipClient.layer)).pipe(
          ending("whoami", given.json)
        )
).pipe(Command.withDescription("Who is logged in on this machine; with a server, who that says one is"))
