/**
 * Folders of this machine: what a recursive upload sends, and where a recursive download may write. A name that a
 * server sent never leads out of the target folder, neither by its parts nor through a link that is there already.
 */
import { Effect } from "effect"
import { type BigIntStats, lstatSync } from "node:fs"
import { lstat, mkdir, readdir, stat } from "node:fs/promises"
import path from "node:path"
import { LocalFileError } from "../../client/ClientError.ts"
import { attributesOf, factsOf, type FileFacts } from "../../client/LocalFile.ts"
import { syncFolder } from "../../platform/AtomicFile.ts"
import { systemErrorCode, systemErrorReason } from "../../platform/systemError.ts"
import { type FileName, parseFileName } from "../../protocol/FileName.ts"
import type { Attributes } from "../../protocol/Request.ts"
import { everything, type Filter } from "./Filter.ts"

const failure = (file: string, what: string, cause: unknown): LocalFileError =>
  cause instanceof LocalFileError
    ? cause
    : new LocalFileError({ path: file, message: `${what} ${file}: ${systemErrorReason(cause)}`, cause })

export const attempt = <A>(file: string, what: string, run: () => Promise<A>): Effect.Effect<A, LocalFileError> =>
  Effect.tryPromise({ try: run, catch: (cause) => failure(file, what, cause) })

/** The same within what is attempted: rejects with the sentence about this file. */
const run = <A>(file: string, what: string, promise: Promise<A>): Promise<A> =>
  promise.catch((cause: unknown) => {
    throw failure(file, what, cause)
  })

/** What there is at a path: `none` when there is nothing. */
export const kindOf = (file: string): Effect.Effect<"file" | "folder" | "none", LocalFileError> =>
  attempt(file, "cannot look at", async () => {
    try {
      return (await stat(file)).isDirectory() ? "folder" : "file"
    } catch (cause) {
      if (systemErrorCode(cause) === "ENOENT") return "none"
      throw cause
    }
  })

export interface LocalFile {
  readonly path: string
  /** Below the folder, as a name on the server. */
  readonly name: FileName
  readonly facts: FileFacts
  readonly attributes: Attributes
}

export interface LocalTree {
  /** In the order of their names. */
  readonly files: ReadonlyArray<LocalFile>
  /** Links and devices, which are left out. */
  readonly skipped: number
  /** What could not be looked at and was left out, where that is wanted. */
  readonly faults: ReadonlyArray<LocalFileError>
}

/** What a transfer that is under way, or was interrupted, has beside its target. */
const UNFINISHED = /^\.fip-[0-9a-f-]+\.(?:part|tmp)$/

/** Files that are looked at before anything else has a turn, as long as each takes less than so many milliseconds. */
const SLICE = 64
const SLOW_MILLIS = 0.1

/** Files that are looked at, at once. */
const STATS = 32

const named = (file: string, name: string): FileName => {
  const parsed = parseFileName(name)
  if (parsed._tag === "Success") return parsed.success
  throw new LocalFileError({ path: file, message: `${file} cannot be stored: ${parsed.failure}` })
}

const walkFolder = async (root: string, filter: Filter, keepsGoing: boolean): Promise<LocalTree> => {
  const found = new Map<FileName, string>()
  let skipped = 0
  const faults: Array<LocalFileError> = []
  /** The root itself must be there. */
  const leaveOut = (fault: unknown): void => {
    if (!keepsGoing || !(fault instanceof LocalFileError) || fault.path === root) throw fault
    faults.push(fault)
  }
  /** What begins the names of what is in it: nothing, or the names of folders with a `/` behind each. */
  const folders = [{ folder: root, prefix: "" }]
  for (let next = folders.pop(); next !== undefined; next = folders.pop()) {
    const { folder, prefix } = next
    const entries = await run(folder, "cannot read", readdir(folder, { withFileTypes: true })).catch(leaveOut)
    for (const entry of entries ?? []) {
      const file = path.join(folder, entry.name)
      if (!entry.isDirectory() && (!entry.isFile() || UNFINISHED.test(entry.name))) {
        skipped += entry.isFile() ? 0 : 1
        continue
      }
      const text = `${prefix}${entry.name.normalize("NFC")}`
      if (entry.isDirectory()) {
        if (filter.enters(text)) folders.push({ folder: file, prefix: `${text}/` })
      } else if (filter.keeps(text)) {
        const name = named(file, text)
        const other = found.get(name)
        if (other !== undefined) {
          throw new LocalFileError({ path: file, message: `${other} and ${file} have one name on the server: ${name}` })
        }
        found.set(name, file)
      }
    }
  }
  const files = await lookAtAll([...found], leaveOut)
  return { files: files.sort((a, b) => a.name < b.name ? -1 : 1), skipped, faults }
}

/**
 * What the files are. Where the system knows it at once, asking for it takes a quarter of what a promise does; where it
 * has to look on a disk or a network, several are asked for at the same time.
 */
const lookAtAll = async (
  found: ReadonlyArray<readonly [FileName, string]>,
  leaveOut: (fault: unknown) => void
): Promise<Array<LocalFile>> => {
  const files: Array<LocalFile> = []
  const add = (name: FileName, file: string, stats: BigIntStats) =>
    files.push({ path: file, name, facts: factsOf(stats), attributes: attributesOf(stats) })
  let at = 0
  for (let isFast = true; isFast && at < found.length;) {
    const begun = performance.now()
    const slice = found.slice(at, at + SLICE)
    for (const [name, file] of slice) {
      try {
        add(name, file, lstatSync(file, { bigint: true }))
      } catch (cause) {
        leaveOut(failure(file, "cannot look at", cause))
      }
    }
    at += slice.length
    isFast = performance.now() - begun < SLICE * SLOW_MILLIS
    await new Promise(setImmediate)
  }
  const rest = found.slice(at).values()
  await Promise.all(Array.from({ length: STATS }, async () => {
    for (const [name, file] of rest) {
      const stats = await run(file, "cannot look at", lstat(file, { bigint: true })).catch(leaveOut)
      if (stats !== undefined) add(name, file, stats)
    }
  }))
  return files
}

/** One regular file, under its own name. */
export const lookAt = (file: string): Effect.Effect<LocalFile, LocalFileError> =>
  attempt(file, "cannot read", async () => {
    const stats = await stat(file, { bigint: true })
    if (!stats.isFile()) throw new LocalFileError({ path: file, message: `${file} is not a regular file` })
    const name = named(file, path.basename(path.resolve(file)))
    return { path: file, name, facts: factsOf(stats), attributes: attributesOf(stats) }
  })

/** The same, where there is one. */
export const localFile = (file: string): Effect.Effect<LocalFile | undefined> =>
  Effect.orElseSucceed(lookAt(file), () => undefined)

/** All regular files below a folder that take part; `keepsGoing`: as far as they can be read. */
export const walk = (
  root: string,
  filter: Filter = everything,
  keepsGoing = false
): Effect.Effect<LocalTree, LocalFileError> => attempt(root, "cannot read", () => walkFolder(root, filter, keepsGoing))

/** The last part of a path or of a name on the server. */
export const lastPart = (name: string): string => name.split("/").findLast((part) => part !== "") ?? ""

/** Makes folders below a root, each once, and never through a link. */
export const makeFolders = (root: string) => {
  const made = new Set<string>()
  return Effect.fnUntraced(function*(parts: ReadonlyArray<string>) {
    let folder = root
    for (const part of parts) {
      folder = path.join(folder, part)
      if (made.has(folder)) continue
      const current = folder
      yield* attempt(
        current,
        "cannot make the folder",
        () => mkdir(current, { recursive: false }).catch(ignoreExisting)
      )
      const found = yield* attempt(current, "cannot look at", () => lstat(current))
      if (!found.isDirectory()) {
        return yield* new LocalFileError({ path: current, message: `${current} is in the way: it is not a folder` })
      }
      made.add(current)
    }
  })
}

const ignoreExisting = (cause: unknown): void => {
  if (systemErrorCode(cause) !== "EEXIST") throw cause
}

/** Makes the target folder of a download, with whatever leads to it. */
export const makeRoot = (root: string): Effect.Effect<void, LocalFileError> =>
  attempt(root, "cannot make the folder", () => mkdir(root, { recursive: true }))

/** Makes names durable: those in the folders, and those of the folders, up to and with the root's own. */
export const syncFolders = (root: string, folders: Iterable<string>): Effect.Effect<void, LocalFileError> => {
  const top = path.dirname(path.resolve(root))
  const all = new Set([top])
  for (const folder of folders) {
    for (let at = path.resolve(folder); !all.has(at) && at.startsWith(top); at = path.dirname(at)) all.add(at)
  }
  return Effect.forEach(all, (folder) => attempt(folder, "cannot sync", () => syncFolder(folder)), {
    concurrency: 4,
    discard: true
  })
}

/** The path of `name` below `root`; refused when it would be anywhere else. */
export const pathBelow = (root: string, name: string): Effect.Effect<string, LocalFileError> => {
  const base = path.resolve(root)
  const file = path.resolve(base, ...name.split("/"))
  const relative = path.relative(base, file)
  const parts = name.split("/")
  return parseFileName(name)._tag === "Success" && !path.isAbsolute(relative) &&
      relative.split(path.sep).length === parts.length && !relative.startsWith("..")
    ? Effect.succeed(file)
    : Effect.fail(new LocalFileError({ path: root, message: `the server sent a name that is not safe: "${name}"` }))
}
