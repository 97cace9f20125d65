/**
 * Segments as files under random names, `<root>/ab/abcdef01-….`, owned by one process each for writing.
 *
 * A process never writes to a segment that small writes of an earlier one shared: it begins a new one, so nothing that
 * was there can be overwritten. Rejects with `Refusal`s.
 */
import { randomUUID } from "node:crypto"
import { dirname, join } from "node:path"
import { type Refusal, refuse } from "../../protocol/Refusal.ts"
import { AppendQueue, type Location } from "./AppendQueue.ts"
import { SHUTTING_DOWN } from "./Batcher.ts"
import { type Disk, readAll } from "./Disk.ts"
import { SegmentId } from "./Extent.ts"
import { diskRefusal, SegmentFile } from "./SegmentFile.ts"
import type { SegmentInfo } from "./SegmentStore.ts"

/** A shared segment that has reached this length is followed by a new one. */
export const SHARED_SEGMENT_BYTES = 64 * 1024 * 1024

const SEGMENT_NAME = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
const FOLDER_NAME = /^[0-9a-f]{2}$/

const isMissing = (error: unknown): boolean => error instanceof Error && "code" in error && error.code === "ENOENT"

interface Shared {
  readonly segment: SegmentId
  readonly file: SegmentFile
  tail: number
}

/** Who else must know of the segments that small writes share. */
export interface Neighbours {
  /** Before the first write to one. */
  readonly opening: (segment: SegmentId) => Promise<unknown>
  /** After the last one. */
  readonly sealed: (segment: SegmentId) => void
}

export class DiskSegments {
  private readonly disk: Disk
  private readonly root: string
  private readonly neighbours: Neighbours
  /** Segments open for writing. */
  private readonly files = new Map<SegmentId, SegmentFile>()
  /** Closed segments whose last sync failed. */
  private readonly failed = new Map<SegmentId, Refusal>()
  private readonly folders = new Map<string, Promise<void>>()
  private shared: Shared | undefined
  private closed = false
  private readonly appends = new AppendQueue((chunks, length) => this.write(chunks, length))

  constructor(disk: Disk, root: string, neighbours: Neighbours) {
    this.disk = disk
    this.root = root
    this.neighbours = neighbours
  }

  private folderOf(segment: SegmentId): string {
    return join(this.root, segment.slice(0, 2))
  }

  private pathOf(segment: SegmentId): string {
    return join(this.folderOf(segment), segment)
  }

  /** The folder exists and is durable. Asked of the disk once per folder and process. */
  private prepareFolder(folder: string): Promise<void> {
    let ready = this.folders.get(folder)
    if (ready === undefined) {
      ready = this.disk.makeFolder(folder).then(() => this.disk.syncFolder(this.root))
      ready.catch(() => this.folders.delete(folder))
      this.folders.set(folder, ready)
    }
    return ready
  }

  private async openForWriting(segment: SegmentId): Promise<SegmentFile> {
    if (this.closed) throw SHUTTING_DOWN
    const folder = this.folderOf(segment)
    try {
      await this.prepareFolder(folder)
      const descriptor = await this.disk.open(this.pathOf(segment), "write")
      if (this.closed) {
        await this.disk.close(descriptor)
        throw SHUTTING_DOWN
      }
      const file = new SegmentFile(this.disk, descriptor, () => this.disk.syncFolder(folder), (failure) => {
        this.files.delete(segment)
        if (failure !== undefined) this.failed.set(segment, failure)
      })
      this.files.set(segment, file)
      return file
    } catch (error) {
      throw error === SHUTTING_DOWN ? error : diskRefusal(error)
    }
  }

  /** The shared segment with room in it. One at a time, as appends are. */
  private async current(): Promise<Shared> {
    const { shared } = this
    if (shared !== undefined && shared.tail < SHARED_SEGMENT_BYTES && !shared.file.hasFailed) return shared
    const segment = SegmentId(randomUUID())
    await this.neighbours.opening(segment)
    const file = await this.openForWriting(segment).catch((error: unknown) => {
      this.neighbours.sealed(segment)
      throw error
    })
    shared?.file.retire()
    if (shared !== undefined) this.neighbours.sealed(shared.segment)
    this.shared = { segment, file, tail: 0 }
    return this.shared
  }

  private async write(chunks: ReadonlyArray<Uint8Array>, length: number): Promise<Location> {
    if (this.closed) throw SHUTTING_DOWN
    const shared = await this.current()
    const offset = shared.tail
    // Taken even if the write fails: nobody else writes there.
    shared.tail += length
    await shared.file.write(offset, chunks)
    return { segment: shared.segment, offset }
  }

  append(chunks: ReadonlyArray<Uint8Array>, length: number): Promise<Location> {
    return this.appends.append(chunks, length)
  }

  /** Opens a segment for a writer of its own, making it unless it is there. */
  writer(segment: SegmentId): Promise<SegmentFile> {
    return this.openForWriting(segment)
  }

  sync(segment: SegmentId): Promise<void> {
    const failure = this.failed.get(segment)
    if (failure !== undefined) return Promise.reject(failure)
    // One that is not open for writing any more was synced before it was closed.
    return this.files.get(segment)?.sync() ?? Promise.resolve()
  }

  async open(segment: SegmentId) {
    const disk = this.disk
    const file = await disk.open(this.pathOf(segment), "read").catch((error: unknown) => {
      throw isMissing(error) ? refuse("3:bad", "stored content is missing on the server") : diskRefusal(error)
    })
    return {
      read: async (offset: number, buffers: ReadonlyArray<Uint8Array>): Promise<void> => {
        const whole = await readAll(disk, file, buffers, offset).catch((error: unknown) => {
          throw diskRefusal(error)
        })
        if (!whole) throw refuse("3:bad", "stored content is cut short on the server")
      },
      close: () => disk.close(file).catch(() => undefined)
    }
  }

  async remove(segment: SegmentId): Promise<void> {
    this.files.get(segment)?.discard()
    await this.disk.remove(this.pathOf(segment)).catch((error: unknown) => {
      if (!isMissing(error)) throw diskRefusal(error)
    })
  }

  async list(): Promise<ReadonlyArray<SegmentInfo>> {
    const found: Array<SegmentInfo> = []
    try {
      for (const folder of await this.disk.list(this.root)) {
        if (!FOLDER_NAME.test(folder)) continue
        for (const name of await this.disk.list(join(this.root, folder))) {
          if (!SEGMENT_NAME.test(name)) continue
          const segment = SegmentId(name)
          try {
            const bytes = await this.disk.size(join(this.root, folder, name))
            found.push({ segment, bytes, isOpen: this.files.has(segment) })
          } catch (error) {
            // Removed meanwhile.
            if (!isMissing(error)) throw error
          }
        }
      }
    } catch (error) {
      throw diskRefusal(error)
    }
    return found
  }

  /** Makes the root folder. */
  async start(): Promise<void> {
    try {
      await this.disk.makeFolder(this.root)
      await this.disk.syncFolder(dirname(this.root))
    } catch (error) {
      throw diskRefusal(error)
    }
  }

  /**
   * Closes every file that is open for writing, when what is under way on it has ended. What comes later is refused. A
   * sync each, for what was acknowledged without one.
   */
  async close(): Promise<void> {
    this.closed = true
    await Promise.all(Array.from(this.files.values(), (file) => file.sync().catch(() => undefined)))
    await Promise.all(Array.from(this.files.values(), (file) => file.close()))
  }
}
