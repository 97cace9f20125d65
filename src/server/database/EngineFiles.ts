/**
 * How the embedded database's file layer makes things durable: it has no fsync of its own.
 *
 * `full`: each sync that PostgreSQL asks for is one. `os`: a sync of the log, which is what a commit waits for, is put off
 * until anything else is about to be written. So the log is always ahead of what it describes, as PostgreSQL's recovery
 * needs it, and a loss of power takes at most the latest commits, never the database.
 */
import type { postgresMod } from "@electric-sql/pglite"
import * as Predicate from "effect/Predicate"
import { fdatasyncSync, fsyncSync } from "node:fs"
import type { Durability } from "../ServerConfig.ts"

export type Engine = postgresMod.PostgresMod

/** Makes what was written to a descriptor durable, or throws. */
export type Sync = (descriptor: number, isFolder: boolean) => void

/** A commit appends to a file of a fixed size: without its times it costs a third. */
export const syncToDisk: Sync = (descriptor, isFolder) => isFolder ? fsyncSync(descriptor) : fdatasyncSync(descriptor)

interface Stream {
  readonly nfd: number
  readonly path: string
  readonly node: { readonly mode: number }
}

type Operation = (...parameters: ReadonlyArray<unknown>) => unknown

const operationsOf = (engine: Engine, kind: "stream_ops" | "node_ops"): object => {
  const layer: unknown = engine.NODEFS
  if (Predicate.hasProperty(layer, kind) && Predicate.isObject(layer[kind])) return layer[kind]
  throw new Error("this version of PGlite has another file layer")
}

/** Puts `before` before some operations. */
const precede = (operations: object, names: ReadonlyArray<string>, before: (subject: unknown) => void): void => {
  for (const name of names) {
    const operation: unknown = Reflect.get(operations, name)
    if (!Predicate.isFunction(operation)) throw new Error("this version of PGlite has another file layer")
    const wrapped: Operation = (...parameters) => {
      before(parameters[0])
      return Reflect.apply(operation, operations, parameters)
    }
    Reflect.set(operations, name, wrapped)
  }
}

const isLog = (path: unknown): boolean => typeof path === "string" && path.includes("/pg_wal/")

/** Gives the engine's file layer its missing fsync. */
export const addSync = (engine: Engine, sync: Sync, durability: Durability): void => {
  const streams = operationsOf(engine, "stream_ops")
  const isFolder = (stream: Stream) => engine.FS.isDir(stream.node.mode)
  if (durability === "full") {
    Object.assign(streams, {
      fsync: (stream: Stream): number => {
        sync(stream.nfd, isFolder(stream))
        return 0
      }
    })
    return
  }

  /** Files of the log that are to be synced. */
  const putOff = new Set<number>()
  const syncLog = (): void => {
    for (const descriptor of putOff) sync(descriptor, false)
    putOff.clear()
  }
  precede(streams, ["write"], (stream) => {
    if (putOff.size > 0 && !(Predicate.hasProperty(stream, "path") && isLog(stream.path))) syncLog()
  })
  precede(streams, ["close"], (stream) => {
    if (Predicate.hasProperty(stream, "nfd") && Predicate.isNumber(stream.nfd) && putOff.delete(stream.nfd)) {
      sync(stream.nfd, false)
    }
  })
  // What cuts files, removes or renames them writes nothing, and relies on the log just the same.
  precede(operationsOf(engine, "node_ops"), ["setattr", "rename", "unlink", "rmdir"], syncLog)
  Object.assign(streams, {
    fsync: (stream: Stream): number => {
      if (isLog(stream.path) && !isFolder(stream)) putOff.add(stream.nfd)
      else sync(stream.nfd, isFolder(stream))
      return 0
    }
  })
}
