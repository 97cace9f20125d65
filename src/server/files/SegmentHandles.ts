/**
 * Segments that are open for reading, shared by whoever reads them: opened once, closed when nobody has used them for a
 * while or when too many are open. One that is in use is never closed.
 */
import type { SegmentId } from "./Extent.ts"
import type { SegmentReader } from "./SegmentStore.ts"

interface Handle {
  readonly reader: Promise<SegmentReader>
  users: number
  usedAt: number
}

export class SegmentHandles {
  private readonly openSegment: (segment: SegmentId) => Promise<SegmentReader>
  private readonly maxOpen: number
  /** In the order of their last use. */
  private readonly handles = new Map<SegmentId, Handle>()
  private readonly closing = new Set<Promise<void>>()
  private closed = false

  constructor(openSegment: (segment: SegmentId) => Promise<SegmentReader>, maxOpen: number) {
    this.openSegment = openSegment
    this.maxOpen = maxOpen
  }

  get size(): number {
    return this.handles.size
  }

  /** Runs `work` on the open segment. Rejects with a `Refusal` when it cannot be opened. */
  async use<A>(segment: SegmentId, now: number, work: (reader: SegmentReader) => Promise<A>): Promise<A> {
    const handle = this.handles.get(segment) ?? { reader: this.openSegment(segment), users: 0, usedAt: now }
    handle.users++
    handle.usedAt = now
    this.handles.delete(segment)
    this.handles.set(segment, handle)
    this.trim()
    try {
      return await work(await handle.reader)
    } catch (error) {
      // A segment that cannot be opened is tried again by the next reader.
      await handle.reader.catch(() => this.handles.delete(segment))
      throw error
    } finally {
      handle.users--
      this.trim()
    }
  }

  /** Closes what nobody has used since `before`. */
  closeIdle(before: number): void {
    for (const [segment, handle] of this.handles) {
      if (handle.usedAt >= before) return
      if (handle.users === 0) this.close(segment, handle)
    }
  }

  /** Closes everything that is not in use, now; the rest when its last user is done. */
  async closeAll(): Promise<void> {
    this.closed = true
    this.trim()
    await Promise.all(this.closing)
  }

  private trim(): void {
    const allowed = this.closed ? 0 : this.maxOpen
    if (this.handles.size <= allowed) return
    for (const [segment, handle] of this.handles) {
      if (handle.users > 0) continue
      this.close(segment, handle)
      if (this.handles.size <= allowed) return
    }
  }

  private close(segment: SegmentId, handle: Handle): void {
    this.handles.delete(segment)
    const closing = handle.reader.then((reader) => reader.close(), () => undefined)
      .finally(() => this.closing.delete(closing))
    this.closing.add(closing)
  }
}
