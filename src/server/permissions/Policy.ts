/**
 * May X do Y to F? Pure, and the only place that knows.
 *
 * Who may not read a file is told that it does not exist; who may read it but not do more is told so.
 */
import { covers, type GrantRole, type Role } from "../../protocol/Permission.ts"
import { type Refusal, refuse } from "../../protocol/Refusal.ts"

/** The facts about one caller and one file, taken from the database at one moment of the server's clock. */
export interface Facts {
  readonly callerId: number
  readonly ownerId: number
  readonly isPublic: boolean
  /** The caller's grant on the file that has not expired. */
  readonly grant: GrantRole | undefined
}

/** What the caller is to the file; `undefined`: nobody. */
export const roleOf = (facts: Facts): Role | undefined =>
  facts.callerId === facts.ownerId ? "OWNER" : facts.grant ?? (facts.isPublic ? "READ" : undefined)

/** What can be done to a file, and the least role that may. */
const NEEDED = {
  read: "READ",
  edit: "EDIT",
  rename: "OWNER",
  delete: "OWNER",
  queryPermissions: "MANAGE",
  /** Grant and revoke READ and EDIT. */
  share: "MANAGE",
  /** Grant and revoke MANAGE. */
  appoint: "OWNER",
  publish: "OWNER",
  transfer: "OWNER"
} as const satisfies Record<string, Role>

export type Action = keyof typeof NEEDED

export const noSuchFile = (name: string): Refusal => refuse("2:nf", `no such file: ${name}`, "name")

/** `undefined` when a caller with `role` may; otherwise what to answer. */
export const deny = (role: Role | undefined, action: Action, name: string): Refusal | undefined => {
  if (role === undefined) return noSuchFile(name)
  const needed = NEEDED[action]
  if (covers(role, needed)) return undefined
  return refuse(
    "2:perm",
    needed === "OWNER"
      ? `only the owner may do this to ${name}; you are its ${role} here`
      : `this needs the role ${needed} on ${name}; you have ${role}`
  )
}
