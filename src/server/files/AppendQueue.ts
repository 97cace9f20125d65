/**
 * One append at a time, of everything that came while the one before was under way: a write costs a thread's attention
 * whatever its size, and many small ones come together. Whoever comes alone is written alone, at once.
 */
import type { SegmentId } from "./Extent.ts"

/** Where an append went. */
export interface Location {
  readonly segment: SegmentId
  readonly offset: number
}

type Chunks = ReadonlyArray<Uint8Array>

interface Waiting {
  readonly chunks: Chunks
  readonly length: number
  readonly resolve: (location: Location) => void
  readonly reject: (error: unknown) => void
}

/** Bytes in one write, unless a single append has more. */
const BATCH_BYTES = 4 * 1024 * 1024

export class AppendQueue {
  private readonly write: (chunks: Chunks, length: number) => Promise<Location>
  private waiting: Array<Waiting> = []
  private isWriting = false

  constructor(write: (chunks: Chunks, length: number) => Promise<Location>) {
    this.write = write
  }

  /** Rejects with what `write` rejects with; so do all that were written with it. */
  append(chunks: Chunks, length: number): Promise<Location> {
    return new Promise((resolve, reject) => {
      this.waiting.push({ chunks, length, resolve, reject })
      if (!this.isWriting) void this.run()
    })
  }

  private async run(): Promise<void> {
    this.isWriting = true
    while (this.waiting.length > 0) {
      const batch = this.take()
      try {
        const length = batch.reduce((sum, one) => sum + one.length, 0)
        const { offset, segment } = await this.write(batch.flatMap((one) => one.chunks), length)
        let at = offset
        for (const one of batch) {
          one.resolve({ segment, offset: at })
          at += one.length
        }
      } catch (error) {
        for (const one of batch) one.reject(error)
      }
    }
    this.isWriting = false
  }

  private take(): ReadonlyArray<Waiting> {
    let count = 0
    let bytes = 0
    for (const one of this.waiting) {
      if (count > 0 && bytes + one.length > BATCH_BYTES) break
      count++
      bytes += one.length
    }
    const batch = this.waiting
    this.waiting = batch.slice(count)
    return batch.slice(0, count)
  }
}
