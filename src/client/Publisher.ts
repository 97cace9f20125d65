/**
 * Many small files for this machine, each as Sink.ts does one: written under a temporary name, and given its own only when
 * it is on disk. What differs is the sync: one for all the files of some time, where the system can do that.
 *
 * Writes are synchronous, because thousands of promises cost more than the writes. Temporary files that never took their
 * names are removed by `discard`, and after a crash by the next download to their folder.
 */
import * as Fs from "node:fs"
import { dirname } from "node:path"
import { canSyncFileSystems, syncFileSystems } from "../platform/syncFileSystems.ts"
import type { Attributes } from "../protocol/Request.ts"
import { bytesOf, type Chunks, drop } from "./Chunks.ts"
import { temporaryBeside, withExecutable } from "./Sink.ts"

/** So much is written before it is synced: by one sync for all, or one for each. */
const TOGETHER = { files: 4096, bytes: 64 * 1024 * 1024 }
const EACH = { files: 64, bytes: 16 * 1024 * 1024 }

/** A sync for all that takes longer waits for what others write: from then on each file has its own. */
const PATIENCE_MILLIS = 5000

/** A file that is whole, and not there yet. */
interface Pending<A> {
  readonly item: A
  readonly path: string
  readonly temporary: string
  /** Open while it has to be synced by itself. */
  readonly file: number | undefined
}

export interface Published<A> {
  readonly items: ReadonlyArray<A>
  readonly failed: { readonly item: A; readonly cause: unknown } | undefined
}

const writeAll = (file: number, chunks: Chunks): void => {
  for (let rest = chunks; rest.length > 0;) rest = drop(rest, Fs.writevSync(file, rest))
}

const sync = (file: number): Promise<void> =>
  new Promise((resolve, reject) => Fs.fsync(file, (error) => error === null ? resolve() : reject(error)))

export class Publisher<A> {
  private pending: Array<Pending<A>> = []
  private bytes = 0
  private together: boolean
  private readonly newMode = 0o666 & ~process.umask()
  /** A folder of each file system, by its number. */
  private readonly fileSystems = new Map<number, string>()
  private readonly known = new Set<string>()

  /** `many`: it is worth one sync for all. */
  constructor(many: boolean) {
    this.together = many && canSyncFileSystems()
  }

  /** True when what is written should be published before there is more. */
  get isFull(): boolean {
    const { bytes, files } = this.together ? TOGETHER : EACH
    return this.pending.length >= files || this.bytes >= bytes
  }

  /** Writes a file. Throws what the system says. */
  write(item: A, path: string, chunks: Chunks, attributes: Attributes | undefined): void {
    const temporary = temporaryBeside(path)
    const file = Fs.openSync(temporary, "wx", 0o600)
    let kept = false
    try {
      writeAll(file, chunks)
      const replaced = Fs.statSync(path, { throwIfNoEntry: false })
      Fs.fchmodSync(
        file,
        withExecutable(replaced === undefined ? this.newMode : replaced.mode & 0o777, attributes?.executable)
      )
      const modified = attributes?.modified_ms
      if (modified !== undefined) this.setTime(file, modified)
      if (this.together) this.noteFolder(path)
      kept = true
      this.pending.push({ item, path, temporary, file: this.together ? undefined : file })
      this.bytes += bytesOf(chunks)
    } finally {
      if (!kept || this.together) Fs.closeSync(file)
      if (!kept) Fs.rmSync(temporary, { force: true })
    }
  }

  /** Makes what was written durable, and gives it its names, up to the first that cannot have its own. */
  async publish(): Promise<Published<A>> {
    const { pending } = this
    this.pending = []
    this.bytes = 0
    const items: Array<A> = []
    try {
      await this.makeDurable(pending)
      for (const { item, path, temporary } of pending) {
        Fs.renameSync(temporary, path)
        items.push(item)
      }
      return { items, failed: undefined }
    } catch (cause) {
      const left = pending.slice(items.length)
      for (const { temporary } of left) Fs.rmSync(temporary, { force: true })
      return { items, failed: left[0] === undefined ? undefined : { item: left[0].item, cause } }
    }
  }

  /** Gives up what has no name yet. */
  discard(): void {
    for (const { file, temporary } of this.pending) {
      if (file !== undefined) Fs.closeSync(file)
      Fs.rmSync(temporary, { force: true })
    }
    this.pending = []
  }

  /** Not every file system has every time. */
  private setTime(file: number, millis: number): void {
    try {
      Fs.futimesSync(file, Date.now() / 1000, millis / 1000)
    } catch {
      // It keeps the time at which it was written.
    }
  }

  private noteFolder(path: string): void {
    const folder = dirname(path)
    if (this.known.has(folder)) return
    this.known.add(folder)
    this.fileSystems.set(Fs.statSync(folder).dev, folder)
  }

  private async makeDurable(pending: ReadonlyArray<Pending<A>>): Promise<void> {
    const closed = pending.filter(({ file }) => file === undefined)
    if (closed.length > 0) {
      const begun = performance.now()
      const done = await syncFileSystems([...this.fileSystems.values()])
      if (!done || performance.now() - begun > PATIENCE_MILLIS) this.together = false
      if (!done) await Promise.all(closed.map(({ temporary }) => this.syncAgain(temporary)))
    }
    const open = pending.flatMap(({ file }) => file === undefined ? [] : [file])
    try {
      await Promise.all(open.map(sync))
    } finally {
      for (const file of open) Fs.closeSync(file)
    }
  }

  private async syncAgain(path: string): Promise<void> {
    const file = Fs.openSync(path, "r")
    try {
      await sync(file)
    } finally {
      Fs.closeSync(file)
    }
  }
}
