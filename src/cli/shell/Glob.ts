/**
 * Patterns for names: `*` and `?` within a part, `[…]` one of several characters (`[!…]` none of them), and `**` as a
 * part of its own for any parts, or none. A name that begins with a dot is matched only by a part that does, too.
 * Everything else stands for itself; what a person quoted is in a pattern as `[*]`.
 *
 * Node's own matcher cannot be told to leave braces, parentheses and backslashes alone, all of which names have.
 */

const SPECIAL = /[*?[]/

/** The text as a pattern that matches nothing else. */
export const quoteGlob = (text: string): string => text.replace(/[*?[]/g, "[$&]")

/** What `quoteGlob` was given, or the text itself where there is nothing quoted. */
export const unquoteGlob = (pattern: string): string => pattern.replace(/\[([*?[])\]/g, "$1")

/** True when the pattern can match more than one name. */
export const isGlob = (pattern: string): boolean => SPECIAL.test(pattern.replace(/\[[*?[]\]/g, ""))

const escaped = (char: string): string => /[\\^$.*+?()[\]{}|/]/.test(char) ? `\\${char}` : char
const escapedInClass = (char: string): string => char === "-" ? "\\-" : escaped(char)

/** Where the class that begins at `at` ends, with its `]`; -1 when it has no end and is a plain `[`. */
const classEnd = (part: string, at: number): number => {
  const first = /^\[[!^]?/.exec(part.slice(at))?.[0].length ?? 1
  // A `]` that comes first is one of the characters.
  return part.indexOf("]", at + first + 1)
}

const classOf = (text: string): string => {
  const negated = /^[!^]/.test(text)
  const chars = Array.from(negated ? text.slice(1) : text)
  let body = ""
  for (let at = 0; at < chars.length; at++) {
    const [from = "", dash, to] = chars.slice(at, at + 3)
    if (dash === "-" && to !== undefined) {
      // A range that runs backwards has nothing in it.
      if (from <= to) body += `${escapedInClass(from)}-${escapedInClass(to)}`
      at += 2
    } else {
      body += escapedInClass(from)
    }
  }
  return negated ? `[^/${body}]` : body === "" ? "(?!)" : `(?!/)[${body}]`
}

const partOf = (part: string, dot: boolean): RegExp => {
  let source = ""
  for (let at = 0; at < part.length;) {
    const char = String.fromCodePoint(part.codePointAt(at) ?? 0)
    const end = char === "[" ? classEnd(part, at) : -1
    if (end > 0) source += classOf(part.slice(at + 1, end))
    else source += char === "*" ? "[^/]*" : char === "?" ? "[^/]" : escaped(char)
    at = end > 0 ? end + 1 : at + char.length
  }
  // An empty name is none, and a leading dot is matched by a dot.
  return new RegExp(
    `^${dot || part.startsWith(".") ? "" : "(?!\\.)"}${part.includes("*") ? "(?=.)" : ""}${source}$`,
    "su"
  )
}

export interface Glob {
  /** The parts before the first that is a pattern: all matches are below. */
  readonly base: ReadonlyArray<string>
  readonly matches: (parts: ReadonlyArray<string>) => boolean
  /** False when nothing below this folder can match. */
  readonly reaches: (folder: ReadonlyArray<string>) => boolean
}

/** `dot`: names that begin with a dot are like others. */
export const parseGlob = (pattern: string, { dot = false }: { readonly dot?: boolean } = {}): Glob => {
  const texts = pattern.split("/")
  const parts = texts.map((text) => text === "**" ? undefined : partOf(text, dot))
  const first = texts.findIndex(isGlob)
  const base = (first < 0 ? texts.slice(0, -1) : texts.slice(0, first)).map(unquoteGlob)

  const isPassed = (name: string): boolean => dot || !name.startsWith(".")
  /** Whether the names are matched from a part of the pattern on; `partly`: or are the beginning of what is. */
  const from = (part: number, names: ReadonlyArray<string>, at: number, partly: boolean): boolean => {
    for (; part < parts.length; part++, at++) {
      const one = parts[part]
      const name = names[at]
      if (one === undefined) {
        for (let next = at; next <= names.length; next++) {
          if (from(part + 1, names, next, partly)) return true
          if (!isPassed(names[next] ?? "")) return false
        }
        return partly
      }
      if (name === undefined) return partly
      if (!one.test(name)) return false
    }
    return at === names.length
  }
  return {
    base,
    matches: (names) => from(0, names, 0, false),
    reaches: (folder) => from(0, folder, 0, true)
  }
}
