/** `fip connect`: the shell, for a person, a script or one command. */
import { Effect, Option, Stdio, Stream } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { FipClient } from "../client/FipClient.ts"
import { DEFAULT_PORT } from "../protocol/Limits.ts"
import { accessFlags, ending, keepGoingFlag, runOnServer, standardInput } from "./onServer.ts"
import { findServer, parseServerName, portOf } from "./ServerName.ts"
import { UsageError } from "./shell/Failure.ts"
import { type ClientLayer, type ShellInput } from "./shell/openShell.ts"
import { Output } from "./shell/Output.ts"
import { note } from "./shell/Report.ts"

const input = {
  host: Argument.String("server").pipe(
    Argument.withDescription("a profile, a host, or user@host:port; fip://host is never a profile (default profile)"),
    Argument.optional
  ),
  port: Argument.String("port").pipe(
    Argument.withDescription(`port of the server (default ${DEFAULT_PORT})`),
    Argument.optional
  ),
  words: Argument.String("command").pipe(
    Argument.withDescription("after --: one command to run, instead of opening the shell"),
    Argument.variadic()
  ),
  username: Flag.String("username").pipe(
    Flag.withAlias("u"),
    Flag.withDescription("log in as this user (or FIP_USERNAME)"),
    Flag.optional
  ),
  password: Flag.Redacted("password").pipe(
    Flag.withAlias("p"),
    Flag.withDescription("the password (better FIP_PASSWORD, or asked for: others can see the command line)"),
    Flag.optional
  ),
  ...accessFlags,
  keepGoing: keepGoingFlag
}

/** Tells the server from the words behind `--`, which the parser takes for it when there is none. */
const split = Effect.fnUntraced(function*(words: ReadonlyArray<string>) {
  const args = yield* (yield* Stdio.Stdio).args
  const dashes = args.indexOf("--")
  const command = dashes < 0 ? [] : args.slice(dashes + 1)
  const [server, port, extra] = words.slice(0, words.length - command.length)
  if (extra !== undefined) {
    return yield* new UsageError({ message: `"${extra}" is one word too many: a command to run goes after --` })
  }
  return { server, port, command }
})

const serverOf = Effect.fnUntraced(function*(
  text: string | undefined,
  port: string | undefined,
  username: string | undefined
) {
  const name = yield* parseServerName(text ?? "")
  if (port !== undefined) {
    if (name.port !== undefined) {
      return yield* new UsageError({ message: `say the port once: ${name.port} or ${port}` })
    }
    yield* portOf(port)
  }
  return yield* findServer({ ...name, port: name.port ?? port, username: username ?? name.username })
})

const shellInput = Effect.fnUntraced(function*(command: ReadonlyArray<string>) {
  const stdio = yield* Stdio.Stdio
  const output = yield* Output
  if (command.length > 0) return { _tag: "Command", words: command } satisfies ShellInput
  if (yield* stdio.stdinIsTerminal) {
    const screen = output.stdoutIsTerminal ? process.stdout : process.stderr
    return { _tag: "Terminal", input: process.stdin, output: screen } satisfies ShellInput
  }
  const lines = (yield* standardInput).pipe(Stream.decodeText, Stream.splitLines)
  return { _tag: "Script", lines } satisfies ShellInput
})

/** `fip connect` with a client of one's choice. */
export const makeConnectCommand = (clientLayer: ClientLayer) =>
  Command.make(
    "connect",
    input,
    (given) =>
      Effect.gen(function*() {
        const words = [...Option.toArray(given.host), ...Option.toArray(given.port), ...given.words]
        const { command, port, server } = yield* split(words)
        if (Option.isSome(given.password)) {
          yield* note("warning: others on this machine can see a password on the command line; FIP_PASSWORD is safer")
        }
        const found = yield* serverOf(server, port, Option.getOrUndefined(given.username))
        if (Option.isSome(given.password) && found.username === undefined) {
          return yield* new UsageError({ message: "a password was given, and no user name" })
        }
        const access = { ...given, server: found, password: Option.getOrUndefined(given.password) }
        return yield* runOnServer(access, yield* shellInput(command), clientLayer)
      }).pipe(ending("connect", given.json))
  ).pipe(
    Command.withDescription("Open the shell, or run a command on a server"),
    Command.withExamples([
      { command: "fip connect files.example.org", description: "Open the shell" },
      { command: "fip connect work", description: "The same, on the server of a profile" },
      { command: "fip connect localhost 6090 -- LIST --long", description: "Run one command" },
      { command: "fip connect localhost --json < script.fip", description: "Run a script, one command a line" }
    ])
  )

export const connectCommand = makeConnectCommand(FipClient.layer)
