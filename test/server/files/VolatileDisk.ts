/**
 * A disk in memory that keeps what was synced, and may lose anything else when the power goes.
 *
 * What a process wrote can be read at once, as with a kernel's cache. When the power goes, of each file the synced
 * content stays, and of what was written since, any sectors, in any combination; of each folder the names stay that it
 * had when it was synced, and of the changes since, any. A sync covers only writes that had ended when it began. A sync
 * that fails loses what it was to make durable, and the next one succeeds without it: as a kernel does, which marks
 * pages clean that it could not write.
 */
import { basename, dirname } from "node:path"
import { Disk } from "../../../src/server/files/Disk.ts"
import type { Random } from "../../support/Random.ts"

/** What a disk writes as a whole. */
const SECTOR_BYTES = 512

export type Operation = Exclude<keyof Disk, "size" | "list">

/** What becomes of an operation: it fails with a code, or ends after so many bytes (a read or a write). */
export type Fault = { readonly code: string } | { readonly bytes: number }

export interface VolatileDiskOptions {
  /** Asked before each operation. Without a fault it works. */
  readonly fault?: (operation: Operation, path: string) => Fault | undefined
  /** Told when one begins, and again when it has had its effect. */
  readonly onStep?: () => void
}

interface Write {
  readonly position: number
  readonly bytes: Buffer
  ended: boolean
}

class File {
  content = Buffer.alloc(0)
  durable = Buffer.alloc(0)
  unsynced: Array<Write> = []
}

class Folder {
  readonly entries = new Map<string, File | Folder>()
  durable = new Map<string, File | Folder>()
}

const grown = (buffer: Buffer<ArrayBuffer>, length: number): Buffer<ArrayBuffer> =>
  buffer.length >= length ? buffer : Buffer.concat([buffer, Buffer.alloc(length - buffer.length)])

/** `content` with bytes written into it. */
const written = (content: Buffer<ArrayBuffer>, position: number, bytes: Uint8Array): Buffer<ArrayBuffer> => {
  const whole = grown(content, position + bytes.length)
  whole.set(bytes, position)
  return whole
}

const failure = (code: string) => Object.assign(new Error(`${code}: it failed as the test wants it`), { code })

/** The first `count` bytes of `chunks`. */
const firstOf = (chunks: ReadonlyArray<Uint8Array>, count: number): Buffer => Buffer.concat(chunks).subarray(0, count)

export class VolatileDisk {
  private root = new Folder()
  private descriptors = new Map<number, { readonly file: File; readonly path: string }>()
  private nextDescriptor = 3
  private isOff = false
  private readonly options: VolatileDiskOptions

  constructor(folder: string, options: VolatileDiskOptions = {}) {
    this.options = options
    this.root.entries.set(folder, new Folder())
    this.root.durable = new Map(this.root.entries)
  }

  get openFiles(): number {
    return this.descriptors.size
  }

  /** From now on nothing has an effect, and everything fails. */
  cutPower(): void {
    this.isOff = true
  }

  /** The disk after the power went, as chance has it. */
  restorePower(random: Random): void {
    const kept = new Map<File | Folder, true>()
    const settle = (node: File | Folder): void => {
      if (kept.has(node)) return
      kept.set(node, true)
      if (node instanceof File) {
        settleFile(node, random)
        return
      }
      for (const name of new Set([...node.entries.keys(), ...node.durable.keys()])) {
        const before = node.durable.get(name)
        const after = node.entries.get(name)
        const found = before === after || random.chance(0.5) ? before : after
        if (found === undefined) node.entries.delete(name)
        else node.entries.set(name, found)
      }
      node.durable = new Map(node.entries)
      for (const child of node.entries.values()) settle(child)
    }
    settle(this.root)
    this.descriptors.clear()
    this.isOff = false
  }

  readonly disk: Disk = {
    open: (path, mode) =>
      this.run("open", path, () => {
        const folder = this.folder(dirname(path))
        let file = folder.entries.get(basename(path))
        if (file === undefined && mode === "write") folder.entries.set(basename(path), file = new File())
        if (!(file instanceof File)) throw failure("ENOENT")
        const descriptor = this.nextDescriptor++
        this.descriptors.set(descriptor, { file, path })
        return descriptor
      }),
    write: async (descriptor, chunks, position) => {
      const { file, path } = this.opened(descriptor)
      const fault = this.options.fault?.("write", path)
      if (fault !== undefined && "code" in fault) return this.fail(fault.code)
      const bytes = firstOf(chunks, fault?.bytes ?? Number.MAX_SAFE_INTEGER)
      this.step()
      const write: Write = { position, bytes, ended: false }
      file.unsynced.push(write)
      file.content = written(file.content, position, bytes)
      await turn()
      this.step()
      write.ended = true
      return bytes.length
    },
    read: async (descriptor, buffers, position) => {
      const { file, path } = this.opened(descriptor)
      const fault = this.options.fault?.("read", path)
      if (fault !== undefined && "code" in fault) return this.fail(fault.code)
      if (this.isOff) throw failure("EIO")
      let at = position
      const end = Math.min(file.content.length, position + (fault?.bytes ?? Number.MAX_SAFE_INTEGER))
      for (const buffer of buffers) {
        at += file.content.copy(buffer, 0, at, Math.max(at, Math.min(end, at + buffer.length)))
      }
      return at - position
    },
    sync: async (descriptor) => {
      const { file, path } = this.opened(descriptor)
      const covered = file.unsynced.filter((write) => write.ended)
      const end = () => {
        file.unsynced = file.unsynced.filter((write) => !covered.includes(write))
      }
      const fault = this.options.fault?.("sync", path)
      if (fault !== undefined && "code" in fault) {
        end()
        return this.fail(fault.code)
      }
      this.step()
      await turn()
      this.step()
      for (const { bytes, position } of covered) file.durable = written(file.durable, position, bytes)
      end()
    },
    size: async (path) => {
      const file = this.folder(dirname(path)).entries.get(basename(path))
      if (!(file instanceof File)) throw failure("ENOENT")
      return file.content.length
    },
    close: async (descriptor) => {
      const { path } = this.opened(descriptor)
      await this.run("close", path, () => {
        this.descriptors.delete(descriptor)
      })
    },
    remove: (path) =>
      this.run("remove", path, () => {
        if (!this.folder(dirname(path)).entries.delete(basename(path))) throw failure("ENOENT")
      }),
    list: async (folder) => [...this.folder(folder).entries.keys()],
    makeFolder: (path) =>
      this.run("makeFolder", path, () => {
        const above = this.folder(dirname(path))
        if (above.entries.has(basename(path))) return false
        above.entries.set(basename(path), new Folder())
        return true
      }),
    syncFolder: (path) =>
      this.run("syncFolder", path, () => {
        const folder = this.folder(path)
        folder.durable = new Map(folder.entries)
      })
  }

  private folder(path: string): Folder {
    const found = this.root.entries.get(path) ??
      (path === dirname(path) ? this.root : this.folder(dirname(path)).entries.get(basename(path)))
    if (!(found instanceof Folder)) throw failure("ENOENT")
    return found
  }

  private opened(descriptor: number) {
    const found = this.descriptors.get(descriptor)
    if (found === undefined) throw failure("EBADF")
    return found
  }

  private step(): void {
    if (!this.isOff) this.options.onStep?.()
    if (this.isOff) throw failure("EIO")
  }

  private async fail(code: string): Promise<never> {
    await turn()
    throw failure(code)
  }

  private async run<A>(operation: Operation, path: string, effect: () => A): Promise<A> {
    const fault = this.options.fault?.(operation, path)
    if (fault !== undefined && "code" in fault) return this.fail(fault.code)
    this.step()
    await turn()
    const result = effect()
    this.step()
    return result
  }
}

/** Lets others go on meanwhile. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** What of a file is on the disk when the power comes back. */
const settleFile = (file: File, random: Random): void => {
  const content = grown(Buffer.from(file.durable), file.content.length)
  let length = file.durable.length
  // Nothing, all, or any sectors of what was written: the three kinds of luck.
  const luck = random.pick([0, 1, 0.5])
  for (const { bytes, position } of file.unsynced) {
    for (let at = position; at < position + bytes.length;) {
      const to = Math.min(position + bytes.length, (Math.floor(at / SECTOR_BYTES) + 1) * SECTOR_BYTES)
      if (random.chance(luck)) {
        content.set(bytes.subarray(at - position, to - position), at)
        length = Math.max(length, to)
      }
      at = to
    }
  }
  // Its length may have reached the disk without its content.
  file.content = content.subarray(0, random.chance(0.5) ? content.length : length)
  file.durable = Buffer.from(file.content)
  file.unsynced = []
}
