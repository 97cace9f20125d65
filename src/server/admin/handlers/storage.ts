/** Handlers of the admin commands about what is stored. */
import { Effect } from "effect"
import { Backup } from "../../backup/Backup.ts"
import { Fsck } from "../../files/Fsck.ts"
import type { AdminHandlers } from "../Handler.ts"

export const storageCommands: Effect.Effect<AdminHandlers<"fsck" | "backup">, never, Fsck | Backup> = Effect.gen(
  function*() {
    const fsck = yield* Fsck
    const backup = yield* Backup
    return { fsck: fsck.check, backup: backup.run }
  }
)
