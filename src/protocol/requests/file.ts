/** The FILE category: files and their content, also in parts. */
import { Schema } from "effect"
import { FileName } from "../FileName.ts"
import { Sha256, UploadId, Username } from "../Identity.ts"
import { MAX_BATCH_FILES } from "../Limits.ts"
import { Category, define } from "./define.ts"
import {
  Attributed,
  BlockClaim,
  Content,
  Count,
  Expected,
  FileRead,
  FileRefused,
  FileWritten,
  ReadHead,
  Target,
  UploadMode,
  UploadState,
  Version,
  Written
} from "./values.ts"

/** What a request says of each of several files. */
const batchOf = <S extends Schema.Top>(one: S) =>
  Schema.Array(one).check(
    Schema.isMinLength(1, { message: "one file at least" }),
    Schema.isMaxLength(MAX_BATCH_FILES, { message: `at most ${MAX_BATCH_FILES} files in one request` })
  )

export const fileRequests = {
  Create: define({
    category: Category.FILE,
    subcategory: 1,
    auth: "token",
    remembered: { when: "foreign", says: "file made" },
    answered: "1:fnew",
    data: "in",
    body: Schema.Struct({ ...Target, ...Content, ...Attributed }),
    result: Written
  }),
  Read: define({
    category: Category.FILE,
    subcategory: 2,
    auth: "token",
    remembered: { when: "foreign", says: "file read" },
    data: "out",
    idempotent: true,
    body: Schema.Struct({
      ...Target,
      position: Schema.optionalKey(Count),
      limit: Schema.optionalKey(Count),
      version: Schema.optionalKey(Version),
      /** False: the hash alone, computed where nobody knows it yet. */
      content: Schema.optionalKey(Schema.Boolean)
    }),
    result: ReadHead
  }),
  Patch: define({
    category: Category.FILE,
    subcategory: 4,
    auth: "token",
    remembered: { when: "foreign", says: "file patched" },
    answered: "1:amnd",
    data: "in",
    body: Schema.Struct({ ...Target, ...Expected, ...Content, position: Count }),
    result: Written
  }),
  Replace: define({
    category: Category.FILE,
    subcategory: 8,
    auth: "token",
    remembered: { when: "foreign", says: "file replaced" },
    answered: "1:amnd",
    data: "in",
    body: Schema.Struct({ ...Target, ...Expected, ...Content, ...Attributed }),
    result: Written
  }),
  Append: define({
    category: Category.FILE,
    subcategory: 16,
    auth: "token",
    remembered: { when: "foreign", says: "file appended to" },
    answered: "1:amnd",
    data: "in",
    body: Schema.Struct({ ...Target, ...Expected, ...Content }),
    result: Written
  }),
  /** Deletes a file. It can be restored while its versions are kept. */
  Delete: define({
    category: Category.FILE,
    subcategory: 32,
    auth: "token",
    remembered: { when: "always", says: "file deleted" },
    method: { name: "delete", about: "file" },
    answered: "1:fdel",
    body: Schema.Struct({ ...Target, ...Expected }),
    result: Schema.Struct({ owner: Username, name: FileName })
  }),
  Rename: define({
    category: Category.FILE,
    subcategory: 64,
    auth: "token",
    remembered: { when: "always", says: "file renamed" },
    answered: "1:ren",
    body: Schema.Struct({ ...Target, ...Expected, new_name: FileName }),
    result: Written
  }),
  Copy: define({
    category: Category.FILE,
    subcategory: 128,
    auth: "token",
    remembered: { when: "foreign", says: "file copied" },
    answered: "1:cpy",
    /** The copy is the caller's own. */
    body: Schema.Struct({ ...Target, ...Expected, new_name: FileName }),
    result: Written
  }),
  Restore: define({
    category: Category.FILE,
    subcategory: 256,
    auth: "token",
    remembered: { when: "foreign", says: "file restored" },
    answered: "1:rst",
    /** Without `version`, a file that was deleted comes back. */
    body: Schema.Struct({ ...Target, ...Expected, version: Schema.optionalKey(Version) }),
    result: Written
  }),
  UploadBegin: define({
    category: Category.FILE,
    subcategory: 512,
    auth: "token",
    answered: "1:ubeg",
    body: Schema.Struct({
      ...Target,
      ...Expected,
      ...Attributed,
      mode: UploadMode,
      /** Bytes to come, when they are known: over the quota is then refused at once. */
      size: Schema.optionalKey(Count),
      /** With `patch`: where the content goes. */
      position: Schema.optionalKey(Count)
    }),
    result: UploadState
  }),
  UploadPart: define({
    category: Category.FILE,
    subcategory: 1024,
    auth: "token",
    answered: "1:upart",
    data: "in",
    idempotent: true,
    body: Schema.Struct({ upload_id: UploadId, offset: Count }),
    result: Schema.Struct({ upload_id: UploadId, offset: Count, length: Count })
  }),
  UploadStatus: define({
    category: Category.FILE,
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
    category: Category.FILE,
    subcategory: 4096,
    auth: "token",
    remembered: { when: "foreign", says: "file uploaded" },
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
    category: Category.FILE,
    subcategory: 8192,
    auth: "token",
    idempotent: true,
    body: Schema.Struct({ upload_id: UploadId }),
    result: Schema.Struct({ upload_id: UploadId })
  }),
  Write: define({
    category: Category.FILE,
    subcategory: 16384,
    auth: "token",
    remembered: { when: "foreign", says: "file written" },
    data: "in",
    body: Schema.Struct({ ...Target, ...Expected, ...Content, ...Attributed }),
    result: Written
  }),
  WriteMany: define({
    category: Category.FILE,
    subcategory: 32768,
    auth: "token",
    answered: "1:many",
    data: "in",
    body: Schema.Struct({
      owner: Schema.optionalKey(Username),
      /** What becomes of each file, by the rules of the request of that name; `write` unless given. */
      mode: Schema.optionalKey(Schema.Literals(["create", "write", "replace"])),
      /** The data is their contents, one behind the other. */
      files: batchOf(Schema.Struct({ name: FileName, size: Count, ...Expected, ...Content, ...Attributed }))
    }),
    /** In the order of the request. */
    result: Schema.Struct({ owner: Username, files: Schema.Array(Schema.Union([FileWritten, FileRefused])) })
  }),
  ReadMany: define({
    category: Category.FILE,
    subcategory: 65536,
    auth: "token",
    data: "out",
    idempotent: true,
    body: Schema.Struct({
      owner: Schema.optionalKey(Username),
      names: batchOf(FileName)
    }),
    /** Each message has such a body, and the contents of the files in it as its data. */
    result: Schema.Struct({ owner: Username, files: Schema.Array(Schema.Union([FileRead, FileRefused])) })
  })
} as const
