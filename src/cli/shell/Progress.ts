/**
 * The progress of a transfer, on standard error: on a terminal one line that is drawn again and again and is gone when
 * the transfer ends, elsewhere a line now and then of what takes long. Counting is what callbacks do (cheap,
 * synchronous); showing happens beside the transfer.
 */
import { Clock, Context, Effect } from "effect"
import type { OnProgress } from "../../client/FipClient.ts"
import { MAX_DATA_BYTES } from "../../protocol/Limits.ts"
import { cut, formatBytes, formatSeconds, widthOf } from "./format.ts"
import { Output } from "./Output.ts"
import { printableLine } from "./printable.ts"
import { JsonMode } from "./Report.ts"

/** Counts what has moved. */
export class Progress {
  bytes = 0
  files = 0
  /** Of the bytes, those that an earlier run had moved. */
  begun = 0
  /** Files that are under way, the oldest first, and how much of each has moved, from 0 to 1. */
  readonly active = new Map<string, number>()
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
  forFile(name?: string): OnProgress {
    let seen: number | undefined
    return ({ bytes, total }) => {
      // More than one message at once was there before, and says nothing of the rate.
      if (seen === undefined && bytes > MAX_DATA_BYTES) this.begun += bytes
      this.bytes += bytes - (seen ?? 0)
      seen = bytes
      if (this.totalFiles === undefined) this.totalBytes = total
      if (name !== undefined) this.active.set(name, total === undefined || total === 0 ? 0 : bytes / total)
    }
  }

  fileDone(name?: string): void {
    this.files++
    if (name !== undefined) this.active.delete(name)
  }

  /** True when the transfer has begun: what ends it now interrupts it. */
  get moved(): boolean {
    return this.bytes > 0 || this.files > 0
  }
}

const percent = (part: number): string => `${Math.floor(part * 100)}%`

/** `short`: without what can be told from the rest. */
const describe = (progress: Progress, rate: number, short = false): ReadonlyArray<string> => {
  const { begun, bytes, doing, files, totalBytes, totalFiles } = progress
  const parts: Array<string> = doing === undefined || short ? [] : [doing]
  if (totalFiles !== undefined) parts.push(short ? `${files}/${totalFiles}` : `${files} of ${totalFiles} files`)
  if (totalBytes === undefined) {
    parts.push(formatBytes(bytes))
  } else {
    const part = percent(totalBytes === 0 ? 1 : bytes / totalBytes)
    parts.push(short ? part : `${formatBytes(bytes)} of ${formatBytes(totalBytes)} (${part})`)
  }
  if (rate > 0 && bytes > begun) {
    parts.push(`${formatBytes(rate)}/s`)
    if (totalBytes !== undefined) parts.push(`${formatSeconds((totalBytes - bytes) / rate)}${short ? "" : " left"}`)
  }
  return parts
}

/** The same on one line of a terminal, with the file that has been under way for longest, where there is room for it. */
const line = (progress: Progress, rate: number, columns: number): string => {
  const long = describe(progress, rate).join("  ")
  const whole = long.length <= columns ? long : describe(progress, rate, true).join("  ")
  const [current] = progress.active
  if (current === undefined) return cut(whole, columns)
  const [name, part] = current
  const room = columns - whole.length - 3 - percent(part).length
  return room < LEAST_NAME ? cut(whole, columns) : `${whole}  ${cut(printableLine(name), room)} ${percent(part)}`
}

/** Who is told how far a transfer is, instead of the terminal: the job that it runs in. */
export const ProgressView = Context.Reference<((text: string) => void) | undefined>("fip/cli/shell/ProgressView", {
  defaultValue: () => undefined
})

const CLEAR_LINE = "\r\u001b[K"
/** The same of a line that the terminal has broken anew, because it is narrower now. */
const clearBroken = (rows: number): string => rows === 0 ? CLEAR_LINE : `\r\u001b[${rows}A\u001b[J`
/** Room for the `^C` of who ends it. */
const MARGIN = 3
// Of what is drawn, new figures count for a fifth: the rate follows a change within a second and does not jump about.
const SMOOTHING = 0.2

/** A name that has less room than this is left out. */
const LEAST_NAME = 8

/** How often a terminal is drawn; what no terminal shows is counted once a second. */
const DRAW_MILLIS = 100
const COUNT_MILLIS = 1000

/** Where there is no terminal, whoever reads along hears of what takes long: so many seconds after its begin, and again. */
const FIRST_LINE_SECONDS = 10
const NEXT_LINE_SECONDS = 30

/** Runs a transfer with its progress shown: on the terminal, in lines now and then where there is none, nowhere with `--json`. */
export const withProgress = Effect.fnUntraced(function*<A, E, R>(progress: Progress, transfer: Effect.Effect<A, E, R>) {
  const output = yield* Output
  const view = yield* ProgressView
  if (view === undefined && (yield* JsonMode)) return yield* transfer
  const isDrawn = view === undefined && output.stderrIsTerminal
  const millis = isDrawn || view !== undefined ? DRAW_MILLIS : COUNT_MILLIS
  const smoothing = isDrawn || view !== undefined ? SMOOTHING : 1 - (1 - SMOOTHING) ** (COUNT_MILLIS / DRAW_MILLIS)
  const clock = yield* Clock.Clock
  const moved = () => progress.bytes - progress.begun
  let lastTime = clock.monotonicTimeNanosUnsafe()
  let lastBytes = moved()
  let rate = 0
  let seconds = 0
  let nextLine = FIRST_LINE_SECONDS
  let drawn = 0
  const draw = Effect.gen(function*() {
    const now = clock.monotonicTimeNanosUnsafe()
    const elapsed = Number(now - lastTime) / 1e9
    const current = elapsed > 0 ? (moved() - lastBytes) / elapsed : 0
    rate = rate === 0 ? current : rate + (current - rate) * smoothing
    lastTime = now
    lastBytes = moved()
    seconds += millis / 1000
    if (view !== undefined) return view(describe(progress, rate).join("  "))
    if (isDrawn) {
      const columns = Math.max(1, yield* output.columns)
      const text = line(progress, rate, columns - MARGIN)
      const clear = clearBroken(Math.floor(drawn / columns))
      drawn = widthOf(text)
      return yield* output.note(clear + text)
    }
    if (seconds < nextLine) return
    nextLine = seconds + NEXT_LINE_SECONDS
    yield* output.note(`${describe(progress, rate).join(", ")}\n`)
  })
  return yield* Effect.raceFirst(transfer, Effect.forever(Effect.andThen(Effect.sleep(millis), draw))).pipe(
    Effect.ensuring(isDrawn ? output.note(CLEAR_LINE) : Effect.void)
  )
})
