/**
 * Notes on a transfer that is under way, so that another process can go on with it: one file for each, 0600, in a folder
 * 0700 of the user's state, `$XDG_STATE_HOME/fip/transfers`.
 *
 * Lines of JSON, each behind its CRC-32: what is damaged or torn is taken for the end. A line is in the system's hands
 * when it is written, not on the disk: it outlives the process, and after a loss of power a transfer may begin anew. A
 * journal belongs to one process at a time, by a lock that the system releases. Nothing here ever fails a transfer: one
 * without a journal works, and only cannot be taken up.
 */
import { Clock, Effect, Predicate, type Scope } from "effect"
import { createHash } from "node:crypto"
import { type FileHandle, open, readdir, readFile, rm, stat } from "node:fs/promises"
import { homedir } from "node:os"
import { basename, isAbsolute, join } from "node:path"
import { crc32 } from "node:zlib"
import { acquire } from "../platform/FileLock.ts"
import { makeFolder } from "../platform/makeFolder.ts"
import { systemErrorReason } from "../platform/systemError.ts"

/** `$XDG_STATE_HOME/fip/transfers`, with `~/.local/state` where that is not set. */
export const defaultFolder = (): string => {
  const base = process.env["XDG_STATE_HOME"]
  return join(base !== undefined && isAbsolute(base) ? base : join(homedir(), ".local", "state"), "fip", "transfers")
}

/** What nobody has touched for so long is removed; servers forget uploads sooner. */
const KEPT_MILLIS = 30 * 24 * 60 * 60 * 1000

export interface Journal {
  /** What an earlier process wrote, line by line. */
  readonly found: ReadonlyArray<unknown>
  /** Forgets what was written, and begins with this line. */
  readonly begin: (line: unknown) => Effect.Effect<void>
  /** Writes another line, behind the others; nobody waits for it. */
  readonly add: (line: unknown) => void
  /** The transfer has ended: there is nothing to take up. */
  readonly remove: Effect.Effect<void>
}

export interface Journals {
  /** The journal of a transfer; `undefined` where another process has it, or none can be kept. */
  readonly open: (key: ReadonlyArray<string>) => Effect.Effect<Journal | undefined, never, Scope.Scope>
}

const encodeLine = (line: unknown): string => {
  const text = JSON.stringify(line)
  return `${crc32(text).toString(16).padStart(8, "0")} ${text}\n`
}

const decodeLine = (line: string): unknown => {
  const text = line.slice(9)
  if (line.slice(0, 9) !== `${crc32(text).toString(16).padStart(8, "0")} `) return undefined
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** The lines up to the first that is not as it was written, and their length. */
const decode = (bytes: Buffer): { readonly lines: ReadonlyArray<unknown>; readonly length: number } => {
  const lines: Array<unknown> = []
  let at = 0
  for (;;) {
    const end = bytes.indexOf(10, at)
    const line = end < 0 ? undefined : decodeLine(bytes.toString("utf8", at, end))
    if (line === undefined) return { lines, length: at }
    lines.push(line)
    at = end + 1
  }
}

class JournalFile {
  private readonly handle: FileHandle
  private readonly path: string
  private at: number
  private waiting = ""
  private waitingAt = 0
  private last: Promise<unknown> = Promise.resolve()

  constructor(handle: FileHandle, path: string, length: number) {
    this.handle = handle
    this.path = path
    this.at = length
  }

  private after(work: () => Promise<unknown>): Promise<unknown> {
    this.last = this.last.then(work).catch(() => {})
    return this.last
  }

  /** Lines that come while others are being written go together. */
  add(line: unknown): Promise<unknown> {
    const text = encodeLine(line)
    const isFirst = this.waiting === ""
    if (isFirst) this.waitingAt = this.at
    this.waiting += text
    this.at += Buffer.byteLength(text)
    return isFirst ? this.after(() => this.writeWaiting()) : this.last
  }

  private async writeWaiting(): Promise<void> {
    const text = this.waiting
    this.waiting = ""
    if (text !== "") await this.handle.write(text, this.waitingAt)
  }

  /** Forgets all lines. The file goes when it is closed, unless it is used again. */
  clear(): Promise<unknown> {
    this.at = 0
    this.waiting = ""
    return this.after(() => this.handle.truncate(0))
  }

  close(): Promise<unknown> {
    if (this.at === 0) this.after(() => rm(this.path, { force: true }))
    return this.after(() => this.handle.close())
  }
}

const openFile = async (path: string): Promise<{ readonly file: JournalFile; readonly found: Journal["found"] }> => {
  const handle = await open(path, "a+", 0o600)
  await handle.close()
  const { length, lines } = decode(await readFile(path))
  const file = await open(path, "r+")
  await file.truncate(length)
  return { file: new JournalFile(file, path, length), found: lines }
}

/** What a download left beside its target, as its journal has it; nothing else has such a name. */
const PARTIAL = /^\.fip-[0-9a-f]{16}\.part$/

const removeOld = async (folder: string, now: number): Promise<void> => {
  for (const name of await readdir(folder)) {
    const path = join(folder, name)
    if ((await stat(path)).mtimeMs >= now - KEPT_MILLIS) continue
    const [head] = decode(await readFile(path)).lines
    if (Predicate.hasProperty(head, "partial") && Predicate.isString(head.partial)) {
      if (PARTIAL.test(basename(head.partial))) await rm(head.partial, { force: true })
    }
    await rm(path, { force: true })
  }
}

/** The journals of transfers with one server. */
export const makeJournals = (folder: string, server: string, onNotice: (message: string) => void): Journals => {
  let prepared = false
  const prepare = Effect.gen(function*() {
    if (prepared) return
    prepared = true
    const now = yield* Clock.currentTimeMillis
    yield* Effect.promise(() => removeOld(folder, now).catch(() => {}))
  })
  return {
    open: (key) =>
      Effect.gen(function*() {
        yield* Effect.tryPromise(() => makeFolder(folder, 0o700))
        yield* prepare
        const path = join(folder, createHash("sha256").update([server, ...key].join("\0")).digest("hex").slice(0, 32))
        yield* acquire(`${path}.lock`)
        const { file, found } = yield* Effect.acquireRelease(
          Effect.tryPromise(() => openFile(path)),
          ({ file }) => Effect.promise(() => file.close())
        )
        return {
          found,
          begin: (line: unknown) =>
            Effect.asVoid(Effect.promise(() => {
              file.clear()
              return file.add(line)
            })),
          add: (line: unknown) => void file.add(line),
          remove: Effect.asVoid(Effect.promise(() => file.clear()))
        }
      }).pipe(Effect.catch((error) => {
        if (error._tag === "UnknownError") {
          onNotice(`no notes on this transfer can be kept in ${folder}: ${systemErrorReason(error.cause)}`)
        } else if (error.reason === "failed") {
          onNotice(`no notes on this transfer can be kept: ${error.message}`)
        }
        return Effect.undefined
      }))
  }
}
