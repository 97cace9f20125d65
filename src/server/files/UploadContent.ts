/**
 * What has arrived of an upload: which ranges, the checksums of their blocks, and the hash of the whole.
 *
 * A byte that has arrived is final: what is sent again for it is ignored. Checksums and hash are computed from the bytes
 * as they pass, beside their write, while those come in order; what came out of order is read back. What an earlier
 * process took is known by its checksums and is not hashed again, unless the hash is asked for; nor is anything after a
 * write that failed. Used by one fiber at a time.
 */
import { createHash } from "node:crypto"
import { crc32 } from "node:zlib"
import {
  BLOCK_BYTES,
  blocksIn,
  CHECKSUM_BYTES,
  makeChecksums,
  setChecksum,
  sliceChecksums
} from "../../platform/Checksum.ts"
import { Sha256 } from "../../protocol/Identity.ts"
import { type Range, Ranges } from "./Ranges.ts"
import type { Run } from "./UploadRepo.ts"

/** Reads back what was written. */
export type ReadBack = (from: number, to: number) => Promise<Uint8Array>

const READ_BACK_BYTES = 1024 * 1024

/** The bytes [from, to) of `chunks`, whose first byte counts as `offset`; as views. */
export const sliceChunks = (
  chunks: ReadonlyArray<Uint8Array>,
  offset: number,
  [from, to]: Range
): ReadonlyArray<Uint8Array> => {
  const slices: Array<Uint8Array> = []
  let at = offset
  for (const chunk of chunks) {
    const begin = Math.max(from - at, 0)
    const end = Math.min(to - at, chunk.length)
    if (begin < end) slices.push(chunk.subarray(begin, end))
    at += chunk.length
  }
  return slices
}

/** The blocks that are whole in the bytes [from, to), as a range of indices. */
const wholeBlocks = (from: number, to: number): Range => {
  const first = Math.ceil(from / BLOCK_BYTES)
  return [first, Math.max(first, Math.floor(to / BLOCK_BYTES))]
}

export class UploadContent {
  readonly received = new Ranges()
  /** Blocks, by index, whose checksum is known. */
  private readonly summed = new Ranges()
  /** Blocks of which a first part has come in order. */
  private readonly begun = new Map<number, { filled: number; value: number }>()
  private checksums = makeChecksums(64)
  private hash = createHash("sha256")
  private hashed = 0
  /** Some of what has arrived did not pass here, or the hash is of something that did not arrive. */
  private isBehind = false

  /** Takes note of a run that was noted down before. */
  restore(run: Run): void {
    this.isBehind = true
    const [from, to] = wholeBlocks(run.position, run.position + run.length)
    this.received.add(run.position, run.position + run.length)
    this.summed.add(from, to)
    this.reserve(to)
    this.checksums.set(run.checksums, from * CHECKSUM_BYTES)
  }

  /** Takes note of bytes that have been written at `offset`, where nothing had arrived before. */
  accept(offset: number, chunks: ReadonlyArray<Uint8Array>): void {
    this.arrived(offset, this.compute(offset, chunks))
  }

  /**
   * Computes checksums and hash of bytes that are being written at `offset`, where nothing had arrived before; gives
   * where they end. Afterwards they have `arrived`, or have to be forgotten (`forget`).
   */
  compute(offset: number, chunks: ReadonlyArray<Uint8Array>): number {
    let at = offset
    for (const chunk of chunks) {
      for (let from = 0; from < chunk.length;) {
        const inBlock = (at + from) % BLOCK_BYTES
        const to = Math.min(chunk.length, from + BLOCK_BYTES - inBlock)
        this.sum(Math.floor((at + from) / BLOCK_BYTES), inBlock, chunk.subarray(from, to))
        from = to
      }
      if (at === this.hashed) {
        this.hash.update(chunk)
        this.hashed += chunk.length
      }
      at += chunk.length
    }
    return at
  }

  arrived(from: number, to: number): void {
    this.received.add(from, to)
  }

  /** What was computed of the bytes [from, to) is of no use: they were not written. */
  forget(from: number, to: number): void {
    const first = Math.floor(from / BLOCK_BYTES)
    const last = Math.ceil(to / BLOCK_BYTES)
    this.summed.remove(first, last)
    for (let index = first; index < last; index++) this.begun.delete(index)
    if (this.hashed > from) {
      this.isBehind = true
      this.hash = createHash("sha256")
      this.hashed = 0
    }
  }

  private sum(index: number, from: number, bytes: Uint8Array): void {
    const begun = this.begun.get(index)
    const filled = begun?.filled ?? 0
    // A part that came out of order is summed when the block is read back.
    if (filled !== from) return
    const value = crc32(bytes, begun?.value ?? 0)
    const to = from + bytes.length
    if (to < BLOCK_BYTES) {
      this.begun.set(index, { filled: to, value })
    } else {
      this.begun.delete(index)
      this.setSum(index, value)
    }
  }

  private setSum(index: number, value: number): void {
    this.reserve(index + 1)
    setChecksum(this.checksums, index, value)
    this.summed.add(index, index + 1)
  }

  private reserve(count: number): void {
    const needed = count * CHECKSUM_BYTES
    if (needed <= this.checksums.length) return
    const grown = new Uint8Array(Math.max(needed, 2 * this.checksums.length))
    grown.set(this.checksums)
    this.checksums = grown
  }

  /** What has arrived and is not in `noted`, to be noted down. */
  async runs(noted: Ranges, readBack: ReadBack): Promise<ReadonlyArray<Run>> {
    const runs: Array<Run> = []
    for (const [begin, end] of this.received.all.flatMap(([from, to]) => noted.missing(from, to))) {
      const [from, to] = wholeBlocks(begin, end)
      for (const [first, last] of this.summed.missing(from, to)) {
        for (let index = first; index < last; index++) {
          this.setSum(index, crc32(await readBack(index * BLOCK_BYTES, (index + 1) * BLOCK_BYTES)))
        }
      }
      runs.push({ position: begin, length: end - begin, checksums: sliceChecksums(this.checksums, from, to).slice() })
    }
    return runs
  }

  /** Hashes up to `limit` bytes that came out of order, if everything before them is here now. */
  async catchUp(limit: number, readBack: ReadBack): Promise<void> {
    if (!this.isBehind) await this.hashOn(limit, readBack)
  }

  private async hashOn(limit: number, readBack: ReadBack): Promise<void> {
    const end = Math.min(this.received.prefix, this.hashed + limit)
    while (this.hashed < end) {
      const to = Math.min(end, this.hashed + READ_BACK_BYTES)
      this.hash.update(await readBack(this.hashed, to))
      this.hashed = to
    }
  }

  /** The hash of the whole would have to be computed from the beginning. */
  get isHashLost(): boolean {
    return this.isBehind && this.hashed < this.received.end
  }

  /** The hash of the whole, when everything up to `size` has arrived. */
  async sha256(size: number, readBack: ReadBack): Promise<Sha256> {
    await this.hashOn(size, readBack)
    return Sha256.make(this.hash.copy().digest("hex"))
  }

  /** The checksums of the whole, when everything up to `size` has arrived. */
  async complete(size: number, readBack: ReadBack): Promise<Uint8Array> {
    const count = blocksIn(size)
    this.reserve(count)
    const checksums = sliceChecksums(this.checksums, 0, count).slice()
    for (const [from, to] of this.summed.missing(0, count)) {
      for (let index = from; index < to; index++) {
        const begin = index * BLOCK_BYTES
        const end = Math.min(begin + BLOCK_BYTES, size)
        const begun = this.begun.get(index)
        const value = begun?.filled === end - begin ? begun.value : crc32(await readBack(begin, end))
        setChecksum(checksums, index, value)
      }
    }
    return checksums
  }
}
