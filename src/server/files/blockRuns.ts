/**
 * How content is read from segments: by whole blocks, because checksums are of blocks, and neighbours at once. Pure.
 */
import { crc32 } from "node:zlib"
import { BLOCK_BYTES, checksumAt } from "../../platform/Checksum.ts"
import type { Extent, SegmentId } from "./Extent.ts"

/** Blocks of a segment with no more than this between them are read at once, up to so much of it. */
const MAX_GAP_BYTES = 16 * 1024
export const MAX_RUN_BYTES = 1024 * 1024

/** What of a block is wanted. */
export interface Want {
  readonly segment: SegmentId
  readonly begin: number
  readonly end: number
  readonly checksum: number
  /** Within the block. */
  readonly from: number
  readonly to: number
  /** Of the first wanted byte, in the file. */
  readonly position: number
  block: Uint8Array | undefined
}

/** The bytes of an extent from `skipped` on that lie in one block, at most `limit`. */
export const wantAt = (extent: Extent, skipped: number, limit: number): Want => {
  const at = extent.offset + skipped
  const index = Math.floor((at - extent.checkedFrom) / BLOCK_BYTES)
  const begin = extent.checkedFrom + index * BLOCK_BYTES
  const end = Math.min(begin + BLOCK_BYTES, extent.checkedTo)
  const count = Math.min(end - at, extent.length - skipped, limit)
  return {
    segment: extent.segment,
    begin,
    end,
    checksum: checksumAt(extent.checksums, index),
    from: at - begin,
    to: at - begin + count,
    position: extent.position + skipped,
    block: undefined
  }
}

/** The bytes [0, size) of a file, block by block; `undefined` when extents are missing. */
export const wantsOf = (extents: ReadonlyArray<Extent>, size: number): ReadonlyArray<Want> | undefined => {
  const wants: Array<Want> = []
  let position = 0
  for (const extent of extents) {
    for (let skipped = position - extent.position; position < size && skipped < extent.length;) {
      if (skipped < 0) return undefined
      const want = wantAt(extent, skipped, size - position)
      wants.push(want)
      skipped += want.to - want.from
      position += want.to - want.from
    }
  }
  return position === size ? wants : undefined
}

/** What is read at once: blocks of one segment whose places do not go back. */
export const runsOf = (wants: Iterable<Want>): ReadonlyArray<ReadonlyArray<Want>> => {
  const runs: Array<Array<Want>> = []
  let run: Array<Want> = []
  for (const want of wants) {
    const first = run[0]
    const last = run.at(-1)
    const joins = first !== undefined && last !== undefined && want.segment === last.segment &&
      want.begin >= last.end && want.begin - last.end <= MAX_GAP_BYTES && want.end - first.begin <= MAX_RUN_BYTES
    if (joins) run.push(want)
    else runs.push(run = [want])
  }
  return runs
}

/** Whether a block is what was written. */
export const isWhole = (want: Want): boolean => want.block !== undefined && crc32(want.block) === want.checksum
