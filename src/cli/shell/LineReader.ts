/**
 * What a person types at a terminal, by node:readline: line editing, history, completion, secrets without echo, and
 * Ctrl-C as an event. One interface lives as long as the shell, so lines that are typed or pasted ahead while a command
 * runs are kept in order. While it lives the terminal is in raw mode: Ctrl-C is a key here and no signal.
 *
 * The screen is shared: what others have to say while a line is typed goes above it (`aside`).
 */
import { type Cause, Context, Deferred, Effect, Layer, Option, Queue, Redacted } from "effect"
import { clearScreenDown, createInterface, cursorTo, moveCursor } from "node:readline"
import { Writable } from "node:stream"
import { ReadStream } from "node:tty"
import { type History, MAX_LINES } from "./History.ts"
import { type Key, searchHistory, takeKeys } from "./HistorySearch.ts"
import type { OutputStream } from "./Output.ts"
import { printableLine } from "./printable.ts"
import { missing, Questions } from "./Questions.ts"

export interface LineReaderOptions {
  readonly input: NodeJS.ReadableStream
  /** Where the prompt and what is typed are shown. */
  readonly output: OutputStream
  /** Lines for which this is false never enter the history. */
  readonly remembers: (line: string) => boolean
  readonly history: History
}

/** What could stand in place of the end of a line. */
export interface Completion {
  /** Whole words, quoted where they have to be. */
  readonly candidates: ReadonlyArray<string>
  /** The end of the line that they would replace. */
  readonly replaced: string
}

type Respond = (error: null, result: [Array<string>, string]) => void

const nothing = (): void => {}

/** Passes what readline shows on to the terminal, except while a secret is typed. */
class Echo extends Writable {
  muted = false
  /** Called instead of readline when the terminal has another width. */
  onResize = nothing
  readonly #terminal: OutputStream

  constructor(terminal: OutputStream) {
    super({ decodeStrings: false })
    this.#terminal = terminal
    terminal.on("resize", this.#resized)
  }

  readonly #resized = () => this.onResize()

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
  /** The next key, when no line is asked for. */
  readonly key: Effect.Effect<string>
  /** True while a line is typed, or another program has the screen: what is written would go into the middle of it. */
  readonly typing: () => boolean
  /**
   * Gives the terminal to another program until it is taken back: keys, and Ctrl-C, are for that one, and what is said
   * meanwhile waits.
   */
  readonly lend: Effect.Effect<Effect.Effect<void>>
  /** Writes whole lines above the one that is typed. */
  readonly aside: (text: string) => void
  /** Answers Tab for as long as it runs. Keys that are typed while `complete` runs wait for it. */
  readonly completing: <R>(
    complete: (line: string) => Effect.Effect<Completion, never, R>
  ) => Effect.Effect<never, never, R>
}>()("fip/cli/shell/LineReader") {
  static readonly layer = (options: LineReaderOptions): Layer.Layer<LineReader | Questions> =>
    Layer.effect(Questions, questions).pipe(Layer.provideMerge(Layer.effect(LineReader, make(options))))
}

const make = Effect.fnUntraced(function*(options: LineReaderOptions) {
  const lines = yield* Queue.unbounded<string, Cause.Done>()
  const tabs = yield* Queue.unbounded<{ readonly line: string; readonly respond: Respond }>()
  const echo = new Echo(options.output)
  /** What is typed now; nothing while a command runs. */
  let typing: "line" | "answer" | "secret" | undefined
  let completes = false
  let secretPrompt = ""
  const readline = createInterface({
    input: options.input,
    output: echo,
    terminal: true,
    history: [...options.history.lines()],
    historySize: MAX_LINES,
    removeHistoryDuplicates: true,
    completer: (line: string, respond: Respond) => {
      if (!completes || typing !== "line") return respond(null, [[], line])
      Queue.offerUnsafe(tabs, { line, respond })
    }
  })
  let onInterrupt = nothing
  /**
   * readline goes up so many rows before it draws: not from where the cursor is, but from where it was when the whole line
   * was drawn last. What was pasted since then does not count.
   */
  const drawnRows = (): number => {
    const rows: unknown = Reflect.get(readline, "prevRows")
    return typeof rows === "number" ? rows : 0
  }
  // A terminal has broken its lines anew before anybody hears of its width.
  echo.onResize = () => {
    if (typing !== "line" && typing !== "answer") return
    const tooLow = readline.getCursorPos().rows - drawnRows()
    if (tooLow !== 0) moveCursor(options.output, 0, -tooLow)
    echo.emit("resize")
  }
  readline.on("line", (line) => {
    typing = undefined
    Queue.offerUnsafe(lines, line)
  })
  readline.on("close", () => {
    typing = undefined
    Queue.endUnsafe(lines)
  })
  readline.on("history", (history) => {
    const [latest] = history
    if (latest === undefined) return
    if (typing === "answer" || typing === "secret" || !options.remembers(latest)) history.shift()
    else options.history.add(latest)
  })
  /** Forgets what is typed, unseen: to the end of the line, and back over all of it. Then types `line` instead. */
  const retype = (line: string): void => {
    const { muted } = echo
    echo.muted = true
    readline.write(null, { ctrl: true, name: "e" })
    readline.write(null, { ctrl: true, name: "u" })
    if (line !== "") readline.write(line)
    echo.muted = muted
  }
  const onKey = (_text: string | undefined, key: Key | undefined): void => {
    if (key?.ctrl !== true || key.name !== "r" || typing !== "line") return
    searchHistory({
      readline,
      input: options.input,
      output: options.output,
      lines: options.history.lines(),
      replace: (line) => {
        retype(line)
        options.output.write("\n".repeat(drawnRows()))
        readline.prompt(true)
      }
    })
  }
  options.input.on("keypress", onKey)
  readline.on("SIGINT", () => {
    options.output.write("^C\n")
    if (readline.line === "" && typing === "line") options.output.write("(BYE or Ctrl-D leaves)\n")
    retype("")
    onInterrupt()
  })
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      options.input.off("keypress", onKey)
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

  const ask = (prompt: string, what: "line" | "answer"): Effect.Effect<Option.Option<string>> =>
    Effect.suspend(() => {
      readline.setPrompt(prompt)
      // What was typed ahead is on the screen already.
      if (Queue.sizeUnsafe(lines) === 0) {
        typing = what
        readline.prompt()
      }
      return next
    }).pipe(
      Effect.onInterrupt(() =>
        Effect.sync(() => {
          typing = undefined
        })
      )
    )

  const { input } = options
  const setRaw = (raw: boolean): void => {
    if (input instanceof ReadStream && input.isTTY) input.setRawMode(raw)
  }
  /** What others have said while another program had the screen. */
  let waiting: string | undefined

  const above = (text: string): void => {
    if (waiting !== undefined) {
      waiting += text
      return
    }
    if (typing === undefined) {
      options.output.write(text)
      return
    }
    const { rows } = readline.getCursorPos()
    moveCursor(options.output, 0, -rows)
    cursorTo(options.output, 0)
    clearScreenDown(options.output)
    options.output.write(text + (typing === "secret" ? secretPrompt : "\n".repeat(drawnRows())))
    if (typing !== "secret") readline.prompt(true)
  }

  return LineReader.of({
    line: (prompt) =>
      Effect.tap(withInterrupt(() => readline.prompt(), ask(prompt, "line")), (line) =>
        Effect.sync(() => {
          // Ctrl-D leaves the cursor behind the prompt.
          if (Option.isNone(line)) options.output.write("\n")
        })),
    answer: (prompt) => ask(prompt, "answer"),
    secret: (prompt) =>
      Effect.suspend(() => {
        options.output.write(prompt)
        readline.setPrompt("")
        secretPrompt = prompt
        typing = "secret"
        echo.muted = true
        return next
      }).pipe(
        Effect.tap(() => Effect.sync(() => options.output.write("\n"))),
        Effect.ensuring(Effect.sync(() => {
          echo.muted = false
          typing = undefined
        }))
      ),
    typing: () => typing !== undefined || waiting !== undefined,
    lend: Effect.sync(() => {
      waiting = ""
      readline.pause()
      setRaw(false)
      // The terminal tells both programs.
      const others = process.listeners("SIGINT")
      process.removeAllListeners("SIGINT")
      process.on("SIGINT", nothing)
      return Effect.sync(() => {
        if (waiting === undefined) return
        const said = waiting
        waiting = undefined
        process.off("SIGINT", nothing)
        for (const listener of others) process.on("SIGINT", listener)
        setRaw(true)
        readline.resume()
        above(said)
      })
    }),
    aside: above,
    key: Effect.callback((resume) => {
      const release = takeKeys(options.input, (text, key) => {
        release()
        resume(Effect.succeed(key?.ctrl === true ? `ctrl-${key.name}` : key?.name ?? text ?? ""))
      })
      return Effect.sync(release)
    }),
    completing: (complete) =>
      Effect.gen(function*() {
        completes = true
        const { line, respond } = yield* Queue.take(tabs)
        const { candidates, replaced } = yield* complete(line)
        respond(null, [[...candidates], replaced])
      }).pipe(
        Effect.forever,
        Effect.ensuring(Effect.sync(() => {
          completes = false
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

/** Questions name files, and those may be called anything. */
const label = (what: string): string => printableLine(`${what.charAt(0).toUpperCase()}${what.slice(1)}: `)

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
      Effect.map(
        reader.answer(`${printableLine(question)} [y/N] `),
        Option.exists((text) => /^\s*y(es)?\s*$/i.test(text))
      )
  })
})
