/** Everything that the program can do, for its help, its completions and its documentation. */
import { Command } from "effect/cli"
import { adminCommandTree } from "./admin.ts"
import { completionsCommand } from "./completions.ts"
import { connectCommand } from "./connect.ts"
import { knownHostsCommand } from "./knownHosts.ts"
import { loginCommand, logoutCommand, whoamiCommand } from "./login.ts"
import { FORM_NAMES, formCommands } from "./oneLine.ts"
import { profileCommand } from "./profile.ts"
import { serveCommand } from "./serve.ts"

/** Lets the completions refer to the program that they are a part of. */
const root = (): Command.Command.Any => Command.make("fip").pipe(Command.withSubcommands(allCommands))

export const allCommands = [
  { group: "server", commands: [serveCommand, adminCommandTree] },
  { group: "client", commands: [connectCommand, ...formCommands(FORM_NAMES)] },
  {
    group: "settings",
    commands: [
      loginCommand,
      logoutCommand,
      whoamiCommand,
      profileCommand,
      knownHostsCommand,
      completionsCommand(root)
    ]
  }
] as const
