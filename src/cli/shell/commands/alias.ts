/** Names for lines that are typed often, and files of lines. */
import { Effect, Option, Result, Stream } from "effect"
import { Argument, type Command } from "effect/cli"
import { createReadStream } from "node:fs"
import { LocalFileError } from "../../../client/ClientError.ts"
import { systemErrorReason } from "../../../platform/systemError.ts"
import { UsageError } from "../Failure.ts"
import { formatCount, formatPairs } from "../format.ts"
import { childrenOf } from "../helpDoc.ts"
import { localPath } from "../inputs.ts"
import { RunSource, shellCommand } from "../ShellCommand.ts"
import { tokenize } from "../Tokenizer.ts"
import { ValueKind } from "../ValueKind.ts"
import { type Alias, Workspace } from "../Workspace.ts"

const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]*$/

/** What a name can stand for; the failure is a sentence. */
export const aliasOf = (root: Command.Command.Any, name: string, text: string): Result.Result<Alias, string> => {
  if (!NAME.test(name)) return Result.fail("write name=line, such as ll='LIST --long'; a name has no blanks")
  if (childrenOf(root).some((command) => command.name === name || command.alias === name)) {
    return Result.fail(`${name.toUpperCase()} is a command: choose another name`)
  }
  const words = tokenize(text)
  if (Result.isFailure(words)) return Result.fail(words.failure.message)
  if (words.success.length === 0) return Result.fail("an alias stands for a line")
  return Result.succeed({ text, words: words.success })
}

export const alias = (root: () => Command.Command.Any) =>
  shellCommand({
    name: "ALIAS",
    session: false,
    summary:
      "Give a line, or the beginning of one, a name for as long as the shell runs ([alias] of config.toml: for " +
      "every shell); without one, list them all",
    examples: [
      { command: "ALIAS ll='LIST --long'", description: "from then on, ll docs/ is LIST --long docs/" },
      { command: "ALIAS" }
    ],
    // What it stands for may hold a password.
    publicWords: 0,
    json: "`aliases` (an object: names and what they stand for)",
    input: {
      definition: Argument.String("definition").pipe(
        Argument.withDescription("name=line; in quotes where the line has blanks"),
        Argument.optional
      )
    },
    run: Effect.fnUntraced(function*({ definition }) {
      const { aliases } = yield* Workspace
      const result = () => ({ aliases: Object.fromEntries([...aliases].map(([name, { text }]) => [name, text])) })
      if (Option.isNone(definition)) {
        const pairs = [...aliases].map(([name, { text }]) => [name, text] as const)
        const text = pairs.length === 0 ? {} : { text: formatPairs(pairs) }
        return { code: "local:ok", message: "there are no aliases", result: result(), ...text }
      }
      const equals = definition.value.indexOf("=")
      const name = definition.value.slice(0, Math.max(equals, 0)).toLowerCase()
      const text = definition.value.slice(equals + 1)
      const made = aliasOf(root(), name, text)
      if (Result.isFailure(made)) return yield* new UsageError({ message: made.failure })
      aliases.set(name, made.success)
      return { code: "local:ok", message: `${name} is ${text}`, result: result() }
    })
  })

export const unalias = shellCommand({
  name: "UNALIAS",
  session: false,
  summary: "Forget an alias",
  examples: [{ command: "UNALIAS ll" }],
  json: "`alias`",
  input: {
    alias: Argument.String("alias").pipe(Argument.withMetavar(ValueKind.ALIAS), Argument.withDescription("its name"))
  },
  run: Effect.fnUntraced(function*(input) {
    const { aliases } = yield* Workspace
    const name = input.alias.toLowerCase()
    if (!aliases.delete(name)) return yield* new UsageError({ message: `there is no alias ${name}` })
    return { code: "local:ok", message: `forgot ${name}`, result: { alias: name } }
  })
})

export const source = shellCommand({
  name: "SOURCE",
  session: false,
  summary: "Run the lines of a local file as if they were typed here, until one fails",
  examples: [{ command: "SOURCE nightly.fip" }],
  json: "`lines` (how many were run); before it, a line for each command in it",
  input: { local: localPath("a file with one command a line; # begins a comment") },
  run: Effect.fnUntraced(function*({ local }) {
    const lines = Stream.fromAsyncIterable(
      createReadStream(local, { encoding: "utf8" }),
      (cause) =>
        new LocalFileError({ path: local, message: `cannot read ${local}: ${systemErrorReason(cause)}`, cause })
    ).pipe(Stream.splitLines)
    const run = yield* RunSource
    const count = yield* run(local, lines)
    return { code: "local:ok", message: `ran ${formatCount(count, "line")} of ${local}`, result: { lines: count } }
  })
})
