/** What a transfer of several files is given, and tells. */
import { Data, type Effect } from "effect"
import { type FileRef, formatFileRef } from "../protocol/FileName.ts"
import type { Written } from "../protocol/Request.ts"
import type { TransferError } from "./ClientError.ts"
import type { FileInput } from "./methods/inputs.ts"
import type { OnProgress } from "./methods/transfers.ts"

/** A file to send: what becomes of it there, `write` unless given, and the version that it must have for that. */
export interface FileToSend {
  readonly local: string
  readonly file: FileRef
  readonly mode?: "create" | "write" | "replace" | undefined
  readonly expectedVersion?: number | undefined
}

/** A file to fetch. `size`, where it is known, says how it is fetched best; it need not be right. */
export interface FileToFetch {
  readonly file: FileRef
  readonly local: string
  readonly size?: number | undefined
}

/** One of several files could not be moved. */
export class FileFailed extends Data.TaggedError("FileFailed")<{
  readonly file: FileInput
  readonly cause: TransferError
}> {
  override get message(): string {
    return `${typeof this.file === "string" ? this.file : formatFileRef(this.file)}: ${this.cause.message}`
  }
}

export interface FileSetOptions {
  /** Called for files when they have arrived, some at a time; `index` is that in the list. */
  readonly onMoved?: ((moved: ReadonlyArray<MovedFile>) => Effect.Effect<void>) | undefined
  /** Of all files together. */
  readonly onProgress?: OnProgress | undefined
  /** Of a file that moves by itself, because it is larger than the others. */
  readonly onFileProgress?: ((index: number, progress: Parameters<OnProgress>[0]) => void) | undefined
  /** Up: every result has a hash. */
  readonly hash?: boolean | undefined
  /** Down: false, when the caller makes the names in the folders durable. */
  readonly syncFolders?: boolean | undefined
}

export interface MovedFile {
  readonly index: number
  readonly written: Written
}

/** Where the parts of a set report to. */
export interface Reporting {
  /** Bytes that have moved since the last call. */
  readonly moved: (bytes: number) => void
  /** Files that have arrived. */
  readonly arrived: (files: ReadonlyArray<MovedFile>) => Effect.Effect<void>
}
