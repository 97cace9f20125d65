/**
 * Runs lines: words in, a command run by the tree, its outcome or failure reported, and a status out. A line never
 * fails and never dies, so the shell outlives whatever a command does; only a closed standard output ends it.
 */
import { Effect, Option, Result, Stream } from "effect"
import { CliConfig, CliOutput, Command } from "effect/cli"
import { isCliError } from "effect/cli/CliError"
import { FipClient } from "../../client/FipClient.ts"
import { type CommandLine, commandLine } from "./CommandLine.ts"
import { commandTree } from "./commandTree.ts"
import { cancelled, ExitStatus, failureOf, internalFailure, UsageError } from "./Failure.ts"
import { LineReader } from "./LineReader.ts"
import { OutputClosed } from "./Output.ts"
import { reportFailure } from "./Report.ts"
import { tokenize, type Word } from "./Tokenizer.ts"
import { notACommand, usageError } from "./usage.ts"

export interface LineResult {
  readonly status: ExitStatus
  /** The line was BYE, or had `-bye`. */
  readonly leave: boolean
}

const parseAndRun = Command.runWith(commandTree, { version: "", renderErrors: false })

const unknown = (words: ReadonlyArray<Word>): boolean => words[0] === undefined || words[0].text.startsWith("-")

/** The failure of a line, if it fails; a closed standard output is no failure of the line. */
const attempt = Effect.fnUntraced(function*(line: CommandLine, words: ReadonlyArray<Word>) {
  if (line.command === undefined && unknown(words)) {
    return Option.some(failureOf(notACommand(words[0]?.text ?? ""), "request"))
  }
  const run = parseAndRun(line.args).pipe(
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
        ? Effect.map(usageError(commandTree, error), (usage) => Option.some(failureOf(usage, line.facts.kind)))
        : Effect.succeedSome(failureOf(error, line.facts.kind))
  })
}, Effect.catchDefect((defect) => Effect.succeedSome(internalFailure(defect))))

/** Runs one line that is split already. */
export const runWords = Effect.fnUntraced(function*(words: ReadonlyArray<Word>) {
  const line = yield* commandLine(commandTree, words)
  const failure = yield* attempt(line, words)
  if (Option.isSome(failure)) yield* reportFailure(line.name, failure.value)
  const status = Option.match(failure, { onNone: () => ExitStatus.DONE, onSome: (failure) => failure.status })
  const result: LineResult = { status, leave: line.bye || (line.name === "BYE" && status === ExitStatus.DONE) }
  return result
})

/** Runs one line as it was typed. Empty lines and comments do nothing. */
export const runLine = Effect.fnUntraced(function*(text: string) {
  if (/^\s*(#|$)/.test(text)) return { status: ExitStatus.DONE, leave: false }
  const words = tokenize(text)
  if (Result.isSuccess(words)) return yield* runWords(words.success)
  const name = text.trim().split(/\s/, 1)[0] ?? ""
  const failure = failureOf(new UsageError({ message: words.failure.message }), "request")
  yield* reportFailure(name.toUpperCase(), failure)
  return { status: failure.status, leave: false }
})

/** Runs lines until one fails or leaves, or there are no more; the status is that of the last one. */
export const runScript = Effect.fnUntraced(function*<E, R>(lines: Stream.Stream<string, E, R>) {
  let status: ExitStatus = ExitStatus.DONE
  yield* Stream.runForEachWhile(lines, (text) =>
    Effect.map(runLine(text), (result) => {
      status = result.status
      return !result.leave && result.status === ExitStatus.DONE
    }))
  return status
})

const prompt = Effect.gen(function*() {
  const client = yield* FipClient
  const session = yield* client.session
  const user = Option.match(session, { onNone: () => "", onSome: ({ username }) => `${username}@` })
  return `${user}${client.host}:${client.port}> `
})

/** Runs what a person types until they leave. Ctrl-C ends the command that runs, and nothing else. */
export const runInteractive = Effect.gen(function*() {
  const reader = yield* LineReader
  while (true) {
    const text = yield* reader.line(yield* prompt)
    if (Option.isNone(text)) return ExitStatus.DONE
    const result = yield* reader.interruptible(runLine(text.value))
    const { leave, status } = Option.isSome(result) ? result.value : yield* cancelledLine(text.value)
    if (leave) return status
  }
})

const cancelledLine = Effect.fnUntraced(function*(text: string) {
  const line = yield* commandLine(commandTree, Result.getOrElse(tokenize(text), () => []))
  yield* reportFailure(line.name, cancelled)
  return { status: cancelled.status, leave: line.bye }
})
