/**
 * What could come next on a line: commands, flags, and what the words of a command stand for (ValueKind.ts), from the
 * definitions of the commands alone. Where names come from is the caller's matter (`Names`).
 *
 * A candidate is written as the word was begun: in its case, in its quotes, or with backslashes. One that is a whole word
 * ends in a blank, a folder does not.
 */
import { Effect, Result } from "effect"
import type { Command, HelpDoc } from "effect/cli"
import { expandAliases, findCommand } from "./CommandLine.ts"
import { childrenOf, helpDocOf } from "./helpDoc.ts"
import type { Completion } from "./LineReader.ts"
import { beginning, type OpenWord, tokenize, type Word } from "./Tokenizer.ts"
import { ValueKind } from "./ValueKind.ts"
import type { WorkspaceState } from "./Workspace.ts"

/** Looks for what begins with `text`, as it would be typed; what ends in `/` is a folder. Failing is finding nothing. */
export type Names = (kind: string, text: string) => Effect.Effect<ReadonlyArray<string>>

const NOTHING: Completion = { candidates: [], replaced: "" }

/** What no word may hold as it is, outside quotes. */
const SPECIAL = /[\s'"\\]/g

/** A word as one would type it, in the quotes that it was begun with. */
export const quoted = (text: string, quote: OpenWord["quote"], isOpen: boolean): string => {
  const end = isOpen ? "" : " "
  if (quote === "'" && !text.includes("'")) return `'${text}${isOpen ? "" : "'"}${end}`
  if (quote === "\"") return `"${text.replaceAll(/["\\]/g, "\\$&")}${isOpen ? "" : "\""}${end}`
  const escaped = text.replaceAll(SPECIAL, "\\$&")
  return `${escaped.startsWith("-") ? "\\" : ""}${escaped}${end}`
}

const inCaseOf = (typed = "", name: string): string => /[a-z]/.test(typed) ? name.toLowerCase() : name.toUpperCase()

const startsWith = (typed: string) => (name: string): boolean => name.toLowerCase().startsWith(typed.toLowerCase())

/** Words of the program itself, which are never quoted, in the case of what was typed: commands, roles. */
const fixed = (names: ReadonlyArray<string>, open: OpenWord, before: Word | undefined): Completion => ({
  candidates: names.filter(startsWith(open.text)).map((name) => `${inCaseOf(open.text || before?.text, name)} `),
  replaced: open.source
})

const flagNames = (flags: ReadonlyArray<HelpDoc.FlagDoc>): ReadonlyArray<string> => [
  ...flags.map(({ name }) => `--${name} `),
  "--help ",
  "-bye "
]

const isFlag = ({ literal, text }: Word): boolean => !literal && text.startsWith("-") && text !== "-"

const flagOf = (flags: ReadonlyArray<HelpDoc.FlagDoc>, word: Word | undefined): HelpDoc.FlagDoc | undefined => {
  if (word === undefined || !isFlag(word) || word.text.includes("=")) return undefined
  const name = word.text.replace(/^--?/, "").toLowerCase()
  return flags.find((flag) => flag.name === name || flag.aliases.includes(`-${name}`))
}

/** The words that are positional arguments. */
const operandsOf = (doc: HelpDoc.HelpDoc, words: ReadonlyArray<Word>): ReadonlyArray<Word> => {
  const end = words.findIndex((word) => !word.literal && word.text === "--")
  const operands: Array<Word> = []
  for (let at = 0; at < words.length; at++) {
    const word = words[at]
    if (word === undefined || at === end) continue
    if ((end < 0 || at < end) && isFlag(word)) {
      const flag = flagOf(doc.flags, word)
      if (flag !== undefined && flag.type !== "boolean") at++
    } else {
      operands.push(word)
    }
  }
  return operands
}

/** What the positional argument at `index` stands for. */
const kindAt = ({ args = [] }: HelpDoc.HelpDoc, index: number): string | undefined => {
  const last = args.at(-1)
  return (args[index] ?? (last?.variadic === true ? last : undefined))?.type
}

/** Words of these lines that stand for something of a kind. */
export const wordsOfKind = Effect.fnUntraced(function*(
  root: Command.Command.Any,
  lines: ReadonlyArray<string>,
  kind: string
) {
  const docs = new Map<string, HelpDoc.HelpDoc>()
  const found = new Set<string>()
  for (const line of lines) {
    const words = Result.getOrElse(tokenize(line), () => [])
    const { path } = findCommand(root, words)
    const key = path.join(" ")
    const doc = docs.get(key) ?? (yield* helpDocOf(root, path))
    docs.set(key, doc)
    operandsOf(doc, words.slice(path.length)).forEach(({ text }, index) => {
      if (kindAt(doc, index) === kind) found.add(text)
    })
  }
  return found
})

const titles = (command: Command.Command.Any): ReadonlyArray<string> => childrenOf(command).map(({ name }) => name)

export const completion = Effect.fnUntraced(function*(
  root: Command.Command.Any,
  workspace: WorkspaceState,
  line: string,
  names: Names
) {
  const begun = beginning(line)
  const { open } = begun
  const words = expandAliases(workspace.aliases, begun.words)
  const found = findCommand(root, words)
  if (begun.words.length === 0) return fixed([...titles(root), ...workspace.aliases.keys()], open, undefined)
  const { command, path } = found
  if (command === undefined) return NOTHING
  const rest = words.slice(path.length)
  if (childrenOf(command).length > 0) {
    return rest.length === 0
      ? fixed(titles(command), open, rest.at(-1) ?? words.at(-1))
      : NOTHING
  }

  const doc = yield* helpDocOf(root, path)
  const dashes = rest.some((word) => !word.literal && word.text === "--")
  const value = /^(--?[^=]+)=(.*)$/s.exec(open.text)
  const isOption = !dashes && !open.literal && open.text.startsWith("-")
  if (isOption && value === null) {
    return {
      candidates: flagNames(doc.flags).filter(startsWith(open.text.replace(/^-(?!-)(?!b)/, "--"))),
      replaced: open.source
    }
  }
  const before = dashes ? undefined : rest.at(-1)
  const flag = isOption ? flagOf(doc.flags, { text: value?.[1] ?? "", literal: false }) : flagOf(doc.flags, before)
  const valued = flag === undefined || flag.type === "boolean" ? undefined : flag.type
  const kind = valued ?? (isOption ? undefined : kindAt(doc, operandsOf(doc, rest).length))
  if (kind === undefined) return NOTHING
  // `--flag=value`: the value alone is replaced.
  const typed: OpenWord = isOption && value !== null ? { ...open, text: value[2] ?? "", source: value[2] ?? "" } : open
  if (kind.includes("|")) return fixed(kind.split("|"), typed, words[0])
  if (kind === ValueKind.ALIAS) return fixed([...workspace.aliases.keys()], typed, words[0])
  if (kind === ValueKind.COMMAND) {
    const family = findCommand(root, rest).command ?? root
    return fixed(titles(family), typed, words[0])
  }
  const candidates = yield* names(kind, typed.text)
  return {
    candidates: candidates.map((name) => quoted(name, typed.quote, name.endsWith("/"))),
    replaced: typed.source
  }
})
