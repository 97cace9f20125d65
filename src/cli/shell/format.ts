/** Sizes, times and tables as people read them. */
import { DateTime, Option } from "effect"
import { CliOutput } from "effect/cli"
import { printableLine } from "./printable.ts"

const UNITS = ["KiB", "MiB", "GiB", "TiB", "PiB"]

/** `12 B`, `1.2 MiB`, `340 MiB`. */
export const formatBytes = (bytes: number): string => {
  let value = bytes
  let unit = "B"
  for (const larger of UNITS) {
    // 1023.5 would be shown as 1024
    if (value < 1023.5) break
    value /= 1024
    unit = larger
  }
  return unit === "B" || value >= 99.95 ? `${Math.round(value)} ${unit}` : `${value.toFixed(1)} ${unit}`
}

/** `1 file`, `2 files`. */
export const formatCount = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? "" : "s"}`

let zone: DateTime.TimeZone | undefined
/** Made once: to ask for it takes long. */
const localZone = (): DateTime.TimeZone => zone ??= DateTime.zoneMakeLocal()

const two = (value: number): string => String(value).padStart(2, "0")

/** A timestamp of the wire in local time, to the minute: `2026-11-22 08:13`. */
export const formatTime = (timestamp: string, zone: DateTime.TimeZone = localZone()): string =>
  Option.match(DateTime.make(timestamp), {
    onNone: () => timestamp,
    onSome: (instant) => {
      const { day, hour, minute, month, year } = DateTime.toParts(DateTime.setZone(instant, zone))
      return `${year}-${two(month)}-${two(day)} ${two(hour)}:${two(minute)}`
    }
  })

const STEPS = [
  { unit: "second", millis: 1000 },
  { unit: "minute", millis: 60_000 },
  { unit: "hour", millis: 3_600_000 },
  { unit: "day", millis: 86_400_000 }
] as const

const A_WHILE = 31 * 86_400_000

/** `just now`, `3 minutes ago`, `in 2 days`; what is more than a month away as `formatTime` has it. */
export const formatAgo = (
  timestamp: string,
  now: number,
  zone: DateTime.TimeZone = localZone()
): string => {
  const millis = Date.parse(timestamp) - now
  const distance = Math.abs(millis)
  if (!(distance < A_WHILE)) return formatTime(timestamp, zone)
  const step = STEPS.findLast((one) => distance >= one.millis)
  if (step === undefined) return "just now"
  const count = formatCount(Math.floor(distance / step.millis), step.unit)
  return millis < 0 ? `${count} ago` : `in ${count}`
}

/** `2026-11-22 08:13 (3 minutes ago)`. */
export const formatWhen = (timestamp: string, now: number): string => {
  const [time, ago] = [formatTime(timestamp), formatAgo(timestamp, now)]
  return time === ago ? time : `${time} (${ago})`
}

/** `0:07`, `12:30`, `3:04:05`. */
export const formatSeconds = (seconds: number): string => {
  const whole = Math.max(0, Math.round(seconds))
  const minutes = Math.floor(whole / 60) % 60
  const hours = Math.floor(whole / 3600)
  return hours > 0 ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`
}

export interface Column {
  readonly title: string
  /** Numbers go right. */
  readonly right?: boolean
  /** Never narrower than this, so that tables that are written in parts are aligned. */
  readonly least?: number
  /** May be cut in the middle where the table is wider than the terminal. */
  readonly cuts?: boolean
}

/** A column that is cut keeps so much. */
const LEAST_CUT = 12

const PLAIN = /^[ -~]*$/
/** Columns of a terminal. */
export const widthOf = (text: string): number => PLAIN.test(text) ? text.length : CliOutput.displayWidth(text)

/** The text in at most `width` columns of a terminal: what is left out is in its middle. */
export const cut = (text: string, width: number): string => {
  if (widthOf(text) <= width) return text
  const parts = Array.from(new Intl.Segmenter().segment(text), ({ segment }) => segment)
  let left = ""
  let right = ""
  // By turns from both ends, while it fits beside the mark.
  for (let from = 0, to = parts.length - 1; from <= to;) {
    const onLeft = left.length <= right.length
    const next = parts[onLeft ? from++ : to--] ?? ""
    if (widthOf(left + next + right) > width - 1) break
    if (onLeft) left += next
    else right = next + right
  }
  return `${left}…${right}`
}

/** How wide each column has to be; within `width` in all, as far as columns may be cut. */
const widthsOf = (
  columns: ReadonlyArray<Column>,
  cells: ReadonlyArray<ReadonlyArray<string>>,
  width: number
): ReadonlyArray<number> => {
  const widths = columns.map((column, index) =>
    cells.reduce((widest, row) => Math.max(widest, widthOf(row[index] ?? "")), column.least ?? 0)
  )
  let excess = widths.reduce((sum, one) => sum + one + 2, -2) - width
  for (const [index, column] of columns.entries()) {
    const wide = widths[index] ?? 0
    if (column.cuts !== true || excess <= 0) continue
    widths[index] = Math.min(wide, Math.max(LEAST_CUT, wide - excess))
    excess -= wide - (widths[index] ?? 0)
  }
  return widths
}

/** Rows under titles in aligned columns, one line each; without titles when there are none. */
export const formatTable = (
  columns: ReadonlyArray<Column>,
  rows: ReadonlyArray<ReadonlyArray<string>>,
  width = Number.POSITIVE_INFINITY
): string => {
  const head = columns.some((column) => column.title !== "") ? [columns.map((column) => column.title)] : []
  const cells = [...head, ...rows].map((row) => row.map(printableLine))
  const widths = widthsOf(columns, cells, width)
  return cells
    .map((row) =>
      columns
        .map((column, index) => {
          const cell = cut(row[index] ?? "", widths[index] ?? 0)
          const gap = " ".repeat(Math.max(0, (widths[index] ?? 0) - widthOf(cell)))
          return column.right === true ? gap + cell : cell + gap
        })
        .join("  ")
        .trimEnd()
    )
    .join("\n")
}

/** Text in lines of at most `width` columns, broken at blanks; a word that is wider stays whole. */
const wrap = (text: string, width: number): ReadonlyArray<string> => {
  const lines: Array<string> = []
  let line = ""
  for (const word of text.split(" ")) {
    if (line !== "" && widthOf(line) + 1 + widthOf(word) > width) {
      lines.push(line)
      line = word
    } else {
      line = line === "" ? word : `${line} ${word}`
    }
  }
  return [...lines, line]
}

/** What is explained gets no narrower than this, however wide the names are. */
const LEAST_WRAPPED = 20

/** Names and what they stand for, one pair a line; within `width`, the second goes on below itself. */
export const formatPairs = (
  pairs: ReadonlyArray<readonly [name: string, value: string]>,
  width = Number.POSITIVE_INFINITY
): string => {
  const names = pairs.reduce((widest, [name]) => Math.max(widest, widthOf(printableLine(name))), 0)
  const room = Math.max(LEAST_WRAPPED, width - names - 2)
  return formatTable(
    [{ title: "" }, { title: "" }],
    pairs.flatMap(([name, value]) =>
      wrap(printableLine(value), room).map((line, index) => [index === 0 ? name : "", line])
    )
  )
}
