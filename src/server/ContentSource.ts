/**
 * Content on its way from the store to a socket: pulled, one chunk at a time, imperatively, because every byte of every
 * download passes here.
 */
import type { Sha256 } from "../protocol/Identity.ts"

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
  /** After the last `next`: the hash of the whole content, when it was computed on the way. */
  readonly sha256: () => Sha256 | undefined
  /** Gives back what the source holds. Idempotent; safe while a `next` is pending. */
  readonly close: () => void
}
