/** Transfers between the disk of this machine and the server. */
import { Effect, Option, type Scope } from "effect"
import type { UploadId } from "../../protocol/Identity.ts"
import type { ResultOf, UploadMode, Written } from "../../protocol/Request.ts"
import type { RequestError, TransferError } from "../ClientError.ts"
import { download } from "../Download.ts"
import { downloadMany, uploadMany } from "../FileSet.ts"
import { FileFailed, type FileSetOptions, type FileToFetch, type FileToSend } from "../fileSetTypes.ts"
import type { Journal } from "../Journal.ts"
import { upload } from "../Transfer.ts"
import type { WriteOptions } from "./files.ts"
import { type FileInput, refOf } from "./inputs.ts"
import type { ClientParts } from "./parts.ts"

/** Called as bytes move; cheap to ignore. `total` is `undefined` while it is not known. */
export type OnProgress = (progress: { readonly bytes: number; readonly total: number | undefined }) => void

export interface UploadOptions extends WriteOptions {
  /** What becomes of the file; `write` (make or replace) unless given. */
  readonly mode?: UploadMode | undefined
  /** With `patch`: where the content goes. */
  readonly position?: number | undefined
  /** The result has a hash also where an upload was taken up and nobody knows it: the file is then read once more. */
  readonly hash?: boolean | undefined
  /** Connections for a file of more than one message, 1 to 16; several to a server far away unless given, else one. */
  readonly connections?: number | undefined
  readonly onProgress?: OnProgress | undefined
}

export interface DownloadOptions {
  readonly version?: number | undefined
  /** False: the caller makes the names in the folder durable, once for many files. */
  readonly syncFolder?: boolean | undefined
  /** As with an upload. */
  readonly connections?: number | undefined
  readonly onProgress?: OnProgress | undefined
}

/** A file that was fetched whole: its hash was computed on both ends and found equal. */
export interface Transferred extends Written {
  readonly sha256: Exclude<Written["sha256"], undefined>
}

/** A file to send, named as everywhere. */
export interface FileToUpload extends Omit<FileToSend, "file"> {
  readonly file: FileInput
}

/** A file to fetch, named as everywhere. */
export interface FileToDownload extends Omit<FileToFetch, "file"> {
  readonly file: FileInput
}

/** Where each of several files is. */
const namedAll = <F extends { readonly file: FileInput }>(files: ReadonlyArray<F>) =>
  Effect.forEach(files, (one) =>
    refOf(one.file).pipe(
      Effect.map((file) => ({ ...one, file })),
      Effect.mapError((cause) => new FileFailed({ file: one.file, cause }))
    ))

export interface TransferMethods {
  /**
   * Sends a local file. Constant memory, any size; what arrives is proven on both ends. One that is interrupted is taken
   * up by the next that sends the same file there, also in another process. `sha256` is of what was sent.
   */
  readonly upload: (
    localPath: string,
    file: FileInput,
    options?: UploadOptions
  ) => Effect.Effect<Written, TransferError>
  /** Fetches a file beside `localPath`, checks its hash, and renames it into place. */
  readonly download: (
    file: FileInput,
    localPath: string,
    options?: DownloadOptions
  ) => Effect.Effect<Transferred, TransferError>
  /**
   * Sends local files, small ones many at a time: for hundreds of them much faster than one by one. The results are in
   * their order. The first failure ends the others; what has arrived by then stays.
   */
  readonly uploadMany: (
    files: ReadonlyArray<FileToUpload>,
    options?: FileSetOptions
  ) => Effect.Effect<ReadonlyArray<Written>, FileFailed>
  /**
   * Fetches files into folders that are there, small ones many at a time. Each takes its name when it is whole, proven and
   * on disk. The results are in their order. The first failure ends the others; what has arrived by then stays.
   */
  readonly downloadMany: (
    files: ReadonlyArray<FileToDownload>,
    options?: FileSetOptions
  ) => Effect.Effect<ReadonlyArray<Written>, FileFailed>
  /** Gives an upload up that is not finished: what has arrived of it is dropped. */
  readonly abortUpload: (upload: UploadId) => Effect.Effect<ResultOf<"UploadAbort">, RequestError>

  /**
   * Notes on a transfer of several files, under a key of one's own, that outlive the process; `undefined` where none can
   * be kept, or another process has them.
   */
  readonly transferNotes: (key: ReadonlyArray<string>) => Effect.Effect<Journal | undefined, never, Scope.Scope>
}

export const transferMethods = (parts: ClientParts): TransferMethods => ({
  upload: (localPath, file, options) => Effect.flatMap(refOf(file), (file) => upload(parts, localPath, file, options)),
  download: (file, localPath, options) =>
    Effect.flatMap(refOf(file), (file) => download(parts, file, localPath, options)),
  uploadMany: (files, options) => Effect.flatMap(namedAll(files), (files) => uploadMany(parts, files, options)),
  downloadMany: (files, options) => Effect.flatMap(namedAll(files), (files) => downloadMany(parts, files, options)),
  abortUpload: (upload) => parts.api.call("UploadAbort", { upload_id: upload }),

  transferNotes: (key) =>
    Effect.flatMap(parts.api.session.identity, (user) =>
      parts.journals.open([
        "several",
        Option.match(user, { onNone: () => "", onSome: ({ username }) => username.toLowerCase() }),
        ...key
      ]))
})
