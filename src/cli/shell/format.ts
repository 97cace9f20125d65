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

const two = (value: number): string => String(value).padStart(2, "0")

/** A timestamp of the wire in local time, to the minute: `2026-11-22 08:13`. */
export const formatTime = (timestamp: string, zone: DateTime.TimeZone = DateTime.zoneMakeLocal()): string =>
  Option.match(DateTime.make(timestamp), {
    onNone: () => timestamp,
    onSome: (instant) => {
      const { day, hour, minute, month, year } = DateTime.toParts(DateTime.setZone(instant, zone))
      return `${year}-${two(month)}-${two(day)} ${two(hour)}:${two(minute)}`
    }
  })

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
}

/** Rows under titles in aligned columns, one line each; without titles when there are none. */
export const formatTable = (
  columns: ReadonlyArray<Column>,
  rows: ReadonlyArray<ReadonlyArray<string>>
): string => {
  const head = columns.some((column) => column.title !== "") ? [columns.map((column) => column.title)] : []
  const cells = [...head, ...rows].map((row) => row.map(printableLine))
  const widths = columns.map((_, index) =>
    cells.reduce((widest, row) => Math.max(widest, CliOutput.displayWidth(row[index] ?? "")), 0)
  )
  return cells
    .map((row) =>
      columns
        .map((column, index) => {
          const cell = row[index] ?? ""
          const gap = " ".repeat((widths[index] ?? 0) - CliOutput.displayWidth(cell))
          return column.right === true ? gap + cell : cell + gap
        })
        .join("  ")
        .trimEnd()
    )
    .join("\n")
}

/** Names and what they stand for, one pair a line. */
export const formatPairs = (pairs: ReadonlyArray<readonly [name: string, value: string]>): string =>
  formatTable([{ title: "" }, { title: "" }], pairs)
