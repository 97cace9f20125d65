/** `fip completions`: what a shell needs to complete the program's commands and flags, from their own definitions. */
import { Console, Effect } from "effect"
import { Argument, Command, Completions } from "effect/cli"

export const completionsCommand = (root: () => Command.Command.Any) =>
  Command.make(
    "completions",
    { shell: Argument.Literals("shell", ["bash", "zsh", "fish"]).pipe(Argument.withDescription("bash, zsh or fish")) },
    ({ shell }) =>
      Effect.suspend(() => Console.log(Completions.generate("fip", shell, Completions.fromCommand(root()))))
  ).pipe(
    Command.withDescription("Print what a shell needs to complete fip's commands and flags"),
    Command.withExamples([
      { command: "fip completions bash >> ~/.bashrc" },
      { command: "fip completions zsh > \"${fpath[1]}/_fip\"" },
      { command: "fip completions fish > ~/.config/fish/completions/fip.fish" }
    ])
  )
