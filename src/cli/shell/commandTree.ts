/** All commands of the shell: the tree that every line is parsed by, in any mode. */
import { Command } from "effect/cli"
import { accountCommands } from "./commands/account.ts"
import { alias, source, unalias } from "./commands/alias.ts"
import { fileCommands } from "./commands/files.ts"
import { folderCommands } from "./commands/folders.ts"
import { helpCommand } from "./commands/help.ts"
import { jobCommands } from "./commands/jobs.ts"
import { mirrorCommands } from "./commands/mirror.ts"
import { queryCommands } from "./commands/queries.ts"
import { readCommands } from "./commands/read.ts"
import { removeCommands } from "./commands/remove.ts"
import { sessionCommands } from "./commands/session.ts"
import { sharingCommands } from "./commands/sharing.ts"
import { transferCommands } from "./commands/transfer.ts"
import { uploadCommands } from "./commands/uploads.ts"
import { watchCommands } from "./commands/watch.ts"

/** Lets HELP refer to the tree; the annotation keeps its type out of the tree's own. */
const root = (): Command.Command.Any => commandTree

export const commandTree = Command.make("fip").pipe(
  Command.withSubcommands([
    { group: "session", commands: [...sessionCommands, helpCommand(root)] },
    { group: "account", commands: accountCommands },
    { group: "shell", commands: [...folderCommands, alias(root), unalias, source, ...jobCommands] },
    { group: "files", commands: [...readCommands, ...fileCommands, ...removeCommands] },
    { group: "transfer", commands: [...transferCommands, ...mirrorCommands, ...uploadCommands] },
    { group: "sharing", commands: sharingCommands },
    { group: "queries", commands: [...queryCommands, ...watchCommands] }
  ])
)
