/** What a handler of an admin command takes and gives. */
import type { Effect } from "effect"
import type { Refusal } from "../../protocol/Refusal.ts"
import type { AdminCommandName, AdminInput, AdminResult } from "./Commands.ts"

export type AdminHandler<K extends AdminCommandName> = (input: AdminInput<K>) => Effect.Effect<AdminResult<K>, Refusal>

/** A handler for every command: what is missing does not compile. */
export type AdminHandlers<K extends AdminCommandName = AdminCommandName> = { readonly [Name in K]: AdminHandler<Name> }
