/**
 * Where the bytes of files are: segments, which are append-only and have random ids.
 *
 * The interface assumes no disk: nothing above it knows a path, and a segment is written once, by one process, and then
 * only read. Small writes share a segment; a large upload has one of its own. Nothing is durable before `sync`.
 * Reading is imperative, because every byte of every download passes there.
 */
import { Context, Effect, FiberSet, Layer, type Scope } from "effect"
import { Refusal } from "../../protocol/Refusal.ts"
import { Siblings } from "../cluster/Siblings.ts"
import { segmentsDirOf, ServerConfig } from "../ServerConfig.ts"
import type { Location } from "./AppendQueue.ts"
import { Disk } from "./Disk.ts"
import { DiskSegments } from "./DiskSegments.ts"
import type { SegmentId } from "./Extent.ts"
import { diskRefusal } from "./SegmentFile.ts"

/** A segment that one upload fills, in any order. */
export interface SegmentWriter {
  readonly segment: SegmentId
  /** Writes at `offset`. After a failure the bytes there are undefined; writing them again is allowed. */
  readonly write: (offset: number, chunks: ReadonlyArray<Uint8Array>) => Effect.Effect<void, Refusal>
}

export interface SegmentReader {
  /**
   * Fills `buffers`, in order, with the bytes from `offset` on. Rejects with a `Refusal`: `3:bad` when the segment has
   * fewer, `3:disk` when they cannot be read.
   */
  readonly read: (offset: number, buffers: ReadonlyArray<Uint8Array>) => Promise<void>
  readonly close: () => Promise<void>
}

export interface SegmentInfo {
  readonly segment: SegmentId
  readonly bytes: number
  /** True while it is being written, or may be. */
  readonly isOpen: boolean
}

const attempt = <A>(work: () => Promise<A>): Effect.Effect<A, Refusal> =>
  Effect.tryPromise({ try: work, catch: (error) => error instanceof Refusal ? error : diskRefusal(error) })

export class SegmentStore extends Context.Service<SegmentStore, {
  /** Appends to the segment that small writes share. Appends never overlap and never change what was there. */
  readonly append: (chunks: ReadonlyArray<Uint8Array>, length: number) => Effect.Effect<Location, Refusal>
  /** Makes a segment for one writer, or continues one, after a restart too. */
  readonly writer: (segment: SegmentId) => Effect.Effect<SegmentWriter, Refusal, Scope.Scope>
  /**
   * Returns when everything written to the segment before is durable. Once it has failed for a segment it fails for
   * ever: what was not synced by then may be lost, and must not be acknowledged.
   */
  readonly sync: (segment: SegmentId) => Effect.Effect<void, Refusal>
  /** Opens a segment for reading; what was written is there to be read at once. Rejects with a `Refusal`. */
  readonly open: (segment: SegmentId) => Promise<SegmentReader>
  /** Removes a segment; one that is not there is no failure. Readers that have it open keep it. */
  readonly remove: (segment: SegmentId) => Effect.Effect<void, Refusal>
  readonly list: Effect.Effect<ReadonlyArray<SegmentInfo>, Refusal>
}>()("fip/server/files/SegmentStore") {
  /** Segments as files in the folder of segments. */
  static readonly layer = Layer.effect(
    SegmentStore,
    Effect.gen(function*() {
      const folder = segmentsDirOf(yield* ServerConfig)
      const disk = yield* Disk
      const siblings = yield* Siblings
      const promise = yield* FiberSet.makeRuntimePromise<never, unknown, unknown>()
      const segments = yield* Effect.acquireRelease(
        Effect.sync(() =>
          new DiskSegments(disk, folder, {
            opening: (segment) => promise(siblings.open(segment)),
            sealed: siblings.seal
          })
        ),
        (segments) => Effect.promise(() => segments.close())
      )
      yield* attempt(() => segments.start())

      return SegmentStore.of({
        append: (chunks, length) => attempt(() => segments.append(chunks, length)),
        writer: (segment) =>
          Effect.map(
            Effect.acquireRelease(
              attempt(() => segments.writer(segment)),
              (file) => Effect.sync(() => file.retire())
            ),
            (file) => ({
              segment,
              write: (offset, chunks) => attempt(() => file.write(offset, chunks))
            })
          ),
        sync: (segment) => attempt(() => segments.sync(segment)),
        open: (segment) => segments.open(segment),
        remove: (segment) => attempt(() => segments.remove(segment)),
        list: attempt(() => segments.list())
      })
    })
  )
}
