/**
 * Results a screen at a time, for a person at a terminal: what is longer stops at the end of the screen and waits for a
 * key. What is shown stays in the terminal's own memory, and what was not asked for is not fetched: a command writes no
 * faster than it is read, and `q` ends it.
 *
 * Bytes that are no text go through as they are.
 */
import { Deferred, Effect } from "effect"
import { cut, widthOf } from "./format.ts"
import type { LineReader } from "./LineReader.ts"
import type { Output, OutputClosed } from "./Output.ts"

export interface Pager {
  readonly output: Output["Service"]
  /** Ends when the person has seen enough. */
  readonly left: Effect.Effect<void>
  /** What is to be done when there is no more; ends when the screen is free again. */
  readonly end: Effect.Effect<void, OutputClosed>
  /** Gives the screen back, whatever has become of the command. */
  readonly close: Effect.Effect<void>
}

// oxlint-disable-next-line no-control-regex -- colours of results take no room
const COLORS = /\u001b\[[0-9;]*m/g
const CLEAR_LINE = "\r\u001b[K"
const HELP = "-- more (blank: a page, Enter: a line, q: end) --"

/** How many rows of a terminal a line takes. */
export const rowsOf = (line: string, columns: number): number =>
  Math.max(1, Math.ceil(widthOf(line.replaceAll(COLORS, "")) / columns))

/** For one line that was typed. */
export const makePager = (output: Output["Service"], reader: LineReader["Service"]): Pager => {
  const left = Deferred.makeUnsafe<void>()
  /** How many rows may still be written before somebody has to press a key. */
  let room: number | undefined
  let ended = false

  const ask = Effect.fnUntraced(function*(rows: number) {
    const help = cut(HELP, (yield* output.resultColumns) - 1)
    yield* output.write(output.colorsResults ? `\u001b[7m${help}\u001b[0m` : help)
    let answer: number | undefined
    while (answer === undefined) {
      const key = yield* reader.key
      if (key === "q" || key === "escape" || key === "ctrl-c" || key === "ctrl-d") answer = 0
      else if (key === "return" || key === "enter" || key === "down" || key === "j") answer = 1
      else if (key === "space" || key === "pagedown" || key === "f" || key === "ctrl-f") answer = rows
    }
    yield* output.write(CLEAR_LINE)
    if (answer > 0) return answer
    ended = true
    yield* Deferred.succeed(left, undefined)
    return yield* Effect.never
  })

  const write = Effect.fnUntraced(function*(text: string) {
    let ready = ""
    for (const line of text.split(/(?<=\n)/)) {
      const rows = (yield* output.resultRows) - 1
      const needed = line.endsWith("\n") ? rowsOf(line.slice(0, -1), yield* output.resultColumns) : 0
      room ??= rows
      if (room < needed) {
        yield* output.write(ready)
        ready = ""
        room = Math.max(needed, yield* ask(rows))
      }
      room -= needed
      ready += line
    }
    yield* output.write(ready)
  })

  return {
    left: Deferred.await(left),
    end: Effect.void,
    close: Effect.void,
    output: {
      ...output,
      write: (chunk) => ended ? Effect.never : typeof chunk === "string" ? write(chunk) : output.write(chunk)
    }
  }
}
