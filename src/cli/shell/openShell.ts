/**
 * One run of the shell on one connection: connects, logs in when it was given who, runs a command, a script or a person's
 * lines, and ends its session. The result is the exit status; what went wrong has been reported by then.
 */
import { Context, Data, Effect, Latch, Layer, Option, type Redacted, Result, Stream } from "effect"
import path from "node:path"
import { type ConnectError, type LocalFileError, NotLoggedIn, type TrustError } from "../../client/ClientError.ts"
import type { ClientOptions } from "../../client/FipClient.ts"
import { FipClient } from "../../client/FipClient.ts"
import { formatHostPort } from "../../client/HostPort.ts"
import { isPublic } from "./CommandLine.ts"
import { aliasOf } from "./commands/alias.ts"
import { StandardInput } from "./commands/standardInput.ts"
import { commandTree } from "./commandTree.ts"
import { completion, wordsOfKind } from "./Completion.ts"
import { completionNames } from "./CompletionNames.ts"
import { type CommandError, type CommandKind, ExitStatus, failureOf, LoginFailed, type UsageError } from "./Failure.ts"
import { defaultHistory, type History, openHistory } from "./History.ts"
import { Jobs } from "./Jobs.ts"
import { keepAlive } from "./KeepAlive.ts"
import { LineReader } from "./LineReader.ts"
import { KeepGoing } from "./moves.ts"
import { Output, type OutputClosed, type OutputStream } from "./Output.ts"
import { printableLine } from "./printable.ts"
import { Questions } from "./Questions.ts"
import { JsonMode, note, reportFailure } from "./Report.ts"
import { Lines, type LineTree, lineTree, runAll, runInteractive, runScript, runToEnd, runWords } from "./Shell.ts"
import { EnsureSession } from "./ShellCommand.ts"
import { questionsAtTerminal } from "./TerminalQuestions.ts"
import { fromArguments, type Word } from "./Tokenizer.ts"
import { ValueKind } from "./ValueKind.ts"
import { Workspace, WorkspaceState } from "./Workspace.ts"

/** Where the lines come from. */
export type ShellInput =
  | { readonly _tag: "Command"; readonly words: ReadonlyArray<string> }
  /** What a one-line form of the program comes to, under the form's name. Questions go to the terminal, if there is one. */
  | {
    readonly _tag: "Lines"
    readonly name: string
    readonly lines: ReadonlyArray<ReadonlyArray<Word>>
    /** Where they are no lines of the shell's own commands. */
    readonly tree?: LineTree
  }
  | { readonly _tag: "Script"; readonly lines: Stream.Stream<string, LocalFileError> }
  | { readonly _tag: "Terminal"; readonly input: NodeJS.ReadableStream; readonly output: OutputStream }

export interface ShellOptions {
  readonly client: ClientOptions
  readonly username: string | undefined
  readonly password: Redacted.Redacted | undefined
  /** Finds the password when one is needed and was not given. */
  readonly passwordCommand?: Effect.Effect<Redacted.Redacted, UsageError> | undefined
  /** False: whoever has no session that is kept is not logged in, and is told so. */
  readonly login?: boolean | undefined
  readonly json: boolean
  /** Run the lines that follow one that failed. */
  readonly keepGoing?: boolean | undefined
  readonly input: ShellInput
  /** What commands may read as content, where it does not hold their lines. */
  readonly standardInput?: Stream.Stream<Uint8Array, LocalFileError> | undefined
  /** Where lines that are typed are kept. Default: `$XDG_STATE_HOME/fip/history`. */
  readonly history?: string | undefined
  /** What a person has given names to, for lines that are typed. */
  readonly aliases?: ReadonlyMap<string, string> | undefined
}

/** `FipClient.layer`, or a stand-in. */
export type ClientLayer = (
  options: ClientOptions
) => Layer.Layer<FipClient, ConnectError | TrustError | LocalFileError>

/** Something outside of commands failed, and was reported. */
class ShellFailed extends Data.TaggedError("ShellFailed")<{ readonly status: ExitStatus }> {}

/** Reports what a step outside of commands fails with, in the name of the one command there is, if there is one. */
const failing = (input: ShellInput, step: string, kind: CommandKind) =>
  Effect.fnUntraced(function*(error: Exclude<CommandError, OutputClosed>) {
    const command = input._tag === "Command" ? input.words[0] ?? step : input._tag === "Lines" ? input.name : step
    const failure = failureOf(error, kind)
    yield* reportFailure(command.toUpperCase(), failure)
    return yield* new ShellFailed({ status: failure.status })
  })

interface ConnectOptions extends ShellOptions {
  /** Opened when the connection is gone. */
  readonly lost?: Latch.Latch
}

const connect = Effect.fnUntraced(function*(options: ConnectOptions, clientLayer: ClientLayer) {
  const output = yield* Output
  const questions = yield* Questions
  const { knownHosts } = options.client
  return yield* Layer.build(clientLayer({
    ...options.client,
    // LCD must not change what it means.
    knownHosts: knownHosts === undefined ? undefined : path.resolve(knownHosts),
    onLost: () => options.lost?.openUnsafe(),
    onNotice: (message) => output.noteUnsafe(`${printableLine(message)}\n`),
    confirmTrust: questions.attended
      ? ({ fingerprint, host, port }) =>
        Effect.andThen(
          output.note(printableLine(`${host}:${port} is new here. Its key is ${fingerprint}`) + "\n"),
          questions.confirm("Is that the server you mean?")
        )
      : undefined
  }))
})

const login = Effect.fnUntraced(function*(options: ShellOptions) {
  const client = yield* FipClient
  const questions = yield* Questions
  const asks = options.input._tag === "Lines"
  const knowsHow = options.username !== undefined && (options.password ?? options.passwordCommand) !== undefined
  if (asks && (options.login === false || (!knowsHow && !questions.attended))) {
    const server = formatHostPort(client)
    return yield* new NotLoggedIn({
      message: `nobody is logged in: "fip login ${server}" lets commands like this one in`
    })
  }
  const username = options.username ?? (asks ? yield* questions.text("user name") : undefined)
  if (username === undefined) return
  const password = options.password ??
    (yield* options.passwordCommand ?? questions.secret(`password of ${username}`))
  yield* client.login(username, password)
})

/** Somebody may be logged in already: by a session that was kept. */
const loginUnlessKept = Effect.fnUntraced(function*(options: ShellOptions) {
  const client = yield* FipClient
  if (Option.isNone(yield* client.session)) yield* login(options)
})

const LOGOUT_PATIENCE = "2 seconds"

/** Nobody else has this session's secrets, unless it is kept: left alone, it would live on for a month for nothing. */
const endSession = Effect.gen(function*() {
  const client = yield* FipClient
  if (Option.exists(yield* client.session, ({ kept }) => !kept)) {
    yield* Effect.interruptible(Effect.timeoutOption(client.logout(), LOGOUT_PATIENCE))
  }
}).pipe(Effect.ignore)

/** A client of another server beside the shell's own, logged in; its session ends with the scope, unless it is kept. */
export const anotherClient = Effect.fnUntraced(function*(options: ShellOptions, clientLayer: ClientLayer) {
  const context = yield* connect(options, clientLayer)
  yield* Effect.addFinalizer(() => Effect.provideContext(endSession, context))
  yield* Effect.mapError(
    Effect.provideContext(loginUnlessKept(options), context),
    (cause) => new LoginFailed({ cause })
  )
  return Context.get(context, FipClient)
})

const CONNECTION_GONE: ReadonlySet<ExitStatus> = new Set([ExitStatus.NO_CONNECTION, ExitStatus.TRANSFER])

const start = (options: ConnectOptions, clientLayer: ClientLayer) =>
  Effect.catch(connect(options, clientLayer), failing(options.input, "CONNECT", "request"))

/** A person is logged in before the first prompt. */
const startAttended = Effect.fnUntraced(function*(options: ConnectOptions, clientLayer: ClientLayer) {
  const context = yield* start(options, clientLayer)
  yield* Effect.provideContext(loginUnlessKept(options), context).pipe(
    Effect.catch(failing(options.input, "AUTH", "login"))
  )
  return context
})

const attended = Effect.fnUntraced(function*(options: ShellOptions, clientLayer: ClientLayer, history: History) {
  const reader = yield* LineReader
  const lost = Latch.makeUnsafe(false)
  const context = yield* reader.interruptible(startAttended({ ...options, lost }, clientLayer))
  if (Option.isNone(context)) return ExitStatus.CANCELLED
  yield* note("connected: HELP lists the commands, Tab completes, BYE leaves")
  const workspace = yield* Workspace
  for (const [name, text] of options.aliases ?? []) {
    const alias = aliasOf(commandTree, name.toLowerCase(), text)
    if (Result.isSuccess(alias)) workspace.aliases.set(name.toLowerCase(), alias.success)
    else yield* note(`the alias ${name} of your settings is left out: ${alias.failure}`)
  }
  const inBackground = Effect.gen(function*() {
    const people = Effect.suspend(() => wordsOfKind(commandTree, history.lines(), ValueKind.USER))
    const names = yield* completionNames(workspace, people)
    yield* Effect.forkScoped(
      reader.completing((line) => completion(commandTree, workspace, line, names)),
      { startImmediately: true }
    )
    yield* Effect.forkScoped(keepAlive(lost))
  })
  return yield* Effect.andThen(inBackground, Effect.ensuring(runInteractive, endSession)).pipe(
    Effect.provideContext(context.value)
  )
})

/** What is written while a line is typed goes above it. */
const besidePrompt = (output: Output["Service"], reader: LineReader["Service"]): Output["Service"] => {
  const aside = (text: string) => Effect.sync(() => reader.aside(text))
  return {
    ...output,
    write: (chunk) =>
      typeof chunk === "string" && output.stdoutIsTerminal && reader.typing() ? aside(chunk) : output.write(chunk),
    note: (text) => output.stderrIsTerminal && reader.typing() ? aside(text) : output.note(text),
    noteUnsafe: (text) => output.stderrIsTerminal ? reader.aside(text) : output.noteUnsafe(text)
  }
}

const unattended = Effect.fnUntraced(function*(
  options: ShellOptions,
  clientLayer: ClientLayer,
  run: Effect.Effect<ExitStatus, ShellFailed | OutputClosed, Effect.Services<ReturnType<typeof runWords>>>
) {
  const context = yield* start(options, clientLayer)
  // Not before a command needs it: UNEW may be the first line of a script that then logs in.
  const ensureSession = yield* Effect.cached(
    loginUnlessKept(options).pipe(
      Effect.mapError((cause) => new LoginFailed({ cause })),
      Effect.provideContext(context)
    )
  )
  return yield* run.pipe(
    Effect.provideService(EnsureSession, ensureSession),
    Effect.onExit((exit) => exit._tag === "Success" && CONNECTION_GONE.has(exit.value) ? Effect.void : endSession),
    Effect.provideContext(context)
  )
})

const atTerminal = Effect.fnUntraced(function*(
  options: ShellOptions,
  input: ShellInput & { readonly _tag: "Terminal" },
  clientLayer: ClientLayer,
  workspace: WorkspaceState
) {
  const history = yield* openHistory(options.history ?? defaultHistory())
  const reader = LineReader.layer({
    input: input.input,
    output: input.output,
    remembers: (line) => isPublic(commandTree, line, workspace.aliases),
    history
  })
  const output = Layer.effect(
    Output,
    Effect.gen(function*() {
      return besidePrompt(yield* Output, yield* LineReader)
    })
  )
  return yield* attended(options, clientLayer, history).pipe(Effect.provide(Layer.provideMerge(output, reader)))
})

/** Runs the shell; the result is the status that the process ends with. */
export const openShell = (options: ShellOptions, clientLayer: ClientLayer) => {
  const { input } = options
  const workspace = new WorkspaceState()
  const keepGoing = options.keepGoing === true
  const run = input._tag === "Terminal"
    ? atTerminal(options, input, clientLayer, workspace)
    : unattended(
      options,
      clientLayer,
      input._tag === "Command"
        ? runToEnd(Effect.map(runWords(fromArguments(input.words)), ({ status }) => status))
        : input._tag === "Lines"
        ? Effect.provideService(
          runToEnd(runAll(input.lines, { keepGoing })),
          Lines,
          input.tree ?? lineTree(commandTree)
        )
        : runToEnd(runScript(
          input.lines.pipe(Stream.catch((error) => Stream.fromEffect(failing(input, "CONNECT", "request")(error)))),
          { keepGoing }
        ))
    ).pipe(Effect.provide(input._tag === "Lines" ? questionsAtTerminal : Questions.layerUnattended))
  return run.pipe(
    Effect.provide(Jobs.layer),
    Effect.scoped,
    Effect.catchTag("ShellFailed", ({ status }) => Effect.succeed(status)),
    Effect.provideService(JsonMode, options.json),
    Effect.provideService(KeepGoing, keepGoing),
    Effect.provideService(
      StandardInput,
      input._tag === "Command" || input._tag === "Lines" ? options.standardInput : undefined
    ),
    Effect.provideService(Workspace, workspace)
  )
}
