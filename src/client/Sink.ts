/**
 * A file of this machine that a download writes: under a temporary name beside its place, 0600, as data arrives. It takes
 * its name only when it is whole and on disk; until then whatever has that name is untouched.
 *
 * Nothing is left of it when the scope closes, unless it was published, or is to be kept for a later run: its length
 * then says how much of it is there, because it is written in order.
 */
import { Effect, type Scope } from "effect"
import { createHash, randomBytes } from "node:crypto"
import { constants } from "node:fs"
import { access, chmod, type FileHandle, readdir, rename, rm, stat, utimes } from "node:fs/promises"
import { hostname } from "node:os"
import { dirname, join } from "node:path"
import { syncFolder } from "../platform/AtomicFile.ts"
import { systemErrorCode } from "../platform/systemError.ts"
import type { Attributes } from "../protocol/Request.ts"
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
  /** Does not keep it after all. */
  readonly discard: Effect.Effect<void>
  /** Makes what was written durable, and gives it its name, which is durable when the folder is synced. */
  readonly publish: (
    options: { readonly attributes: Attributes | undefined; readonly syncsFolder: boolean }
  ) => Effect.Effect<void, LocalFileError>
}

/** How a file is kept for a later run. */
export interface Keeping {
  /** Its temporary path, which nobody else uses meanwhile. */
  readonly name: string
  /** Hears how much of it is on disk. */
  readonly onSynced: (bytes: number) => void
}

export interface OpenedSink {
  readonly sink: Sink
  /** By what it is known again, where it is kept. */
  readonly inode: string
  /** So much of it is there already. */
  readonly position: number
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

/** The same for who may run it: whoever may read it, as far as the system lets new files be run. */
export const withExecutable = (mode: number, executable: boolean | undefined): number => {
  if (executable === undefined || executable === ((mode & constants.S_IXUSR) !== 0)) return mode
  return executable ? mode | ((mode & 0o444) >> 2 & ~process.umask()) : mode & ~0o111
}

/** Gives a file its attributes; `mode` is what it has beside them. */
export const setAttributes = async (
  file: FileHandle | string,
  mode: number,
  { executable, modified_ms }: Attributes = {}
): Promise<void> => {
  const isPath = typeof file === "string"
  const wanted = withExecutable(mode, executable)
  await (isPath ? chmod(file, wanted) : file.chmod(wanted))
  if (modified_ms === undefined) return
  const [accessed, modified] = [Date.now() / 1000, modified_ms / 1000]
  // Not every file system has every time.
  await (isPath ? utimes(file, accessed, modified) : file.utimes(accessed, modified)).catch(() => {})
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
  readonly name: string
  readonly onSynced: ((bytes: number) => void) | undefined
  readonly position: number
}

const makeSink = ({ handle, name, onSynced, path, position: begin }: Opened) => {
  let kept = onSynced !== undefined
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
    discard: Effect.sync(() => {
      kept = false
    }),
    publish: ({ attributes, syncsFolder }) =>
      Effect.uninterruptible(attempt(path, "write", async () => {
        await last
        await writeBack
        await setAttributes(handle, await modeFor(path), attributes)
        await handle.sync()
        await rename(name, path)
        // It is no temporary file any more.
        kept = true
        if (syncsFolder) await syncFolder(dirname(path))
      }))
  }
  const close = Effect.suspend(() =>
    Effect.ignore(attempt(name, "close", () => kept ? last : rm(name, { force: true })))
  )
  return { sink, close }
}

const here = createHash("sha256").update(hostname()).digest("hex").slice(0, 8)

let last = randomBytes(4).readUInt32BE()

/** A name that says whose it is, so that it can be removed when that process is gone. */
export const temporaryBeside = (path: string): string => {
  last = (last + 1) % 2 ** 32
  return join(dirname(path), `.fip-${here}-${process.pid}-${last.toString(16).padStart(8, "0")}.tmp`)
}

const TEMPORARY = /^\.fip-([0-9a-f]{8})-(\d+)-[0-9a-f]{8}\.tmp$/

const isGone = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return false
  } catch (cause) {
    return systemErrorCode(cause) === "ESRCH"
  }
}

/** Removes what processes of this machine that were killed have left in a folder. */
const removeLeft = async (folder: string): Promise<void> => {
  for (const name of await readdir(folder)) {
    const [, host, pid] = TEMPORARY.exec(name) ?? []
    if (host === here && isGone(Number(pid))) await rm(join(folder, name), { force: true })
  }
}

const looked = new Set<string>()

/** Fails unless files can be made beside `path`. Each folder is tidied up once. */
export const checkPlace = (path: string): Effect.Effect<void, LocalFileError> => {
  const folder = dirname(path)
  return attempt(path, "write", async () => {
    await access(`${folder}/`, constants.W_OK)
    if (looked.has(folder)) return
    looked.add(folder)
    await removeLeft(folder).catch(() => {})
  })
}

/** A new file to be written at `path`. */
export const openSink = Effect.fnUntraced(function*(
  path: string,
  keeping?: Keeping
): Effect.fn.Return<OpenedSink, LocalFileError, Scope.Scope> {
  const name = keeping?.name ?? temporaryBeside(path)
  if (keeping !== undefined) yield* attempt(path, "write", () => rm(name, { force: true }))
  const handle = yield* openFile(path, "write", "wx+", name)
  const { close, sink } = makeSink({ path, handle, name, onSynced: keeping?.onSynced, position: 0 })
  yield* Effect.addFinalizer(() => close)
  const inode = keeping === undefined
    ? ""
    : String((yield* attempt(path, "write", () => handle.stat({ bigint: true }))).ino)
  return { sink, inode, position: 0 }
})

/** A file that was kept, as far as it is trusted; `undefined` when what has its name is something else. */
export const reopenSink = Effect.fnUntraced(function*(
  path: string,
  keeping: Keeping,
  inode: string,
  trusted: (size: number) => number
): Effect.fn.Return<OpenedSink | undefined, LocalFileError, Scope.Scope> {
  const handle = yield* openFile(path, "write", constants.O_RDWR | constants.O_NOFOLLOW, keeping.name)
  const { ino, size } = yield* attempt(path, "write", () => handle.stat({ bigint: true }))
  if (String(ino) !== inode) return undefined
  const position = Math.min(Number(size), trusted(Number(size)))
  yield* attempt(path, "write", () => handle.truncate(position))
  const { close, sink } = makeSink({ path, handle, ...keeping, position })
  yield* Effect.addFinalizer(() => close)
  return { sink, inode, position }
})
