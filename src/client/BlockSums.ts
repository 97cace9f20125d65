/** The checksums of a content's blocks (docs/protocol.md, section 9.1), as far as they are known. */
import { createHash } from "node:crypto"
import { crc32 } from "node:zlib"
import { BLOCK_BYTES, blocksIn, checksumAt, makeChecksums, setChecksum, sliceChecksums } from "../platform/Checksum.ts"
import { Sha256 } from "../protocol/Identity.ts"

/** A range of bytes that begins and ends with a block. */
export type BlockRange = readonly [from: number, to: number]

export class BlockSums {
  private readonly size: number
  private readonly sums: Uint8Array
  private readonly known: Uint8Array

  constructor(size: number) {
    this.size = size
    this.sums = makeChecksums(blocksIn(size))
    this.known = new Uint8Array(blocksIn(size))
  }

  /** Takes the bytes at `from`, where a block begins. False when they are not what was there before. */
  take(from: number, bytes: Uint8Array): boolean {
    for (let at = 0; at < bytes.length; at += BLOCK_BYTES) {
      const index = (from + at) / BLOCK_BYTES
      const value = crc32(bytes.subarray(at, at + BLOCK_BYTES))
      if (this.known[index] === 1 && checksumAt(this.sums, index) !== value) return false
      setChecksum(this.sums, index, value)
      this.known[index] = 1
    }
    return true
  }

  /** The checksums of [from, to), which are known, in base64. */
  encode([from, to]: BlockRange): string {
    const slice = sliceChecksums(this.sums, from / BLOCK_BYTES, blocksIn(to))
    return Buffer.from(slice.buffer, slice.byteOffset, slice.length).toString("base64")
  }

  /** Takes checksums that were encoded. False when they do not fit. */
  decode(from: number, text: string): boolean {
    const sums = Buffer.from(text, "base64")
    const first = from / BLOCK_BYTES
    const count = sums.length / 4
    if (!Number.isInteger(first) || !Number.isInteger(count) || first + count > this.known.length) return false
    this.sums.set(sums, first * 4)
    this.known.fill(1, first, first + count)
    return true
  }

  /** What of [from, to) is known, or what is not, as ranges of whole blocks of at most `count` each. */
  ranges([from, to]: BlockRange, known: boolean, count: number): ReadonlyArray<BlockRange> {
    const ranges: Array<BlockRange> = []
    let begin: number | undefined
    const end = blocksIn(to)
    for (let index = Math.floor(from / BLOCK_BYTES); index <= end; index++) {
      const isWanted = index < end && (this.known[index] === 1) === known
      if (begin !== undefined && (!isWanted || index - begin === count)) {
        ranges.push([begin * BLOCK_BYTES, Math.min(index * BLOCK_BYTES, this.size)])
        begin = undefined
      }
      if (isWanted) begin ??= index
    }
    return ranges
  }

  /** The hash of all checksums, when they are known. */
  sha256(): Sha256 {
    return Sha256.make(createHash("sha256").update(this.sums).digest("hex"))
  }
}
