/**
 * Content on its way from the store to a socket: pulled, one chunk at a time, imperatively, because every byte of every
 * download passes here.
 */
import type { FileName } from "../protocol/FileName.ts"
import type { Sha256, Username } from "../protocol/Identity.ts"
import type { Refusal } from "../protocol/Refusal.ts"
import type { FileRead } from "../protocol/Request.ts"

export interface ContentSource {
  /** Bytes that `next` gives in all. */
  readonly length: number
  /**
   * The next bytes in order, at most `MAX_DATA_BYTES`; `undefined` after the last. Synchronous when they are in memory.
   * Rejects with a `Refusal` when they cannot be had (`3:bad`, `3:disk`). They may be in a cache: do not write to them.
   */
  readonly next: () => Uint8Array | undefined | Promise<Uint8Array | undefined>
  /** The caller is done with bytes that `next` gave it: their memory may be used again. Optional to call. */
  readonly release: (chunk: Uint8Array) => void
  /** Bytes that were read since the last call and are not among those that `next` gave: the user's rate counts them. */
  readonly withheld?: () => number
  /** After the last `next`: the hash of the whole content, when it was computed on the way. */
  readonly sha256: () => Sha256 | undefined
  /** Gives back what the source holds. Idempotent; safe while a `next` is pending. */
  readonly close: () => void
}

/** A file of a batch that cannot be given. */
export interface Withheld {
  readonly name: FileName
  readonly refusal: Refusal
}

/** What one message carries of a batch of whole files. */
export interface Batch {
  readonly files: ReadonlyArray<FileRead | Withheld>
  /** The contents of those that can be given, in order; together at most `MAX_DATA_BYTES`. Not to be written to. */
  readonly chunks: ReadonlyArray<Uint8Array>
  /** Nothing comes after it. */
  readonly last: boolean
}

/** Several whole files on their way, some at a time. */
export interface BatchSource {
  readonly owner: Username
  /** The next files in order; after the last one, not to be called again. Rejects with a `Refusal`. */
  readonly next: () => Promise<Batch>
  /** Gives back what the source holds. Idempotent; safe while a `next` is pending. */
  readonly close: () => void
}
