/** HELP, which needs the tree that it is a part of. */
import { Effect } from "effect"
import { Argument, Command } from "effect/cli"
import { UsageError } from "../Failure.ts"
import { commandHelps, overview, page } from "../help.ts"
import { Output } from "../Output.ts"
import { shellCommand } from "../ShellCommand.ts"
import { ValueKind } from "../ValueKind.ts"

export const helpCommand = (root: () => Command.Command.Any) =>
  shellCommand({
    name: "HELP",
    session: false,
    summary: "List the commands, or tell all about one (? is short for it)",
    examples: [{ command: "HELP" }, { command: "HELP GRANT" }],
    json: "`commands` (an array of `name`, `group`, `usage`, `summary`)",
    input: {
      words: Argument.String("command").pipe(
        Argument.withMetavar(ValueKind.COMMAND),
        Argument.withDescription("a command, such as GRANT or QUERY FILE"),
        Argument.atMost(2)
      )
    },
    run: Effect.fnUntraced(function*({ words }) {
      const title = words.join(" ").toUpperCase()
      const all = yield* commandHelps(root())
      const chosen = all.filter((help) => title === "" || help.name === title || help.name.startsWith(`${title} `))
      if (chosen.length === 0) {
        return yield* new UsageError({ message: `there is no command "${words.join(" ")}": HELP lists them all` })
      }
      const result = { commands: chosen.map(({ group, name, summary, usage }) => ({ name, group, usage, summary })) }
      const width = yield* (yield* Output).resultColumns
      const text = title === "" ? overview(all, width) : chosen.map((help) => page(help, width)).join("\n\n")
      return { code: "local:ok", message: "help", result, text }
    })
  }).pipe(Command.withAlias("?"))
