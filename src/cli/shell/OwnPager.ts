/**
 * Results in a pager of the person's own (`FIP_PAGER`, `PAGER`), which is started when there is more than the screen holds.
 *
 * It is a line for `/bin/sh`, as everywhere, and all that it is told comes by its standard input: no name of the server is
 * ever a part of a line. Until there is a screenful, what is written waits, but not for longer than the command or for
 * something that has to be said. The terminal is lent to it and taken back, however it ends.
 */
import { Deferred, Effect } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import type { LineReader } from "./LineReader.ts"
import { type Output, OutputClosed } from "./Output.ts"
import { type Pager, rowsOf } from "./Pager.ts"

interface Running {
  readonly child: ChildProcess
  readonly ended: Deferred.Deferred<string | undefined>
  readonly takeBack: Effect.Effect<void>
}

/** What a pager that is no less than others understands: colours, and nothing else that steers a terminal. */
const environment = (): NodeJS.ProcessEnv => ({ ...process.env, LESS: process.env["LESS"] ?? "R" })

/** The statuses of a shell that found nothing to run. */
const NOT_RUN = new Set([126, 127])

export const makeOwnPager = (output: Output["Service"], reader: LineReader["Service"], command: string): Pager => {
  const left = Deferred.makeUnsafe<void>()
  let held: Array<string> = []
  let rows = 0
  let running: Running | undefined

  const flush = Effect.suspend(() => {
    const chunks = held
    held = []
    rows = 0
    return Effect.forEach(chunks, output.write, { discard: true })
  })

  const start = Effect.gen(function*() {
    const takeBack = yield* reader.lend
    const ended = Deferred.makeUnsafe<string | undefined>()
    const child = spawn("/bin/sh", ["-c", command], { stdio: ["pipe", "inherit", "inherit"], env: environment() })
    // Whoever has seen enough reads no more: that is no failure.
    child.stdin.on("error", () => {})
    child.on("error", (cause) => Deferred.doneUnsafe(ended, Effect.succeed(cause.message)))
    child.on("close", (status) =>
      Deferred.doneUnsafe(
        ended,
        Effect.succeed(status !== null && NOT_RUN.has(status) ? `it ended with status ${status}` : undefined)
      ))
    running = { child, ended, takeBack }
    return running
  })

  /** Gives the pager a piece, no faster than it takes them. One that has ended has been left. */
  const give = ({ child, ended }: Running, chunk: string | Uint8Array): Effect.Effect<void> =>
    Effect.raceFirst(
      Effect.callback<void>((resume) => {
        if (chunk.length === 0) return resume(Effect.void)
        child.stdin?.write(chunk, (error) => resume(error ? Effect.never : Effect.void))
      }),
      Effect.andThen(
        Deferred.await(ended),
        Effect.andThen(Effect.asVoid(Deferred.succeed(left, undefined)), Effect.never)
      )
    )

  const write = (chunk: string | Uint8Array): Effect.Effect<void, OutputClosed> =>
    Effect.gen(function*() {
      if (running !== undefined) return yield* give(running, chunk)
      // Bytes that are no text go through as they are.
      if (typeof chunk !== "string") return yield* Effect.andThen(flush, output.write(chunk))
      held.push(chunk)
      const columns = yield* output.resultColumns
      for (const line of chunk.split(/(?<=\n)/)) rows += line.endsWith("\n") ? rowsOf(line.slice(0, -1), columns) : 0
      if (rows < (yield* output.resultRows)) return
      const pager = yield* start
      const first = held
      held = []
      yield* Effect.forEach(first, (one) => give(pager, one), { discard: true })
    })

  const close = Effect.suspend(() => {
    if (running === undefined) return Effect.ignore(flush)
    const { child, ended, takeBack } = running
    running = undefined
    child.stdin?.destroy()
    if (child.exitCode === null && child.signalCode === null) child.kill()
    return Effect.flatMap(Deferred.await(ended), (fault) =>
      Effect.andThen(
        takeBack,
        fault === undefined
          ? Effect.void
          : output.note(`the pager "${command}" cannot be run (${fault}): FIP_PAGER=off does without one\n`)
      ))
  })

  const end = Effect.suspend(() => {
    if (running === undefined) return flush
    running.child.stdin?.end()
    return Effect.asVoid(Deferred.await(running.ended))
  })

  return {
    left: Deferred.await(left),
    end,
    close,
    output: {
      ...output,
      write,
      // In the order in which it was said, above or below.
      note: (text) =>
        Effect.suspend(() =>
          running === undefined
            ? Effect.andThen(Effect.ignore(flush), output.note(text))
            : Effect.sync(() => reader.aside(text))
        )
    }
  }
}
