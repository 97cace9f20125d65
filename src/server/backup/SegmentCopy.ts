/**
 * Copies of segments, and whether they are what they should be: the bytes are compared with the checksums that the
 * extents of the dump have for their blocks.
 */
import { type FileHandle, open } from "node:fs/promises"
import { dirname } from "node:path"
import { crc32 } from "node:zlib"
import { makeFolder } from "../../platform/makeFolder.ts"
import { Refusal } from "../../protocol/Refusal.ts"
import { type Block, type CheckedRun, liveBlocks } from "../files/Compactor.ts"
import { SegmentId } from "../files/Extent.ts"
import { sizeOf } from "./BackupFolder.ts"
import { isRow, readDump } from "./Dump.ts"

/** Read, written and compared at once. */
const STEP_BYTES = 1024 * 1024

/** A segment as the extents of a dump describe it. */
export interface DumpedSegment {
  readonly segment: SegmentId
  /** Where the last block ends. */
  readonly bytes: number
  readonly blocks: ReadonlyArray<Block>
}

/** What a copy is made from, or compared: as `SegmentReader`, rejects with a `Refusal` when there is less. */
interface Source {
  readonly read: (offset: number, buffers: ReadonlyArray<Uint8Array>) => Promise<void>
}

/** The segments that a dump refers to, one after the other. */
export async function* dumpedSegments(tables: string): AsyncGenerator<DumpedSegment, void> {
  let at: ReadonlyArray<number> | undefined
  let segment: string | undefined
  let runs: Array<CheckedRun> = []
  const finish = (): DumpedSegment => {
    const blocks = liveBlocks(runs)
    return { segment: SegmentId(segment ?? ""), bytes: blocks.at(-1)?.to ?? 0, blocks }
  }
  for await (const line of readDump(tables)) {
    if (!isRow(line)) {
      if (at !== undefined) break
      if ("table" in line && line.table === "extents") {
        at = ["segment_id", "checked_from", "checked_to", "checksums"].map((name) => line.columns.indexOf(name))
      }
      continue
    }
    if (at === undefined) continue
    const [id, from, to, checksums] = at.map((index) => line[index] ?? "")
    if (id !== segment && segment !== undefined) {
      yield finish()
      runs = []
    }
    segment = id
    // As PostgreSQL writes a bytea: \x and two digits for each byte.
    runs.push({
      checkedFrom: Number(from),
      checkedTo: Number(to),
      checksums: Buffer.from((checksums ?? "").slice(2), "hex")
    })
  }
  if (segment !== undefined) yield finish()
}

/** Neighbouring blocks together. */
const steps = function*(blocks: ReadonlyArray<Block>): Generator<ReadonlyArray<Block>, void> {
  let step: Array<Block> = []
  for (const block of blocks) {
    const [first] = step
    if (first !== undefined && (step.at(-1)?.to !== block.from || block.to - first.from > STEP_BYTES)) {
      yield step
      step = []
    }
    step.push(block)
  }
  if (step.length > 0) yield step
}

/** Fills a buffer from a file; what the file does not have is zero. */
const readFrom = async (file: FileHandle, buffer: Buffer, position: number): Promise<void> => {
  for (let at = 0; at < buffer.length;) {
    const { bytesRead } = await file.read(buffer, at, buffer.length - at, position + at)
    if (bytesRead === 0) {
      buffer.fill(0, at)
      return
    }
    at += bytesRead
  }
}

/** Those of the blocks that are not in the file as they should be. */
const damagedIn = async (file: FileHandle, blocks: ReadonlyArray<Block>): Promise<ReadonlyArray<Block>> => {
  const damaged: Array<Block> = []
  for (const step of steps(blocks)) {
    const from = step[0]?.from ?? 0
    const content = Buffer.allocUnsafe((step.at(-1)?.to ?? from) - from)
    await readFrom(file, content, from)
    for (const block of step) {
      if (crc32(content.subarray(block.from - from, block.to - from)) !== block.checksum) damaged.push(block)
    }
  }
  return damaged
}

/** The blocks of a segment that a file does not have; all of them when there is none. */
export const verifySegment = async (path: string, { blocks }: DumpedSegment): Promise<ReadonlyArray<Block>> => {
  const file = await open(path, "r").catch(() => undefined)
  if (file === undefined) return blocks
  try {
    return await damagedIn(file, blocks)
  } finally {
    await file.close()
  }
}

/** Up to where what a cut off backup left can be used. */
const usableTo = async (file: FileHandle, copied: number, size: number, blocks: ReadonlyArray<Block>) => {
  if (size <= copied) return size
  const unsure = blocks.filter((block) => block.to > copied)
  const [bad] = await damagedIn(file, unsure.filter((block) => block.to <= size))
  const first = bad ?? unsure.find((block) => block.to > size)
  return first === undefined ? size : Math.max(copied, Math.min(first.from, size))
}

export interface Copied {
  readonly bytes: number
  /** Blocks that the copy does not have as they should be, because the source has not. */
  readonly damaged: ReadonlyArray<Block>
}

/**
 * Brings a copy of a segment up to date, and makes it durable. `copied` bytes of it are known to be good. Stops between
 * two steps when `signal` says so.
 */
export const copySegment = async (
  source: Source,
  path: string,
  dumped: DumpedSegment,
  copied: number,
  signal: AbortSignal
): Promise<Copied> => {
  const { blocks, bytes: needed } = dumped
  const size = await sizeOf(path)
  await makeFolder(dirname(path), 0o700)
  const file = await open(path, size === 0 ? "w+" : "r+", 0o600)
  try {
    const from = Math.min(await usableTo(file, Math.min(copied, size), size, blocks), needed)
    const buffer = Buffer.allocUnsafe(Math.min(STEP_BYTES, needed - from))
    for (let at = from; at < needed; at += buffer.length) {
      signal.throwIfAborted()
      const part = buffer.subarray(0, Math.min(buffer.length, needed - at))
      try {
        await source.read(at, [part])
      } catch (cause) {
        // What is cut short there is found by its checksums below.
        if (!(cause instanceof Refusal) || cause.code !== "3:bad") throw cause
        continue
      }
      for (let written = 0; written < part.length;) {
        written += (await file.write(part, written, part.length - written, at + written)).bytesWritten
      }
    }
    await file.datasync()
    return { bytes: needed - from, damaged: await damagedIn(file, blocks.filter((block) => block.to > from)) }
  } finally {
    await file.close()
  }
}
