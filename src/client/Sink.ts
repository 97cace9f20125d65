/**
 * A file of this machine that a download writes: under a temporary name beside its place, 0600, as data arrives. It takes
 * its name only when it is whole and on disk; until then whatever has that name is untouched.
 *
 * Nothing is left of it when the scope closes, unless it was published, or is to be kept for a later run: its length
 * then says how much of it is there, because it is written in order.
 */
import { Effect, type Scope } from "effect"
import { randomBytes } from "node:crypto"
import { constants } from "node:fs"
import { type FileHandle, rename, rm, stat } from "node:fs/promises"
import { dirname, join } from "node:path"
import { syncFolder } from "../platform/AtomicFile.ts"
import { systemErrorCode } from "../platform/systemError.ts"
import { bytesOf, type Chunks, drop } from "./Chunks.ts"
import { LocalFileError } from "./ClientError.ts"
import { attempt, openFile } from "./LocalFile.ts"

/** Bytes that may wait for the disk before more are taken from the network. */
const WRITE_BEHIND_BYTES = 8 * 1024 * 1024

/** The kernel is asked to write back this often, so that the sync at the end does not find everything still to do. */
const WRITE_BACK_BYTES = 64 * 1024 * 1024

/** Writes may be small: their number is bounded too. */
const MAX_WRITES_BEHIND = 64

export interface Sink {
  /** Writes chunks behind the others. Waits only when the disk does not keep up. */
  readonly write: (chunks: Chunks) => Effect.Effect<void, LocalFileError>
  /** The bytes [from, to) that were written before. */
  readonly read: (from: number, to: number) => Promise<Uint8Array>
  /** Gives it this temporary name, and keeps it when the scope closes. `onSynced` hears how much of it is on disk. */
  readonly keepAs: (name: string, onSynced: (bytes: number) => void) => Effect.Effect<Kept, LocalFileError>
  /** Does not keep it after all. */
  readonly discard: Effect.Effect<void>
  /** Makes what was written durable, and gives it its name. */
  readonly publish: Effect.Effect<void, LocalFileError>
}

/** By what a kept file is known again. */
export interface Kept {
  readonly inode: string
}

/** The mode of the file that is replaced, or what the system gives to a new one. */
const modeFor = async (path: string): Promise<number> => {
  try {
    return (await stat(path)).mode & 0o777
  } catch (cause) {
    if (systemErrorCode(cause) !== "ENOENT") throw cause
    return 0o666 & ~process.umask()
  }
}

const writeAll = async (handle: FileHandle, chunks: Chunks, position: number): Promise<void> => {
  let at = position
  for (let rest = chunks; rest.length > 0;) {
    const { bytesWritten } = await handle.writev(rest, at)
    at += bytesWritten
    rest = drop(rest, bytesWritten)
  }
}

interface Opened {
  readonly path: string
  readonly handle: FileHandle
  readonly temporary: string
  readonly isKept: boolean
  readonly position: number
}

const makeSink = ({ handle, isKept, path, position: begin, temporary }: Opened) => {
  let name = temporary
  let kept = isKept
  let onSynced: ((bytes: number) => void) | undefined
  let position = begin
  let waiting = 0
  let writtenBack = begin
  const behind: Array<Promise<void>> = []
  let last: Promise<void> = Promise.resolve()
  let writeBack: Promise<void> = Promise.resolve()

  const isFull = () => waiting > WRITE_BEHIND_BYTES || behind.length > MAX_WRITES_BEHIND

  const write = async (chunks: Chunks) => {
    const at = position
    const bytes = bytesOf(chunks)
    position += bytes
    waiting += bytes
    last = last.then(() => writeAll(handle, chunks, at)).then(() => {
      waiting -= bytes
    })
    // Heard of at the next `write`, or at `publish`.
    last.catch(() => {})
    behind.push(last)
    while (isFull()) await behind.shift()
    if (position - writtenBack > WRITE_BACK_BYTES) {
      const written = last
      const end = writtenBack = position
      // One after the other. A sync that failed must not be forgotten: the next one would succeed.
      writeBack = writeBack.then(() => written).then(() => handle.datasync()).then(() => onSynced?.(end))
      writeBack.catch(() => {})
    }
  }

  const sink: Sink = {
    write: (chunks) => attempt(path, "write", () => write(chunks)),
    read: async (from, to) => {
      await last
      const bytes = Buffer.allocUnsafe(to - from)
      let filled = 0
      while (filled < bytes.length) {
        const { bytesRead } = await handle.read(bytes, filled, bytes.length - filled, from + filled)
        if (bytesRead === 0) throw new LocalFileError({ path, message: `${name} was cut short meanwhile` })
        filled += bytesRead
      }
      return bytes
    },
    keepAs: (partial, tell) =>
      Effect.uninterruptible(attempt(path, "write", async () => {
        await rename(name, partial)
        name = partial
        kept = true
        onSynced = tell
        return { inode: String((await handle.stat({ bigint: true })).ino) }
      })),
    discard: Effect.sync(() => {
      kept = false
    }),
    publish: Effect.uninterruptible(attempt(path, "write", async () => {
      await last
      await writeBack
      await handle.chmod(await modeFor(path))
      await handle.sync()
      await rename(name, path)
      // It is no temporary file any more.
      kept = true
      await syncFolder(dirname(path))
    }))
  }
  const close = Effect.suspend(() =>
    Effect.ignore(attempt(name, "close", () => kept ? last : rm(name, { force: true })))
  )
  return { sink, close }
}

/** A new file to be written at `path`. */
export const openSink = Effect.fnUntraced(function*(path: string): Effect.fn.Return<Sink, LocalFileError, Scope.Scope> {
  const temporary = join(dirname(path), `.fip-${randomBytes(8).toString("hex")}.part`)
  const handle = yield* openFile(path, "write", "wx+", temporary)
  const { close, sink } = makeSink({ path, handle, temporary, isKept: false, position: 0 })
  yield* Effect.addFinalizer(() => close)
  return sink
})

/** A file that was kept, from where it is trusted on; `undefined` when what has its name is something else. */
export const reopenSink = Effect.fnUntraced(function*(
  path: string,
  temporary: string,
  kept: Kept,
  trusted: (size: number) => number
): Effect.fn.Return<{ readonly sink: Sink; readonly position: number } | undefined, LocalFileError, Scope.Scope> {
  const handle = yield* openFile(path, "write", constants.O_RDWR | constants.O_NOFOLLOW, temporary)
  const { ino, size } = yield* attempt(path, "write", () => handle.stat({ bigint: true }))
  if (String(ino) !== kept.inode) return undefined
  const position = Math.min(Number(size), trusted(Number(size)))
  yield* attempt(path, "write", () => handle.truncate(position))
  const { close, sink } = makeSink({ path, handle, temporary, isKept: true, position })
  yield* Effect.addFinalizer(() => close)
  return { sink, position }
})
