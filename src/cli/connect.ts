/** `fip connect`: the shell, for a person, a script or one command. */
import { Config, Data, Effect, Option, Redacted, Runtime, Stdio, Stream } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { LocalFileError } from "../client/ClientError.ts"
import { FipClient } from "../client/FipClient.ts"
import { DEFAULT_PORT } from "../protocol/Limits.ts"
import { ExitStatus, failureOf, UsageError } from "./shell/Failure.ts"
import { type ClientLayer, openShell, type ShellInput } from "./shell/openShell.ts"
import { Output } from "./shell/Output.ts"
import { JsonMode, note, reportFailure } from "./shell/Report.ts"

/** Ends the process with a status; what there is to say has been said. */
export class ShellExit extends Data.TaggedError("ShellExit")<{ readonly status: ExitStatus }> {
  override readonly [Runtime.errorExitCode] = this.status
  override readonly [Runtime.errorReported] = false
}

const input = {
  host: Argument.String("host").pipe(Argument.withDescription("name or address of the server")),
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
  blindTrust: Flag.Boolean("blind-trust").pipe(
    Flag.withDescription("accept any key of the server this time; a pinned key stays pinned"),
    Flag.withDefault(false)
  ),
  knownHosts: Flag.String("known-hosts").pipe(
    Flag.withMetavar("file"),
    Flag.withDescription("where keys of servers are pinned (default $XDG_CONFIG_HOME/fip/known_hosts)"),
    Flag.optional
  ),
  compress: Flag.Literals("compress", ["auto", "always", "never"]).pipe(
    Flag.withDescription("compress content on its way: auto does where a round trip takes 10 ms or more"),
    Flag.withDefault("auto")
  ),
  json: Flag.Boolean("json").pipe(
    Flag.withDescription("print one JSON object for each command"),
    Flag.withDefault(false)
  )
}

const parsePort = (text: string | undefined): Effect.Effect<number, UsageError> => {
  if (text === undefined) return Effect.succeed(DEFAULT_PORT)
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0
  return port >= 1 && port <= 65535
    ? Effect.succeed(port)
    : Effect.fail(new UsageError({ message: `a port is a number from 1 to 65535, not "${text}"` }))
}

/** Tells the port from the words behind `--`, which the parser takes for the port when there is none. */
const split = Effect.fnUntraced(function*(words: ReadonlyArray<string>) {
  const args = yield* (yield* Stdio.Stdio).args
  const dashes = args.indexOf("--")
  const command = dashes < 0 ? [] : args.slice(dashes + 1)
  const [port, extra] = words.slice(0, words.length - command.length)
  if (extra !== undefined) {
    return yield* new UsageError({ message: `"${extra}" is one word too many: a command to run goes after --` })
  }
  return { port: yield* parsePort(port), command }
})

const fromEnvironment = (name: string): Effect.Effect<string | undefined> =>
  Config.String(name).pipe(
    Effect.map((value) => value === "" ? undefined : value),
    Effect.orElseSucceed(() => undefined)
  )

const shellInput = Effect.fnUntraced(function*(command: ReadonlyArray<string>) {
  const stdio = yield* Stdio.Stdio
  const output = yield* Output
  if (command.length > 0) return { _tag: "Command", words: command } satisfies ShellInput
  if (yield* stdio.stdinIsTerminal) {
    const screen = output.stdoutIsTerminal ? process.stdout : process.stderr
    return { _tag: "Terminal", input: process.stdin, output: screen } satisfies ShellInput
  }
  const lines = stdio.stdin.pipe(
    Stream.decodeText(),
    Stream.splitLines,
    Stream.mapError((cause) =>
      new LocalFileError({ path: "-", message: `cannot read standard input: ${cause.message}`, cause })
    ),
    // A script that has ended early must not keep the process waiting for more of it.
    Stream.ensuring(Effect.sync(() => process.stdin.destroy()))
  )
  return { _tag: "Script", lines } satisfies ShellInput
})

/** A program may stop reading the results: that is its way to say that it has enough. */
const outputClosed = ({ cause }: { readonly cause: unknown }): Effect.Effect<ExitStatus, never, Output> => {
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined
  return code === "EPIPE" || code === "ERR_STREAM_DESTROYED"
    ? Effect.succeed(ExitStatus.DONE)
    : Effect.as(note(`cannot write to standard output: ${String(cause)}`), ExitStatus.USAGE)
}

/** `fip connect` with a client of one's choice. */
export const makeConnectCommand = (clientLayer: ClientLayer) =>
  Command.make(
    "connect",
    input,
    Effect.fnUntraced(function*(given) {
      const run = Effect.gen(function*() {
        const { command, port } = yield* split([...Option.toArray(given.port), ...given.words])
        if (Option.isSome(given.password)) {
          yield* note("warning: others on this machine can see a password on the command line; FIP_PASSWORD is safer")
        }
        const username = Option.getOrUndefined(given.username) ?? (yield* fromEnvironment("FIP_USERNAME"))
        if (Option.isSome(given.password) && username === undefined) {
          return yield* new UsageError({ message: "a password was given, and no user name" })
        }
        const password = Option.getOrUndefined(given.password) ??
          Option.getOrUndefined(
            Option.map(Option.fromUndefinedOr(yield* fromEnvironment("FIP_PASSWORD")), (text) => Redacted.make(text))
          )
        return yield* openShell({
          client: {
            host: given.host,
            port,
            blindTrust: given.blindTrust,
            knownHosts: Option.getOrUndefined(given.knownHosts),
            compression: given.compress
          },
          username,
          password,
          json: given.json,
          input: yield* shellInput(command)
        }, clientLayer)
      })
      const status = yield* run.pipe(
        Effect.catchTag("UsageError", (error) => {
          const failure = failureOf(error, "request")
          return Effect.as(reportFailure("CONNECT", failure), failure.status)
        }),
        Effect.catchTag("OutputClosed", outputClosed),
        Effect.provideService(JsonMode, given.json),
        Effect.provide(Output.layer)
      )
      if (status !== ExitStatus.DONE) return yield* new ShellExit({ status })
    })
  ).pipe(
    Command.withDescription("Open the shell, or run a command on a server"),
    Command.withExamples([
      { command: "fip connect files.example.org", description: "Open the shell" },
      { command: "fip connect localhost 6090 -- LIST --long", description: "Run one command" },
      { command: "fip connect localhost --json < script.fip", description: "Run a script, one command a line" }
    ])
  )

export const connectCommand = makeConnectCommand(FipClient.layer)
