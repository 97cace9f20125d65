/**
 * Ctrl-R: the newest line that holds what is typed, and with Ctrl-R again the one before. Enter runs it, Escape and Ctrl-C
 * bring back what was there before, and any other key goes on editing what was found.
 */
import { clearScreenDown, cursorTo, type Interface, moveCursor } from "node:readline"
import { cut } from "./format.ts"
import type { OutputStream } from "./Output.ts"
import { printableLine } from "./printable.ts"

/** A key as readline tells of it. */
export interface Key {
  readonly name?: string
  readonly ctrl?: boolean
  readonly meta?: boolean
}

type OnKey = (text: string | undefined, key: Key | undefined) => void

const isListener = (value: unknown): value is (...args: ReadonlyArray<unknown>) => void => typeof value === "function"

/** Takes all keys until it is called back: readline would take them for the beginning of a line. */
export const takeKeys = (input: NodeJS.ReadableStream, onKey: OnKey): () => void => {
  const taken = input.rawListeners("keypress").filter(isListener)
  // First the new one: readline stops decoding keys when nobody listens.
  input.on("keypress", onKey)
  for (const listener of taken) input.off("keypress", listener)
  return () => {
    for (const listener of taken) input.on("keypress", listener)
    input.off("keypress", onKey)
  }
}

export interface SearchOptions {
  readonly readline: Interface
  readonly input: NodeJS.ReadableStream
  readonly output: OutputStream
  /** The newest first. */
  readonly lines: ReadonlyArray<string>
  /** Puts a line in the place of the one that is typed, and draws it. */
  readonly replace: (line: string) => void
}

export const searchHistory = ({ input, lines, output, readline, replace }: SearchOptions): void => {
  const before = readline.line
  let term = ""
  let at = -1
  let found = true

  const draw = (): void => {
    const line = lines[at] ?? before
    const text = `(${found ? "search" : "no such line"}) "${term}": ${line}`
    cursorTo(output, 0)
    clearScreenDown(output)
    output.write(cut(printableLine(text), (output.columns ?? 80) - 1))
  }
  const look = (from: number): void => {
    const index = lines.findIndex((line, index) => index >= from && line.toLowerCase().includes(term.toLowerCase()))
    found = index >= 0
    if (found) at = index
  }
  const end = (line: string): void => {
    release()
    cursorTo(output, 0)
    clearScreenDown(output)
    replace(line)
  }
  const release = takeKeys(input, (text, key) => {
    const { ctrl = false, meta = false, name = "" } = key ?? {}
    if (ctrl && name === "r") look(at + 1)
    else if (name === "backspace") {
      term = term.slice(0, -1)
      look(0)
    } else if (name === "escape" || (ctrl && (name === "c" || name === "g"))) return end(before)
    else if (name === "return" || name === "enter") {
      end(lines[at] ?? before)
      readline.write(null, { name: "return" })
      return
    } else if (!ctrl && !meta && text !== undefined && /^[^\p{Cc}]+$/u.test(text)) {
      term += text
      look(Math.max(at, 0))
    } else return end(lines[at] ?? before)
    draw()
  })
  moveCursor(output, 0, -readline.getCursorPos().rows)
  draw()
}
