/**
 * Files of this machine, as the source of an upload: read at positions into a few blocks that are used again, one block
 * ahead of what is sent. The target of a download is Sink.ts.
 */
import { Effect, type Scope } from "effect"
import { type BigIntStats, constants } from "node:fs"
import { open, stat } from "node:fs/promises"
import { basename, join } from "node:path"
import { systemErrorCode, systemErrorReason } from "../platform/systemError.ts"
import type { FileName } from "../protocol/FileName.ts"
import { MAX_DATA_BYTES } from "../protocol/Limits.ts"
import type { Attributes } from "../protocol/Request.ts"
import type { Blocks } from "./Blocks.ts"
import { LocalFileError } from "./ClientError.ts"

/** Something done to the file `path`; fails with a sentence. */
export const attempt = <A>(path: string, doing: string, run: () => Promise<A>): Effect.Effect<A, LocalFileError> =>
  Effect.tryPromise({
    try: run,
    catch: (cause) =>
      cause instanceof LocalFileError
        ? cause
        : new LocalFileError({ path, message: `cannot ${doing} ${path}: ${systemErrorReason(cause)}`, cause })
  })

/** Opens `file`, which a person knows as `path`. */
export const openFile = (path: string, doing: string, flags: string | number, file = path) =>
  Effect.acquireRelease(
    attempt(path, doing, () => open(file, flags, 0o600)),
    (handle) => Effect.ignore(attempt(path, "close", () => handle.close()))
  )

const refuse = (path: string, message: string) => Effect.fail(new LocalFileError({ path, message }))

/** By what a file is known to be what it was: every change of content moves its change time, which nobody can set. */
export interface FileFacts {
  readonly size: number
  readonly inode: string
  readonly modified: string
  readonly changed: string
}

export const factsOf = ({ ctimeNs, ino, mtimeNs, size }: BigIntStats): FileFacts => ({
  size: Number(size),
  inode: String(ino),
  modified: String(mtimeNs),
  changed: String(ctimeNs)
})

/**
 * What is kept of a file besides its bytes. Times are rounded, not cut: a time that was set is read back a little less
 * than it was.
 */
export const attributesOf = ({ mode, mtimeNs }: Pick<BigIntStats, "mode" | "mtimeNs">): Attributes => ({
  modified_ms: Math.round(Number(mtimeNs) / 1e6),
  ...(process.platform === "win32" ? {} : { executable: (Number(mode) & constants.S_IXUSR) !== 0 })
})

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
  readonly facts: FileFacts
  readonly attributes: Attributes
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
  // Not blocking: to open a pipe would be to wait for its other end.
  const handle = yield* openFile(path, "read", constants.O_RDONLY | constants.O_NONBLOCK)
  const found = yield* attempt(path, "read", () => handle.stat({ bigint: true }))
  if (!found.isFile()) {
    return yield* refuse(path, `${path} is ${found.isDirectory() ? "a folder" : "not a regular file"}`)
  }
  const facts = factsOf(found)
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
    const { modified, size } = factsOf(await handle.stat({ bigint: true }))
    if (size !== facts.size || modified !== facts.modified) throw changedWhileSent(path)
  }

  return {
    size: facts.size,
    facts,
    attributes: attributesOf(found),
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
