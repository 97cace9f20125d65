/**
 * What a group of changes does to the database: decided under locks, one change after the other, in the order in which
 * they were asked for. Pure.
 */
import { Result } from "effect"
import type { FileName } from "../../protocol/FileName.ts"
import type { Sha256, UploadId, Username } from "../../protocol/Identity.ts"
import { type Refusal, refuse } from "../../protocol/Refusal.ts"
import type { Attributes, Written } from "../../protocol/Request.ts"
import type { FeedEntry } from "../feed/FeedRepo.ts"
import {
  type Change,
  type Copy,
  type Delete,
  type Rename,
  type Restore,
  type Slot,
  slotsOf,
  type Store,
  type Undelete
} from "./Change.ts"
import { type Extent, layOut, without } from "./Extent.ts"
import {
  afford,
  expectVersion,
  type FileRow,
  isVacant,
  labelOf,
  occupied,
  type Owner,
  permit,
  type Place,
  store
} from "./Rules.ts"

/** A file that a plan writes; `fileId` is set when a new one has been inserted. */
export interface Target {
  fileId: number | undefined
}

/** What a version is, besides its bytes. */
export interface Content {
  readonly size: number
  readonly sha256: Sha256 | undefined
  readonly attributes: Attributes
}

export interface FileUpdate extends Content {
  readonly fileId: number
  readonly name: FileName
  readonly version: number
  readonly modifiedAt: number
  readonly isDeleted: boolean
}

/** What a group of changes writes. */
export class Plan {
  readonly created: Array<Slot & Content & { readonly target: Target }> = []
  readonly updated: Array<FileUpdate> = []
  readonly versions: Array<
    Content & { readonly target: Target; readonly version: number; readonly author: Username }
  > = []
  /** The current extents that begin in [from, to) end with the version before `version`. */
  readonly closed: Array<
    { readonly fileId: number; readonly from: number; readonly to: number; readonly version: number }
  > = []
  readonly extents: Array<{ readonly target: Target; readonly version: number; readonly extent: Extent }> = []
  /** Extents of one version that become those of another. */
  readonly copied: Array<{
    readonly sourceId: number
    readonly sourceVersion: number
    readonly target: Target
    readonly version: number
  }> = []
  /** Those whose counters moved, as they are then. */
  readonly owners = new Map<number, Owner>()
  readonly uploads: Array<{ readonly uploadId: UploadId; readonly outcome: Written }> = []
  /** For those who watch. */
  readonly changes: Array<FeedEntry> = []
  /** Files whose locks end. */
  readonly unlocked: Array<number> = []
}

/** What is known of the store while a group is decided: rows that are locked. */
export interface Locked {
  /** Kept up to date from one change to the next. */
  readonly owners: Map<number, Owner>
  /** A slot as the caller of a change sees it. */
  readonly placeOf: (change: Change, slot: Slot) => Place | undefined
  /** The version that a `Restore` brings back. */
  readonly versionOf: (change: Restore) => Content | undefined
  /** The file that an `Undelete` brings back. */
  readonly deletedFile: (change: Undelete) => FileRow | undefined
  /** The current extents that a `Store` overlaps. */
  readonly overlapped: (change: Store) => ReadonlyArray<Extent>
}

const END = Number.MAX_SAFE_INTEGER

const charge = (locked: Locked, plan: Plan, owner: Owner, bytes: number, files: number): void => {
  const charged: Owner = {
    ...owner,
    bytesUsed: owner.bytesUsed + bytes,
    filesUsed: owner.filesUsed + files
  }
  locked.owners.set(owner.userId, charged)
  plan.owners.set(owner.userId, charged)
}

const written = (
  owner: Owner,
  name: FileName,
  file: { readonly size: number; readonly version: number; readonly sha256: Sha256 | undefined }
): Written => ({
  owner: owner.username,
  name,
  size: file.size,
  version: file.version,
  ...(file.sha256 === undefined ? {} : { sha256: file.sha256 })
})

const createFile = (
  plan: Plan,
  slot: Slot,
  author: Username,
  { attributes, sha256, size }: Content
): Target => {
  const target: Target = { fileId: undefined }
  plan.created.push({ ...slot, target, size, sha256, attributes })
  plan.versions.push({ target, version: 1, size, sha256, attributes, author })
  return target
}

const nextVersion = (
  plan: Plan,
  file: FileRow,
  author: Username,
  now: number,
  { attributes, sha256, size }: Content
): { readonly target: Target; readonly version: number } => {
  const version = file.version + 1
  const { fileId, name } = file
  plan.updated.push({ fileId, name, version, modifiedAt: now, isDeleted: false, size, sha256, attributes })
  plan.versions.push({ target: { fileId }, version, author, size, sha256, attributes })
  return { target: { fileId }, version }
}

/** A program stays one when its content changes; its old time is not that of new content. */
const attributesOf = (change: Store, file: FileRow | undefined): Attributes => {
  const executable = change.attributes?.executable ?? file?.attributes.executable
  return { ...change.attributes, ...(executable === undefined ? {} : { executable }) }
}

const applyStore = (change: Store, subject: Place, locked: Locked, plan: Plan, now: number) =>
  Result.map(store(subject, change), ({ file, position, size }): Written => {
    const author = change.caller.username
    const attributes = attributesOf(change, file)
    if (file === undefined) {
      const target = createFile(plan, change, author, { size, sha256: change.sha256, attributes })
      for (const extent of layOut(change.spans, 0)) plan.extents.push({ target, version: 1, extent })
      charge(locked, plan, subject.owner, size, 1)
      return written(subject.owner, change.name, { size, version: 1, sha256: change.sha256 })
    }
    const isWhole = change.mode === "write" || change.mode === "replace"
    const sha256 = isWhole ? change.sha256 : undefined
    const { target, version } = nextVersion(plan, file, author, now, { size, sha256, attributes })
    const add = (extent: Extent) => plan.extents.push({ target, version, extent })
    if (isWhole) {
      if (file.size > 0) plan.closed.push({ fileId: file.fileId, from: 0, to: END, version })
    } else if (change.length > 0) {
      const overlapped = locked.overlapped(change)
      const [first] = overlapped
      const last = overlapped.at(-1)
      if (first !== undefined && last !== undefined) {
        plan.closed.push({ fileId: file.fileId, from: first.position, to: last.position + 1, version })
      }
      for (const extent of overlapped) {
        for (const rest of without(extent, position, position + change.length)) add(rest)
      }
    }
    for (const extent of layOut(change.spans, position)) add(extent)
    charge(locked, plan, subject.owner, size - file.size, 0)
    return written(subject.owner, change.name, { size, version, sha256 })
  })

const applyDelete = (change: Delete, subject: Place, locked: Locked, plan: Plan) =>
  Result.gen(function*() {
    const permitted = yield* permit(subject, "delete")
    const file = yield* expectVersion(subject, permitted, change.expected)
    plan.updated.push({ ...file, isDeleted: true })
    if (file.lock !== undefined) plan.unlocked.push(file.fileId)
    charge(locked, plan, subject.owner, -file.size, -1)
    return written(subject.owner, file.name, file)
  })

const applyRename = (change: Rename, subject: Place, target: Place, plan: Plan) =>
  Result.gen(function*() {
    const permitted = yield* permit(subject, "rename")
    const file = yield* expectVersion(subject, permitted, change.expected)
    if (!isVacant(target)) return yield* Result.fail(occupied(target, "new_name"))
    plan.updated.push({ ...file, name: change.newName, isDeleted: false })
    return written(subject.owner, change.newName, file)
  })

const applyCopy = (change: Copy, subject: Place, target: Place, locked: Locked, plan: Plan) =>
  Result.gen(function*() {
    const permitted = yield* permit(subject, "read")
    const file = yield* expectVersion(subject, permitted, change.expected)
    if (!isVacant(target)) return yield* Result.fail(occupied(target, "new_name"))
    yield* afford(target, file.size, 1)
    const slot: Slot = { ownerId: target.owner.userId, name: change.newName }
    const copy = createFile(plan, slot, change.caller.username, file)
    if (file.size > 0) {
      plan.copied.push({ sourceId: file.fileId, sourceVersion: file.version, target: copy, version: 1 })
    }
    charge(locked, plan, target.owner, file.size, 1)
    return written(target.owner, change.newName, { ...file, version: 1 })
  })

const applyRestore = (change: Restore, subject: Place, locked: Locked, plan: Plan, now: number) =>
  Result.gen(function*() {
    const permitted = yield* permit(subject, "edit")
    const file = yield* expectVersion(subject, permitted, change.expected)
    const restored = locked.versionOf(change)
    if (restored === undefined) return yield* Result.fail(noSuchVersion(subject, change.version))
    yield* afford(subject, restored.size - file.size, 0)
    const { target, version } = nextVersion(plan, file, change.caller.username, now, restored)
    if (file.size > 0) plan.closed.push({ fileId: file.fileId, from: 0, to: END, version })
    if (restored.size > 0) {
      plan.copied.push({ sourceId: file.fileId, sourceVersion: change.version, target, version })
    }
    charge(locked, plan, subject.owner, restored.size - file.size, 0)
    return written(subject.owner, file.name, { ...restored, version })
  })

const applyUndelete = (change: Undelete, subject: Place, locked: Locked, plan: Plan) =>
  Result.gen(function*() {
    if (subject.file !== undefined) return yield* Result.fail(occupied(subject, "name"))
    const file = locked.deletedFile(change)
    // Whoever had a role on it lost it when it was deleted.
    if (file === undefined || subject.role !== "OWNER") return yield* Result.fail(noSuchDeletedFile(subject))
    yield* expectVersion(subject, file, change.expected)
    yield* afford(subject, file.size, 1)
    plan.updated.push({ ...file, isDeleted: false })
    charge(locked, plan, subject.owner, file.size, 1)
    return written(subject.owner, file.name, file)
  })

const noSuchDeletedFile = (place: Place): Refusal =>
  refuse("2:nf", `no deleted file of that name can be restored: ${labelOf(place)}`, "name")

export const noSuchVersion = (place: Place, version: number): Refusal =>
  refuse("2:nf", `${labelOf(place)} has no version ${version}`, "version")

const gone = refuse("2:unf", "the account that owns the file does not exist any more")

/** What those are told who watch the owner of what was changed. */
const tell = (change: Change, owner: Owner, deletedId: number | undefined, written: Written): FeedEntry => {
  const { size, version } = written
  const entry = { userId: owner.userId, owner: owner.username, author: change.caller.username, size, version }
  switch (change._tag) {
    case "Store":
      return { ...entry, kind: version === 1 ? "created" : "written", name: written.name }
    case "Copy":
      return { ...entry, kind: "created", name: written.name }
    case "Restore":
      return { ...entry, kind: "written", name: written.name }
    case "Undelete":
      return { ...entry, kind: "restored", name: written.name }
    case "Rename":
      return { ...entry, kind: "renamed", name: change.name, newName: written.name }
    case "Delete":
      return { ...entry, kind: "deleted", name: change.name, ...(deletedId === undefined ? {} : { deletedId }) }
  }
}

const decide = (
  change: Change,
  subject: Place,
  target: Place,
  locked: Locked,
  plan: Plan,
  now: number
): Result.Result<Written, Refusal> => {
  switch (change._tag) {
    case "Store":
      return applyStore(change, subject, locked, plan, now)
    case "Delete":
      return applyDelete(change, subject, locked, plan)
    case "Rename":
      return applyRename(change, subject, target, plan)
    case "Copy":
      return applyCopy(change, subject, target, locked, plan)
    case "Restore":
      return applyRestore(change, subject, locked, plan, now)
    case "Undelete":
      return applyUndelete(change, subject, locked, plan)
  }
}

/** Decides on one change and adds what it writes to the plan; a refusal adds nothing. */
export const apply = (change: Change, locked: Locked, plan: Plan, now: number): Result.Result<Written, Refusal> => {
  const [slot, other] = slotsOf(change)
  const subject = locked.placeOf(change, slot)
  const target = other === undefined ? subject : locked.placeOf(change, other)
  if (subject === undefined || target === undefined) return Result.fail(gone)
  return Result.map(decide(change, subject, target, locked, plan, now), (written) => {
    plan.changes.push(tell(change, target.owner, subject.file?.fileId, written))
    return written
  })
}
