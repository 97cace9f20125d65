/**
 * This server among those that share a PostgreSQL and a folder of segments.
 *
 * - **The folder is the right one**: it has the id that the database has, whichever database it is (StoreId).
 * - **Who lives** is decided by the kernel: each server holds a lock in the folder as long as its process exists. One
 *   that has not been heard of for a while is not dead, and nothing of it is touched.
 * - **What is being written** is in a table, so that no other server takes it for garbage. What a dead server was writing
 *   is given up when its lock can be taken.
 * - **One server gives back space**: the one that holds the lock for it; when it ends, another takes it. What is removed
 *   waits for a grace period on every living server.
 *
 * The workers of one server are such servers, too. One that is alone on the embedded database needs nothing but the
 * first.
 */
import { Clock, Effect, Layer, Schedule, Scope } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { unlink } from "node:fs/promises"
import { hostname } from "node:os"
import { join } from "node:path"
import * as FileLock from "../platform/FileLock.ts"
import { makeFolder } from "../platform/makeFolder.ts"
import * as NodeRepo from "./cluster/NodeRepo.ts"
import { Siblings } from "./cluster/Siblings.ts"
import { check, StoreError } from "./cluster/StoreId.ts"
import { databaseRefusal } from "./Database.ts"
import type { SegmentId } from "./files/Extent.ts"
import { GracePeriods, type Ticket } from "./files/GracePeriods.ts"
import { Notifications } from "./Notifications.ts"
import { isShared, segmentsDirOf, ServerConfig } from "./ServerConfig.ts"
import { ShutdownCoordinator } from "./ShutdownCoordinator.ts"

/** How often a server says what it has finished. */
const LOOK_EVERY = "2 seconds"

/** Of each server, in the folder of segments; and the lock of the one that gives back space. */
const NODES = "nodes"
const RECLAIM = "reclaim.lock"

const said = (error: { readonly message: string }): StoreError => new StoreError({ message: error.message })

const make = Effect.gen(function*() {
  const settings = yield* ServerConfig
  const folder = segmentsDirOf(settings)
  yield* Effect.mapError(check(folder), (error) => error._tag === "SqlError" ? said(databaseRefusal(error)) : error)
  const sql = yield* SqlClient
  if (!isShared(settings)) {
    // What it writes to is known by nobody but itself; workers that were killed may have left what they wrote to.
    yield* Effect.mapError(sql`delete from nodes`, (error) => said(databaseRefusal(error)))
    return Siblings.defaultValue()
  }

  const { heardUntil, node } = yield* Notifications
  const grace = yield* GracePeriods
  const { begun } = yield* ShutdownCoordinator
  const scope = yield* Scope.Scope
  const repo = NodeRepo.make(sql, node)
  const locks = join(folder, NODES)
  const lockOf = (id: string): string => join(locks, `${id}.lock`)
  const now = Effect.map(Clock.currentTimeMillis, (millis) => new Date(millis))

  /** Removes a server's row, and its lock, which must be held. */
  const forget = (id: string) =>
    Effect.andThen(repo.remove(id), Effect.ignore(Effect.tryPromise(() => unlink(lockOf(id)))))

  yield* Effect.tryPromise({
    try: () => makeFolder(locks, 0o700),
    catch: (cause) => said(FileLock.failed(locks, cause))
  })
  yield* Effect.mapError(FileLock.acquire(lockOf(node)), said)
  yield* Effect.flatMap(now, (now) => repo.join(`${hostname()} ${process.pid}`, now)).pipe(Effect.mapError(said))
  // All that this server was writing is known, or given up, when what uses this layer has closed.
  yield* Effect.addFinalizer(() => Effect.ignore(forget(node)))

  /** Segments that this server has finished, each with the writes that may not be known yet. */
  const sealed = new Map<SegmentId, Ticket>()
  const close = Effect.suspend(() => {
    const known = [...sealed].filter(([, since]) => grace.isOver(since)).map(([segment]) => segment)
    if (known.length === 0) return Effect.void
    return Effect.tap(repo.close(known), () =>
      Effect.sync(() => {
        for (const segment of known) sealed.delete(segment)
      }))
  })

  /**
   * The period that this server has not finished, when it was asked for, and since when nothing begins any more that
   * belongs to it: not before what is remembered is as new as the period.
   */
  let unfinished: { readonly period: number; readonly askedAt: number; since: Ticket | undefined } | undefined
  let finished = 0
  const finish = Effect.gen(function*() {
    if (unfinished === undefined) {
      const askedAt = performance.now()
      const period = yield* repo.lastPeriod
      if (period <= finished) return
      unfinished = { period, askedAt, since: undefined }
    }
    if (heardUntil() < unfinished.askedAt) return
    unfinished.since ??= grace.begin()
    if (!grace.isOver(unfinished.since)) return
    yield* repo.noteQuiet(unfinished.period, yield* now)
    finished = unfinished.period
    unfinished = undefined
  })
  yield* Effect.ignore(Effect.andThen(close, finish), { log: "Debug" }).pipe(
    Effect.repeat(Schedule.spaced(LOOK_EVERY)),
    Effect.raceFirst(begun),
    Effect.forkScoped
  )

  let isReclaiming = false
  const mayReclaim = Effect.gen(function*() {
    if (!isReclaiming) {
      isReclaiming = yield* FileLock.acquire(join(folder, RECLAIM)).pipe(
        Scope.provide(scope),
        Effect.as(true),
        Effect.orElseSucceed(() => false)
      )
    }
    if (!isReclaiming) return false
    for (const other of yield* repo.others) {
      const isGone = yield* Effect.scoped(
        FileLock.acquire(lockOf(other)).pipe(
          Effect.andThen(forget(other)),
          Effect.as(true),
          Effect.orElseSucceed(() => false)
        )
      )
      if (isGone) yield* Effect.logInfo("a server has gone without a word").pipe(Effect.annotateLogs({ node: other }))
    }
    return true
  })

  return {
    open: (segment: SegmentId) => Effect.asVoid(repo.open(segment)),
    seal: (segment: SegmentId) => {
      sealed.set(segment, grace.begin())
    },
    openSegments: repo.openSegments,
    mayReclaim,
    beginPeriod: repo.beginPeriod,
    quiet: repo.quiet
  }
})

export const Cluster = {
  /** Fails when the folder and the database do not belong together. */
  layer: Layer.effect(Siblings, make).pipe(Layer.provide([Notifications.layer, GracePeriods.layer]))
}
