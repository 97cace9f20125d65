/** What a handler of an admin command takes and gives. */
import type { Effect } from "effect"
import type { Refusal } from "../../protocol/Refusal.ts"
import type { AdminCommandName, AdminInput, AdminResult } from "./Commands.ts"
import type { AdminProgress } from "./Wire.ts"

/** To be called as often as one likes: what is said too often is left out. */
export type Report = (progress: AdminProgress) => void

export type AdminHandler<K extends AdminCommandName> = (
  input: AdminInput<K>,
  report?: Report
) => Effect.Effect<AdminResult<K>, Refusal>

/** A handler for every command: what is missing does not compile. */
export type AdminHandlers<K extends AdminCommandName = AdminCommandName> = { readonly [Name in K]: AdminHandler<Name> }
