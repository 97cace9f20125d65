/** Handlers of the admin commands about what is stored. */
import { Effect } from "effect"
import { Fsck } from "../../files/Fsck.ts"
import type { AdminHandlers } from "../Handler.ts"

export const storageCommands: Effect.Effect<AdminHandlers<"fsck">, never, Fsck> = Effect.map(
  Fsck,
  (fsck) => ({ fsck: fsck.check })
)
