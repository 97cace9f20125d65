/**
 * A shell line as words, by the rules people know from sh: blanks separate; `'…'` takes everything as it is; inside
 * `"…"` a backslash escapes `"` and `\`; outside, it escapes any character. Nothing is folded or trimmed: what is
 * between the quotes is the data.
 */
import { Result } from "effect"

export interface Word {
  readonly text: string
  /** The word begins with a quote or a backslash: it is data, even where it looks like a flag. */
  readonly literal: boolean
}

/** A line that cannot be split. `position` counts from 1. */
export interface LineFault {
  readonly message: string
  readonly position: number
}

const isBlank = (char: string): boolean => char === " " || char === "\t" || char === "\n" || char === "\r"

/** Splits a line into words. */
export const tokenize = (line: string): Result.Result<ReadonlyArray<Word>, LineFault> => {
  const words: Array<Word> = []
  let at = 0
  while (at < line.length) {
    if (isBlank(line.charAt(at))) {
      at++
      continue
    }
    const start = line.charAt(at)
    let text = ""
    while (at < line.length && !isBlank(line.charAt(at))) {
      const char = line.charAt(at)
      if (char === "'" || char === "\"") {
        const opened = at
        at++
        while (at < line.length && line.charAt(at) !== char) {
          const next = line.charAt(at + 1)
          if (char === "\"" && line.charAt(at) === "\\" && (next === "\"" || next === "\\")) at++
          text += line.charAt(at)
          at++
        }
        if (at >= line.length) {
          return Result.fail({ message: `the ${char} at column ${opened + 1} is never closed`, position: opened + 1 })
        }
      } else if (char === "\\") {
        at++
        if (at >= line.length) {
          return Result.fail({ message: `nothing follows the \\ at column ${at}`, position: at })
        }
        text += line.charAt(at)
      } else {
        text += char
      }
      at++
    }
    words.push({ text, literal: start === "'" || start === "\"" || start === "\\" })
  }
  return Result.succeed(words)
}

/** Words of a program's arguments: split already, and none of them quoted. */
export const fromArguments = (words: ReadonlyArray<string>): ReadonlyArray<Word> =>
  words.map((text) => ({ text, literal: false }))
