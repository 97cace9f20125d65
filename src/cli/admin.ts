/** `fip admin`: administers the server that is running on a data folder, through the Unix socket there. */
import { Command } from "effect/cli"
import { backupCommand, restoreCommand } from "./admin/backup.ts"
import { banCommand, bansCommand, unbanCommand } from "./admin/bans.ts"
import { certificateCommand } from "./admin/certificate.ts"
import { fsckCommand } from "./admin/fsck.ts"
import { inviteCommand, invitesCommand } from "./admin/invites.ts"
import { logCommand } from "./admin/log.ts"
import { sessionsCommand } from "./admin/sessions.ts"
import { usersCommand } from "./admin/users.ts"

export const adminCommandTree = Command.make("admin").pipe(
  Command.withDescription("Administer the server that is running on this machine"),
  Command.withSubcommands([
    usersCommand,
    sessionsCommand,
    banCommand,
    unbanCommand,
    bansCommand,
    inviteCommand,
    invitesCommand,
    logCommand,
    fsckCommand,
    backupCommand,
    restoreCommand,
    certificateCommand
  ]),
  Command.withExamples([
    { command: "fip admin users list", description: "Who has an account" },
    { command: "fip admin users quota alice_smith --bytes 50GiB", description: "Give somebody more room" },
    { command: "fip admin ban mallory --reason spam --for 7d", description: "Keep somebody out for a week" },
    { command: "fip admin invite --uses 3", description: "A code that three people can register with" },
    { command: "fip admin sessions end --user alice_smith", description: "Log somebody out everywhere" },
    { command: "fip admin fsck", description: "Check everything that is stored" },
    {
      command: "fip admin backup /backup/fip --keep 14",
      description: "Back up while the server runs; copies what is new"
    },
    { command: "fip admin certificate rotate", description: "Change the server's key; clients follow by themselves" }
  ])
)
