/** What is wrong with a line, as a sentence in the words of the shell, from the errors of the parser. */
import { Context, Effect } from "effect"
import type { CliError, Command, HelpDoc } from "effect/cli"
import { UsageError } from "./Failure.ts"
import { childrenOf, helpDocOf } from "./helpDoc.ts"
import { CommandFacts } from "./ShellCommand.ts"

/** `READ <file> [owner] [--position n]`: what HELP and usage errors show. */
export const usageOf = (doc: HelpDoc.HelpDoc): string => {
  const { title } = Context.get(doc.annotations, CommandFacts)
  const args = (doc.args ?? []).map((arg) => arg.required ? `<${arg.name}>` : `[${arg.name}]`)
  const flags = doc.flags.map((flag) => {
    const text = flag.type === "boolean" ? `--${flag.name}` : `--${flag.name} ${flag.type}`
    return flag.required ? text : `[${text}]`
  })
  return [title, ...args, ...flags].join(" ")
}

/** Many would be a list and no hint. */
const MAX_SUGGESTIONS = 3

/** Of names that are equally near, those first that go on where the typed one ends. */
const likeliest = (typed: string, names: ReadonlyArray<string>): ReadonlyArray<string> => {
  const goesOn = (name: string): boolean => name.startsWith(typed.toLowerCase())
  return [...names.filter(goesOn), ...names.filter((name) => !goesOn(name) && name !== "?")]
}

const didYouMean = (suggestions: ReadonlyArray<string>): string =>
  suggestions.length === 0 ? "" : `: did you mean ${suggestions.slice(0, MAX_SUGGESTIONS).join(" or ")}?`

const sentence = (
  error: CliError.NonShowHelpErrors,
  doc: HelpDoc.HelpDoc
): string => {
  switch (error._tag) {
    case "UnknownSubcommand": {
      const name = [...(error.parent ?? []).slice(1), error.subcommand].join(" ").toUpperCase()
      const hint = didYouMean(likeliest(error.subcommand, error.suggestions).map((name) => name.toUpperCase()))
      return `there is no command "${name}"${hint === "" ? ": HELP lists them all" : hint}`
    }
    case "UnrecognizedOption":
      return `there is no flag ${error.option}${
        error.suggestions.length === 0 ? `: ${usageOf(doc)}` : didYouMean(error.suggestions)
      }`
    case "MissingArgument":
      return `<${error.argument}> is missing: ${usageOf(doc)}`
    case "MissingOption":
      return `--${error.option} is missing: ${usageOf(doc)}`
    case "UnexpectedArgument":
      return `"${error.arguments[0] ?? ""}" is one word too many (what has blanks goes in quotes): ${usageOf(doc)}`
    case "InvalidValue": {
      const name = error.kind === "flag" ? `--${error.option}` : `<${error.option}>`
      return error.value === "" && error.kind === "flag"
        ? `${name} needs a value: ${usageOf(doc)}`
        : `${name} must be ${error.expected}, not "${error.value}"`
    }
    case "DuplicateOption":
    case "ValidationError":
    case "UserError":
      return error.message
  }
}

/** The usage error for what the parser said about the command at `error.commandPath`. */
export const usageError = Effect.fnUntraced(function*(root: Command.Command.Any, error: CliError.CliError) {
  if (error._tag !== "ShowHelp") return new UsageError({ message: error.message })
  const path = error.commandPath.slice(1)
  const first = error.errors[0]
  const doc = yield* helpDocOf(root, path)
  if (first !== undefined) return new UsageError({ message: sentence(first, doc) })
  const members = childrenOf(root).find((child) => child.name === path[0])
  const names = members === undefined ? [] : childrenOf(members).map((child) => child.name)
  return new UsageError({ message: `say what: ${names.join(", ")}` })
})

/** A line that begins with something that can be no command. */
export const notACommand = (word: string): UsageError =>
  new UsageError({ message: `"${word}" is no command: a line begins with one, and HELP lists them all` })
