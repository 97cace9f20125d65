/** Commands for the connection and the session on it. */
import { Clock, Effect, Option, Schema } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { FipClient } from "../../../client/FipClient.ts"
import { SessionId } from "../../../protocol/Identity.ts"
import { UsageError } from "../Failure.ts"
import { formatCount } from "../format.ts"
import { Output } from "../Output.ts"
import { shellCommand } from "../ShellCommand.ts"
import { auth } from "./account.ts"

const sterm = shellCommand({
  name: "STERM",
  summary: "End your session and stay connected; or end another session of yours, or all others",
  examples: [
    { command: "STERM" },
    { command: "STERM 0193a7c2-4e6b-7c1d-9f0a-2b3c4d5e6f70" },
    { command: "STERM --others", description: "log in nowhere but here, and keep the password" }
  ],
  json: "`session_id`; with `--others` `sessions_ended` (how many)",
  input: {
    session: Argument.String("session").pipe(
      Argument.filterMap(Schema.decodeUnknownOption(SessionId), () => "a session's id (QUERY sessions lists them)"),
      Argument.withDescription("another session's id; this session unless given"),
      Argument.optional
    ),
    others: Flag.Boolean("others").pipe(
      Flag.withDescription("all your sessions but this one"),
      Flag.withDefault(false)
    )
  },
  run: Effect.fnUntraced(function*(input) {
    const client = yield* FipClient
    if (input.others) {
      if (Option.isSome(input.session)) return yield* new UsageError({ message: "a session or --others, not both" })
      const result = yield* client.logoutOthers
      return { code: "1:bye", message: `ended ${formatCount(result.sessions_ended, "other session")}`, result }
    }
    const result = yield* client.logout(Option.getOrUndefined(input.session))
    return { code: "1:bye", message: `ended the session ${result.session_id}`, result }
  })
})

const sref = shellCommand({
  name: "SREF",
  summary: "Refresh the session now (it refreshes itself when it has to)",
  examples: [{ command: "SREF" }],
  json: "`username`, `session_id`",
  input: {},
  run: Effect.fnUntraced(function*() {
    const client = yield* FipClient
    const session = yield* client.refresh
    return {
      code: "1:ref",
      message: `refreshed the session of ${session.username}`,
      result: { username: session.username, session_id: session.sessionId }
    }
  })
})

const heartbeat = shellCommand({
  name: "HEARTBEAT",
  session: false,
  summary: "Ask the server whether it is there",
  examples: [{ command: "HEARTBEAT" }],
  json: "`server_version`, `round_trip_ms`",
  input: {},
  run: Effect.fnUntraced(function*() {
    const client = yield* FipClient
    const clock = yield* Clock.Clock
    const sent = clock.monotonicTimeNanosUnsafe()
    const { server_version } = yield* client.heartbeat
    const round_trip_ms = Number((clock.monotonicTimeNanosUnsafe() - sent) / 10_000n) / 100
    const message = `${client.host}:${client.port} runs fip ${server_version} and answered in ${round_trip_ms} ms`
    return { code: "1:hb", message, result: { server_version, round_trip_ms }, text: message }
  })
})

const clear = shellCommand({
  name: "CLEAR",
  session: false,
  summary: "Clear the screen",
  examples: [{ command: "CLEAR" }],
  json: "empty",
  input: {},
  run: Effect.fnUntraced(function*() {
    const output = yield* Output
    if (output.stdoutIsTerminal) yield* output.write("\u001b[H\u001b[2J\u001b[3J")
    return { code: "local:ok", message: "cleared the screen", result: {}, text: "" }
  })
})

const bye = shellCommand({
  name: "BYE",
  session: false,
  summary: "Leave (EXIT does the same)",
  examples: [{ command: "BYE" }],
  json: "empty",
  input: {},
  run: () => Effect.succeed({ code: "local:ok", message: "bye", result: {}, text: "" })
})

export const sessionCommands = [auth, sterm, sref, heartbeat, clear, bye.pipe(Command.withAlias("exit"))] as const
