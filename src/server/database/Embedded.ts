/**
 * PostgreSQL inside this process: PGlite on a folder of its own, made to keep its promises.
 *
 * - **A commit is on disk.** PGlite starts PostgreSQL with fsync off, and its file layer has no fsync at all. Here it
 *   has one, and PostgreSQL uses it, for its log at every commit and for its files at checkpoints.
 * - **A failure is one.** PGlite swallows every exception of the engine's loop, also those of a PANIC, and would then
 *   report success. Here the first one ends the engine: what waits for it fails, and so does all that comes later.
 * - **A folder is whole.** A new database is made beside its place, synced, and moved there, so that a crash in the
 *   first start leaves nothing that a second one takes for a database.
 */
import type { PGlite, postgresMod } from "@electric-sql/pglite"
import { Predicate } from "effect"
import { existsSync, fdatasyncSync, fsyncSync } from "node:fs"
import { open, readdir, rename, rm } from "node:fs/promises"
import { dirname, join } from "node:path"
import { setFlagsFromString } from "node:v8"
import { syncFolder } from "../../platform/AtomicFile.ts"

type Engine = postgresMod.PostgresMod

/** How `PostgresMain` leaves its loop after an ordinary error, to be re-entered. */
const ERROR_LONGJMP = 100

/** The engine stopped in the middle of something. PGlite rethrows only what fails when its `status` is read. */
class EngineStopped extends Error {
  constructor(cause: unknown) {
    super("the embedded database stopped", { cause })
  }
  get status(): number {
    throw this
  }
}

/** Makes what was written to a descriptor durable, or throws. */
export type Sync = (descriptor: number, isFolder: boolean) => void

/** A commit appends to a file of a fixed size: without its times it costs a third. */
const syncToDisk: Sync = (descriptor, isFolder) => isFolder ? fsyncSync(descriptor) : fdatasyncSync(descriptor)

/** Gives the engine's file layer its missing fsync. */
const addSync = (engine: Engine, sync: Sync): void => {
  const layer: unknown = engine.NODEFS
  if (!Predicate.hasProperty(layer, "stream_ops") || !Predicate.isObject(layer.stream_ops)) {
    throw new Error("this version of PGlite has another file layer")
  }
  Object.assign(layer.stream_ops, {
    fsync: (stream: { readonly nfd: number; readonly node: { readonly mode: number } }): number => {
      sync(stream.nfd, engine.FS.isDir(stream.node.mode))
      return 0
    }
  })
}

/** Lets nothing but ordinary errors pass as such. */
const stopOnFailure = (engine: Engine): void => {
  const step = engine._PostgresMainLoopOnce
  let stopped: EngineStopped | undefined
  engine._PostgresMainLoopOnce = () => {
    if (stopped !== undefined) throw stopped
    try {
      step()
    } catch (cause) {
      if (Predicate.hasProperty(cause, "status") && cause.status === ERROR_LONGJMP) throw cause
      throw stopped = new EngineStopped(cause)
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

const start = async (folder: string, sync: Sync): Promise<PGlite> => {
  compileOnce()
  // Slow to load, and a server with a PostgreSQL of its own does without.
  const [{ PGlite }, { NodeFS }] = await Promise.all([
    import("@electric-sql/pglite"),
    import("@electric-sql/pglite/nodefs")
  ])
  class SyncedFolder extends NodeFS {
    override async init(pg: PGlite, options: Partial<Engine>) {
      const { emscriptenOpts } = await super.init(pg, options)
      const preRun = [...emscriptenOpts.preRun ?? [], (engine: Engine) => addSync(engine, sync)]
      return { emscriptenOpts: { ...emscriptenOpts, preRun } }
    }
  }
  const database = await PGlite.create({
    fs: new SyncedFolder(folder),
    startParams: [
      ...PGlite.defaultStartParams.filter((parameter) => parameter !== "-F"),
      // Its other ways to sync the log do not reach the file layer.
      "-c",
      "wal_sync_method=fsync",
      // The operating system caches the same files once more: resident memory for nothing.
      "-c",
      "shared_buffers=16MB"
    ]
  })
  stopOnFailure(database.Module)
  return database
}

/** Makes all that is under `folder` durable, names and content. */
const syncTree = async (folder: string): Promise<void> => {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) {
      await syncTree(path)
    } else {
      const handle = await open(path, "r")
      try {
        await handle.sync()
      } finally {
        await handle.close()
      }
    }
  }
  await syncFolder(folder)
}

const initialise = async (folder: string): Promise<void> => {
  const staging = `${folder}.new`
  await rm(staging, { recursive: true, force: true })
  // Synced as a whole afterwards.
  const database = await start(staging, () => undefined)
  await database.close()
  await syncTree(staging)
  await rename(staging, folder)
  await syncFolder(dirname(folder))
}

/**
 * Opens the database in `folder`, making it if it is not there; the folder's own folder exists. One process at a time:
 * the caller holds a lock. `sync` is given by tests that want it to fail.
 */
export const openEmbedded = async (folder: string, sync: Sync = syncToDisk): Promise<PGlite> => {
  if (!existsSync(folder)) await initialise(folder)
  return await start(folder, sync)
}
