/**
 * Gives back what is not kept, in the background: old versions and deleted files, then their extents, then segments.
 *
 * Every step is a short transaction or touches what nothing refers to any more, and each finds by itself what the one
 * before has left, so it does not matter where it is stopped. What may still be in use by a read or a write that began
 * before, here or on another server, is left for the next sweep (GracePeriods, Siblings).
 */
import { Clock, Context, Duration, Effect, Layer, Semaphore } from "effect"
import type { Refusal } from "../../protocol/Refusal.ts"
import { Siblings } from "../cluster/Siblings.ts"
import { Metrics } from "../metrics/Metrics.ts"
import { ServerConfig } from "../ServerConfig.ts"
import { background } from "../ShutdownCoordinator.ts"
import { Compactor } from "./Compactor.ts"
import type { SegmentId } from "./Extent.ts"
import { GracePeriods, type Ticket } from "./GracePeriods.ts"
import { ReclaimRepo } from "./ReclaimRepo.ts"
import { SegmentStore } from "./SegmentStore.ts"
import { cutoff } from "./Surplus.ts"

/** Segments are looked at so much less often than versions are dropped. */
const SWEEPS_PER_LOOK = 10

/** No sweep begins sooner after the last. */
const SHORTEST_PAUSE = Duration.millis(10)

/** Files, and extents, in one transaction. */
const FILE_BATCH = 200
const EXTENT_BATCH = 2000

/** Files whose extents are dropped in one sweep. */
const FILES_PER_SWEEP = 2000

/** Segments that are asked about in one statement. */
const SEGMENT_BATCH = 1000

/** Segments that are looked at for dead space in one sweep, besides those that are known to have less to hold. */
const COMPACT_BATCH = 32

/** What an owner of many old versions costs to look at is a hundredth of the time at most. */
const LONG_LOOK_MILLIS = 250
const PAUSE_PER_LOOK = 100

/** A grace period, on this server and on those beside it. */
interface Period {
  readonly ticket: Ticket
  readonly number: number
}

export interface Swept {
  readonly segmentsCompacted: number
  readonly segmentsRemoved: number
  readonly bytesRemoved: number
}

/** Does it now, and then again and again. */
const every = <A>(interval: Duration.Duration, work: Effect.Effect<A, Refusal>) =>
  background(
    "reclaiming",
    Effect.ignore(work, { log: "Warn" }).pipe(
      Effect.andThen(Effect.sleep(interval)),
      Effect.forever
    )
  )

export class Reclaimer extends Context.Service<Reclaimer, {
  /** Drops the versions and deleted files that are not to be kept; how many versions. */
  readonly sweepVersions: Effect.Effect<number, Refusal>
  /** Moves what is left in segments that are mostly dead space, and removes those that nothing refers to. */
  readonly sweepSegments: Effect.Effect<Swept, Refusal>
}>()("fip/server/files/Reclaimer") {
  static readonly layerNoDeps = Layer.effect(
    Reclaimer,
    Effect.gen(function*() {
      const repo = yield* ReclaimRepo
      const store = yield* SegmentStore
      const grace = yield* GracePeriods
      const compactor = yield* Compactor
      const siblings = yield* Siblings
      const turn = yield* Semaphore.make(1)

      const begin = Effect.map(siblings.beginPeriod, (number): Period => ({ ticket: grace.begin(), number }))
      /** Which periods are over by now, on this server and on every other. */
      const past = Effect.map(
        siblings.quiet,
        (quiet) => ({ number, ticket }: Period) => number <= quiet && grace.isOver(ticket)
      )

      /** Files whose versions were dropped, and since when nobody could begin to read those. */
      let dropped: { readonly since: Period; readonly files: ReadonlyArray<number> } | undefined
      /** Segments that nothing referred to, and since when. */
      let orphans = new Map<SegmentId, Period>()
      /** Segments that have lost extents. */
      const lighter = new Set<SegmentId>()
      /** Where the look at all other segments has got to. */
      let position = 0

      const dropExtents = Effect.gen(function*() {
        if (dropped === undefined) {
          const files = yield* repo.filesWithDropped(FILES_PER_SWEEP)
          if (files.length === 0) return
          dropped = { since: yield* begin, files }
        }
        if (!(yield* past)(dropped.since)) return
        const { files } = dropped
        dropped = undefined
        for (let at = 0; at < files.length; at += FILE_BATCH) {
          const batch = files.slice(at, at + FILE_BATCH)
          while (true) {
            const segments = yield* repo.dropExtents(batch, EXTENT_BATCH)
            if (segments.length === 0) break
            for (const segment of segments) lighter.add(segment)
          }
        }
      })

      /** Drops the oldest of what is kept of an owner, when it takes more of the disk than the owner's files may. */
      const bound = Effect.fnUntraced(function*(ownerId: number) {
        const { allowed, most } = yield* repo.oldBytes(ownerId)
        if (most <= allowed) return 0
        const endedBy = cutoff(yield* repo.oldExtents(ownerId), allowed)
        return endedBy === undefined ? 0 : yield* repo.trim(ownerId, endedBy)
      })

      /** Owners whose files have changed since they were looked at, and until when some of them are left alone. */
      const changed = new Set<number>()
      const resting = new Map<number, number>()

      const boundChanged = Effect.gen(function*() {
        let count = 0
        for (const owner of changed) {
          const begun = yield* Clock.currentTimeMillis
          if ((resting.get(owner) ?? 0) > begun) continue
          changed.delete(owner)
          resting.delete(owner)
          count += yield* bound(owner)
          const ended = yield* Clock.currentTimeMillis
          if (ended - begun > LONG_LOOK_MILLIS) resting.set(owner, ended + PAUSE_PER_LOOK * (ended - begun))
        }
        return count
      })

      const sweepVersions = Effect.gen(function*() {
        const now = yield* Clock.currentTimeMillis
        for (const owner of yield* repo.dueOwners(now)) changed.add(owner)
        let count = 0
        while (true) {
          const { dropped, seen } = yield* repo.dropVersions(now, FILE_BATCH)
          count += dropped
          if (seen < FILE_BATCH) break
        }
        count += yield* boundChanged
        yield* dropExtents
        return count
      })

      let segments = 0
      let segmentBytes = 0
      let currentBytes = 0
      let reclaimed = 0
      /** Of each segment, as of the last look at it. */
      const dead = new Map<SegmentId, number>()
      const { observe } = yield* Metrics
      yield* observe({
        name: "fip_segments",
        description: "Segments on disk, when it was last looked at",
        kind: "gauge",
        read: () => segments
      })
      yield* observe({
        name: "fip_segment_bytes",
        description: "Bytes in them: current content, what is kept of earlier, and dead space",
        kind: "gauge",
        read: () => segmentBytes
      })
      yield* observe({
        name: "fip_current_bytes",
        description: "Bytes of the current content of files, when it was last looked at",
        kind: "gauge",
        read: () => currentBytes
      })
      yield* observe({
        name: "fip_dead_bytes",
        description: "Bytes in segments that nothing needs, each segment as of the last look at it",
        kind: "gauge",
        read: () => [...dead.values()].reduce((sum, bytes) => sum + bytes, 0)
      })
      yield* observe({
        name: "fip_reclaimed_bytes_total",
        description: "Bytes of segments that were removed because nothing refers to them",
        kind: "counter",
        read: () => reclaimed
      })
      const sweepSegments = Effect.gen(function*() {
        let segmentsCompacted = 0
        const listed = yield* store.list
        // Asked afterwards: what another server began before it was listed is known by now.
        const open = yield* siblings.openSegments
        const closed = listed.filter((info) => !info.isOpen && !open.has(info.segment))
        const known = new Set(listed.map(({ segment }) => segment))
        for (const segment of dead.keys()) {
          if (!known.has(segment)) dead.delete(segment)
        }
        segments = listed.length
        segmentBytes = listed.reduce((sum, { bytes }) => sum + bytes, 0)
        currentBytes = yield* repo.currentBytes
        const rest = closed.length <= COMPACT_BATCH
          ? closed
          : [...closed, ...closed].slice(position % closed.length, position % closed.length + COMPACT_BATCH)
        position = closed.length === 0 ? 0 : (position + rest.length) % closed.length
        const looked = new Set([...closed.filter(({ segment }) => lighter.has(segment)), ...rest])
        lighter.clear()
        for (const info of looked) {
          const seen = yield* Effect.catch(compactor.compact(info), (refusal) =>
            Effect.as(
              Effect.annotateLogs(Effect.logWarning("a segment was not compacted"), {
                segment: info.segment,
                reason: refusal.message
              }),
              undefined
            ))
          if (seen === undefined) continue
          dead.set(info.segment, seen.deadBytes)
          if (seen.isCompacted) segmentsCompacted++
        }

        let segmentsRemoved = 0
        let bytesRemoved = 0
        const found = new Map<SegmentId, Period>()
        const isOver = yield* past
        for (let at = 0; at < closed.length; at += SEGMENT_BATCH) {
          const batch = closed.slice(at, at + SEGMENT_BATCH)
          // Decided before the database is asked: a write that ends after that may be the one that refers to it.
          const ready = new Map(batch.flatMap(({ bytes, segment }) => {
            const since = orphans.get(segment)
            return since !== undefined && isOver(since) ? [[segment, bytes] as const] : []
          }))
          const unreferenced = yield* repo.unreferenced(batch.map((info) => info.segment))
          // After the database was asked: whoever read them before may still be reading.
          const since = unreferenced.every((segment) => orphans.has(segment)) ? undefined : yield* begin
          for (const segment of unreferenced) {
            const bytes = ready.get(segment)
            if (bytes === undefined) {
              const period = orphans.get(segment) ?? since
              if (period !== undefined) found.set(segment, period)
            } else {
              yield* store.remove(segment)
              dead.delete(segment)
              segmentsRemoved++
              bytesRemoved += bytes
              reclaimed += bytes
            }
          }
        }
        orphans = found
        return { segmentsCompacted, segmentsRemoved, bytesRemoved }
      })

      /** On one server of those that share a store. */
      const alone = <A>(sweep: Effect.Effect<A, Refusal>, otherwise: A): Effect.Effect<A, Refusal> =>
        turn.withPermit(
          Effect.flatMap(siblings.mayReclaim, (may) => may ? sweep : Effect.succeed(otherwise))
        )

      return Reclaimer.of({
        sweepVersions: alone(sweepVersions, 0),
        sweepSegments: alone(sweepSegments, { segmentsCompacted: 0, segmentsRemoved: 0, bytesRemoved: 0 })
      })
    })
  )

  static readonly layer = this.layerNoDeps.pipe(
    Layer.provide(Compactor.layer),
    Layer.provide([ReclaimRepo.layer, GracePeriods.layer])
  )

  /** Sweeps until the shutdown begins. */
  static readonly layerBackground = Layer.effectDiscard(Effect.gen(function*() {
    const reclaimer = yield* Reclaimer
    const sweepEvery = Duration.max((yield* ServerConfig).sweepEvery, SHORTEST_PAUSE)
    yield* every(sweepEvery, reclaimer.sweepVersions)
    yield* every(
      Duration.times(sweepEvery, SWEEPS_PER_LOOK),
      Effect.logDebug("looking for space to give back").pipe(
        Effect.andThen(reclaimer.sweepSegments),
        Effect.tap((swept) => Effect.annotateLogs(Effect.logDebug("looked for space to give back"), { ...swept }))
      )
    )
  })).pipe(Layer.provide(this.layer))
}
