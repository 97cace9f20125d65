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

/** Every command and what it does, under the names of the groups, in a terminal of this width. */
export const overview = (helps: ReadonlyArray<CommandHelp>, width?: number): string => {
  const table = formatPairs(helps.map((help) => [`  ${help.name}`, help.summary]), width).split("\n")
  const lines: Array<string> = []
  let at = 0
  helps.forEach((help, index) => {
    if (help.group !== helps[index - 1]?.group) lines.push(...(index === 0 ? [] : [""]), help.group)
    lines.push(table[at++] ?? "")
    // What a summary goes on with stands below it, behind nothing.
    while (table[at]?.startsWith("   ")) lines.push(table[at++] ?? "")
  })
  return [
    ...lines,
    "",
    "HELP <command> tells more. Names and flags in any case; -bye after any command leaves afterwards."
  ].join("\n")
}

const section = (
  title: string,
  pairs: ReadonlyArray<readonly [string, string]>,
  width = Number.POSITIVE_INFINITY
): ReadonlyArray<string> =>
  pairs.length === 0 ? [] : ["", title, ...formatPairs(pairs, width - 2).split("\n").map((line) => `  ${line}`)]

/** One command in full, in a terminal of this width. */
export const page = (help: CommandHelp, width?: number): string => {
  return [
    help.usage,
    help.summary,
    ...section("arguments", help.arguments, width),
    ...section("flags", help.flags, width),
    "",
    "examples",
    ...help.examples.flatMap((example) => [
      ...(example.description === undefined ? [] : [`  # ${example.description}`]),
      `  ${example.command}`
    ])
  ].join("\n")
}
