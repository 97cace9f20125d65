/** Roles and what they allow (docs/protocol.md, section 4.3). */
import { Schema } from "effect"

/** What can be granted. */
export const GrantRole = Schema.Literals(["READ", "EDIT", "MANAGE"])
export type GrantRole = typeof GrantRole.Type

/** What a caller is to a file. */
export const Role = Schema.Literals(["READ", "EDIT", "MANAGE", "OWNER"])
export type Role = typeof Role.Type

const RANK: Readonly<Record<Role, number>> = { READ: 1, EDIT: 2, MANAGE: 3, OWNER: 4 }

/** True when `role` allows what `needed` allows. */
export const covers = (role: Role, needed: Role): boolean => RANK[role] >= RANK[needed]
