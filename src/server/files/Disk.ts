/**
 * The few operations on local files that segments need, as they are: short reads and writes and all.
 *
 * A reference with Node's file system as its value, so that a test can put a disk in its place that is full, fails, or
 * forgets what was not synced. Operations reject with Node's errors.
 */
import { Context } from "effect"
import * as Fs from "node:fs"
import * as FsPromises from "node:fs/promises"
import { makeFolder } from "../../platform/makeFolder.ts"

export interface Disk {
  /** `write` makes the file unless it is there; nothing is cut off. */
  readonly open: (path: string, mode: "write" | "read") => Promise<number>
  /** Bytes written, possibly fewer than given. */
  readonly write: (file: number, chunks: ReadonlyArray<Uint8Array>, position: number) => Promise<number>
  /** Bytes read into `buffers`, in order, possibly fewer than asked for; 0 at the end of the file. */
  readonly read: (file: number, buffers: ReadonlyArray<Uint8Array>, position: number) => Promise<number>
  /** Returns when what was written to the file is on stable storage. */
  readonly sync: (file: number) => Promise<void>
  readonly size: (path: string) => Promise<number>
  readonly close: (file: number) => Promise<void>
  readonly remove: (path: string) => Promise<void>
  readonly list: (folder: string) => Promise<ReadonlyArray<string>>
  /** Makes the folder unless it exists; true when it was made. The one above it must exist. */
  readonly makeFolder: (folder: string) => Promise<boolean>
  /** Returns when the names in the folder are on stable storage. */
  readonly syncFolder: (folder: string) => Promise<void>
}

const FLAGS = {
  write: Fs.constants.O_WRONLY | Fs.constants.O_CREAT,
  read: Fs.constants.O_RDONLY
} as const

/** What is left of `chunks` after their first `count` bytes. */
const after = (chunks: ReadonlyArray<Uint8Array>, count: number): ReadonlyArray<Uint8Array> => {
  let skipped = count
  for (const [index, chunk] of chunks.entries()) {
    if (skipped < chunk.length) return [chunk.subarray(skipped), ...chunks.slice(index + 1)]
    skipped -= chunk.length
  }
  return []
}

/** Writes all of `chunks`. */
export const writeAll = async (
  disk: Disk,
  file: number,
  chunks: ReadonlyArray<Uint8Array>,
  position: number
): Promise<void> => {
  let left = after(chunks, 0)
  let at = position
  while (left.length > 0) {
    const count = await disk.write(file, left, at)
    // A disk that takes nothing and gives no reason would be asked for ever.
    if (count === 0) throw Object.assign(new Error("EIO: nothing was written"), { code: "EIO" })
    at += count
    left = after(left, count)
  }
}

/** Fills all of `buffers`; false when the file ends before. */
export const readAll = async (
  disk: Disk,
  file: number,
  buffers: ReadonlyArray<Uint8Array>,
  position: number
): Promise<boolean> => {
  let left = after(buffers, 0)
  let at = position
  while (left.length > 0) {
    const count = await disk.read(file, left, at)
    if (count === 0) return false
    at += count
    left = after(left, count)
  }
  return true
}

/** Adapts a Node callback. */
const settle = <A>(resolve: (value: A) => void, reject: (error: Error) => void) => (error: Error | null, value: A) =>
  error === null ? resolve(value) : reject(error)

const node: Disk = {
  open: (path, mode) =>
    new Promise((resolve, reject) => Fs.open(path, FLAGS[mode], 0o600, settle<number>(resolve, reject))),
  write: (file, chunks, position) =>
    new Promise((resolve, reject) => {
      const first = chunks[0]
      if (chunks.length === 1 && first !== undefined) {
        Fs.write(file, first, 0, first.length, position, settle<number>(resolve, reject))
      } else {
        Fs.writev(file, chunks, position, settle<number>(resolve, reject))
      }
    }),
  read: (file, buffers, position) =>
    new Promise((resolve, reject) => {
      const first = buffers[0]
      if (buffers.length === 1 && first !== undefined) {
        Fs.read(file, first, 0, first.length, position, settle<number>(resolve, reject))
      } else {
        Fs.readv(file, buffers, position, settle<number>(resolve, reject))
      }
    }),
  sync: (file) =>
    new Promise((resolve, reject) => Fs.fdatasync(file, (error) => error === null ? resolve() : reject(error))),
  size: async (path) => (await FsPromises.stat(path)).size,
  close: (file) =>
    new Promise((resolve, reject) => Fs.close(file, (error) => error === null ? resolve() : reject(error))),
  remove: (path) => FsPromises.unlink(path),
  list: (folder) => FsPromises.readdir(folder),
  makeFolder: (folder) => makeFolder(folder, 0o700),
  syncFolder: async (folder) => {
    const handle = await FsPromises.open(folder, "r")
    try {
      await handle.sync()
    } finally {
      await handle.close()
    }
  }
}

export const Disk = Context.Reference<Disk>("fip/server/files/Disk", { defaultValue: () => node })
