/**
 * What requests are about and what they are answered with: the values that more than one request has, and those that
 * client, server and shell name.
 */
import { Schema } from "effect"
import { RefusalCode } from "../Code.ts"
import { FileName, FolderPrefix, Shareable } from "../FileName.ts"
import { AccessToken, DeviceId, RefreshDigest, SessionId, Sha256, Timestamp, UploadId, Username } from "../Identity.ts"
import { MAX_LOCK_MS } from "../Limits.ts"
import { GrantRole, Role } from "../Permission.ts"
import { RefusalBody } from "../Refusal.ts"

/** A count of bytes, an offset or a version. */
export const Count = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }))

/** A version of a file: 1 for a new file, one more with every change of its content. */
export const Version = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER }))

export const Empty = Schema.Struct({})

/** A file; without `owner`, the caller's own. */
export const Target = { owner: Schema.optionalKey(Username), name: FileName }

/** A file, or a folder with all that is under it now and later. */
export const ShareableTarget = { owner: Schema.optionalKey(Username), name: Shareable }

/** Compare-and-swap: refused with `2:vcf` unless this is the file's current version. */
export const Expected = { expected_version: Schema.optionalKey(Version) }

/** What a file is on the machine that it comes from; what is not known is left out. */
export const Attributes = Schema.Struct({
  /** When its content was last changed there, in milliseconds since 1970. */
  modified_ms: Schema.optionalKey(
    Schema.Int.check(Schema.isBetween({ minimum: -8_640_000_000_000_000, maximum: 8_640_000_000_000_000 }))
  ),
  /** Whether it can be run. */
  executable: Schema.optionalKey(Schema.Boolean)
})
export type Attributes = typeof Attributes.Type

/** With content: what the sender knows of the file that it comes from. */
export const Attributed = { attributes: Schema.optionalKey(Attributes) }

export const FileInfo = Schema.Struct({
  owner: Username,
  name: FileName,
  size: Count,
  version: Version,
  created_at: Timestamp,
  modified_at: Timestamp,
  /** What the caller is to the file. */
  role: Role,
  public: Schema.Boolean,
  /** Who alone may change it, and until when; absent when nobody holds its lock. */
  locked_by: Schema.optionalKey(Username),
  locked_until: Schema.optionalKey(Timestamp),
  /** Of the whole content; absent while it has not been computed (after PATCH and APPEND). */
  sha256: Schema.optionalKey(Sha256),
  ...Attributed,
  /** When it was deleted; absent unless deleted files were asked for. */
  deleted_at: Schema.optionalKey(Timestamp)
})
export type FileInfo = typeof FileInfo.Type

/** The answer of every request that writes a file. */
export const Written = Schema.Struct({
  owner: Username,
  name: FileName,
  size: Count,
  version: Version,
  sha256: Schema.optionalKey(Sha256)
})
export type Written = typeof Written.Type

/** A file of a batch that was refused, as the refusal of a request about it alone would be. */
export const FileRefused = Schema.Struct({ name: FileName, code: RefusalCode, ...RefusalBody.fields })
export type FileRefused = typeof FileRefused.Type

/** A file of a batch that was written; its owner is that of all. */
export const FileWritten = Schema.Struct({
  name: FileName,
  size: Count,
  version: Version,
  sha256: Schema.optionalKey(Sha256)
})
export type FileWritten = typeof FileWritten.Type

/** A file of a batch whose whole content follows, behind that of the files before it in the same message. */
export const FileRead = Schema.Struct({ name: FileName, size: Count, version: Version, sha256: Sha256, ...Attributed })
export type FileRead = typeof FileRead.Type

/** Body of the first message that answers `Read`. */
export const ReadHead = Schema.Struct({
  owner: Username,
  name: FileName,
  /** Of the whole version, in bytes. */
  size: Count,
  version: Version,
  /** Where the content that follows begins, and how long it is. */
  position: Count,
  length: Count,
  /** Of the whole version, where it is known beforehand. */
  sha256: Schema.optionalKey(Sha256),
  ...Attributed
})
export type ReadHead = typeof ReadHead.Type

/** Body of the last message that answers `Read`, when the whole file was read and the head had no `sha256`. */
export const ReadTail = Schema.Struct({ sha256: Sha256 })

export const SessionGrant = Schema.Struct({
  username: Username,
  session_id: SessionId,
  token: AccessToken,
  token_expires_in_ms: Count,
  refresh_digest: RefreshDigest,
  refresh_expires_in_ms: Count
})
export type SessionGrant = typeof SessionGrant.Type

export const Storage = Schema.Struct({ bytes_used: Count, bytes_limit: Count, files_used: Count, files_limit: Count })
export type Storage = typeof Storage.Type

export const UserInfo = Schema.Struct({
  username: Username,
  created_at: Timestamp,
  sessions: Count,
  ...Storage.fields
})
export type UserInfo = typeof UserInfo.Type

export const SessionInfo = Schema.Struct({
  session_id: SessionId,
  device: DeviceId,
  address: Schema.String,
  created_at: Timestamp,
  last_seen_at: Timestamp,
  expires_at: Timestamp,
  /** True for the session that asks. */
  current: Schema.Boolean
})
export type SessionInfo = typeof SessionInfo.Type

export const GrantInfo = Schema.Struct({
  username: Username,
  role: GrantRole,
  granted_by: Username,
  granted_at: Timestamp,
  /** Absent: permanent. */
  expires_at: Schema.optionalKey(Timestamp),
  /** The folder that it was granted on, when that is not what was asked about. */
  through: Schema.optionalKey(FolderPrefix)
})
export type GrantInfo = typeof GrantInfo.Type

/** What a user may still do who lost a grant. */
export const Remaining = Schema.Struct({
  role: GrantRole,
  /** The folder by which; absent when the user has what everybody has, because it is public. */
  through: Schema.optionalKey(FolderPrefix)
})

export const VersionInfo = Schema.Struct({
  version: Version,
  size: Count,
  author: Username,
  modified_at: Timestamp,
  current: Schema.Boolean,
  sha256: Schema.optionalKey(Sha256),
  ...Attributed
})
export type VersionInfo = typeof VersionInfo.Type

/** What happened to a file, or to a right on it (docs/protocol.md, section 6). */
export const ChangeKind = Schema.Literals([
  "created",
  "written",
  "renamed",
  "deleted",
  "restored",
  "shared",
  "unshared",
  "given",
  "received"
])
export type ChangeKind = typeof ChangeKind.Type

/** An entry of a user's feed. */
export const ChangeInfo = Schema.Struct({
  /** Numbers of one feed grow by one. */
  sequence: Count,
  kind: ChangeKind,
  owner: Username,
  /** With `shared` and `unshared` it may be a folder. */
  name: Shareable,
  /** With `renamed`, and with `given` and `received` where the file was given another name. */
  new_name: Schema.optionalKey(FileName),
  version: Schema.optionalKey(Version),
  size: Schema.optionalKey(Count),
  /** With `shared` and `unshared`: the role that the user got or lost. */
  role: Schema.optionalKey(GrantRole),
  /** Who did it. */
  by: Username,
  at: Timestamp
})
export type ChangeInfo = typeof ChangeInfo.Type

/** Something that somebody did, or tried to. */
export const ActivityInfo = Schema.Struct({
  activity_id: Count,
  at: Timestamp,
  /** A request's name, `admin …`, or what the server noticed. */
  action: Schema.String,
  code: Schema.String,
  /** Who, and from where; names outlive their users. */
  username: Schema.optionalKey(Schema.String),
  address: Schema.String,
  owner: Schema.optionalKey(Schema.String),
  name: Schema.optionalKey(Schema.String),
  /** How often in a row; `at` and `duration_ms` are of the last time. */
  times: Count,
  duration_ms: Count,
  suspicious: Schema.Boolean,
  detail: Schema.Record(Schema.String, Schema.Union([Schema.String, Schema.Finite, Schema.Boolean]))
})
export type ActivityInfo = typeof ActivityInfo.Type

/** How an upload's content changes the file when it is committed; the rules of the request of that name hold. */
export const UploadMode = Schema.Literals(["create", "write", "replace", "append", "patch"])
export type UploadMode = typeof UploadMode.Type

/** An upload that is not finished. */
export const UploadInfo = Schema.Struct({
  upload_id: UploadId,
  owner: Username,
  name: FileName,
  mode: UploadMode,
  /** Bytes announced; absent when the client did not know. */
  size: Schema.optionalKey(Count),
  /** What is noted of it: what arrived in the last moments may be missing. */
  received_bytes: Count,
  /** When it is dropped, unless something is added to it. */
  expires_at: Timestamp
})
export type UploadInfo = typeof UploadInfo.Type

export const UploadState = Schema.Struct({
  upload_id: UploadId,
  /** Bytes announced; absent when the client did not know. */
  size: Schema.optionalKey(Count),
  /** What has arrived: `[from, to)` pairs, in order, not touching. */
  received: Schema.Array(Schema.Tuple([Count, Count])),
  expires_at: Timestamp
})
export type UploadState = typeof UploadState.Type

/** Checksums of blocks of an upload, in base64; `offset` is where the first block begins. */
export const BlockClaim = Schema.Struct({
  offset: Count,
  checksums: Schema.String.check(
    Schema.isPattern(/^(?:[A-Za-z0-9+/]{4}){1,1366}$|^(?:[A-Za-z0-9+/]{4}){0,1365}[A-Za-z0-9+/]{2,3}={1,2}$/, {
      message: "the checksums of at most 1024 blocks, 4 bytes each, in base64"
    })
  )
})

/** How long a lock is asked for: 10 minutes unless given, 7 days at most. */
export const LockDuration = Count.check(Schema.isBetween({ minimum: 1, maximum: MAX_LOCK_MS }))

/** Content that travels in the request; `sha256` is of the data sent, and checked. */
export const Content = { sha256: Schema.optionalKey(Sha256) }
