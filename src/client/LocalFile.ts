/**
 * Files of this machine, as the source of an upload and the target of a download.
 *
 * A source is read at positions into a few blocks that are used again, one block ahead of what is sent. A target is
 * written under a temporary name beside it, 0600, as data arrives; it takes its name only when it is whole and on disk,
 * and until then whatever has that name is untouched.
 */
import { Effect, type Scope } from "effect"
import { randomBytes } from "node:crypto"
import { type FileHandle, open, rename, rm, stat } from "node:fs/promises"
import { basename, dirname, join } from "node:path"
import { syncFolder } from "../platform/AtomicFile.ts"
import { systemErrorCode, systemErrorReason } from "../platform/systemError.ts"
import type { FileName } from "../protocol/FileName.ts"
import { MAX_DATA_BYTES } from "../protocol/Limits.ts"
import type { Blocks } from "./Blocks.ts"
import { bytesOf, type Chunks, drop } from "./Chunks.ts"
import { LocalFileError } from "./ClientError.ts"

/** Bytes that may wait for the disk before more are taken from the network. */
const WRITE_BEHIND_BYTES = 8 * 1024 * 1024

/** The kernel is asked to write back this often, so that the sync at the end does not find everything still to do. */
const WRITE_BACK_BYTES = 64 * 1024 * 1024

/** Writes may be small: their number is bounded too. */
const MAX_WRITES_BEHIND = 64

const attempt = <A>(path: string, doing: string, run: () => Promise<A>): Effect.Effect<A, LocalFileError> =>
  Effect.tryPromise({
    try: run,
    catch: (cause) =>
      cause instanceof LocalFileError
        ? cause
        : new LocalFileError({ path, message: `cannot ${doing} ${path}: ${systemErrorReason(cause)}`, cause })
  })

/** Opens `file`, which a person knows as `path`. */
const openFile = (path: string, doing: string, flags: string, file = path) =>
  Effect.acquireRelease(
    attempt(path, doing, () => open(file, flags, 0o600)),
    (handle) => Effect.ignore(attempt(path, "close", () => handle.close()))
  )

const refuse = (path: string, message: string) => Effect.fail(new LocalFileError({ path, message }))

/** By what a file is known to be what it was: every change of content moves its change time, which nobody can set. */
export interface SourceFacts {
  readonly size: number
  readonly inode: string
  readonly modified: string
  readonly changed: string
}

const factsOf = async (handle: FileHandle): Promise<SourceFacts> => {
  const { ctimeNs, ino, mtimeNs, size } = await handle.stat({ bigint: true })
  return { size: Number(size), inode: String(ino), modified: String(mtimeNs), changed: String(ctimeNs) }
}

/** A part of a file, [from, to), of at most `MAX_DATA_BYTES`. */
export type FilePart = readonly [from: number, to: number]

/** The parts of [from, to), cut at every `MAX_DATA_BYTES` of the file. */
export const partsIn = (from: number, to: number): ReadonlyArray<FilePart> => {
  const parts: Array<FilePart> = []
  for (let at = from; at < to;) {
    const end = Math.min(to, at - at % MAX_DATA_BYTES + MAX_DATA_BYTES)
    parts.push([at, end])
    at = end
  }
  return parts
}

export interface Source {
  readonly size: number
  readonly facts: SourceFacts
  /**
   * The parts as blocks to send, one read ahead. `next` fails when the file has another size than it had, or was written
   * meanwhile.
   */
  readonly blocks: (parts: ReadonlyArray<FilePart>) => Blocks
}

export const changedWhileSent = (path: string) =>
  new LocalFileError({ path, message: `${path} changed while it was being sent. Send it again` })

/** A local file to send. */
export const openSource = Effect.fnUntraced(function*(
  path: string
): Effect.fn.Return<Source, LocalFileError, Scope.Scope> {
  const found = yield* attempt(path, "read", () => stat(path))
  // Before it is opened: to open a pipe is to wait for its other end.
  if (!found.isFile()) {
    return yield* refuse(path, `${path} is ${found.isDirectory() ? "a folder" : "not a regular file"}`)
  }
  const handle = yield* openFile(path, "read", "r")
  const facts = yield* attempt(path, "read", () => factsOf(handle))
  const free: Array<Uint8Array> = []

  const read = async ([from, to]: FilePart): Promise<Uint8Array> => {
    // No larger than what is asked for: a thousand small files must not cost a thousand large buffers.
    const block = free.pop()?.subarray(0, to - from) ?? Buffer.allocUnsafeSlow(to - from)
    let filled = 0
    while (filled < block.length) {
      const { bytesRead } = await handle.read(block, filled, block.length - filled, from + filled)
      if (bytesRead === 0) throw changedWhileSent(path)
      filled += bytesRead
    }
    return block
  }

  const end = async (): Promise<undefined> => {
    const { modified, size } = await factsOf(handle)
    if (size !== facts.size || modified !== facts.modified) throw changedWhileSent(path)
  }

  return {
    size: facts.size,
    facts,
    blocks: (parts) => {
      let index = 0
      let ahead: Promise<Uint8Array | undefined> | undefined
      const readNext = () => {
        const part = parts[index++]
        return part === undefined ? end() : read(part)
      }
      const next = async () => {
        const block = await (ahead ?? readNext())
        if (block !== undefined) {
          ahead = readNext()
          // Whoever takes it hears of a failure; nobody may take it.
          ahead.catch(() => {})
        }
        return block
      }
      return {
        size: facts.size,
        next: attempt(path, "read", next),
        release: (block) => {
          if (block.length === MAX_DATA_BYTES) free.push(block)
        }
      }
    }
  }
})

export interface Sink {
  /** Writes chunks behind the others. Waits only when the disk does not keep up. */
  readonly write: (chunks: Chunks) => Effect.Effect<void, LocalFileError>
  /** Makes what was written durable, and gives it its name. */
  readonly publish: Effect.Effect<void, LocalFileError>
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

/** A file to be written at `path`. Unless it is published, nothing of it is left when the scope closes. */
export const openSink = Effect.fnUntraced(function*(
  path: string
): Effect.fn.Return<Sink, LocalFileError, Scope.Scope> {
  const temporary = join(dirname(path), `.fip-${randomBytes(8).toString("hex")}.part`)
  let published = false
  yield* Effect.addFinalizer(() =>
    published ? Effect.void : Effect.ignore(attempt(temporary, "remove", () => rm(temporary, { force: true })))
  )
  const handle = yield* openFile(path, "write", "wx", temporary)

  let position = 0
  let waiting = 0
  let writtenBack = 0
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
      writtenBack = position
      // One after the other. A sync that failed must not be forgotten: the next one would succeed.
      writeBack = writeBack.then(() => handle.datasync())
      writeBack.catch(() => {})
    }
  }

  return {
    write: (chunks) => attempt(path, "write", () => write(chunks)),
    publish: Effect.uninterruptible(attempt(path, "write", async () => {
      await last
      await writeBack
      await handle.chmod(await modeFor(path))
      await handle.sync()
      await rename(temporary, path)
      published = true
      await syncFolder(dirname(path))
    }))
  }
})

/** Where a file called `name` goes: into `path` if that is a folder, under the last part of its name. */
export const targetOf = Effect.fnUntraced(function*(
  path: string,
  name: FileName
): Effect.fn.Return<string, LocalFileError> {
  const isFolder = yield* attempt(path, "write", async () => {
    try {
      return (await stat(path)).isDirectory()
    } catch (cause) {
      if (systemErrorCode(cause) !== "ENOENT") throw cause
      return false
    }
  })
  if (!isFolder) {
    return path.endsWith("/") ? yield* refuse(path, `cannot write ${path}: there is no such folder`) : path
  }
  const last = name.slice(name.lastIndexOf("/") + 1)
  // What is a plain name on one system is a path on another.
  return basename(last) === last
    ? join(path, last)
    : yield* refuse(path, `${last} cannot be the name of a file here: give it another one`)
})
