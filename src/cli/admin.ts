/** `fip admin`: administers the server that is running on a data folder, through the Unix socket there. */
import { Command } from "effect/cli"
import { sessionsCommand } from "./admin/sessions.ts"
import { usersCommand } from "./admin/users.ts"

export const adminCommandTree = Command.make("admin").pipe(
  Command.withDescription("Administer the server that is running on this machine"),
  Command.withSubcommands([usersCommand, sessionsCommand]),
  Command.withExamples([
    { command: "fip admin users list", description: "Who has an account" },
    { command: "fip admin users quota alice_smith --bytes 50GiB", description: "Give somebody more room" },
    { command: "fip admin sessions end --user alice_smith", description: "Log somebody out everywhere" }
  ])
)
