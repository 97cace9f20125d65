/**
 * The progress line of a transfer: on standard error, only when that is a terminal, and gone when the transfer ends.
 * Counting is what callbacks do (cheap, synchronous); drawing happens ten times a second beside the transfer.
 */
import { Clock, Context, Effect } from "effect"
import type { OnProgress } from "../../client/FipClient.ts"
import { formatBytes, formatSeconds } from "./format.ts"
import { Output } from "./Output.ts"

/** Counts what has moved. */
export class Progress {
  bytes = 0
  files = 0
  totalBytes: number | undefined
  readonly totalFiles: number | undefined
  /** What is done, where that is no transfer. */
  readonly doing: string | undefined

  constructor(totalBytes?: number, totalFiles?: number, doing?: string) {
    this.doing = doing
    this.totalBytes = totalBytes
    this.totalFiles = totalFiles
  }

  /** For one file: adds what is new since its last call, and learns the total where there is only this one file. */
  forFile(): OnProgress {
    let seen = 0
    return ({ bytes, total }) => {
      this.bytes += bytes - seen
      seen = bytes
      if (this.totalFiles === undefined) this.totalBytes = total
    }
  }

  fileDone(): void {
    this.files++
  }

  /** True when the transfer has begun: what ends it now interrupts it. */
  get moved(): boolean {
    return this.bytes > 0 || this.files > 0
  }
}

const describe = (progress: Progress, rate: number): string => {
  const { bytes, doing, files, totalBytes, totalFiles } = progress
  const parts: Array<string> = doing === undefined ? [] : [doing]
  if (totalFiles !== undefined) parts.push(`${files} of ${totalFiles} files`)
  if (totalBytes === undefined) {
    parts.push(formatBytes(bytes))
  } else {
    const percent = totalBytes === 0 ? 100 : Math.floor((bytes / totalBytes) * 100)
    parts.push(`${formatBytes(bytes)} of ${formatBytes(totalBytes)} (${percent}%)`)
  }
  if (rate > 0) {
    parts.push(`${formatBytes(rate)}/s`)
    if (totalBytes !== undefined) parts.push(`${formatSeconds((totalBytes - bytes) / rate)} left`)
  }
  return parts.join("  ")
}

/** Who is told how far a transfer is, instead of the terminal: the job that it runs in. */
export const ProgressView = Context.Reference<((text: string) => void) | undefined>("fip/cli/shell/ProgressView", {
  defaultValue: () => undefined
})

const CLEAR_LINE = "\r\u001b[K"
// New figures count for a fifth: the rate follows a change within a second and does not jump about.
const SMOOTHING = 0.2

/** Runs a transfer with its progress shown. */
export const withProgress = Effect.fnUntraced(function*<A, E, R>(progress: Progress, transfer: Effect.Effect<A, E, R>) {
  const output = yield* Output
  const view = yield* ProgressView
  if (view === undefined && !output.stderrIsTerminal) return yield* transfer
  const clock = yield* Clock.Clock
  let lastTime = clock.monotonicTimeNanosUnsafe()
  let lastBytes = progress.bytes
  let rate = 0
  const draw = Effect.gen(function*() {
    const now = clock.monotonicTimeNanosUnsafe()
    const current = ((progress.bytes - lastBytes) / Number(now - lastTime)) * 1e9
    rate = rate === 0 ? current : rate + (current - rate) * SMOOTHING
    lastTime = now
    lastBytes = progress.bytes
    if (view !== undefined) return view(describe(progress, rate))
    const columns = yield* output.columns
    yield* output.note(CLEAR_LINE + describe(progress, rate).slice(0, columns - 1))
  })
  return yield* Effect.raceFirst(transfer, Effect.forever(Effect.andThen(Effect.sleep("100 millis"), draw))).pipe(
    Effect.ensuring(view === undefined ? output.note(CLEAR_LINE) : Effect.void)
  )
})
