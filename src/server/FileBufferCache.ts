/**
 * What users work on, kept at hand: open segments and hot blocks, so that a run of chunked operations neither opens
 * nor reads the same thing twice.
 *
 * Read-only: a block is put here after it was verified, and a segment never changes, so nothing here can be stale.
 * Bounded by bytes for each user and in all, by the number of open segments, and by idle time. Imperative, because
 * every byte of every download passes here.
 */
import { Clock, Context, Duration, Effect, Layer } from "effect"
import { BlockCache } from "./files/BlockCache.ts"
import type { SegmentId } from "./files/Extent.ts"
import { SegmentHandles } from "./files/SegmentHandles.ts"
import { type SegmentReader, SegmentStore } from "./files/SegmentStore.ts"
import { Metrics } from "./metrics/Metrics.ts"
import { ServerConfig } from "./ServerConfig.ts"
import { background } from "./ShutdownCoordinator.ts"

const key = (segment: SegmentId, offset: number): string => `${segment}/${offset}`

export class FileBufferCache extends Context.Service<FileBufferCache, {
  /** Runs `read` on the open segment, which stays open for the next. Rejects with a `Refusal`. */
  readonly use: <A>(segment: SegmentId, read: (reader: SegmentReader) => Promise<A>) => Promise<A>
  /** The verified block that begins at `offset`, when the user's cache has it. Not to be written to. */
  readonly block: (userId: number, segment: SegmentId, offset: number) => Uint8Array | undefined
  /** Keeps a verified block, which must be a buffer of its own: a view would keep alive what it is a part of. */
  readonly keep: (userId: number, segment: SegmentId, offset: number, block: Uint8Array) => void
  /** What is held just now. */
  readonly usage: () => { readonly bytes: number; readonly openSegments: number }
}>()("fip/server/FileBufferCache") {
  static readonly layer = Layer.effect(
    FileBufferCache,
    Effect.gen(function*() {
      const config = yield* ServerConfig
      const store = yield* SegmentStore
      const clock = yield* Clock.Clock
      const now = () => clock.currentTimeMillisUnsafe()

      const blocks = new BlockCache(config.cacheBytes, config.cacheBytesPerUser)
      const handles = yield* Effect.acquireRelease(
        Effect.sync(() => new SegmentHandles(store.open, config.openSegments)),
        (handles) => Effect.promise(() => handles.closeAll())
      )

      const { observe } = yield* Metrics
      for (const outcome of ["hits", "misses"] as const) {
        yield* observe({
          name: `fip_block_cache_${outcome}_total`,
          description: `Blocks of content that small reads asked the cache for: ${outcome}`,
          kind: "counter",
          read: () => blocks[outcome]
        })
      }
      yield* observe({
        name: "fip_block_cache_bytes",
        description: "Content in memory",
        kind: "gauge",
        read: () => blocks.bytes
      })
      yield* observe({
        name: "fip_open_segments",
        description: "Segments that are open for reading",
        kind: "gauge",
        read: () => handles.size
      })

      const idle = Duration.toMillis(config.cacheIdle)
      yield* background(
        "idle blocks",
        Effect.forever(Effect.andThen(
          Effect.sleep(Duration.millis(idle / 2)),
          Effect.sync(() => {
            blocks.dropIdle(now() - idle)
            handles.closeIdle(now() - idle)
          })
        ))
      )

      return FileBufferCache.of({
        use: (segment, read) => handles.use(segment, now(), read),
        block: (userId, segment, offset) => blocks.get(userId, key(segment, offset), now()),
        keep: (userId, segment, offset, block) => blocks.put(userId, key(segment, offset), block, now()),
        usage: () => ({ bytes: blocks.bytes, openSegments: handles.size })
      })
    })
  )
}
