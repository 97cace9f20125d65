/**
 * What every command of the program that talks to a server shares: its flags, how it logs in, and how it ends. The work
 * itself is done by the shell (shell/openShell.ts), whose lines are the only way to the client.
 */
import { Effect, Option, Redacted, Stdio, Stream } from "effect"
import { Flag } from "effect/cli"
import { LocalFileError } from "../client/ClientError.ts"
import type { ClientOptions } from "../client/FipClient.ts"
import { knownHostsFlag } from "./localCommand.ts"
import { fromEnvironment, type Server } from "./ServerName.ts"
import { ExitStatus, type Failure, failureOf, type UsageError } from "./shell/Failure.ts"
import { type ClientLayer, openShell, type ShellInput, type ShellOptions } from "./shell/openShell.ts"
import { Output } from "./shell/Output.ts"
import { JsonMode, note, reportFailure } from "./shell/Report.ts"
import { ShellExit } from "./ShellExit.ts"

export const accessFlags = {
  blindTrust: Flag.Boolean("blind-trust").pipe(
    Flag.withDescription("accept any key of the server this time; a pinned key stays pinned"),
    Flag.withDefault(false)
  ),
  knownHosts: knownHostsFlag,
  compress: Flag.Literals("compress", ["auto", "always", "never"]).pipe(
    Flag.withDescription("compress content on its way: auto does where a round trip takes 10 ms or more"),
    Flag.withDefault("auto")
  ),
  json: Flag.Boolean("json").pipe(
    Flag.withDescription("print one JSON object for each command"),
    Flag.withDefault(false)
  )
}

export const keepGoingFlag = Flag.Boolean("keep-going").pipe(
  Flag.withDescription("go on after what failed, also among files; the exit status is that of the first failure"),
  Flag.withDefault(false)
)

export interface Access {
  readonly server: Server
  readonly blindTrust: boolean
  readonly knownHosts: Option.Option<string>
  readonly compress: ClientOptions["compression"]
  readonly json: boolean
  readonly keepGoing?: boolean | undefined
  /** As it was given on the command line. */
  readonly password?: Redacted.Redacted | undefined
  /** False: only with a session that is kept. */
  readonly login?: boolean | undefined
}

/** A program may stop reading the results: that is its way to say that it has enough. */
const outputClosed = ({ cause }: { readonly cause: unknown }): Effect.Effect<ExitStatus, never, Output> => {
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined
  return code === "EPIPE" || code === "ERR_STREAM_DESTROYED"
    ? Effect.succeed(ExitStatus.DONE)
    : Effect.as(note(`cannot write to standard output: ${String(cause)}`), ExitStatus.USAGE)
}

/** Standard input, which must not keep the process waiting when nobody reads on. */
export const standardInput: Effect.Effect<Stream.Stream<Uint8Array, LocalFileError>, never, Stdio.Stdio> = Effect.map(
  Stdio.Stdio,
  ({ stdin }) =>
    stdin.pipe(
      Stream.mapError((cause) =>
        new LocalFileError({ path: "-", message: `cannot read standard input: ${cause.message}`, cause })
      ),
      Stream.ensuring(Effect.sync(() => process.stdin.destroy()))
    )
)

/** What the shell needs to know of a server, and of who is to log in there. */
export const shellOptions = Effect.fnUntraced(function*(access: Access, input: ShellInput) {
  const { blindTrust, json, keepGoing, server } = access
  const { host, passwordCommand, port, username } = server
  const secret = yield* fromEnvironment("FIP_PASSWORD")
  const options: ShellOptions = {
    client: {
      host,
      port,
      blindTrust,
      compression: access.compress,
      knownHosts: Option.getOrElse(access.knownHosts, () => server.knownHosts),
      // Who gives a password wants it to be tried, and a server that nobody vouches for is told no old secret.
      takeUpSession: access.password === undefined && !blindTrust ? { username } : undefined
    },
    username,
    password: access.password ?? (secret === undefined ? undefined : Redacted.make(secret)),
    passwordCommand,
    login: access.login,
    json,
    keepGoing,
    aliases: server.aliases,
    input
  }
  return options
})

/** Runs what comes in on a server, with the session that is kept for it, or one that begins and ends here. */
export const runOnServer = Effect.fnUntraced(function*(access: Access, input: ShellInput, clientLayer: ClientLayer) {
  const options = yield* shellOptions(access, input)
  return yield* openShell({ ...options, standardInput: yield* standardInput }, clientLayer)
})

/** Reports how a command of the program ended, in its name, and ends the process with the status. */
export const ending =
  (name: string, json: boolean) =>
  <R>(run: Effect.Effect<ExitStatus, UsageError | Effect.Error<ReturnType<typeof runOnServer>>, R>) =>
    run.pipe(
      Effect.catchTag("UsageError", (error) => {
        const failure: Failure = failureOf(error, "request")
        return Effect.as(reportFailure(name.toUpperCase(), failure), failure.status)
      }),
      Effect.catchTag("OutputClosed", outputClosed),
      Effect.provideService(JsonMode, json),
      Effect.provide(Output.layer),
      Effect.flatMap((status) => status === ExitStatus.DONE ? Effect.void : Effect.fail(new ShellExit({ status })))
    )
