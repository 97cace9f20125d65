/** The help document of a command, from its definition: the source for HELP, for docs/commands.md and for flag names. */
import { Context, Effect } from "effect"
import { CliOutput, type Command, GlobalFlag, type HelpDoc } from "effect/cli"

/** All commands directly under a command. */
export const childrenOf = (command: Command.Command.Any): ReadonlyArray<Command.Command.Any> =>
  command.subcommands.flatMap((group) => group.commands)

/** The help document of the command at `path` below `root`; `path` does not name the root itself. */
export const helpDocOf = Effect.fnUntraced(function*(root: Command.Command.Any, path: ReadonlyArray<string>) {
  let found: HelpDoc.HelpDoc | undefined
  yield* GlobalFlag.Help.run(true, { command: root, commandPath: [root.name, ...path], version: "", builtIns: [] })
    .pipe(
      Effect.provideService(CliOutput.Presenter, {
        present: (event) =>
          Effect.sync(() => {
            if (event._tag === "Help") found = event.helpDoc
          })
      })
    )
  const none: HelpDoc.HelpDoc = { description: "", usage: "", flags: [], annotations: Context.empty() }
  return found ?? none
})
