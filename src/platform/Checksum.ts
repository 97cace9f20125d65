/**
 * Checksums of content: CRC-32 of each block of 64 KiB of a run, the last of which may be shorter; 4 bytes a block, big
 * endian. The server keeps them with what it stores, counted from where a run begins in its segment, and by them both
 * sides know what has arrived of an upload (docs/protocol.md, section 9).
 */
import { crc32 } from "node:zlib"

export const BLOCK_BYTES = 64 * 1024
export const CHECKSUM_BYTES = 4

/** Blocks in a run of `length` bytes. */
export const blocksIn = (length: number): number => Math.ceil(length / BLOCK_BYTES)

/** The checksum of block `index`. */
export const checksumAt = (checksums: Uint8Array, index: number): number => {
  const at = index * CHECKSUM_BYTES
  return (((checksums[at] ?? 0) << 24) | ((checksums[at + 1] ?? 0) << 16) | ((checksums[at + 2] ?? 0) << 8) |
    (checksums[at + 3] ?? 0)) >>> 0
}

export const setChecksum = (checksums: Uint8Array, index: number, value: number): void => {
  const at = index * CHECKSUM_BYTES
  checksums[at] = value >>> 24
  checksums[at + 1] = value >>> 16
  checksums[at + 2] = value >>> 8
  checksums[at + 3] = value
}

/** The checksums of blocks `from` up to, and without, `to`; a view. */
export const sliceChecksums = (checksums: Uint8Array, from: number, to: number): Uint8Array =>
  checksums.subarray(from * CHECKSUM_BYTES, to * CHECKSUM_BYTES)

/** Room for the checksums of `count` blocks. */
export const makeChecksums = (count: number): Uint8Array => new Uint8Array(count * CHECKSUM_BYTES)

/** The checksums of a run that is in memory. */
export const checksumsOf = (chunks: ReadonlyArray<Uint8Array>, length: number): Uint8Array => {
  const checksums = makeChecksums(blocksIn(length))
  let index = 0
  let value = 0
  let filled = 0
  for (const chunk of chunks) {
    for (let at = 0; at < chunk.length;) {
      const taken = Math.min(BLOCK_BYTES - filled, chunk.length - at)
      value = crc32(at === 0 && taken === chunk.length ? chunk : chunk.subarray(at, at + taken), value)
      at += taken
      filled += taken
      if (filled === BLOCK_BYTES) {
        setChecksum(checksums, index++, value)
        value = filled = 0
      }
    }
  }
  if (filled > 0) setChecksum(checksums, index, value)
  return checksums
}
