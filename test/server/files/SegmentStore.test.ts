import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, type Scope } from "effect"
import { randomBytes, randomUUID } from "node:crypto"
import { Refusal } from "../../../src/protocol/Refusal.ts"
import type { Location } from "../../../src/server/files/AppendQueue.ts"
import { Disk } from "../../../src/server/files/Disk.ts"
import { SHARED_SEGMENT_BYTES } from "../../../src/server/files/DiskSegments.ts"
import { SegmentId } from "../../../src/server/files/Extent.ts"
import { SegmentStore } from "../../../src/server/files/SegmentStore.ts"
import * as Storage from "./Storage.ts"

const readAt = (store: SegmentStore["Service"], { offset, segment }: Location, length: number) =>
  Effect.promise(async () => {
    const reader = await store.open(segment)
    try {
      const buffer = Buffer.alloc(length)
      await reader.read(offset, [buffer])
      return buffer
    } finally {
      await reader.close()
    }
  })

const refusalOf = (work: () => Promise<unknown>) =>
  Effect.promise(() =>
    work().then(
      () => assert.fail("it was not refused"),
      (error: unknown) => error instanceof Refusal ? error : assert.fail(String(error))
    )
  )

const inFolder = <A, E>(test: (root: string) => Effect.Effect<A, E, Scope.Scope>) =>
  Effect.scoped(Effect.flatMap(Storage.folder, test))

const failure = (code: string) => Object.assign(new Error(code), { code })

/** What every segment store must do; `restart` gives one on the same segments. */
const conformance = (
  restart: (root: string, disk?: Partial<Disk>) => Layer.Layer<SegmentStore, Refusal>
) => {
  const withStore = <A, E>(test: (store: SegmentStore["Service"]) => Effect.Effect<A, E, Scope.Scope>) =>
    inFolder((root) => Effect.provide(Effect.flatMap(SegmentStore, test), restart(root)))

  it.live("gives back what was appended, wherever appends run into each other", () =>
    withStore((store) =>
      Effect.gen(function*() {
        const contents = Array.from({ length: 200 }, (_, index) => randomBytes(index * 7))
        const locations = yield* Effect.forEach(
          contents,
          (content) => store.append(Storage.inPieces(content, 500), content.length),
          { concurrency: "unbounded" }
        )
        for (const [index, location] of locations.entries()) {
          const content = contents[index] ?? Buffer.alloc(0)
          assert.deepStrictEqual(yield* readAt(store, location, content.length), content)
        }
        assert.strictEqual(new Set(locations.map((location) => location.segment)).size, 1)
      })
    ))

  it.live("begins a new shared segment when one is full", () =>
    withStore((store) =>
      Effect.gen(function*() {
        const piece = randomBytes(4 * 1024 * 1024)
        const locations = yield* Effect.forEach(
          Array.from({ length: SHARED_SEGMENT_BYTES / piece.length + 2 }, () => piece),
          (piece) => store.append([piece], piece.length),
          { concurrency: 5 }
        )
        const segments = new Set(locations.map((location) => location.segment))
        assert.strictEqual(segments.size, 2)
        for (const segment of segments) yield* store.sync(segment)
        const last = locations.at(-1)
        if (last !== undefined) assert.deepStrictEqual(yield* readAt(store, last, piece.length), piece)
      })
    ))

  it.live("never overwrites after a restart what was there", () =>
    inFolder((root) =>
      Effect.gen(function*() {
        const append = (content: Buffer) =>
          Effect.provide(
            Effect.flatMap(SegmentStore, (store) => store.append([content], content.length)),
            restart(root)
          )
        const contents = Array.from({ length: 5 }, () => randomBytes(1000))
        const locations = yield* Effect.forEach(contents, append)
        yield* Effect.provide(
          Effect.flatMap(SegmentStore, (store) =>
            Effect.gen(function*() {
              for (const [index, location] of locations.entries()) {
                assert.deepStrictEqual(yield* readAt(store, location, 1000), contents[index])
              }
              assert.sameMembers((yield* store.list).map(({ segment }) => segment), locations.map((l) => l.segment))
            })),
          restart(root)
        )
      })
    ))

  it.live("takes a segment of its own in any order, and continues it after a restart", () =>
    inFolder((root) =>
      Effect.gen(function*() {
        const content = randomBytes(100_000)
        const segment = SegmentId(randomUUID())
        const write = (from: number, to: number) =>
          Effect.provide(
            Effect.scoped(Effect.flatMap(SegmentStore, (store) =>
              Effect.flatMap(
                store.writer(segment),
                (writer) => writer.write(from, Storage.inPieces(content.subarray(from, to), 333))
              ))),
            restart(root)
          )
        yield* write(60_000, 100_000)
        yield* write(0, 10_000)
        yield* write(10_000, 60_000)
        yield* Effect.provide(
          Effect.flatMap(SegmentStore, (store) =>
            Effect.gen(function*() {
              assert.deepStrictEqual(yield* readAt(store, { segment, offset: 0 }, content.length), content)
              assert.deepStrictEqual(yield* store.list, [{ segment, bytes: content.length, isOpen: false }])
            })),
          restart(root)
        )
      })
    ))

  it.live("reads into several buffers at once, from any offset", () =>
    withStore((store) =>
      Effect.gen(function*() {
        const content = randomBytes(5000)
        const { offset, segment } = yield* store.append([content], content.length)
        const buffers = [Buffer.alloc(10), Buffer.alloc(0), Buffer.alloc(990), Buffer.alloc(2000)]
        yield* Effect.promise(async () => {
          const reader = await store.open(segment)
          await reader.read(offset + 1000, buffers)
          await reader.close()
        })
        assert.deepStrictEqual(Buffer.concat(buffers), content.subarray(1000, 4000))
      })
    ))

  it.live("removes a segment, once and again, and a reader that has it open keeps it", () =>
    withStore((store) =>
      Effect.gen(function*() {
        const content = randomBytes(5000)
        const { offset, segment } = yield* store.append([content], content.length)
        const reader = yield* Effect.promise(() => store.open(segment))
        yield* store.remove(segment)
        yield* store.remove(segment)
        const buffer = Buffer.alloc(5000)
        yield* Effect.promise(() => reader.read(offset, [buffer]))
        yield* Effect.promise(() => reader.close())
        assert.deepStrictEqual(buffer, content)
        assert.deepStrictEqual(yield* store.list, [])
      })
    ))

  it.live("says that content is damaged when a segment is missing or cut short", () =>
    withStore((store) =>
      Effect.gen(function*() {
        const missing = yield* refusalOf(() => store.open(SegmentId(randomUUID())))
        assert.strictEqual(missing.code, "3:bad")
        const { segment } = yield* store.append([randomBytes(10)], 10)
        const short = yield* refusalOf(async () => {
          const reader = await store.open(segment)
          await reader.read(5, [Buffer.alloc(10)]).finally(() => reader.close())
        })
        assert.strictEqual(short.code, "3:bad")
      })
    ))
}

describe("segments on the local disk", () => {
  const node = Effect.runSync(Disk)
  const layer = (root: string, disk: Partial<Disk> = {}) =>
    SegmentStore.layer.pipe(
      Layer.provide(Storage.config(root)),
      Layer.provide(Layer.succeed(Disk, { ...node, ...disk }))
    )
  conformance(layer)

  const run = <A, E>(disk: Partial<Disk>, test: (store: SegmentStore["Service"]) => Effect.Effect<A, E, Scope.Scope>) =>
    Effect.scoped(
      Effect.flatMap(Storage.folder, (root) => Effect.provide(Effect.flatMap(SegmentStore, test), layer(root, disk)))
    )

  it.live("completes writes and reads that the system cuts short", () =>
    run({
      write: (file, chunks, position) => {
        const first = chunks.find((chunk) => chunk.length > 0)
        return first === undefined ? Promise.resolve(0) : node.write(file, [first.subarray(0, 7)], position)
      },
      read: (file, buffers, position) => {
        const first = buffers.find((buffer) => buffer.length > 0)
        return first === undefined ? Promise.resolve(0) : node.read(file, [first.subarray(0, 11)], position)
      }
    }, (store) =>
      Effect.gen(function*() {
        const content = randomBytes(1000)
        const location = yield* store.append(Storage.inPieces(content, 64), content.length)
        assert.deepStrictEqual(yield* readAt(store, location, content.length), content)
      })))

  it.live("refuses by name what does not fit on the disk, and goes on when there is space", () => {
    let full = false
    return run({
      write: (file, chunks, position) => full ? Promise.reject(failure("ENOSPC")) : node.write(file, chunks, position)
    }, (store) =>
      Effect.gen(function*() {
        const before = yield* store.append([Buffer.from("before")], 6)
        full = true
        const refusal = yield* Effect.flip(store.append([Buffer.from("too much")], 8))
        assert.strictEqual(refusal.code, "3:disk")
        assert.include(refusal.message, "full")
        full = false
        const after = yield* store.append([Buffer.from("after")], 5)
        yield* store.sync(after.segment)
        assert.strictEqual((yield* readAt(store, before, 6)).toString(), "before")
        assert.strictEqual((yield* readAt(store, after, 5)).toString(), "after")
      }))
  })

  it.live("never takes back that a sync failed", () => {
    let failing = true
    return run(
      { sync: (file) => failing ? Promise.reject(failure("EIO")) : node.sync(file) },
      (store) =>
        Effect.gen(function*() {
          const { segment } = yield* store.append([Buffer.from("lost")], 4)
          assert.strictEqual((yield* Effect.flip(store.sync(segment))).code, "3:disk")
          failing = false
          assert.strictEqual((yield* Effect.flip(store.sync(segment))).code, "3:disk")
        })
    )
  })

  it.live("appends to another segment after a sync failed", () => {
    let failing = true
    return run(
      { sync: (file) => failing ? Promise.reject(failure("EIO")) : node.sync(file) },
      (store) =>
        Effect.gen(function*() {
          const lost = yield* store.append([Buffer.from("lost")], 4)
          yield* Effect.flip(store.sync(lost.segment))
          failing = false
          const kept = yield* store.append([Buffer.from("kept")], 4)
          yield* store.sync(kept.segment)
        })
    )
  })

  it.live("syncs the file and the folder it is in before it says that it did", () => {
    const events: Array<string> = []
    return run({
      sync: async (file) => {
        await node.sync(file)
        events.push("file")
      },
      syncFolder: async (folder) => {
        await node.syncFolder(folder)
        events.push(folder.slice(-8))
      }
    }, (store) =>
      Effect.gen(function*() {
        const { segment } = yield* store.append([Buffer.from("a")], 1)
        events.length = 0
        yield* store.sync(segment)
        assert.deepStrictEqual(events, ["file", `gments/${segment.slice(0, 2)}`.slice(-8)])
        yield* store.append([Buffer.from("b")], 1)
        yield* store.sync(segment)
        assert.deepStrictEqual(events.slice(2), ["file"])
        yield* store.sync(segment)
        assert.strictEqual(events.length, 3)
      }))
  })

  it.live("syncs once for all who wait at the same time, and after the write of each", () => {
    let syncs = 0
    const { promise: held, resolve: release } = Promise.withResolvers<void>()
    return run({
      sync: async (file) => {
        if (++syncs === 1) await held
        await node.sync(file)
      }
    }, (store) =>
      Effect.gen(function*() {
        const { segment } = yield* store.append([Buffer.from("first")], 5)
        const first = yield* Effect.forkChild(store.sync(segment), { startImmediately: true })
        const rest = yield* Effect.forEach(
          Array.from({ length: 20 }),
          () => Effect.andThen(store.append([Buffer.from("more")], 4), store.sync(segment)),
          { concurrency: "unbounded" }
        ).pipe(Effect.forkChild({ startImmediately: true }))
        release()
        yield* Fiber.join(first)
        yield* Fiber.join(rest)
        assert.isAtMost(syncs, 4)
      }))
  })

  it.live("leaves no file open", () => {
    const open = new Set<number>()
    return Effect.gen(function*() {
      yield* run({
        open: async (path, mode) => {
          const file = await node.open(path, mode)
          open.add(file)
          return file
        },
        close: async (file) => {
          open.delete(file)
          await node.close(file)
        }
      }, (store) =>
        Effect.gen(function*() {
          const { segment } = yield* store.append([Buffer.from("a")], 1)
          yield* store.sync(segment)
          const own = SegmentId(randomUUID())
          yield* Effect.scoped(Effect.flatMap(store.writer(own), (writer) => writer.write(0, [Buffer.from("b")])))
          yield* store.sync(own)
          yield* store.append([Buffer.from("never synced")], 12)
          assert.isAbove(open.size, 0)
        }))
      assert.strictEqual(open.size, 0)
    })
  })
})
