/** Rows of the tables of migration 0002, and of their owners, as statements give them and as the rest of the server has them. */
import { Duration } from "effect"
import { type Fragment, fragment, literal, parameter } from "effect/sql/Statement"
import type { FileName } from "../../protocol/FileName.ts"
import type { Sha256, Username } from "../../protocol/Identity.ts"
import type { Attributes } from "../../protocol/Request.ts"
import { type RightsColumns, toLock } from "../permissions/rights.ts"
import { type Extent, SegmentId } from "./Extent.ts"
import type { FileRow, Owner } from "./Rules.ts"

export interface OwnerColumns {
  readonly owner_id: number
  readonly owner: Username
  readonly bytes_used: number
  readonly files_used: number
  readonly bytes_limit: number
  readonly files_limit: number
}

/** Of a file, a version or an upload. */
export interface AttributeColumns {
  readonly modified_ms: number | null
  readonly executable: boolean | null
}

export interface FileColumns extends AttributeColumns {
  readonly file_id: number
  readonly name: FileName
  readonly public: boolean
  readonly size: number
  readonly version: number
  readonly sha256: Sha256 | null
  readonly created_at: Date
  readonly modified_at: Date
}

export interface ExtentColumns {
  readonly position: number
  readonly length: number
  readonly segment_id: string
  readonly segment_offset: number
  readonly checked_from: number
  readonly checked_to: number
  readonly checksums: Uint8Array
}

export type Nullable<A> = { readonly [K in keyof A]: A[K] | null }

/** The columns of a left join: all of one row, or none. */
export const isPresent = <A extends object>(row: A | Nullable<A>, key: keyof A): row is A => row[key] !== null

const columns = (list: string) => fragment([literal(list)])

/** Of `files f`. */
export const fileColumns = columns(
  `f.file_id, f.name, f.public, f.size, f.version, encode(f.sha256, 'hex') as sha256, f.created_at, f.modified_at,
  f.modified_ms, f.executable`
)

/** Of `extents e`. */
export const extentColumns = columns(
  "e.position, e.length, e.segment_id, e.segment_offset, e.checked_from, e.checked_to, e.checksums"
)

/** `until_version` of the extents of the current version. */
export const stillCurrent = columns("9223372036854775807")

/** Of `files f`: it was deleted, not too long ago, and its content has not been given up. */
export const isRestorable = (now: Date, keepDeletedFor: Duration.Duration): Fragment =>
  fragment([
    literal("f.deleted_at > "),
    parameter(new Date(now.getTime() - Duration.toMillis(keepDeletedFor))),
    literal("::timestamptz and exists (select from versions v where v.file_id = f.file_id and v.version = f.version)")
  ])

export const toOwner = (row: OwnerColumns): Owner => ({
  userId: row.owner_id,
  username: row.owner,
  bytesUsed: row.bytes_used,
  filesUsed: row.files_used,
  bytesLimit: row.bytes_limit,
  filesLimit: row.files_limit
})

export const toAttributes = ({ executable, modified_ms }: AttributeColumns): Attributes => ({
  ...(modified_ms === null ? {} : { modified_ms }),
  ...(executable === null ? {} : { executable })
})

/** A file whose rights are of no interest: one that was deleted. */
export const toFile = (row: FileColumns): FileRow => ({
  fileId: row.file_id,
  name: row.name,
  size: row.size,
  version: row.version,
  sha256: row.sha256 ?? undefined,
  isPublic: row.public,
  lock: undefined,
  createdAt: row.created_at.getTime(),
  modifiedAt: row.modified_at.getTime(),
  attributes: toAttributes(row)
})

/** A file with what `joinRights` found of it. */
export const toSharedFile = (ownerId: number, row: FileColumns & RightsColumns): FileRow => ({
  ...toFile(row),
  isPublic: row.public || row.in_public_folder,
  lock: toLock(ownerId, row)
})

export const toExtent = (row: ExtentColumns): Extent => ({
  position: row.position,
  segment: SegmentId(row.segment_id),
  offset: row.segment_offset,
  length: row.length,
  checkedFrom: row.checked_from,
  checkedTo: row.checked_to,
  checksums: row.checksums
})
