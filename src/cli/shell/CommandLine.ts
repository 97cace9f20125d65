/**
 * From the words of a line to the arguments that the command tree parses.
 *
 * The tree is strict where people are not, so this is done before it sees a line: command words and flag names are
 * folded to lower case, `-bye` and other flags may have one dash or two, a flag's value may begin with a dash, and
 * everything else goes behind `--`, where data is never taken for a flag. Arguments and values stay as they were typed.
 */
import { Context, Effect, Result } from "effect"
import type { Command } from "effect/cli"
import { childrenOf, helpDocOf } from "./helpDoc.ts"
import { CommandFacts } from "./ShellCommand.ts"
import { fromArguments, tokenize, type Word } from "./Tokenizer.ts"
import type { Alias } from "./Workspace.ts"

export interface CommandLine {
  /** The command, as `--json` and messages name it. */
  readonly name: string
  /** What the line names: a command, a family (`QUERY`) without a known member, or `undefined` for nothing known. */
  readonly command: Command.Command.Any | undefined
  readonly facts: CommandFacts
  /** What the tree parses. */
  readonly args: ReadonlyArray<string>
  /** Leave after this command, whatever comes of it. */
  readonly bye: boolean
}

const NEGATIVE_NUMBER = /^-(?:\d+\.?\d*|\.\d+)$/

const isFlag = (word: Word): boolean =>
  !word.literal && word.text.length > 1 && word.text.startsWith("-") && !NEGATIVE_NUMBER.test(word.text)

const find = (parent: Command.Command.Any, word: string): Command.Command.Any | undefined =>
  childrenOf(parent).find((child) => child.name === word || child.alias === word)

/** The command that words begin with: follows them down the tree. */
export const findCommand = (root: Command.Command.Any, words: ReadonlyArray<Word>) => {
  const path: Array<string> = []
  let command = root
  for (const word of words) {
    const child = isFlag(word) ? undefined : find(command, word.text.toLowerCase())
    if (child === undefined) break
    path.push(child.name)
    command = child
  }
  return { command: path.length === 0 ? undefined : command, path }
}

/** A flag word as its name in lower case, without dashes, and the value behind its `=`. */
const splitFlag = (text: string): readonly [name: string, value: string | undefined] => {
  const equals = text.indexOf("=")
  const dashes = text.startsWith("--") ? 2 : 1
  return equals < 0
    ? [text.slice(dashes).toLowerCase(), undefined]
    : [text.slice(dashes, equals).toLowerCase(), text.slice(equals + 1)]
}

/** Flags of a command by name and alias; true for those that take a value. */
const flagsOf = Effect.fnUntraced(function*(root: Command.Command.Any, path: ReadonlyArray<string>) {
  const flags = new Map<string, boolean>()
  for (const flag of (yield* helpDocOf(root, path)).flags) {
    for (const name of [`--${flag.name}`, ...flag.aliases]) flags.set(splitFlag(name)[0], flag.type !== "boolean")
  }
  return flags
})

/** Puts what an alias stands for in the place of its name. An alias may begin with another one, never with itself. */
export const expandAliases = (
  aliases: ReadonlyMap<string, Alias>,
  words: ReadonlyArray<Word>
): ReadonlyArray<Word> => {
  const seen = new Set<string>()
  let expanded = words
  for (;;) {
    const [first, ...rest] = expanded
    const name = first === undefined || first.literal ? "" : first.text.toLowerCase()
    const alias = seen.has(name) ? undefined : aliases.get(name)
    if (alias === undefined) return expanded
    seen.add(name)
    expanded = [...alias.words, ...rest]
  }
}

export const commandLine = Effect.fnUntraced(function*(root: Command.Command.Any, words: ReadonlyArray<Word>) {
  const { command, path } = findCommand(root, words)
  const rest = words.slice(path.length)
  const end = rest.findIndex((word) => !word.literal && word.text === "--")
  const open = end < 0 ? rest : rest.slice(0, end)
  const flags = open.some(isFlag) ? yield* flagsOf(root, path) : new Map<string, boolean>()
  const options: Array<string> = []
  const operands: Array<string> = []
  let bye = false
  let help = false
  for (let at = 0; at < open.length; at++) {
    const word = open[at]
    if (word === undefined) continue
    const [name, value] = isFlag(word) ? splitFlag(word.text) : [undefined, undefined]
    if (name === undefined) {
      operands.push(word.text)
    } else if (name === "bye" && value === undefined) {
      bye = true
    } else if (name === "help" && value === undefined) {
      help = true
    } else if (flags.get(name) === true && value === undefined) {
      const next = open[at + 1]
      if (next !== undefined && !isFlag(next)) at++
      options.push(next === undefined || isFlag(next) ? `--${name}` : `--${name}=${next.text}`)
    } else {
      options.push(`--${name}${value === undefined ? "" : `=${value}`}`)
    }
  }
  for (const word of end < 0 ? [] : rest.slice(end + 1)) operands.push(word.text)
  const name = (path[0] ?? words[0]?.text ?? "").toUpperCase()
  const facts = Context.get(command?.annotations ?? Context.empty(), CommandFacts)
  if (help) return line(name, command, facts, ["help", "--", ...path], bye)
  // A command or member that does not exist goes where the tree looks for one, and suggests what was meant.
  const unknown = command === undefined || childrenOf(command).length > 0
  const args = unknown ? [...path, ...operands.slice(0, 1).map(lower)] : [...path, ...options, "--", ...operands]
  return line(name, command, facts, args, bye)
})

const lower = (text: string): string => text.toLowerCase()

const line = (
  name: string,
  command: Command.Command.Any | undefined,
  facts: CommandFacts,
  args: ReadonlyArray<string>,
  bye: boolean
): CommandLine => ({ name, command, facts, args, bye })

/** True when a line can be kept: it is a command, and none of its words is a password. */
export const isPublic = (
  root: Command.Command.Any,
  text: string,
  aliases: ReadonlyMap<string, Alias> = new Map()
): boolean => {
  const typed = Result.getOrElse(tokenize(text), () => fromArguments(text.trim().split(/\s+/)))
  const words = expandAliases(aliases, typed)
  const { command, path } = findCommand(root, words)
  return command !== undefined &&
    words.length - path.length <= Context.get(command.annotations, CommandFacts).publicWords
}
