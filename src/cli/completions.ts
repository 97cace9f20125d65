/** `fip completions`: what a shell needs to complete the program's commands and flags, from their own definitions. */
import { Console, Effect } from "effect"
import { Argument, Command, Completions } from "effect/cli"
import { withServerNames } from "./completeNames.ts"
import { FORM_NAMES, PATH_ARGUMENT } from "./oneLine.ts"

/** Paths of this machine; those on a server are added to the scripts (completeNames.ts). */
const PATHS = { _tag: "Path", pathType: "either" } as const

/** The arguments of one-line forms are paths, as far as a shell can complete them. */
const withPaths = (command: Completions.CommandDescriptor): Completions.CommandDescriptor => ({
  ...command,
  arguments: command.arguments.map((argument) =>
    argument.name === PATH_ARGUMENT ? { ...argument, type: PATHS } : argument
  ),
  subcommands: command.subcommands.map(withPaths)
})

export const completionsCommand = (root: () => Command.Command.Any) =>
  Command.make(
    "completions",
    { shell: Argument.Literals("shell", ["bash", "zsh", "fish"]).pipe(Argument.withDescription("bash, zsh or fish")) },
    ({ shell }) =>
      Effect.suspend(() => {
        const script = Completions.generate("fip", shell, withPaths(Completions.fromCommand(root())))
        return Console.log(withServerNames(shell, script, FORM_NAMES))
      })
  ).pipe(
    Command.withDescription("Print what a shell needs to complete fip's commands and flags"),
    Command.withExamples([
      { command: "fip completions bash >> ~/.bashrc" },
      { command: "fip completions zsh > \"${fpath[1]}/_fip\"" },
      { command: "fip completions fish > ~/.config/fish/completions/fip.fish" }
    ])
  )
