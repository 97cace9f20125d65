/** The INFO category: questions that change nothing. */
import { Schema } from "effect"
import { FileName, FolderPrefix, Shareable } from "../FileName.ts"
import { Fingerprint, Timestamp, Username } from "../Identity.ts"
import { Category, define } from "./define.ts"
import {
  ActivityInfo,
  ChangeInfo,
  Count,
  Empty,
  FileInfo,
  GrantInfo,
  SessionInfo,
  ShareableTarget,
  Storage,
  Target,
  UploadInfo,
  UserInfo,
  VersionInfo
} from "./values.ts"

export const infoRequests = {
  /** Asks the server whether it is there. */
  Heartbeat: define({
    category: Category.INFO,
    subcategory: 0,
    auth: "none",
    method: { name: "heartbeat" },
    idempotent: true,
    body: Empty,
    result: Schema.Struct({ server_version: Schema.String })
  }),
  /** Who may do what with a file or a folder, and why. */
  QueryPermission: define({
    category: Category.INFO,
    subcategory: 1,
    auth: "token",
    method: { name: "queryPermission", about: "shareable" },
    answered: "1:qa",
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
    category: Category.INFO,
    subcategory: 2,
    auth: "token",
    answered: "1:qa",
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
  /** How much one uses, of how much. */
  QueryStorage: define({
    category: Category.INFO,
    subcategory: 4,
    auth: "token",
    method: { name: "queryStorage" },
    answered: "1:qa",
    idempotent: true,
    body: Empty,
    result: Storage
  }),
  /** One's account. */
  QueryUser: define({
    category: Category.INFO,
    subcategory: 8,
    auth: "token",
    method: { name: "queryUser" },
    answered: "1:qa",
    idempotent: true,
    body: Empty,
    result: UserInfo
  }),
  Credentials: define({
    category: Category.INFO,
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
    category: Category.INFO,
    subcategory: 32,
    auth: "token",
    answered: "1:qa",
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
  /** Where one is logged in. */
  QuerySessions: define({
    category: Category.INFO,
    subcategory: 64,
    auth: "token",
    method: { name: "querySessions" },
    answered: "1:qa",
    idempotent: true,
    body: Empty,
    result: Schema.Struct({ sessions: Schema.Array(SessionInfo) })
  }),
  /** The versions of a file that can be read and restored. */
  QueryVersions: define({
    category: Category.INFO,
    subcategory: 256,
    auth: "token",
    method: { name: "queryVersions", about: "file" },
    answered: "1:qa",
    idempotent: true,
    body: Schema.Struct(Target),
    result: Schema.Struct({ owner: Username, name: FileName, versions: Schema.Array(VersionInfo) })
  }),
  Watch: define({
    category: Category.INFO,
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
    category: Category.INFO,
    subcategory: 2048,
    auth: "token",
    answered: "1:qa",
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
  /** One's own uploads that are not finished: what they hold of the server's disk, and until when. */
  QueryUploads: define({
    category: Category.INFO,
    subcategory: 8192,
    auth: "token",
    method: { name: "queryUploads" },
    answered: "1:qa",
    idempotent: true,
    body: Empty,
    /** The caller's own that are not finished, on whosever files, those first that expire first. */
    result: Schema.Struct({ uploads: Schema.Array(UploadInfo) })
  })
} as const
