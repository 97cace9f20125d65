/**
 * A shell line as words, by the rules people know from sh: blanks separate; `'…'` takes everything as it is; inside
 * `"…"` a backslash escapes `"` and `\`; outside, it escapes any character. Nothing is folded or trimmed: what is
 * between the quotes is the data.
 */
import { Result } from "effect"
import { quoteGlob } from "./Glob.ts"

export interface Word {
  readonly text: string
  /** The word begins with a quote or a backslash: it is data, even where it looks like a flag. */
  readonly literal: boolean
  /** The word as a pattern, where that is not its text: what was quoted stands for itself. */
  readonly pattern?: string
}

/** A line that cannot be split. `position` counts from 1. */
export interface LineFault {
  readonly message: string
  readonly position: number
}

/** The word at the end of a line that is still being typed. */
export interface OpenWord extends Word {
  /** The quotes that it was begun in, or that are still open. */
  readonly quote: "" | "'" | "\""
  /** As it was typed, from its first character to the end of the line. */
  readonly source: string
}

interface Scanned {
  readonly word: Word
  readonly start: number
  /** Behind the word. */
  readonly end: number
  /** The quote or the backslash that lacks what should follow it, and where it is. */
  readonly unfinished: { readonly char: string; readonly at: number } | undefined
}

const isBlank = (char: string): boolean => char === " " || char === "\t" || char === "\n" || char === "\r"

/** The word that begins at `start`. */
const scan = (line: string, start: number): Scanned => {
  const first = line.charAt(start)
  let text = ""
  let pattern = ""
  const quote = (char: string): void => {
    text += char
    pattern += quoteGlob(char)
  }
  let at = start
  let unfinished: Scanned["unfinished"]
  while (at < line.length && !isBlank(line.charAt(at))) {
    const char = line.charAt(at)
    if (char === "'" || char === "\"") {
      const opened = at
      at++
      while (at < line.length && line.charAt(at) !== char) {
        const next = line.charAt(at + 1)
        if (char === "\"" && line.charAt(at) === "\\" && (next === "\"" || next === "\\")) at++
        quote(line.charAt(at))
        at++
      }
      if (at >= line.length) unfinished = { char, at: opened }
    } else if (char === "\\") {
      at++
      if (at >= line.length) unfinished = { char, at: at - 1 }
      quote(line.charAt(at))
    } else {
      text += char
      pattern += char
    }
    at++
  }
  const literal = first === "'" || first === "\"" || first === "\\"
  const word = { text, literal, ...(pattern === text ? {} : { pattern }) }
  return { word, start, end: Math.min(at, line.length), unfinished }
}

const scanAll = (line: string): ReadonlyArray<Scanned> => {
  const found: Array<Scanned> = []
  for (let at = 0; at < line.length;) {
    if (isBlank(line.charAt(at))) {
      at++
      continue
    }
    const one = scan(line, at)
    found.push(one)
    at = one.end
  }
  return found
}

/** Splits a line into words. */
export const tokenize = (line: string): Result.Result<ReadonlyArray<Word>, LineFault> => {
  const scanned = scanAll(line)
  const unfinished = scanned.at(-1)?.unfinished
  if (unfinished === undefined) return Result.succeed(scanned.map(({ word }) => word))
  const position = unfinished.at + 1
  return Result.fail({
    message: unfinished.char === "\\"
      ? `nothing follows the \\ at column ${position}`
      : `the ${unfinished.char} at column ${position} is never closed`,
    position
  })
}

/** A line up to the cursor: its whole words, and the one that is being typed, which may be empty. */
export const beginning = (line: string): { readonly words: ReadonlyArray<Word>; readonly open: OpenWord } => {
  const scanned = scanAll(line)
  const last = scanned.at(-1)
  if (last === undefined || last.end < line.length) {
    return {
      words: scanned.map(({ word }) => word),
      open: { text: "", literal: false, quote: "", source: "" }
    }
  }
  const quote = last.unfinished?.char ?? line.charAt(last.start)
  return {
    words: scanned.slice(0, -1).map(({ word }) => word),
    open: { ...last.word, quote: quote === "'" || quote === "\"" ? quote : "", source: line.slice(last.start) }
  }
}

/** Words of a program's arguments: split already, and none of them quoted. */
export const fromArguments = (words: ReadonlyArray<string>): ReadonlyArray<Word> =>
  words.map((text) => ({ text, literal: false }))
