/**
 * Runs lines: words in, a command run by the tree, its outcome or failure reported, and a status out. A line never
 * fails and never dies, so the shell outlives whatever a command does; only a closed standard output ends it.
 */
import { Config, Context, Effect, Option, Result, Stream } from "effect"
import { CliConfig, CliOutput, Command } from "effect/cli"
import type * as CliError from "effect/cli/CliError"
import { isCliError } from "effect/cli/CliError"
import { FipClient } from "../../client/FipClient.ts"
import { type CommandLine, commandLine, expandAliases } from "./CommandLine.ts"
import { commandTree } from "./commandTree.ts"
import {
  cancelled,
  type CommandError,
  ExitStatus,
  failureOf,
  InnerFailed,
  internalFailure,
  UsageError
} from "./Failure.ts"
import { formatCount } from "./format.ts"
import { Jobs } from "./Jobs.ts"
import { LineReader } from "./LineReader.ts"
import { Output, OutputClosed } from "./Output.ts"
import { makeOwnPager } from "./OwnPager.ts"
import { makePager } from "./Pager.ts"
import { Patterns, patternsOf } from "./Patterns.ts"
import { printableLine } from "./printable.ts"
import { Questions } from "./Questions.ts"
import { JsonMode, note, reportFailure } from "./Report.ts"
import { type CommandServices, RunSource } from "./ShellCommand.ts"
import { tokenize, type Word } from "./Tokenizer.ts"
import { notACommand, usageError } from "./usage.ts"
import { formatFolder, TOP, Workspace } from "./Workspace.ts"

export interface LineResult {
  readonly status: ExitStatus
  /** The line was BYE, or had `-bye`. */
  readonly leave: boolean
}

/** What lines are parsed by. */
export interface LineTree {
  readonly root: Command.Command.Any
  readonly run: (
    args: ReadonlyArray<string>
  ) => Effect.Effect<void, CommandError | CliError.CliError, CommandServices>
}

export const lineTree = <Name extends string, Input, Context>(
  root: Command.Command<Name, Input, Context, CommandError, CommandServices>
): LineTree => ({ root, run: Command.runWith(root, { version: "", renderErrors: false }) })

/** The shell's own commands, unless a program brings its own. */
export const Lines = Context.Reference<LineTree>("fip/cli/shell/Lines", { defaultValue: () => lineTree(commandTree) })

const unknown = (words: ReadonlyArray<Word>): boolean => words[0] === undefined || words[0].text.startsWith("-")

/** The failure of a line, if it fails; a closed standard output is no failure of the line. */
const attempt = Effect.fnUntraced(function*(line: CommandLine, words: ReadonlyArray<Word>) {
  if (line.command === undefined && unknown(words)) {
    return Option.some(failureOf(notACommand(words[0]?.text ?? ""), "request"))
  }
  const tree = yield* Lines
  const run = tree.run(line.args).pipe(
    Effect.provideService(CliConfig.CliConfig, CliConfig.make({ builtIns: [] })),
    // What is wrong with a line is reported below, in the shell's own words.
    Effect.provideService(CliOutput.Presenter, { present: () => Effect.void })
  )
  return yield* Effect.matchEffect(run, {
    onSuccess: () => Effect.succeedNone,
    onFailure: (error) =>
      error instanceof OutputClosed
        ? Effect.fail(error)
        : isCliError(error)
        ? Effect.map(usageError(tree.root, error), (usage) => Option.some(failureOf(usage, line.facts.kind)))
        : Effect.succeedSome(failureOf(error, line.facts.kind))
  })
}, Effect.catchDefect((defect) => Effect.succeedSome(internalFailure(defect))))

/** Results that a person reads, a screen at a time; nothing where nobody does. */
const Paging = Context.Reference<Output["Service"] | undefined>("fip/cli/shell/Paging", {
  defaultValue: () => undefined
})

/** Runs a command in the foreground and reports it. */
const runHere = Effect.fnUntraced(function*(line: CommandLine, words: ReadonlyArray<Word>) {
  const failure = yield* attempt(line, words).pipe(
    Effect.provideService(RunSource, runSource),
    Effect.provideService(Patterns, patternsOf(words))
  )
  if (Option.isSome(failure)) yield* reportFailure(line.name, failure.value)
  return Option.match(failure, { onNone: () => ExitStatus.DONE, onSome: (failure) => failure.status })
})

/** Starts a command beside the prompt. */
const runBeside = Effect.fnUntraced(function*(line: CommandLine, words: ReadonlyArray<Word>, text: string) {
  if (!line.facts.background) {
    const message = `${line.name} does not run in the background: transfers and WATCH do (a quoted "&" is data)`
    const failure = failureOf(new UsageError({ message }), line.facts.kind)
    yield* reportFailure(line.name, failure)
    return failure.status
  }
  const client = yield* FipClient
  const jobs = yield* Jobs
  yield* jobs.start(
    line.name,
    text,
    runHere(line, words).pipe(
      Effect.provideService(FipClient, client),
      Effect.provideService(Jobs, jobs),
      Effect.provideService(Paging, undefined)
    )
  )
  return ExitStatus.DONE
})

const isAmpersand = (word: Word | undefined): boolean => word !== undefined && !word.literal && word.text === "&"

/** Runs one line that is split already. `text` is how it was typed. */
export const runWords = Effect.fnUntraced(function*(typed: ReadonlyArray<Word>, text?: string) {
  const { aliases } = yield* Workspace
  const all = expandAliases(aliases, typed)
  const beside = all.length > 1 && isAmpersand(all.at(-1))
  const words = beside ? all.slice(0, -1) : all
  const line = yield* commandLine((yield* Lines).root, words)
  const paging = line.facts.live ? undefined : yield* Paging
  const run = beside
    ? runBeside(line, words, (text ?? all.map(({ text }) => text).join(" ")).replace(/\s*&\s*$/, ""))
    : runHere(line, words)
  const status = yield* paging === undefined ? run : Effect.provideService(run, Output, paging)
  const result: LineResult = { status, leave: line.bye || (line.name === "BYE" && status === ExitStatus.DONE) }
  return result
})

/** Runs one line as it was typed. Empty lines and comments do nothing. */
export const runLine = Effect.fnUntraced(function*(text: string) {
  if (/^\s*(#|$)/.test(text)) return { status: ExitStatus.DONE, leave: false }
  const words = tokenize(text)
  if (Result.isSuccess(words)) return yield* runWords(words.success, text.trim())
  const name = text.trim().split(/\s/, 1)[0] ?? ""
  const failure = failureOf(new UsageError({ message: words.failure.message }), "request")
  yield* reportFailure(name.toUpperCase(), failure)
  return { status: failure.status, leave: false }
})

/** Files that run files that run files end somewhere. */
const MAX_DEPTH = 16
const Depth = Context.Reference<number>("fip/cli/shell/Depth", { defaultValue: () => 0 })

/** Runs the lines of a file, up to one that fails. BYE ends the file. */
const runSource = (
  file: string,
  lines: Stream.Stream<string, CommandError>
): Effect.Effect<number, CommandError, CommandServices> =>
  Effect.gen(function*() {
    const depth = yield* Depth
    if (depth === MAX_DEPTH) return yield* new UsageError({ message: `${file} is run by ${depth} files already` })
    let count = 0
    let status: ExitStatus = ExitStatus.DONE
    yield* Stream.runForEachWhile(lines, (text) =>
      Effect.map(runLine(text), (result) => {
        count++
        status = result.status
        return !result.leave && result.status === ExitStatus.DONE
      })).pipe(Effect.provideService(Depth, depth + 1))
    if (status === ExitStatus.DONE) return count
    return yield* new InnerFailed({ status, message: `${file} ended at line ${count}` })
  })

/** Waits for what runs beside; the first of its failures counts where nothing else has failed. */
export const runToEnd = Effect.fnUntraced(function*<E, R>(run: Effect.Effect<ExitStatus, E, R>) {
  const jobs = yield* Jobs
  const status = yield* run
  yield* jobs.wait()
  const failed = (yield* jobs.take).find((job) => job.status !== ExitStatus.DONE)
  return status === ExitStatus.DONE && failed !== undefined ? failed.status : status
})

/** What no later line could mend. */
const FINAL: ReadonlySet<ExitStatus> = new Set([ExitStatus.TRUST, ExitStatus.CANCELLED])

/**
 * Runs lines until one fails or leaves, or there are no more; to keep going means past failures. The status is that of
 * the first line that failed.
 */
const runEach = Effect.fnUntraced(function*<A, E, R, E2, R2>(
  lines: Stream.Stream<A, E, R>,
  keepGoing: boolean,
  run: (line: A) => Effect.Effect<LineResult, E2, R2>
) {
  let status: ExitStatus = ExitStatus.DONE
  yield* Stream.runForEachWhile(lines, (line) =>
    Effect.map(run(line), (result) => {
      if (status === ExitStatus.DONE) status = result.status
      return !result.leave && (result.status === ExitStatus.DONE || (keepGoing && !FINAL.has(result.status)))
    }))
  return status
})

/** Runs the lines of a script. */
export const runScript = <E, R>(lines: Stream.Stream<string, E, R>, options?: { readonly keepGoing: boolean }) =>
  runEach(lines, options?.keepGoing === true, (line) => runLine(line))

/** Runs lines that are split already. */
export const runAll = (lines: Iterable<ReadonlyArray<Word>>, options?: { readonly keepGoing: boolean }) =>
  runEach(Stream.fromIterable(lines), options?.keepGoing === true, (words) => runWords(words))

const prompt = Effect.gen(function*() {
  const client = yield* FipClient
  const session = yield* client.session
  const user = Option.match(session, { onNone: () => "", onSome: ({ username }) => `${username}@` })
  const { folder } = yield* Workspace
  const where = folder === TOP || formatFolder(folder) === "/" ? "" : ` ${printableLine(formatFolder(folder))}`
  return `${user}${client.host}:${client.port}${where}> `
})

/** True when nothing is lost by leaving: no job runs, or somebody said that it may be cancelled. */
const mayLeave = Effect.gen(function*() {
  const jobs = yield* Jobs
  const questions = yield* Questions
  if (jobs.running === 0) return true
  const question = `${formatCount(jobs.running, "job")} still running (JOBS lists them, WAIT waits): cancel, and leave?`
  return yield* questions.confirm(question)
})

/** Runs what a person types until they leave. Ctrl-C ends the command that runs, and nothing else. */
export const runInteractive = Effect.gen(function*() {
  const reader = yield* LineReader
  const jobs = yield* Jobs
  const output = yield* Output
  const pages = (yield* JsonMode) ? undefined : yield* pagerWanted
  while (true) {
    const text = yield* reader.line(yield* prompt)
    if (Option.isNone(text)) {
      // Nobody can be asked any more, and what runs has not been given up.
      if (jobs.running > 0) yield* note(`waiting for ${formatCount(jobs.running, "job")}: Ctrl-C cancels`)
      yield* jobs.wait()
      return ExitStatus.DONE
    }
    const pager = pages === undefined || pages === "built-in"
      ? makePager(output, reader)
      : makeOwnPager(output, reader, pages.command)
    const run = runLine(text.value).pipe(
      Effect.provideService(Paging, pages === undefined ? undefined : pager.output),
      Effect.tap(() => pager.end),
      Effect.onExit(() => pager.close)
    )
    const result = yield* reader.interruptible(Effect.raceFirst(run, Effect.as(pager.left, ENOUGH)))
    const { leave, status } = Option.isSome(result) ? result.value : yield* cancelledLine(text.value)
    if (leave && Option.getOrElse(yield* reader.interruptible(mayLeave), () => false)) {
      for (const { number } of yield* jobs.list) yield* jobs.cancel(number)
      return status
    }
  }
})

const ENOUGH: LineResult = { status: ExitStatus.DONE, leave: false }

const setting = (name: string) => Config.String(name).pipe(Config.withDefault(""))

/**
 * What shows long results: what `FIP_PAGER` names, or else `PAGER`. `FIP_PAGER=off` shows them at once, and so does a
 * terminal that cannot clear a line.
 */
const pagerWanted = Effect.gen(function*() {
  const own = (yield* setting("FIP_PAGER")).trim()
  const command = own === "" ? (yield* setting("PAGER")).trim() : own
  if (own.toLowerCase() === "off" || (yield* setting("TERM")) === "dumb") return undefined
  return command === "" ? "built-in" as const : { command }
}).pipe(Effect.orElseSucceed(() => "built-in" as const))

const cancelledLine = Effect.fnUntraced(function*(text: string) {
  const line = yield* commandLine(commandTree, Result.getOrElse(tokenize(text), () => []))
  yield* reportFailure(line.name, cancelled)
  return { status: cancelled.status, leave: line.bye }
})
