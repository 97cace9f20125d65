/**
 * PostgreSQL inside this process, in the thread that opens it (BackendThread.ts): PGlite on a folder of its own, made
 * to keep its promises.
 *
 * - **A commit is on disk.** PGlite starts PostgreSQL with fsync off, and its file layer has no fsync at all. Here it
 *   has one (`EngineFiles.ts`), and PostgreSQL uses it, for its log at every commit and for its files at checkpoints.
 * - **A failure is one.** PGlite swallows every exception of the engine's loop, also those of a PANIC, and would then
 *   report success. Here the first one ends the engine: what waits for it fails, and so does all that comes later.
 * - **A folder is private**, whoever made what it is in.
 * - **A folder is whole.** A new database is made beside its place, synced, and moved there, so that a crash in the
 *   first start leaves nothing that a second one takes for a database.
 */
import type { PGlite } from "@electric-sql/pglite"
import * as Predicate from "effect/Predicate"
import { execFile } from "node:child_process"
import { existsSync } from "node:fs"
import { chmod, rm, stat } from "node:fs/promises"
import { dirname, extname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { setFlagsFromString } from "node:v8"
import type { Durability } from "../ServerConfig.ts"
import { addSync, type Engine, type Sync, syncToDisk } from "./EngineFiles.ts"

/** How `PostgresMain` leaves its loop after an ordinary error, to be re-entered. */
const ERROR_LONGJMP = 100

/** Lines of PostgreSQL's log after which there are no more. */
const LAST_WORDS = /(?:FATAL|PANIC): +(.+)/

/** The engine stopped in the middle of something. PGlite rethrows only what fails when its `status` is read. */
class EngineStopped extends Error {
  constructor(reason: string, cause: unknown) {
    super(`the embedded database stopped: ${reason}`, { cause })
  }
  get status(): number {
    throw this
  }
}

/** Lets nothing but ordinary errors pass as such. */
const stopOnFailure = (engine: Engine, reason: () => string): void => {
  const step = engine._PostgresMainLoopOnce
  let stopped: EngineStopped | undefined
  engine._PostgresMainLoopOnce = () => {
    if (stopped !== undefined) throw stopped
    try {
      step()
    } catch (cause) {
      if (Predicate.hasProperty(cause, "status") && cause.status === ERROR_LONGJMP) throw cause
      throw stopped = new EngineStopped(reason(), cause)
    }
  }
}

/**
 * Leaves WebAssembly to V8's first compiler. The second one takes half a gigabyte to optimise PostgreSQL's largest
 * functions, for no gain that could be measured. V8 reads these when it compiles a module.
 */
const compileOnce = (): void => {
  setFlagsFromString("--no-wasm-tier-up")
  setFlagsFromString("--no-wasm-dynamic-tiering")
}

/** Starts the engine on a folder; `sync` is how it makes things durable, `durability` when. */
export const start = async (folder: string, sync: Sync, durability: Durability): Promise<PGlite> => {
  compileOnce()
  // Slow to load, and a server with a PostgreSQL of its own does without.
  const [{ PGlite }, { NodeFS }] = await Promise.all([
    import("@electric-sql/pglite"),
    import("@electric-sql/pglite/nodefs")
  ])
  class SyncedFolder extends NodeFS {
    override async init(pg: PGlite, options: Partial<Engine>) {
      const { emscriptenOpts } = await super.init(pg, options)
      const preRun = [...emscriptenOpts.preRun ?? [], (engine: Engine) => addSync(engine, sync, durability)]
      return { emscriptenOpts: { ...emscriptenOpts, preRun } }
    }
  }
  // What PostgreSQL says before it gives up; the exception that follows says nothing.
  let lastWords: string | undefined
  const database = await PGlite.create({
    fs: new SyncedFolder(folder),
    onStderr: (line) => {
      lastWords = LAST_WORDS.exec(line)?.[1] ?? lastWords
      return true
    },
    startParams: [
      ...PGlite.defaultStartParams.filter((parameter) => parameter !== "-F"),
      // Its other ways to sync the log do not reach the file layer.
      "-c",
      "wal_sync_method=fsync",
      // The operating system caches the same files once more: resident memory for nothing.
      "-c",
      "shared_buffers=16MB"
    ]
  }).catch((cause: unknown) => {
    throw lastWords === undefined ? cause : new Error(lastWords, { cause })
  })
  stopOnFailure(database.Module, () => lastWords ?? "its file layer failed")
  return database
}

/**
 * Makes a new database, in a process of its own: initdb needs several times the memory that the server needs later, and
 * only the end of a process gives it back.
 */
const initialise = async (folder: string): Promise<void> => {
  const self = fileURLToPath(import.meta.url)
  try {
    await promisify(execFile)(process.execPath, [join(dirname(self), `initdb${extname(self)}`), folder])
  } catch (cause) {
    throw new Error("a new database could not be made there; is there space on the disk?", { cause })
  }
}

/**
 * PostgreSQL makes its files for everybody whom the umask lets, and trusts that nobody gets as far as to them: the data
 * folder may be somebody else's work, and open to all.
 */
const makePrivate = async (folder: string): Promise<void> => {
  if (((await stat(folder)).mode & 0o077) === 0) return
  try {
    await chmod(folder, 0o700)
  } catch (cause) {
    throw new Error("others may read it, and it cannot be made private", { cause })
  }
}

/**
 * Opens the database in `folder`, making it if it is not there; the folder's own folder exists. One process at a time:
 * the caller holds a lock. `sync` is given by tests that want it to fail.
 */
export const openEmbedded = async (
  folder: string,
  durability: Durability,
  sync: Sync = syncToDisk
): Promise<PGlite> => {
  if (!existsSync(folder)) await initialise(folder)
  await makePrivate(folder)
  // PostgreSQL's own lock, which it refuses to take over when lost power has left it empty.
  await rm(join(folder, "postmaster.pid"), { force: true })
  return await start(folder, sync, durability)
}
