/**
 * May this change be made? Pure: the same rules are asked before bytes are stored, to refuse early, and again under
 * locks, to decide.
 *
 * The owner of a file pays for it, whoever writes. A change that needs no more room than before is never over a quota.
 */
import { Result } from "effect"
import type { FileName } from "../../protocol/FileName.ts"
import { formatFileRef } from "../../protocol/FileName.ts"
import type { Sha256, Username } from "../../protocol/Identity.ts"
import type { Role } from "../../protocol/Permission.ts"
import { Refusal, refuse } from "../../protocol/Refusal.ts"
import type { Attributes, UploadMode } from "../../protocol/Request.ts"
import { type Action, deny, denyLocked, type Lock, noSuchFile } from "../permissions/Policy.ts"

/** Who pays, and what is left. */
export interface Owner {
  readonly userId: number
  readonly username: Username
  readonly bytesUsed: number
  readonly filesUsed: number
  readonly bytesLimit: number
  readonly filesLimit: number
}

/** The current state of a file. */
export interface FileRow {
  readonly fileId: number
  readonly name: FileName
  readonly size: number
  readonly version: number
  readonly sha256: Sha256 | undefined
  /** By itself, or by a folder that it is in. */
  readonly isPublic: boolean
  readonly lock: Lock | undefined
  /** In milliseconds since 1970. */
  readonly createdAt: number
  readonly modifiedAt: number
  readonly attributes: Attributes
}

/** A place in the store as one caller sees it: the file there, and what the caller is to it, or would be to one there. */
export interface Place {
  readonly callerId: number
  readonly owner: Owner
  readonly name: FileName
  readonly file: FileRow | undefined
  readonly role: Role | undefined
}

/** How the caller writes the file's name. */
export const labelOf = (place: Pick<Place, "callerId" | "owner" | "name">): string =>
  formatFileRef({
    owner: place.owner.userId === place.callerId ? undefined : place.owner.username,
    name: place.name
  })

/** The file, when there is one and the caller may do this to it. */
export const permit = (place: Place, action: Action): Result.Result<FileRow, Refusal> => {
  const label = labelOf(place)
  if (place.file === undefined) return Result.fail(noSuchFile(label))
  const refusal = deny(place.role, action, label) ?? denyLocked(place.callerId, place.file.lock, action, label)
  return refusal === undefined ? Result.succeed(place.file) : Result.fail(refusal)
}

/** `2:vcf` unless the file has the version that the caller expects. */
export const expectVersion = (
  place: Place,
  file: FileRow,
  expected: number | undefined
): Result.Result<FileRow, Refusal> =>
  expected === undefined || expected === file.version ? Result.succeed(file) : Result.fail(
    new Refusal({
      code: "2:vcf",
      message: `${labelOf(place)} has version ${file.version}, not ${expected}: read it again`,
      field: "expected_version",
      current_version: file.version
    })
  )

/** True when there is no file and the caller can make one: the owner can, and who may edit in a folder it would be in. */
export const isVacant = (place: Place): boolean =>
  place.file === undefined && deny(place.role, "edit", "") === undefined

/** What to answer who wants to make a file where that cannot be. Does not tell of files that the caller may not see. */
export const occupied = (place: Place, field: string): Refusal => {
  const label = labelOf(place)
  if (place.file === undefined) return deny(place.role, "edit", label) ?? noSuchFile(label)
  return place.role === undefined
    ? noSuchFile(label)
    : refuse("2:cnf", `a file named ${label} exists already`, field)
}

/** Whether an owner can pay for so much more, on top of all that they have. */
export const hasRoom = (owner: Owner, bytes: number, files: number): boolean =>
  owner.bytesUsed + bytes <= owner.bytesLimit && owner.filesUsed + files <= owner.filesLimit

/** Refuses what the owner has no room for. */
export const afford = (
  place: Pick<Place, "callerId" | "owner">,
  bytes: number,
  files: number
): Result.Result<undefined, Refusal> => {
  const { owner } = place
  const whose = owner.userId === place.callerId ? "you have" : `${owner.username} has`
  if (files > 0 && owner.filesUsed + files > owner.filesLimit) {
    return Result.fail(refuse(
      "2:fof",
      `over the quota of files: ${whose} ${owner.filesUsed} of at most ${owner.filesLimit}; delete some first`
    ))
  }
  if (bytes > 0 && owner.bytesUsed + bytes > owner.bytesLimit) {
    const free = Math.max(0, owner.bytesLimit - owner.bytesUsed)
    return Result.fail(refuse(
      "2:quota",
      `over the quota: this takes ${bytes} more bytes, and ${whose} ${free} of ${owner.bytesLimit} left`
    ))
  }
  return Result.succeed(undefined)
}

/** Content that is to be stored, in one of the five ways. */
export interface Storing {
  readonly mode: UploadMode
  readonly length: number
  /** With `patch`. */
  readonly position: number | undefined
  readonly expected: number | undefined
}

/** What storing does: the file it changes (`undefined`: it makes one), where the content goes, and the size then. */
export interface Stored {
  readonly file: FileRow | undefined
  readonly position: number
  readonly size: number
}

/** Decides on storing. */
export const store = (place: Place, storing: Storing): Result.Result<Stored, Refusal> =>
  Result.gen(function*() {
    const { length, mode } = storing
    const makes = mode === "create" || (mode === "write" && storing.expected === undefined)
    if (makes && isVacant(place)) {
      yield* afford(place, length, 1)
      return { file: undefined, position: 0, size: length }
    }
    if (mode === "create" || (makes && place.file === undefined)) return yield* Result.fail(occupied(place, "name"))
    const file = yield* Result.flatMap(permit(place, "edit"), (file) => expectVersion(place, file, storing.expected))
    const position = mode === "append" ? file.size : mode === "patch" ? storing.position ?? 0 : 0
    if (position > file.size) {
      return yield* Result.fail(refuse(
        "2:ibv",
        `position ${position} is beyond the end of ${labelOf(place)}, which has ${file.size} bytes`,
        "position"
      ))
    }
    const size = mode === "append" || mode === "patch" ? Math.max(file.size, position + length) : length
    yield* afford(place, size - file.size, 0)
    return { file, position, size }
  })
