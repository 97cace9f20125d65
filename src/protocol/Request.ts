/**
 * Every request of the protocol: its place in the header's vocabulary, what it must bring, and what it is answered with
 * (docs/protocol.md, section 6). Both ends read this table and nothing else: the server dispatches by it, the client
 * encodes and decodes by it.
 *
 * To add a request, add an entry here; the server's dispatch table and the client then do not compile until they know
 * it.
 */
import { type Result, Schema } from "effect"
import { FileName, FolderPrefix, Shareable } from "./FileName.ts"
import {
  AccessToken,
  DeviceId,
  Fingerprint,
  InviteCode,
  Password,
  RefreshDigest,
  SessionId,
  Sha256,
  Timestamp,
  UploadId,
  Username
} from "./Identity.ts"
import { type Decoder, makeDecoder } from "./Json.ts"
import { MAX_LOCK_MS } from "./Limits.ts"
import { GrantRole, Role } from "./Permission.ts"
import type { Refusal } from "./Refusal.ts"

/** Header field `category`. */
export const Category = { INFO: 1, AUTH: 2, FILE: 4, PERMISSION: 8 } as const

/** A count of bytes, an offset or a version. */
export const Count = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }))

/** A version of a file: 1 for a new file, one more with every change of its content. */
export const Version = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER }))

// --- auth components ------------------------------------------------------------------------------------------------

/** Proof by access token. */
export const TokenAuth = Schema.Struct({ token: AccessToken })
/** Proof by password. `token`, where it is given, names the caller's own session (`ChangePassword` keeps it). */
export const PasswordAuth = Schema.Struct({
  identity: Username,
  password: Password,
  token: Schema.optionalKey(AccessToken)
})
/** Proof by refresh digest, from the device that it was given to. */
export const DigestAuth = Schema.Struct({ refresh_digest: RefreshDigest, device: DeviceId })
export const NoAuth = Schema.Struct({})

export const AuthSchemas = { none: NoAuth, token: TokenAuth, password: PasswordAuth, digest: DigestAuth } as const
export type AuthKind = keyof typeof AuthSchemas
export type AuthOf<A extends AuthKind> = typeof AuthSchemas[A]["Type"]

// --- what requests are about, and what they are answered with ---------------------------------------------------------

const Empty = Schema.Struct({})

/** A file; without `owner`, the caller's own. */
const Target = { owner: Schema.optionalKey(Username), name: FileName }

/** A file, or a folder with all that is under it now and later. */
const ShareableTarget = { owner: Schema.optionalKey(Username), name: Shareable }

/** Compare-and-swap: refused with `2:vcf` unless this is the file's current version. */
const Expected = { expected_version: Schema.optionalKey(Version) }

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
  sha256: Schema.optionalKey(Sha256)
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
  sha256: Schema.optionalKey(Sha256)
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
const BlockClaim = Schema.Struct({
  offset: Count,
  checksums: Schema.String.check(
    Schema.isPattern(/^(?:[A-Za-z0-9+/]{4}){1,1366}$|^(?:[A-Za-z0-9+/]{4}){0,1365}[A-Za-z0-9+/]{2,3}={1,2}$/, {
      message: "the checksums of at most 1024 blocks, 4 bytes each, in base64"
    })
  )
})

/** How long a lock is asked for: 10 minutes unless given, 7 days at most. */
const LockDuration = Count.check(Schema.isBetween({ minimum: 1, maximum: MAX_LOCK_MS }))

/** Content that travels in the request; `sha256` is of the data sent, and checked. */
const Content = { sha256: Schema.optionalKey(Sha256) }

// --- the table ----------------------------------------------------------------------------------------------------

interface Definition<A extends AuthKind, B, R> {
  readonly category: number
  readonly subcategory: number
  readonly auth: A
  /** `in`: the request may carry data; `out`: the reply may. */
  readonly data: "none" | "in" | "out"
  /** True when it is safe to send again after a lost reply. */
  readonly idempotent: boolean
  readonly decodeBody: Decoder<B>
  readonly decodeResult: Decoder<R>
}

const define = <A extends AuthKind, B, BE, R, RE>(definition: {
  readonly category: number
  readonly subcategory: number
  readonly auth: A
  readonly body: Schema.Codec<B, BE>
  readonly result: Schema.Codec<R, RE>
  readonly data?: "in" | "out"
  readonly idempotent?: boolean
}): Definition<A, B, R> => ({
  category: definition.category,
  subcategory: definition.subcategory,
  auth: definition.auth,
  data: definition.data ?? "none",
  idempotent: definition.idempotent ?? false,
  decodeBody: makeDecoder(definition.body, "2:ibv"),
  decodeResult: makeDecoder(definition.result, "3:?")
})

const { INFO, AUTH, FILE, PERMISSION } = Category

export const Requests = {
  Heartbeat: define({
    category: INFO,
    subcategory: 0,
    auth: "none",
    idempotent: true,
    body: Empty,
    result: Schema.Struct({ server_version: Schema.String })
  }),
  QueryPermission: define({
    category: INFO,
    subcategory: 1,
    auth: "token",
    idempotent: true,
    body: Schema.Struct(ShareableTarget),
    result: Schema.Struct({
      owner: Username,
      name: Shareable,
      public: Schema.Boolean,
      /** The folder by which it is public, when it is not by itself. */
      public_through: Schema.optionalKey(FolderPrefix),
      grants: Schema.Array(GrantInfo)
    })
  }),
  QueryFile: define({
    category: INFO,
    subcategory: 2,
    auth: "token",
    idempotent: true,
    /** `verbose`: with how often it was read. */
    body: Schema.Struct({ ...Target, verbose: Schema.optionalKey(Schema.Boolean) }),
    result: Schema.Struct({
      ...FileInfo.fields,
      /** How often somebody began to read it, and when last. */
      reads: Schema.optionalKey(Count),
      last_read_at: Schema.optionalKey(Timestamp)
    })
  }),
  QueryStorage: define({
    category: INFO,
    subcategory: 4,
    auth: "token",
    idempotent: true,
    body: Empty,
    result: Storage
  }),
  QueryUser: define({
    category: INFO,
    subcategory: 8,
    auth: "token",
    idempotent: true,
    body: Empty,
    result: UserInfo
  }),
  Credentials: define({
    category: INFO,
    subcategory: 16,
    auth: "none",
    idempotent: true,
    /** The key that the client has pinned: the answer then proves how the live one follows from it. */
    body: Schema.Struct({ pinned: Schema.optionalKey(Fingerprint) }),
    /** All in base64; src/protocol/Continuity.ts has the bytes. */
    result: Schema.Struct({
      statement: Schema.String,
      pinned_key: Schema.optionalKey(Schema.String),
      records: Schema.Array(Schema.String)
    })
  }),
  List: define({
    category: INFO,
    subcategory: 32,
    auth: "token",
    idempotent: true,
    body: Schema.Struct({
      owner: Schema.optionalKey(Username),
      /** Only names under this folder. */
      prefix: Schema.optionalKey(FolderPrefix),
      /** All files below, instead of one level and its folders. */
      recursive: Schema.optionalKey(Schema.Boolean),
      /** `own` (default): files of `owner`; `shared`: granted to the caller; `public`: of anybody. */
      scope: Schema.optionalKey(Schema.Literals(["own", "shared", "public"])),
      /** The caller's own deleted files, those that can still be restored, instead of the others. */
      deleted: Schema.optionalKey(Schema.Boolean),
      limit: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1000 }))),
      /** `next` of the page before. */
      after: Schema.optionalKey(Schema.String)
    }),
    result: Schema.Struct({
      /** Names of folders, each with the `/` at its end. Empty when `recursive`. */
      folders: Schema.Array(Schema.String),
      files: Schema.Array(FileInfo),
      /** Present when there is more: pass it as `after`. */
      next: Schema.optionalKey(Schema.String)
    })
  }),
  QuerySessions: define({
    category: INFO,
    subcategory: 64,
    auth: "token",
    idempotent: true,
    body: Empty,
    result: Schema.Struct({ sessions: Schema.Array(SessionInfo) })
  }),
  QueryVersions: define({
    category: INFO,
    subcategory: 256,
    auth: "token",
    idempotent: true,
    body: Schema.Struct(Target),
    result: Schema.Struct({ owner: Username, name: FileName, versions: Schema.Array(VersionInfo) })
  }),
  Watch: define({
    category: INFO,
    subcategory: 1024,
    auth: "token",
    idempotent: true,
    body: Schema.Struct({
      /** Whose feed; without it, the caller's own. */
      owner: Schema.optionalKey(Username),
      /** Only changes below this folder, or of the file `name`; without either, all. */
      prefix: Schema.optionalKey(FolderPrefix),
      name: Schema.optionalKey(FileName),
      /** `next` of the answer before; without it, the answer only says where the feed is now. */
      since: Schema.optionalKey(Count),
      /** How long to wait for a change when there is none. */
      wait_ms: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 30_000 })))
    }),
    result: Schema.Struct({
      changes: Schema.Array(ChangeInfo),
      /** To be passed as `since`. */
      next: Count
    })
  }),
  QueryActivity: define({
    category: INFO,
    subcategory: 2048,
    auth: "token",
    idempotent: true,
    body: Schema.Struct({
      /** Without a file: what the caller did, and what others did to the caller's files. */
      owner: Schema.optionalKey(Username),
      name: Schema.optionalKey(FileName),
      limit: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1000 }))),
      /** `next` of the page before. */
      before: Schema.optionalKey(Count)
    }),
    result: Schema.Struct({
      /** The newest first. */
      activities: Schema.Array(ActivityInfo),
      /** Present when there may be more: pass it as `before`. */
      next: Schema.optionalKey(Count)
    })
  }),

  Register: define({
    category: AUTH,
    subcategory: 1,
    auth: "password",
    /** `invite`: where registration is by invitation. */
    body: Schema.Struct({ invite: Schema.optionalKey(InviteCode) }),
    result: Schema.Struct({ username: Username })
  }),
  Login: define({
    category: AUTH,
    subcategory: 2,
    auth: "password",
    idempotent: true,
    body: Schema.Struct({ device: DeviceId }),
    result: SessionGrant
  }),
  Refresh: define({
    category: AUTH,
    subcategory: 4,
    auth: "digest",
    idempotent: true,
    body: Empty,
    result: SessionGrant
  }),
  ChangePassword: define({
    category: AUTH,
    subcategory: 8,
    auth: "password",
    body: Schema.Struct({ new_password: Password }),
    result: Schema.Struct({ username: Username, sessions_ended: Count })
  }),
  DeleteUser: define({
    category: AUTH,
    subcategory: 16,
    auth: "password",
    body: Empty,
    result: Schema.Struct({ username: Username, files_deleted: Count, bytes_deleted: Count })
  }),
  Logout: define({
    category: AUTH,
    subcategory: 32,
    auth: "token",
    idempotent: true,
    /** Without `session_id`, the session that asks. */
    body: Schema.Struct({ session_id: Schema.optionalKey(SessionId) }),
    result: Schema.Struct({ session_id: SessionId })
  }),

  Create: define({
    category: FILE,
    subcategory: 1,
    auth: "token",
    data: "in",
    body: Schema.Struct({ ...Target, ...Content }),
    result: Written
  }),
  Read: define({
    category: FILE,
    subcategory: 2,
    auth: "token",
    data: "out",
    idempotent: true,
    body: Schema.Struct({
      ...Target,
      position: Schema.optionalKey(Count),
      limit: Schema.optionalKey(Count),
      version: Schema.optionalKey(Version)
    }),
    result: ReadHead
  }),
  Patch: define({
    category: FILE,
    subcategory: 4,
    auth: "token",
    data: "in",
    body: Schema.Struct({ ...Target, ...Expected, ...Content, position: Count }),
    result: Written
  }),
  Replace: define({
    category: FILE,
    subcategory: 8,
    auth: "token",
    data: "in",
    body: Schema.Struct({ ...Target, ...Expected, ...Content }),
    result: Written
  }),
  Append: define({
    category: FILE,
    subcategory: 16,
    auth: "token",
    data: "in",
    body: Schema.Struct({ ...Target, ...Expected, ...Content }),
    result: Written
  }),
  Delete: define({
    category: FILE,
    subcategory: 32,
    auth: "token",
    body: Schema.Struct({ ...Target, ...Expected }),
    result: Schema.Struct({ owner: Username, name: FileName })
  }),
  Rename: define({
    category: FILE,
    subcategory: 64,
    auth: "token",
    body: Schema.Struct({ ...Target, ...Expected, new_name: FileName }),
    result: Written
  }),
  Copy: define({
    category: FILE,
    subcategory: 128,
    auth: "token",
    /** The copy is the caller's own. */
    body: Schema.Struct({ ...Target, ...Expected, new_name: FileName }),
    result: Written
  }),
  Restore: define({
    category: FILE,
    subcategory: 256,
    auth: "token",
    /** Without `version`, a file that was deleted comes back. */
    body: Schema.Struct({ ...Target, ...Expected, version: Schema.optionalKey(Version) }),
    result: Written
  }),
  UploadBegin: define({
    category: FILE,
    subcategory: 512,
    auth: "token",
    body: Schema.Struct({
      ...Target,
      ...Expected,
      mode: UploadMode,
      /** Bytes to come, when they are known: over the quota is then refused at once. */
      size: Schema.optionalKey(Count),
      /** With `patch`: where the content goes. */
      position: Schema.optionalKey(Count)
    }),
    result: UploadState
  }),
  UploadPart: define({
    category: FILE,
    subcategory: 1024,
    auth: "token",
    data: "in",
    idempotent: true,
    body: Schema.Struct({ upload_id: UploadId, offset: Count }),
    result: Schema.Struct({ upload_id: UploadId, offset: Count, length: Count })
  }),
  UploadStatus: define({
    category: FILE,
    subcategory: 2048,
    auth: "token",
    idempotent: true,
    body: Schema.Struct({
      upload_id: UploadId,
      /** Blocks that the client has sent: those that are there, whatever the server knows of them, count as arrived. */
      claim: Schema.optionalKey(BlockClaim)
    }),
    result: UploadState
  }),
  UploadCommit: define({
    category: FILE,
    subcategory: 4096,
    auth: "token",
    idempotent: true,
    /** One of the two at least, and both are compared. */
    body: Schema.Struct({
      upload_id: UploadId,
      sha256: Schema.optionalKey(Sha256),
      blocks_sha256: Schema.optionalKey(Sha256)
    }),
    result: Written
  }),
  UploadAbort: define({
    category: FILE,
    subcategory: 8192,
    auth: "token",
    idempotent: true,
    body: Schema.Struct({ upload_id: UploadId }),
    result: Schema.Struct({ upload_id: UploadId })
  }),
  Write: define({
    category: FILE,
    subcategory: 16384,
    auth: "token",
    data: "in",
    body: Schema.Struct({ ...Target, ...Expected, ...Content }),
    result: Written
  }),

  Grant: define({
    category: PERMISSION,
    subcategory: 1,
    auth: "token",
    idempotent: true,
    body: Schema.Struct({
      ...ShareableTarget,
      username: Username,
      role: GrantRole,
      /** Absent: permanent. */
      duration_ms: Schema.optionalKey(Count.check(Schema.isGreaterThan(0)))
    }),
    result: Schema.Struct({ owner: Username, name: Shareable, ...GrantInfo.fields })
  }),
  Revoke: define({
    category: PERMISSION,
    subcategory: 2,
    auth: "token",
    body: Schema.Struct({ ...ShareableTarget, username: Username }),
    result: Schema.Struct({
      owner: Username,
      name: Shareable,
      username: Username,
      role: GrantRole,
      remaining: Schema.optionalKey(Remaining)
    })
  }),
  Hide: define({
    category: PERMISSION,
    subcategory: 4,
    auth: "token",
    idempotent: true,
    body: Schema.Struct(ShareableTarget),
    result: Schema.Struct({ owner: Username, name: Shareable, public: Schema.Boolean })
  }),
  Publicise: define({
    category: PERMISSION,
    subcategory: 8,
    auth: "token",
    idempotent: true,
    body: Schema.Struct(ShareableTarget),
    result: Schema.Struct({ owner: Username, name: Shareable, public: Schema.Boolean })
  }),
  Transfer: define({
    category: PERMISSION,
    subcategory: 16,
    auth: "token",
    body: Schema.Struct({ ...Target, username: Username, new_name: Schema.optionalKey(FileName) }),
    result: Written
  }),
  Lock: define({
    category: PERMISSION,
    subcategory: 256,
    auth: "token",
    idempotent: true,
    body: Schema.Struct({ ...Target, duration_ms: Schema.optionalKey(LockDuration) }),
    result: Schema.Struct({ owner: Username, name: FileName, locked_by: Username, locked_until: Timestamp })
  }),
  Unlock: define({
    category: PERMISSION,
    subcategory: 512,
    auth: "token",
    idempotent: true,
    /** `force`: somebody else's lock as well, which is the owner's right. */
    body: Schema.Struct({ ...Target, force: Schema.optionalKey(Schema.Boolean) }),
    result: Schema.Struct({
      owner: Username,
      name: FileName,
      /** Whose lock was ended; absent when there was none. */
      unlocked: Schema.optionalKey(Username)
    })
  })
} as const

export type Requests = typeof Requests
export type RequestName = keyof Requests
export type AuthKindOf<K extends RequestName> = Requests[K]["auth"]
type Decoded<D> = D extends Decoder<infer A> ? A : never
export type BodyOf<K extends RequestName> = Decoded<Requests[K]["decodeBody"]>
export type ResultOf<K extends RequestName> = Decoded<Requests[K]["decodeResult"]>

const table: { readonly [K in RequestName]: Definition<AuthKindOf<K>, BodyOf<K>, ResultOf<K>> } = Requests

/** Decodes an auth component of a kind. */
export const decodeAuth: { readonly [A in AuthKind]: Decoder<AuthOf<A>> } = {
  none: makeDecoder(NoAuth, "2:ias"),
  token: makeDecoder(TokenAuth, "2:ias"),
  password: makeDecoder(PasswordAuth, "2:ias"),
  digest: makeDecoder(DigestAuth, "2:ias")
}

/** Decodes the body of a request. */
export const decodeBody = <K extends RequestName>(name: K, bytes: Uint8Array): Result.Result<BodyOf<K>, Refusal> =>
  table[name].decodeBody(bytes)

/** Decodes the body of the (first) reply that answers a request. */
export const decodeResult = <K extends RequestName>(name: K, bytes: Uint8Array): Result.Result<ResultOf<K>, Refusal> =>
  table[name].decodeResult(bytes)

/** Decodes the last body of a `Read`. */
export const decodeReadTail = makeDecoder(ReadTail, "3:?")

const isRequestName = (name: string): name is RequestName => Object.hasOwn(Requests, name)

/** All requests, in the order of the table. */
export const requestNames: ReadonlyArray<RequestName> = Object.keys(Requests).filter(isRequestName)

const numbers = new Map<number, RequestName>(
  requestNames.map((name) => [Requests[name].category * 65536 + Requests[name].subcategory, name])
)

/** The request with these header numbers; `undefined` when there is none. */
export const requestOf = (category: number, subcategory: number): RequestName | undefined =>
  subcategory < 65536 ? numbers.get(category * 65536 + subcategory) : undefined
