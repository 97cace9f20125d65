/**
 * What a person types at a terminal, by node:readline: line editing, a history in memory, secrets without echo, and
 * Ctrl-C as an event. One interface lives as long as the shell, so lines that are typed or pasted ahead while a command
 * runs are kept in order. While it lives the terminal is in raw mode: Ctrl-C is a key here and no signal.
 */
import { type Cause, Context, Deferred, Effect, Layer, Option, Queue, Redacted } from "effect"
import { createInterface } from "node:readline"
import { Writable } from "node:stream"
import type { OutputStream } from "./Output.ts"
import { missing, Questions } from "./Questions.ts"

export interface LineReaderOptions {
  readonly input: NodeJS.ReadableStream
  /** Where the prompt and what is typed are shown. */
  readonly output: OutputStream
  /** Lines for which this is false never enter the history. */
  readonly remembers: (line: string) => boolean
}

/** Passes what readline shows on to the terminal, except while a secret is typed. */
class Echo extends Writable {
  muted = false
  readonly #terminal: OutputStream

  constructor(terminal: OutputStream) {
    super({ decodeStrings: false })
    this.#terminal = terminal
    terminal.on("resize", this.#resized)
  }

  readonly #resized = () => this.emit("resize")

  /** readline asks for the width by this name. */
  get columns(): number | undefined {
    return this.#terminal.columns
  }

  override _write(chunk: Uint8Array | string, _encoding: BufferEncoding, done: () => void): void {
    if (!this.muted) this.#terminal.write(chunk)
    done()
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#terminal.off("resize", this.#resized)
    done(error)
  }
}

export class LineReader extends Context.Service<LineReader, {
  /** The next command line; none when input has ended (Ctrl-D). Ctrl-C begins the line anew. */
  readonly line: (prompt: string) => Effect.Effect<Option.Option<string>>
  /** An answer to a question; none when input has ended. Ctrl-C ends what asks (`interruptible`). */
  readonly answer: (prompt: string) => Effect.Effect<Option.Option<string>>
  /** An answer that is not shown, and not kept. */
  readonly secret: (prompt: string) => Effect.Effect<Option.Option<string>>
  /** Runs an effect until it ends or Ctrl-C is pressed, which interrupts it: then there is no result. */
  readonly interruptible: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<Option.Option<A>, E, R>
}>()("fip/cli/shell/LineReader") {
  static readonly layer = (options: LineReaderOptions): Layer.Layer<LineReader | Questions> =>
    Layer.effect(Questions, questions).pipe(Layer.provideMerge(Layer.effect(LineReader, make(options))))
}

const nothing = (): void => {}

const make = Effect.fnUntraced(function*(options: LineReaderOptions) {
  const lines = yield* Queue.unbounded<string, Cause.Done>()
  const echo = new Echo(options.output)
  const readline = createInterface({
    input: options.input,
    output: echo,
    terminal: true,
    historySize: 1000,
    removeHistoryDuplicates: true
  })
  let onInterrupt = nothing
  readline.on("line", (line) => Queue.offerUnsafe(lines, line))
  readline.on("close", () => Queue.endUnsafe(lines))
  readline.on("history", (history) => {
    const [latest] = history
    if (latest !== undefined && (echo.muted || !options.remembers(latest))) history.shift()
  })
  readline.on("SIGINT", () => {
    options.output.write("^C\n")
    // Forgets what was typed: to the end of the line, and back over all of it, unseen.
    const { muted } = echo
    echo.muted = true
    readline.write(null, { ctrl: true, name: "e" })
    readline.write(null, { ctrl: true, name: "u" })
    echo.muted = muted
    onInterrupt()
  })
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      readline.close()
      echo.destroy()
    })
  )

  /** Ctrl-C means `handler` while `effect` runs. */
  const withInterrupt = <A, E, R>(handler: () => void, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.suspend(() => {
      const before = onInterrupt
      onInterrupt = handler
      return Effect.ensuring(
        effect,
        Effect.sync(() => {
          onInterrupt = before
        })
      )
    })

  const next = Effect.option(Queue.take(lines))

  const ask = (prompt: string): Effect.Effect<Option.Option<string>> =>
    Effect.suspend(() => {
      readline.setPrompt(prompt)
      // What was typed ahead is on the screen already.
      if (Queue.sizeUnsafe(lines) === 0) readline.prompt()
      return next
    })

  return LineReader.of({
    line: (prompt) =>
      Effect.tap(withInterrupt(() => readline.prompt(), ask(prompt)), (line) =>
        Effect.sync(() => {
          // Ctrl-D leaves the cursor behind the prompt.
          if (Option.isNone(line)) options.output.write("\n")
        })),
    answer: ask,
    secret: (prompt) =>
      Effect.suspend(() => {
        options.output.write(prompt)
        readline.setPrompt("")
        echo.muted = true
        return next
      }).pipe(
        Effect.tap(() => Effect.sync(() => options.output.write("\n"))),
        Effect.ensuring(Effect.sync(() => {
          echo.muted = false
        }))
      ),
    interruptible: (effect) =>
      Effect.suspend(() => {
        const pressed = Deferred.makeUnsafe<void>()
        return withInterrupt(
          () => Deferred.doneUnsafe(pressed, Effect.void),
          Effect.raceFirst(Effect.asSome(effect), Effect.as(Deferred.await(pressed), Option.none()))
        )
      })
  })
})

const label = (what: string): string => `${what.charAt(0).toUpperCase()}${what.slice(1)}: `

const given = (what: string) => (answer: Option.Option<string>) =>
  Effect.mapError(Effect.fromOption(answer), () => missing(what))

const questions = Effect.gen(function*() {
  const reader = yield* LineReader
  return Questions.of({
    attended: true,
    text: (what) => Effect.flatMap(reader.answer(label(what)), given(what)),
    secret: (what) =>
      Effect.map(Effect.flatMap(reader.secret(label(what)), given(what)), (text) => Redacted.make(text)),
    confirm: (question) =>
      Effect.map(reader.answer(`${question} [y/N] `), Option.exists((text) => /^\s*y(es)?\s*$/i.test(text)))
  })
})
