/**
 * Commands that run beside the prompt: lines that end in `&`.
 *
 * A job ends with its command, when it is cancelled, or with the shell; its fiber belongs to the shell's scope. What it
 * has to say comes with its number before it, and nobody can be asked: what a job would ask for is missing. A job that
 * has ended is remembered until JOBS or WAIT has told of it.
 */
import { Context, Effect, Fiber, Layer, Scope } from "effect"
import type { Command } from "effect/cli"
import { cancelled, ExitStatus } from "./Failure.ts"
import { Output } from "./Output.ts"
import { ProgressView } from "./Progress.ts"
import { Questions } from "./Questions.ts"
import { note, reportFailure } from "./Report.ts"

export interface Job {
  readonly number: number
  /** The command, as messages name it. */
  readonly name: string
  readonly line: string
  readonly state: "running" | "done" | "failed" | "cancelled"
  /** How far a transfer is; empty while nothing is known. */
  readonly progress: string
  readonly status: ExitStatus
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

interface Entry {
  readonly job: Mutable<Job>
  readonly fiber: Fiber.Fiber<void>
}

export class Jobs extends Context.Service<Jobs, {
  /** How many jobs have not ended. */
  readonly running: number
  /** Every job that runs, and those that have ended and nobody was told of. */
  readonly list: Effect.Effect<ReadonlyArray<Job>>
  /** The same, and forgets those that have ended. */
  readonly take: Effect.Effect<ReadonlyArray<Job>>
  /** Starts a job; `command` reports for itself, and its result is its status. */
  readonly start: (
    name: string,
    line: string,
    command: Effect.Effect<ExitStatus, unknown, Output | Questions | Command.Environment>
  ) => Effect.Effect<void, never, Output | Command.Environment>
  /** Ends a job and waits until it has ended; false when there is none that runs. */
  readonly cancel: (number: number) => Effect.Effect<boolean>
  /** Waits for one job, or for all that run. */
  readonly wait: (number?: number) => Effect.Effect<void>
}>()("fip/cli/shell/Jobs") {
  static readonly layer: Layer.Layer<Jobs> = Layer.effect(Jobs, Effect.suspend(() => make))
}

/** Standard output and standard error of a job. */
const outputOf = (output: Output["Service"], number: number): Output["Service"] => {
  // Over the progress of the command that runs in the foreground.
  const head = `${output.stderrIsTerminal ? "\r\u001b[K" : ""}[${number}] `
  return {
    ...output,
    note: (text) => output.note(head + text),
    noteUnsafe: (text) => output.noteUnsafe(head + text)
  }
}

const make = Effect.gen(function*() {
  const scope = yield* Scope.Scope
  const entries = new Map<number, Entry>()
  let latest = 0

  const running = () => [...entries.values()].filter(({ job }) => job.state === "running")

  const list = (): ReadonlyArray<Job> => [...entries.values()].map(({ job }) => job)

  const start = Effect.fnUntraced(function*(
    name: string,
    line: string,
    command: Effect.Effect<ExitStatus, unknown, Output | Questions | Command.Environment>
  ) {
    const output = yield* Output
    const number = entries.size === 0 ? latest = 1 : ++latest
    const job: Mutable<Job> = { number, name, line, state: "running", progress: "", status: ExitStatus.DONE }
    yield* note(`[${number}] ${line}`)
    const work = command.pipe(
      // Standard output that nobody reads is for the foreground to notice.
      Effect.orElseSucceed(() => ExitStatus.DONE),
      Effect.tap((status) =>
        Effect.sync(() => {
          job.status = status
          job.state = status === ExitStatus.DONE ? "done" : "failed"
        })
      ),
      Effect.onInterrupt(() => {
        job.status = cancelled.status
        job.state = "cancelled"
        return reportFailure(name, cancelled).pipe(Effect.ignore)
      }),
      Effect.provideService(ProgressView, (text) => {
        job.progress = text
      }),
      Effect.provideService(Output, outputOf(output, number)),
      Effect.provide(Questions.layerUnattended)
    )
    // At once: a fiber that is interrupted before it has started would never come to `onInterrupt`.
    const fiber = yield* Effect.forkIn(Effect.asVoid(work), scope, { startImmediately: true })
    entries.set(number, { job, fiber })
  })

  return Jobs.of({
    get running() {
      return running().length
    },
    list: Effect.sync(list),
    take: Effect.sync(() => {
      const jobs = list()
      for (const { number, state } of jobs) if (state !== "running") entries.delete(number)
      return jobs
    }),
    start,
    cancel: (number) =>
      Effect.suspend(() => {
        const entry = running().find(({ job }) => job.number === number)
        return entry === undefined ? Effect.succeed(false) : Effect.as(Fiber.interrupt(entry.fiber), true)
      }),
    wait: (number) =>
      Effect.suspend(() =>
        Effect.forEach(
          running().filter(({ job }) => number === undefined || job.number === number),
          ({ fiber }) => Fiber.await(fiber),
          { discard: true }
        )
      )
  })
})
