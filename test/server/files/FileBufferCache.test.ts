import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Layer } from "effect"
import { TestClock } from "effect/testing"
import * as fc from "fast-check"
import { randomBytes, randomUUID } from "node:crypto"
import { checksumsOf } from "../../../src/platform/Checksum.ts"
import { FileBufferCache } from "../../../src/server/FileBufferCache.ts"
import { BlockCache } from "../../../src/server/files/BlockCache.ts"
import { ContentReader } from "../../../src/server/files/ContentReader.ts"
import { type Extent, layOut, SegmentId, spansOf } from "../../../src/server/files/Extent.ts"
import { SegmentStore } from "../../../src/server/files/SegmentStore.ts"
import type { ServerSettings } from "../../../src/server/ServerConfig.ts"
import * as Storage from "./Storage.ts"

const MiB = 1024 * 1024

/** A cache over real segments, with what reaches the disk counted. */
const run = <A, E>(
  settings: Partial<ServerSettings>,
  test: (given: {
    readonly cache: FileBufferCache["Service"]
    readonly store: SegmentStore["Service"]
    readonly counts: ReturnType<typeof Storage.countingDisk>["counts"]
  }) => Effect.Effect<A, E>
) =>
  Effect.gen(function*() {
    const { counts, layer } = Storage.countingDisk()
    const root = yield* Storage.folder
    const result = yield* Effect.gen(function*() {
      return yield* test({ cache: yield* FileBufferCache, store: yield* SegmentStore, counts })
    }).pipe(Effect.provide(
      FileBufferCache.layer.pipe(
        Layer.provideMerge(SegmentStore.layer),
        Layer.provide([Storage.config(root, settings), layer])
      )
    ))
    assert.strictEqual(counts.open, 0, "closing the layer leaves nothing open")
    return result
  })

const append = Effect.fnUntraced(function*(store: SegmentStore["Service"], content: Uint8Array) {
  const { offset, segment } = yield* store.append([content], content.length)
  return layOut(spansOf(segment, offset, content.length, checksumsOf([content], content.length)), 0)
})

const read = (
  cache: FileBufferCache["Service"],
  userId: number,
  extents: ReadonlyArray<Extent>,
  position: number,
  length: number
) =>
  Effect.promise(() =>
    Storage.drain(
      new ContentReader({
        cache,
        userId,
        file: "file",
        position,
        length,
        extents,
        more: () => Promise.resolve([]),
        onHash: undefined,
        onClose: () => undefined
      })
    )
  )

describe("FileBufferCache", () => {
  it.effect("opens a segment once for a run of 100 chunked reads, and reads each block once", () =>
    run({}, ({ cache, counts, store }) =>
      Effect.gen(function*() {
        const content = randomBytes(MiB)
        const extents = yield* append(store, content)
        for (let at = 0; at < 100; at++) {
          const chunk = yield* read(cache, 1, extents, at * 10_000, 10_000)
          assert.deepStrictEqual(chunk, content.subarray(at * 10_000, (at + 1) * 10_000))
        }
        assert.strictEqual(counts.opened, 1)
        assert.strictEqual(counts.reads, 16)
      })))

  it.effect("opens a segment once for readers that come at the same time", () =>
    run({}, ({ cache, counts, store }) =>
      Effect.gen(function*() {
        const content = randomBytes(MiB)
        const extents = yield* append(store, content)
        yield* Effect.forEach([1, 2, 3, 4, 5], (user) => read(cache, user, extents, 0, MiB), { concurrency: 5 })
        assert.strictEqual(counts.opened, 1)
      })))

  it.effect("hands on a whole file in the right order, whatever its extents", () =>
    run({}, ({ cache, store }) =>
      Effect.gen(function*() {
        const pieces = [3 * MiB + 17, 1, 70_000, 5, 65_536, 900_000].map((length) => randomBytes(length))
        let position = 0
        const extents: Array<Extent> = []
        for (const piece of pieces) {
          for (const extent of yield* append(store, piece)) extents.push({ ...extent, position })
          position += piece.length
        }
        const whole = Buffer.concat(pieces)
        assert.deepStrictEqual(yield* read(cache, 1, extents, 0, whole.length), whole)
        assert.deepStrictEqual(
          yield* read(cache, 1, extents, MiB - 5, whole.length - MiB - 100),
          whole.subarray(MiB - 5, whole.length - 105)
        )
        assert.deepStrictEqual(
          yield* read(cache, 1, extents, 3 * MiB, 80_000),
          whole.subarray(3 * MiB, 3 * MiB + 80_000)
        )
      })))

  it.effect("does not let a large read push out what small ones use", () =>
    run({ cacheBytesPerUser: 4 * MiB }, ({ cache, counts, store }) =>
      Effect.gen(function*() {
        const small = yield* append(store, randomBytes(1000))
        const large = yield* append(store, randomBytes(16 * MiB))
        yield* read(cache, 1, small, 0, 1000)
        const { bytes } = cache.usage()
        yield* read(cache, 1, large, 0, 16 * MiB)
        assert.strictEqual(cache.usage().bytes, bytes)
        const { reads } = counts
        yield* read(cache, 1, small, 0, 1000)
        assert.strictEqual(counts.reads, reads)
      })))

  it.effect(
    "keeps no more open segments than it may, but every one that is in use",
    () =>
      run({ openSegments: 2 }, ({ cache, counts, store }) =>
        Effect.gen(function*() {
          const segments = Array.from({ length: 5 }, () => SegmentId(randomUUID()))
          for (const segment of segments) {
            yield* Effect.scoped(Effect.flatMap(store.writer(segment), (writer) => writer.write(0, [randomBytes(10)])))
          }
          yield* Effect.promise(() =>
            Promise.all(segments.map((segment) =>
              cache.use(segment, async (reader) => {
                await new Promise((resolve) => setImmediate(resolve))
                await reader.read(0, [Buffer.alloc(10)])
              })
            ))
          )
          assert.strictEqual(cache.usage().openSegments, 2)
          assert.strictEqual(counts.opened, 5)
        })),
    20_000
  )

  it.effect("lets go of what has been idle", () =>
    run({ cacheIdle: Duration.seconds(60) }, ({ cache, counts, store }) =>
      Effect.gen(function*() {
        const extents = yield* append(store, randomBytes(1000))
        yield* read(cache, 1, extents, 0, 1000)
        assert.deepStrictEqual(cache.usage().openSegments, 1)
        yield* TestClock.adjust(Duration.seconds(50))
        assert.isAbove(cache.usage().bytes, 0)
        yield* TestClock.adjust(Duration.seconds(60))
        assert.deepStrictEqual(cache.usage(), { bytes: 0, openSegments: 0 })
        const { opened } = counts
        yield* read(cache, 1, extents, 0, 1000)
        assert.strictEqual(counts.opened, opened + 1)
      })))

  it.effect("tries a segment that could not be opened again", () =>
    run({}, ({ cache, store }) =>
      Effect.gen(function*() {
        const [extent] = yield* append(store, randomBytes(10))
        if (extent === undefined) return
        let attempts = 0
        const use = Effect.exit(Effect.tryPromise(() =>
          cache.use(extent.segment, () => {
            attempts++
            return attempts === 1 ? Promise.reject(new Error("the first fails")) : Promise.resolve(attempts)
          })
        ))
        yield* use
        yield* use
        assert.strictEqual(attempts, 2)
      })))
})

describe("BlockCache", () => {
  const ENTRY = 256
  const costOf = (user: Map<string, number>) => [...user.values()].reduce((sum, size) => sum + size + ENTRY, 0)
  const total = (users: Map<number, Map<string, number>>) =>
    [...users.values()].reduce((sum, blocks) => sum + costOf(blocks), 0)

  it("holds what was used last, within the bound of each user and of all", () => {
    const access = fc.record({ user: fc.nat(3), key: fc.nat(12), size: fc.integer({ min: 1, max: 900 }) })
    fc.assert(fc.property(fc.array(access, { maxLength: 120 }), (accesses) => {
      const cache = new BlockCache(6000, 2500)
      // The model: for each user, keys in the order of their last use.
      const model = new Map<number, Map<string, number>>()
      for (const [now, { key, size, user }] of accesses.entries()) {
        const id = String(key)
        const blocks = model.get(user) ?? new Map<string, number>()
        const known = blocks.get(id)
        assert.strictEqual(cache.get(user, id, now)?.length, known)
        if (known !== undefined) {
          blocks.delete(id)
          blocks.set(id, known)
        } else {
          cache.put(user, id, new Uint8Array(size), now)
          blocks.set(id, size)
          while (costOf(blocks) > 2500) blocks.delete([...blocks.keys()][0] ?? "")
        }
        model.delete(user)
        model.set(user, blocks)
        while (total(model) > 6000) {
          const idlest = [...model].find(([, blocks]) => blocks.size > 0)
          idlest?.[1].delete([...idlest[1].keys()][0] ?? "")
        }
        assert.strictEqual(cache.bytes, total(model))
      }
    }))
  })

  it("drops those who have been idle, and nobody else", () => {
    const cache = new BlockCache(10_000, 10_000)
    cache.put(1, "a", new Uint8Array(10), 100)
    cache.put(2, "a", new Uint8Array(10), 200)
    cache.get(1, "a", 300)
    cache.dropIdle(250)
    assert.isDefined(cache.get(1, "a", 300))
    assert.isUndefined(cache.get(2, "a", 300))
    assert.strictEqual(cache.bytes, 10 + ENTRY)
  })

  it("does not take a block that is larger than a user may hold", () => {
    const cache = new BlockCache(10_000, 1000)
    cache.put(1, "small", new Uint8Array(10), 0)
    cache.put(1, "large", new Uint8Array(1000), 0)
    assert.isUndefined(cache.get(1, "large", 0))
    assert.isDefined(cache.get(1, "small", 0))
  })
})
