/** HELP, as text: all commands in their groups, or one of them in full. Everything comes from the definitions. */
import { Context, Effect, Option } from "effect"
import type { Command, HelpDoc } from "effect/cli"
import { formatPairs } from "./format.ts"
import { childrenOf, helpDocOf } from "./helpDoc.ts"
import { CommandFacts } from "./ShellCommand.ts"
import { usageOf } from "./usage.ts"

/** A command as HELP and its JSON show it. */
export interface CommandHelp {
  readonly name: string
  readonly group: string
  readonly usage: string
  readonly summary: string
  readonly arguments: ReadonlyArray<readonly [name: string, description: string]>
  readonly flags: ReadonlyArray<readonly [name: string, description: string]>
  readonly examples: ReadonlyArray<Command.Command.Example>
  readonly json: string
}

const flagName = (flag: HelpDoc.FlagDoc): string => {
  const names = [...flag.aliases, `--${flag.name}`].join(", ")
  return flag.type === "boolean" ? names : `${names} ${flag.type}`
}

const describe = (group: string, doc: HelpDoc.HelpDoc): CommandHelp => {
  const { json, title } = Context.get(doc.annotations, CommandFacts)
  return {
    name: title,
    group,
    usage: usageOf(doc),
    summary: doc.description,
    arguments: (doc.args ?? []).map((arg) => [arg.name, Option.getOrElse(arg.description, () => "")]),
    flags: [
      ...doc.flags.map((flag) => [flagName(flag), Option.getOrElse(flag.description, () => "")] as const),
      ["-bye", "leave afterwards, whatever comes of it"]
    ],
    examples: doc.examples ?? [],
    json
  }
}

/** Every command that does something (the members of a family, not the family), in the order of the groups. */
export const commandHelps = Effect.fnUntraced(function*(root: Command.Command.Any) {
  const helps: Array<CommandHelp> = []
  for (const { commands, group } of root.subcommands) {
    for (const command of commands) {
      const members = childrenOf(command).map((member) => [command.name, member.name])
      for (const path of members.length === 0 ? [[command.name]] : members) {
        helps.push(describe(group ?? "", yield* helpDocOf(root, path)))
      }
    }
  }
  return helps
})

/** One line for each command, under the names of the groups. */
export const overview = (helps: ReadonlyArray<CommandHelp>): string => {
  const table = formatPairs(helps.map((help) => [`  ${help.name}`, help.summary])).split("\n")
  const lines: Array<string> = []
  helps.forEach((help, index) => {
    if (help.group !== helps[index - 1]?.group) lines.push(...(index === 0 ? [] : [""]), help.group)
    lines.push(table[index] ?? "")
  })
  return [
    ...lines,
    "",
    "HELP <command> tells more. Names and flags in any case; -bye after any command leaves afterwards."
  ].join("\n")
}

const section = (title: string, pairs: ReadonlyArray<readonly [string, string]>): ReadonlyArray<string> =>
  pairs.length === 0 ? [] : ["", title, ...formatPairs(pairs).split("\n").map((line) => `  ${line}`)]

/** One command in full. */
export const page = (help: CommandHelp): string => {
  return [
    help.usage,
    help.summary,
    ...section("arguments", help.arguments),
    ...section("flags", help.flags),
    "",
    "examples",
    ...help.examples.flatMap((example) => [
      ...(example.description === undefined ? [] : [`  # ${example.description}`]),
      `  ${example.command}`
    ])
  ].join("\n")
}
