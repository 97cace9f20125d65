/**
 * May X do Y to F, a file or a folder? Pure, and the only place that knows.
 *
 * Who may not read a file is told that it does not exist; who may read it but not do more is told so.
 */
import { Timestamp, type Username } from "../../protocol/Identity.ts"
import { covers, type GrantRole, type Role } from "../../protocol/Permission.ts"
import { Refusal, refuse } from "../../protocol/Refusal.ts"

/** The facts about one caller and one file or folder, taken from the database at one moment of the server's clock. */
export interface Facts {
  readonly callerId: number
  readonly ownerId: number
  /** By itself, or by a folder that it is in. */
  readonly isPublic: boolean
  /** The caller's grants that count, on it and on the folders that it is in. */
  readonly granted: ReadonlyArray<GrantRole>
}

/** The role of the grants that allows most. */
export const strongest = (roles: ReadonlyArray<GrantRole>): GrantRole | undefined =>
  roles.reduce<GrantRole | undefined>((best, role) => best !== undefined && covers(best, role) ? best : role, undefined)

/** What the caller is to the file or folder; `undefined`: nobody. Of several roles the strongest counts. */
export const roleOf = (facts: Facts): Role | undefined =>
  facts.callerId === facts.ownerId ? "OWNER" : strongest(facts.granted) ?? (facts.isPublic ? "READ" : undefined)

/** What can be done to a file or a folder, and the least role that may. */
const NEEDED = {
  read: "READ",
  /** Change the content; in a folder, make files. */
  edit: "EDIT",
  lock: "EDIT",
  /** End somebody else's lock. */
  breakLock: "OWNER",
  rename: "OWNER",
  delete: "OWNER",
  queryPermissions: "MANAGE",
  queryActivity: "OWNER",
  /** Grant and revoke READ and EDIT. */
  share: "MANAGE",
  /** Grant and revoke MANAGE. */
  appoint: "OWNER",
  publish: "OWNER",
  transfer: "OWNER"
} as const satisfies Record<string, Role>

export type Action = keyof typeof NEEDED

/** What a lock keeps everybody but its holder from. */
const STOPPED_BY_LOCK: ReadonlySet<Action> = new Set<Action>(["edit", "lock", "rename", "delete", "transfer"])

/** A lock that has not expired, with the facts about its holder. */
export interface Lock {
  readonly userId: number
  readonly username: Username
  /** In milliseconds since 1970. */
  readonly expiresAt: number
}

/** A lock counts only while its holder may edit the file. */
export const holds = (facts: Omit<Facts, "isPublic">): boolean => {
  const role = roleOf({ ...facts, isPublic: false })
  return role !== undefined && covers(role, NEEDED.lock)
}

/** Instants as sentences have them. */
const instant = (millis: number): string => new Date(millis).toISOString()

/** `undefined` unless somebody else's lock keeps the caller from it. */
export const denyLocked = (
  callerId: number,
  lock: Lock | undefined,
  action: Action,
  name: string
): Refusal | undefined =>
  lock === undefined || lock.userId === callerId || !STOPPED_BY_LOCK.has(action) ? undefined : new Refusal({
    code: "2:lock",
    message: `${name} is locked by ${lock.username} until ${
      instant(lock.expiresAt)
    }: wait, or ask; its owner can break the lock`,
    locked_by: lock.username,
    locked_until: Timestamp.make(instant(lock.expiresAt))
  })

/** `name`: as the caller writes it; that of a folder ends with `/`. */
export const noSuchFile = (name: string): Refusal =>
  refuse("2:nf", name.endsWith("/") ? `no such folder: ${name}` : `no such file: ${name}`, "name")

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
