/**
 * Reads a range of one version of a file: the extents it was given, verified block by block.
 *
 * Small reads go through the user's cache; large ones go past it, in pieces of `PIECE_BYTES` that are read ahead by one
 * and handed on without being copied. A block is never handed on unless its checksum was right.
 */
import { createHash, type Hash } from "node:crypto"
import { BLOCK_BYTES } from "../../platform/Checksum.ts"
import { Sha256 } from "../../protocol/Identity.ts"
import { MAX_DATA_BYTES } from "../../protocol/Limits.ts"
import { type Refusal, refuse } from "../../protocol/Refusal.ts"
import type { ContentSource } from "../ContentSource.ts"
import type { FileBufferCache } from "../FileBufferCache.ts"
import { isWhole, MAX_RUN_BYTES, runsOf, type Want, wantAt } from "./blockRuns.ts"
import type { Extent, SegmentId } from "./Extent.ts"

/** Reads up to this length are served from the cache, and leave their blocks there. */
export const CACHED_READ_BYTES = 256 * 1024

/** A chunk has at least this many bytes, while there are as many, and less than a block more: it fits one message. */
const PIECE_BYTES = MAX_DATA_BYTES - BLOCK_BYTES

export interface ContentReaderOptions {
  readonly cache: FileBufferCache["Service"]
  readonly userId: number
  /** For messages. */
  readonly file: string
  readonly position: number
  readonly length: number
  /** In order and without holes, from the one with `position` on; not necessarily all. */
  readonly extents: ReadonlyArray<Extent>
  /** The extents from a position on, when there are more. */
  readonly more: (position: number) => Promise<ReadonlyArray<Extent>>
  /** Given the hash of the content when its last byte is handed on. Without it nothing is hashed. */
  readonly onHash: ((sha256: Sha256) => void) | undefined
  readonly onClose: () => void
}

const concat = (parts: ReadonlyArray<Uint8Array>, length: number): Uint8Array => {
  const whole = Buffer.allocUnsafe(length)
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}

export class ContentReader implements ContentSource {
  readonly length: number
  private readonly options: ContentReaderOptions
  private readonly cached: boolean
  private extents: ReadonlyArray<Extent>
  private index = 0
  /** Of the next byte to be fetched, in the file; and how many are still to be. */
  private position: number
  private unfetched: number
  private undelivered: number
  private ahead: Promise<Uint8Array | undefined> | undefined
  private closed = false
  /** Pieces that were handed on and came back. */
  private readonly free: Array<Uint8Array> = []
  private readonly hash: Hash | undefined
  private digest: Sha256 | undefined

  constructor(options: ContentReaderOptions) {
    this.options = options
    this.length = this.unfetched = this.undelivered = options.length
    this.cached = options.length <= CACHED_READ_BYTES
    this.extents = options.extents
    this.position = options.position
    this.hash = options.onHash === undefined ? undefined : createHash("sha256")
    if (options.length === 0) this.finish()
  }

  next(): Uint8Array | undefined | Promise<Uint8Array | undefined> {
    const piece = this.ahead ?? this.fetch()
    this.ahead = undefined
    return piece instanceof Promise ? piece.then((chunk) => this.deliver(chunk)) : this.deliver(piece)
  }

  release(chunk: Uint8Array): void {
    // Only what was read past the cache is nobody else's.
    const { buffer } = chunk
    if (!this.cached && buffer.byteLength === MAX_RUN_BYTES && buffer instanceof ArrayBuffer) {
      this.free.push(new Uint8Array(buffer))
    }
  }

  sha256(): Sha256 | undefined {
    return this.digest
  }

  close(): void {
    this.closed = true
    this.options.onClose()
  }

  private deliver(chunk: Uint8Array | undefined): Uint8Array | undefined {
    if (chunk === undefined) return undefined
    if (!this.cached && this.unfetched > 0 && !this.closed) {
      const ahead = this.fetch()
      if (ahead instanceof Promise) {
        // Its failure is told to whoever takes it, if anybody does.
        ahead.catch(() => undefined)
        this.ahead = ahead
      }
    }
    this.hash?.update(chunk)
    this.undelivered -= chunk.length
    if (this.undelivered === 0) this.finish()
    return chunk
  }

  private finish(): void {
    if (this.hash === undefined) return
    this.digest = Sha256.make(this.hash.digest("hex"))
    this.options.onHash?.(this.digest)
  }

  private fetch(): Uint8Array | undefined | Promise<Uint8Array | undefined> {
    if (this.unfetched === 0) return undefined
    const wants = this.gather()
    if (wants.length > 0) return this.complete(wants)
    return this.options.more(this.position).then((extents) => {
      this.extents = extents
      this.index = 0
      const wants = this.gather()
      if (wants.length === 0) throw this.damaged(this.position, this.position)
      return this.complete(wants)
    })
  }

  private complete(wants: ReadonlyArray<Want>): Uint8Array | Promise<Uint8Array> {
    return wants.every((want) => want.block !== undefined)
      ? this.assemble(wants)
      : this.load(wants).then(() => this.assemble(wants))
  }

  /** Takes the next blocks, from the cache where it has them. Empty when the next extents have to be asked for. */
  private gather(): ReadonlyArray<Want> {
    const wants: Array<Want> = []
    let bytes = 0
    while (bytes < PIECE_BYTES && this.unfetched > 0) {
      const extent = this.extents[this.index]
      if (extent === undefined || extent.position > this.position) break
      const skipped = this.position - extent.position
      if (skipped >= extent.length) {
        this.index++
        continue
      }
      const want = wantAt(extent, skipped, this.unfetched)
      if (this.cached) want.block = this.options.cache.block(this.options.userId, want.segment, want.begin)
      wants.push(want)
      const count = want.to - want.from
      bytes += count
      this.position += count
      this.unfetched -= count
    }
    return wants
  }

  /** Reads and verifies the blocks that are missing, neighbours at once. */
  private async load(wants: ReadonlyArray<Want>): Promise<void> {
    const missing = wants.filter(({ block }) => block === undefined)
    await Promise.all(runsOf(missing).map((run) => run[0] === undefined ? undefined : this.read(run[0].segment, run)))
  }

  private async read(segment: SegmentId, run: ReadonlyArray<Want>): Promise<void> {
    const begin = run[0]?.begin ?? 0
    const end = run.at(-1)?.end ?? 0
    const buffers: Array<Uint8Array> = []
    if (this.cached) {
      let at = begin
      for (const want of run) {
        if (want.begin > at) buffers.push(Buffer.allocUnsafe(want.begin - at))
        // Not from Node's pool: the cache keeps it.
        const block = Buffer.allocUnsafeSlow(want.end - want.begin)
        buffers.push(block)
        want.block = block
        at = want.end
      }
    } else {
      // Large and short-lived, they would cost more in collections than in reading: a reader gets along with a few.
      const large = end - begin > MAX_RUN_BYTES / 2 && end - begin <= MAX_RUN_BYTES
      const piece = large
        ? (this.free.pop() ?? new Uint8Array(MAX_RUN_BYTES)).subarray(0, end - begin)
        : Buffer.allocUnsafeSlow(end - begin)
      buffers.push(piece)
      for (const want of run) want.block = piece.subarray(want.begin - begin, want.end - begin)
    }
    await this.options.cache.use(segment, (reader) => reader.read(begin, buffers))
    for (const want of run) this.verify(want)
  }

  private verify(want: Want): void {
    if (want.block === undefined || !isWhole(want)) {
      throw this.damaged(want.position, want.position + (want.to - want.from) - 1)
    }
    if (this.cached) this.options.cache.keep(this.options.userId, want.segment, want.begin, want.block)
  }

  private damaged(from: number, to: number): Refusal {
    return refuse(
      "3:bad",
      `${this.options.file}: bytes ${from} to ${to} are damaged on the server; the rest of the file can be read`
    )
  }

  /** The wanted bytes in one piece: a view where they lie together already. */
  private assemble(wants: ReadonlyArray<Want>): Uint8Array {
    const parts: Array<Uint8Array> = []
    let length = 0
    for (const { block, from, to } of wants) {
      if (block === undefined) continue
      length += to - from
      const last = parts.at(-1)
      const part = block.subarray(from, to)
      if (
        last !== undefined && last.buffer === part.buffer && last.byteOffset + last.length === part.byteOffset
      ) {
        parts[parts.length - 1] = new Uint8Array(last.buffer, last.byteOffset, last.length + part.length)
      } else {
        parts.push(part)
      }
    }
    const [first] = parts
    return first !== undefined && parts.length === 1 ? first : concat(parts, length)
  }
}
