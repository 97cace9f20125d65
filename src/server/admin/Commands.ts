/**
 * What `fip admin` may ask of a running server: each command's input and result, as JSON. Both ends read this table and
 * nothing else. To add a command, add an entry; the server does not compile until it has a handler for it.
 */
import { type Result, Schema } from "effect"
import { Fingerprint, SessionId, Timestamp, Username } from "../../protocol/Identity.ts"
import { type Decoder, makeDecoder } from "../../protocol/Json.ts"
import type { Refusal } from "../../protocol/Refusal.ts"
import { ActivityInfo, Count, Storage } from "../../protocol/Request.ts"

const Empty = Schema.Struct({})

export const AdminUser = Schema.Struct({
  username: Username,
  created_at: Timestamp,
  /** Sessions that live. */
  sessions: Count,
  /** While the user is banned; `null` without an end. */
  banned_until: Schema.optionalKey(Schema.NullOr(Timestamp)),
  ...Storage.fields
})
export type AdminUser = typeof AdminUser.Type

export const AdminSession = Schema.Struct({
  username: Username,
  session_id: SessionId,
  device: Schema.String,
  address: Schema.String,
  created_at: Timestamp,
  last_seen_at: Timestamp,
  expires_at: Timestamp
})
export type AdminSession = typeof AdminSession.Type

export const AdminBan = Schema.Struct({
  username: Username,
  reason: Schema.String,
  banned_at: Timestamp,
  /** `null`: without an end. */
  expires_at: Schema.NullOr(Timestamp),
  lifted_at: Schema.NullOr(Timestamp),
  /** False for history. */
  active: Schema.Boolean
})
export type AdminBan = typeof AdminBan.Type

export const AdminInvite = Schema.Struct({
  invite_id: Count,
  uses_left: Count,
  uses: Count,
  created_at: Timestamp,
  /** `null`: without an end. */
  expires_at: Schema.NullOr(Timestamp)
})
export type AdminInvite = typeof AdminInvite.Type

/** A key that the server has had. */
export const AdminKey = Schema.Struct({
  fingerprint: Fingerprint,
  generation: Count,
  sequence: Count,
  since: Timestamp,
  reason: Schema.Literals(["first", "scheduled", "requested", "compromised"]),
  vouched_by: Schema.Literals(["itself", "the key before", "the recovery key"])
})
export type AdminKey = typeof AdminKey.Type

const AdminCertificate = Schema.Struct({
  server_id: Schema.String,
  live: AdminKey,
  next: Fingerprint,
  recovery: Schema.NullOr(Fingerprint)
})

/** Something that is wrong with what is stored. */
export const AdminFinding = Schema.Struct({
  kind: Schema.Literals(["damaged", "version", "quota", "upload"]),
  /** A segment, a file (`owner/name`), a user, an upload. */
  subject: Schema.String,
  message: Schema.String,
  repaired: Schema.Boolean
})
export type AdminFinding = typeof AdminFinding.Type

export const AdminFsck = Schema.Struct({
  /** What was checked; `bytes` are those that versions need. */
  segments: Count,
  bytes: Count,
  files: Count,
  versions: Count,
  users: Count,
  uploads: Count,
  /** What nothing refers to, and what of it was removed. */
  orphan_segments: Count,
  orphan_bytes: Count,
  removed_segments: Count,
  removed_bytes: Count,
  problems: Count,
  repaired: Count,
  /** The first of the problems. */
  findings: Schema.Array(AdminFinding)
})
export type AdminFsck = typeof AdminFsck.Type

export const AdminBackup = Schema.Struct({
  folder: Schema.String,
  /** The name of this backup among those in the folder. */
  backup: Schema.String,
  created_at: Timestamp,
  rows: Count,
  files: Count,
  /** What the backup needs of segments, and what of it was not in the folder yet. */
  bytes: Count,
  segments: Count,
  bytes_copied: Count,
  segments_copied: Count,
  /** Blocks that are damaged on the server. */
  damaged_blocks: Count,
  backups_removed: Count
})
export type AdminBackup = typeof AdminBackup.Type

/** How long something lasts; `null` without an end. At most a thousand years, so that it ends at an instant. */
const Millis = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1000 * 366 * 86_400_000 }))
const Lasting = Schema.NullOr(Millis)

/** A limit of one user: a number, or `default` for the server's own. */
const Limit = Schema.Union([Count, Schema.Literal("default")])

export interface Definition<I, R> {
  /** It can be stopped at any point, and is when nobody waits for it any more, or when the server stops. */
  readonly isStoppable: boolean
  readonly decodeInput: Decoder<I>
  readonly decodeResult: Decoder<R>
}

const define = <I, IE, R, RE>(definition: {
  readonly input: Schema.Codec<I, IE>
  readonly result: Schema.Codec<R, RE>
  readonly isStoppable?: boolean
}): Definition<I, R> => ({
  isStoppable: definition.isStoppable ?? false,
  decodeInput: makeDecoder(definition.input, "2:ibv"),
  decodeResult: makeDecoder(definition.result, "3:?")
})

export const AdminCommands = {
  "users list": define({ input: Empty, result: Schema.Struct({ users: Schema.Array(AdminUser) }) }),
  "users show": define({ input: Schema.Struct({ username: Username }), result: AdminUser }),
  "users quota": define({
    /** What is left out stays as it is. */
    input: Schema.Struct({
      username: Username,
      bytes_limit: Schema.optionalKey(Limit),
      files_limit: Schema.optionalKey(Limit)
    }),
    result: AdminUser
  }),
  "users delete": define({
    input: Schema.Struct({ username: Username }),
    result: Schema.Struct({ username: Username, files_deleted: Count, bytes_deleted: Count, sessions_ended: Count })
  }),
  "users reset-password": define({
    input: Schema.Struct({ username: Username, lasts_ms: Millis }),
    /** `code` is good once, in place of the password, to set a new one. It is shown here and never again. */
    result: Schema.Struct({ username: Username, code: Schema.String, expires_at: Timestamp })
  }),
  "sessions list": define({
    input: Schema.Struct({ username: Schema.optionalKey(Username) }),
    result: Schema.Struct({ sessions: Schema.Array(AdminSession) })
  }),
  "sessions end": define({
    /** One session, or all of a user. */
    input: Schema.Union([Schema.Struct({ session_id: SessionId }), Schema.Struct({ username: Username })]),
    result: Schema.Struct({ sessions_ended: Count })
  }),
  ban: define({
    input: Schema.Struct({
      username: Username,
      reason: Schema.String.check(Schema.isMaxLength(1000)),
      lasts_ms: Lasting
    }),
    result: Schema.Struct({ username: Username, expires_at: Schema.NullOr(Timestamp), sessions_ended: Count })
  }),
  unban: define({
    input: Schema.Struct({ username: Username }),
    result: Schema.Struct({ username: Username })
  }),
  bans: define({
    /** `all`: those that are over, too. */
    input: Schema.Struct({ username: Schema.optionalKey(Username), all: Schema.Boolean }),
    result: Schema.Struct({ bans: Schema.Array(AdminBan) })
  }),
  "invites create": define({
    input: Schema.Struct({
      uses: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1_000_000 })),
      lasts_ms: Lasting
    }),
    /** `code` is shown here and never again. */
    result: Schema.Struct({ code: Schema.String, ...AdminInvite.fields })
  }),
  "invites list": define({ input: Empty, result: Schema.Struct({ invites: Schema.Array(AdminInvite) }) }),
  "invites revoke": define({
    input: Schema.Struct({ invite_id: Count }),
    result: Schema.Struct({ invite_id: Count })
  }),
  fsck: define({ input: Schema.Struct({ repair: Schema.Boolean }), result: AdminFsck, isStoppable: true }),
  backup: define({
    /** `keep`: so many backups stay in the folder; `null`: all. */
    input: Schema.Struct({
      folder: Schema.String,
      keep: Schema.NullOr(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1_000_000 })))
    }),
    result: AdminBackup,
    isStoppable: true
  }),
  log: define({
    input: Schema.Struct({
      username: Schema.optionalKey(Username),
      /** How far back. */
      since_ms: Schema.optionalKey(Millis),
      suspicious: Schema.Boolean,
      limit: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 10_000 })),
      /** Only what was recorded after this one, the oldest first. */
      after: Schema.optionalKey(Count)
    }),
    /** The newest first, unless `after` was given. */
    result: Schema.Struct({ activities: Schema.Array(ActivityInfo) })
  }),
  "certificate show": define({ input: Empty, result: AdminCertificate }),
  "certificate rotate": define({
    input: Schema.Struct({ reason: Schema.Literals(["requested", "compromised"]) }),
    result: AdminCertificate
  }),
  "certificate history": define({ input: Empty, result: Schema.Struct({ keys: Schema.Array(AdminKey) }) }),
  /** Keys and records are in base64. */
  "certificate recovery pin": define({
    input: Schema.Struct({ public_key: Schema.String }),
    result: AdminCertificate
  }),
  "certificate recovery prepare": define({ input: Empty, result: Schema.Struct({ record: Schema.String }) }),
  "certificate recovery apply": define({ input: Schema.Struct({ signed: Schema.String }), result: AdminCertificate })
} as const

export type AdminCommandName = keyof typeof AdminCommands
type Decoded<D> = D extends Decoder<infer A> ? A : never
export type AdminInput<K extends AdminCommandName> = Decoded<typeof AdminCommands[K]["decodeInput"]>
export type AdminResult<K extends AdminCommandName> = Decoded<typeof AdminCommands[K]["decodeResult"]>

const table: { readonly [K in AdminCommandName]: Definition<AdminInput<K>, AdminResult<K>> } = AdminCommands

export const isAdminCommandName = (name: string): name is AdminCommandName => Object.hasOwn(AdminCommands, name)

export const isStoppable = (name: AdminCommandName): boolean => table[name].isStoppable

export const decodeAdminInput = <K extends AdminCommandName>(
  name: K,
  bytes: Uint8Array
): Result.Result<AdminInput<K>, Refusal> => table[name].decodeInput(bytes)

export const decodeAdminResult = <K extends AdminCommandName>(
  name: K,
  bytes: Uint8Array
): Result.Result<AdminResult<K>, Refusal> => table[name].decodeResult(bytes)
