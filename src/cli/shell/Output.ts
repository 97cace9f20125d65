/**
 * Standard output and standard error of the shell: results go to the one, messages to the other.
 *
 * A write ends when the stream has taken it, so a slow reader slows the writer and memory stays flat. A reader that
 * has gone away (`READ big | head -c 10`) is `OutputClosed`, which ends the shell quietly.
 */
import { Config, Context, Data, Effect, Layer, Option } from "effect"
import type { Writable } from "node:stream"
import { type Column, formatTable } from "./format.ts"

/** Nobody reads standard output any more. */
export class OutputClosed extends Data.TaggedError("OutputClosed")<{ readonly cause: unknown }> {}

/** A stream to write to; a terminal has `isTTY`. */
export interface OutputStream extends Writable {
  readonly isTTY?: boolean
  readonly columns?: number
  readonly rows?: number
}

export class Output extends Context.Service<Output, {
  readonly stdoutIsTerminal: boolean
  readonly stderrIsTerminal: boolean
  /** Standard error is a terminal that shows colours, and nobody asked for none. */
  readonly colors: boolean
  /** The same of standard output, where results go. */
  readonly colorsResults: boolean
  /** Width of the terminal that results go to; infinite when they go to none. */
  readonly resultColumns: Effect.Effect<number>
  /** Height of the terminal that results go to; infinite when they go to none, or nobody knows. */
  readonly resultRows: Effect.Effect<number>
  /** Width of the terminal that messages go to. */
  readonly columns: Effect.Effect<number>
  readonly write: (chunk: string | Uint8Array) => Effect.Effect<void, OutputClosed>
  /** Writes to standard error. Never fails: who closed it does not want to know. */
  readonly note: (text: string) => Effect.Effect<void>
  /** The same for callbacks; nobody learns when it is done. */
  readonly noteUnsafe: (text: string) => void
}>()("fip/cli/shell/Output") {
  static readonly layerStreams = (streams: { readonly stdout: OutputStream; readonly stderr: OutputStream }) =>
    Layer.effect(
      Output,
      Effect.gen(function*() {
        const { stderr, stdout } = streams
        const noColor = yield* Config.option(Config.String("NO_COLOR")).pipe(Effect.orElseSucceed(Option.none))
        const term = yield* Config.option(Config.String("TERM")).pipe(Effect.orElseSucceed(Option.none))
        // A failed write calls back first and emits `error` later; without a listener that would end the process. The
        // listeners stay for good because that can be after this scope has ended.
        stdout.on("error", ignore)
        stderr.on("error", ignore)
        const stderrIsTerminal = stderr.isTTY === true
        const colors = Option.getOrElse(noColor, () => "") === "" && Option.getOrElse(term, () => "") !== "dumb"
        return Output.of({
          stdoutIsTerminal: stdout.isTTY === true,
          stderrIsTerminal,
          colors: stderrIsTerminal && colors,
          colorsResults: stdout.isTTY === true && colors,
          resultColumns: Effect.sync(() => stdout.isTTY === true ? stdout.columns ?? 80 : Number.POSITIVE_INFINITY),
          resultRows: Effect.sync(() => stdout.isTTY === true && stdout.rows || Number.POSITIVE_INFINITY),
          columns: Effect.sync(() => stderr.columns ?? 80),
          write: (chunk) => chunk.length === 0 ? Effect.void : send(stdout, chunk),
          note: (text) => Effect.ignore(send(stderr, text)),
          noteUnsafe: (text) => {
            stderr.write(text)
          }
        })
      })
    )

  static readonly layer = Layer.suspend(() => Output.layerStreams({ stdout: process.stdout, stderr: process.stderr }))
}

/** A table that fits the terminal, if results go to one. */
export const table = Effect.fnUntraced(function*(
  columns: ReadonlyArray<Column>,
  rows: ReadonlyArray<ReadonlyArray<string>>
) {
  const output = yield* Output
  return formatTable(columns, rows, yield* output.resultColumns)
})

const ignore = (): void => {}

const send = (stream: Writable, chunk: string | Uint8Array): Effect.Effect<void, OutputClosed> =>
  Effect.callback((resume) => {
    stream.write(chunk, (error) => {
      resume(error ? Effect.fail(new OutputClosed({ cause: error })) : Effect.void)
    })
  })
