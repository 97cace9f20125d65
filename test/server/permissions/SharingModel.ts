/**
 * What sharing should do, too simple to be wrong: a few people, names and folders, each a number; a map of what is
 * granted, and rules that are spelled out. Every attempt comes to the code of its refusal, or `done`.
 */
import type { GrantRole, Role } from "../../../src/protocol/Permission.ts"

export const PEOPLE = 3
/** Whom no server knows. */
export const STRANGER = PEOPLE
export const NAMES = ["a.txt", "d/b.txt", "d/e/c.txt"]
export const FOLDERS = ["", "d/", "d/e/"]
/** Of files: nobody has room for all. */
export const FILES_LIMIT = 2
export const BYTES_LIMIT = 4

export interface Timed {
  readonly role: GrantRole
  readonly until: number
}
export interface Held {
  readonly by: number
  readonly until: number
}
interface ModelFile {
  readonly size: number
  isPublic: boolean
  readonly grants: Map<number, Timed>
  lock: Held | undefined
}
interface ModelFolder {
  isPublic: boolean
  readonly grants: Map<number, Timed>
}

/** `path`: a name or a folder. `own`: the request leaves the owner out where it can. */
interface On {
  readonly caller: number
  readonly owner: number
  readonly path: string
}
export type Attempt =
  | On & {
    readonly _tag: "Grant"
    readonly user: number
    readonly role: GrantRole
    readonly duration: number | undefined
  }
  | On & { readonly _tag: "Revoke"; readonly user: number }
  | On & { readonly _tag: "Publicise" | "Hide" | "Query" }
  | On & { readonly _tag: "Transfer"; readonly user: number; readonly newName: string | undefined }
  | On & { readonly _tag: "Rename"; readonly newName: string }
  | On & { readonly _tag: "Create" | "Append" | "Delete" }
  | On & { readonly _tag: "Lock"; readonly duration: number }
  | On & { readonly _tag: "Unlock"; readonly force: boolean }

const RANK: Readonly<Record<Role, number>> = { READ: 1, EDIT: 2, MANAGE: 3, OWNER: 4 }
const isAtLeast = (role: Role | undefined, needed: Role): boolean => role !== undefined && RANK[role] >= RANK[needed]
const isFolder = (path: string): boolean => FOLDERS.includes(path)
const keyOf = (owner: number, path: string): string => `${owner}:${path}`
/** A folder is in itself. */
const foldersOf = (path: string): ReadonlyArray<string> => FOLDERS.filter((folder) => path.startsWith(folder))

export class SharingModel {
  readonly files = new Map<string, ModelFile>()
  readonly folders = new Map<string, ModelFolder>()
  readonly bannedUntil = new Map<number, number>()

  file(owner: number, name: string): ModelFile | undefined {
    return this.files.get(keyOf(owner, name))
  }

  addFile(owner: number, name: string, size: number): ModelFile {
    const file: ModelFile = { size, isPublic: false, grants: new Map(), lock: undefined }
    this.files.set(keyOf(owner, name), file)
    return file
  }

  folder(owner: number, path: string): ModelFolder {
    const key = keyOf(owner, path)
    const folder = this.folders.get(key) ?? { isPublic: false, grants: new Map() }
    this.folders.set(key, folder)
    return folder
  }

  #grantsOn(owner: number, path: string): Map<number, Timed> | undefined {
    return isFolder(path) ? this.folder(owner, path).grants : this.file(owner, path)?.grants
  }

  isPublic(owner: number, path: string): boolean {
    return this.file(owner, path)?.isPublic === true ||
      foldersOf(path).some((folder) => this.folder(owner, folder).isPublic)
  }

  /** All that covers a path: who, which role, and the folder that was granted. */
  covering(owner: number, path: string, now: number) {
    const places = [...isFolder(path) ? [] : [path], ...foldersOf(path)]
    return places.flatMap((place) =>
      Array.from(this.#grantsOn(owner, place) ?? [])
        .filter(([, { until }]) => now < until)
        .map(([user, { role }]) => ({ user, role, through: place === path ? undefined : place }))
    )
  }

  #granted(caller: number, owner: number, path: string, now: number): Role | undefined {
    if (caller === owner) return "OWNER"
    if (now < (this.bannedUntil.get(caller) ?? 0)) return undefined
    const roles = this.covering(owner, path, now).filter(({ user }) => user === caller).map(({ role }) => role)
    return roles.includes("MANAGE") ? "MANAGE" : roles.includes("EDIT") ? "EDIT" : roles[0]
  }

  role(caller: number, owner: number, path: string, now: number): Role | undefined {
    return this.#granted(caller, owner, path, now) ?? (this.isPublic(owner, path) ? "READ" : undefined)
  }

  lock(owner: number, name: string, now: number): Held | undefined {
    const lock = this.file(owner, name)?.lock
    if (lock === undefined || now >= lock.until) return undefined
    return isAtLeast(this.#granted(lock.by, owner, name, now), "EDIT") ? lock : undefined
  }

  usage(owner: number): { readonly bytes: number; readonly files: number } {
    const own = NAMES.flatMap((name) => this.file(owner, name) ?? [])
    return { bytes: own.reduce((sum, file) => sum + file.size, 0), files: own.length }
  }

  /** The code of a refusal, unless `needed` is enough; and whether somebody else's lock is in the way. */
  #refusal(attempt: On, needed: Role, minds: boolean, now: number): string | undefined {
    const { caller, owner, path } = attempt
    if (!isFolder(path) && this.file(owner, path) === undefined) return "2:nf"
    const role = this.role(caller, owner, path, now)
    if (role === undefined) return "2:nf"
    if (!isAtLeast(role, needed)) return "2:perm"
    const lock = minds ? this.lock(owner, path, now) : undefined
    return lock === undefined || lock.by === caller ? undefined : "2:lock"
  }

  /** What an attempt comes to; carried out, when it is allowed. */
  attempt(attempt: Attempt, now: number): string {
    const { caller, owner, path } = attempt
    const file = this.file(owner, path)
    const refused = (needed: Role, minds = false) => this.#refusal(attempt, needed, minds, now)
    const current = (user: number): Timed | undefined => {
      const grant = this.#grantsOn(owner, path)?.get(user)
      return grant !== undefined && now < grant.until ? grant : undefined
    }
    switch (attempt._tag) {
      case "Query":
        return refused("MANAGE") ?? "done"
      case "Publicise":
      case "Hide": {
        const refusal = refused("OWNER")
        if (refusal !== undefined) return refusal
        const isOn = attempt._tag === "Publicise"
        if (!isOn && foldersOf(path).some((place) => place !== path && this.folder(owner, place).isPublic)) {
          return "2:opcf"
        }
        if (isFolder(path)) this.folder(owner, path).isPublic = isOn
        else if (file !== undefined) file.isPublic = isOn
        return "done"
      }
      case "Grant": {
        const refusal = refused(attempt.role === "MANAGE" ? "OWNER" : "MANAGE")
        if (refusal !== undefined) return refusal
        if (attempt.user === STRANGER) return "2:unf"
        if (attempt.user === owner || attempt.user === caller) return "2:opcf"
        if (current(attempt.user)?.role === "MANAGE" && caller !== owner) return "2:perm"
        const until = attempt.duration === undefined ? Infinity : now + attempt.duration
        this.#grantsOn(owner, path)?.set(attempt.user, { role: attempt.role, until })
        return "done"
      }
      case "Revoke": {
        const refusal = refused("MANAGE")
        if (refusal !== undefined) return refusal
        if (attempt.user === STRANGER) return "2:unf"
        const grant = current(attempt.user)
        if (grant === undefined) return "2:opcf"
        if (grant.role === "MANAGE" && caller !== owner) return "2:perm"
        this.#grantsOn(owner, path)?.delete(attempt.user)
        return "done"
      }
      case "Transfer": {
        const refusal = refused("OWNER", true)
        if (refusal !== undefined || file === undefined) return refusal ?? "2:nf"
        if (attempt.user === STRANGER) return "2:unf"
        if (attempt.user === caller) return "2:opcf"
        const { bytes, files } = this.usage(attempt.user)
        if (files + 1 > FILES_LIMIT) return "2:fof"
        if (file.size > 0 && bytes + file.size > BYTES_LIMIT) return "2:quota"
        const name = attempt.newName ?? path
        if (this.file(attempt.user, name) !== undefined) return "2:cnf"
        this.files.delete(keyOf(owner, path))
        this.files.set(keyOf(attempt.user, name), file)
        file.lock = undefined
        file.grants.delete(attempt.user)
        file.grants.set(caller, { role: "MANAGE", until: Infinity })
        return "done"
      }
      case "Rename": {
        const refusal = refused("OWNER", true)
        if (refusal !== undefined || file === undefined) return refusal ?? "2:nf"
        if (this.file(owner, attempt.newName) !== undefined) return "2:cnf"
        this.files.delete(keyOf(owner, path))
        this.files.set(keyOf(owner, attempt.newName), file)
        return "done"
      }
      case "Create": {
        const role = this.role(caller, owner, path, now)
        if (role === undefined) return "2:nf"
        if (file !== undefined) return "2:cnf"
        if (!isAtLeast(role, "EDIT")) return "2:perm"
        if (this.usage(owner).files + 1 > FILES_LIMIT) return "2:fof"
        this.addFile(owner, path, 0)
        return "done"
      }
      case "Append":
        return refused("EDIT", true) ?? "done"
      case "Delete": {
        const refusal = refused("OWNER", true)
        if (refusal === undefined) this.files.delete(keyOf(owner, path))
        return refusal ?? "done"
      }
      case "Lock": {
        const refusal = refused("EDIT", true)
        if (refusal === undefined && file !== undefined) file.lock = { by: caller, until: now + attempt.duration }
        return refusal ?? "done"
      }
      case "Unlock": {
        const refusal = refused("READ")
        if (refusal !== undefined || file === undefined) return refusal ?? "2:nf"
        const lock = this.lock(owner, path, now)
        if (lock === undefined) return "done"
        if (lock.by !== caller) {
          const stopped = attempt.force ? refused("OWNER") : refused("EDIT", true)
          if (stopped !== undefined) return stopped
        }
        file.lock = undefined
        return "done"
      }
    }
  }
}
