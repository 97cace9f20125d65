import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { TestClock } from "effect/testing"
import { randomBytes } from "node:crypto"
import type { Refusal } from "../../../src/protocol/Refusal.ts"
import type { Caller } from "../../../src/server/Caller.ts"
import { GracePeriods } from "../../../src/server/files/GracePeriods.ts"
import { Reclaimer } from "../../../src/server/files/Reclaimer.ts"
import { SegmentStore } from "../../../src/server/files/SegmentStore.ts"
import { FileStore } from "../../../src/server/FileStore.ts"
import { Metrics, type Observed } from "../../../src/server/metrics/Metrics.ts"
import type { ServerSettings } from "../../../src/server/ServerConfig.ts"
import { complaints } from "../../support/tableInvariants.ts"
import { TestDatabase } from "../../support/TestDatabase.ts"
import * as Storage from "./Storage.ts"

const KiB = 1024
const codeOf = <A, R>(effect: Effect.Effect<A, Refusal, R>) => Effect.map(Effect.flip(effect), ({ code }) => code)
const name = Storage.name("a")

const storeIn = (dataDir: string, settings: Partial<ServerSettings> = {}) =>
  Reclaimer.layer.pipe(Layer.provideMerge(Storage.layerIn(dataDir, settings)))

const read = Effect.fnUntraced(function*(caller: Caller, version?: number) {
  const files = yield* FileStore
  const { content } = yield* files.read(caller, { name, ...(version === undefined ? {} : { version }) })
  return yield* Effect.promise(() => Storage.drain(content))
})

/** Runs on a store of its own, on a database that is shared with none. */
const run = <A, E>(
  settings: Partial<ServerSettings>,
  test: Effect.Effect<A, E, FileStore | Reclaimer | SegmentStore | SqlClient>
) =>
  Effect.gen(function*() {
    const dataDir = yield* Storage.folder
    return yield* Effect.provide(test, storeIn(dataDir, settings))
  }).pipe(Effect.scoped, Effect.provide(TestDatabase.pglite))

const counted = Effect.gen(function*() {
  const sql = yield* SqlClient
  const [row] = yield* sql<{ readonly files: number; readonly versions: number; readonly extents: number }>`
    select (select count(*) from files) as files, (select count(*) from versions) as versions,
      (select count(*) from extents) as extents`
  return row
})

const sound = Effect.gen(function*() {
  const store = yield* SegmentStore
  const segments = new Map((yield* store.list).map(({ bytes, segment }) => [String(segment), bytes]))
  assert.deepStrictEqual(yield* complaints(segments), [])
})

/** One store after the other on the same folder: what the one before wrote to is closed then. */
const lives = <A, E, B, E2>(
  first: Effect.Effect<A, E, FileStore | Reclaimer | SegmentStore | SqlClient>,
  second: (value: A) => Effect.Effect<B, E2, FileStore | Reclaimer | SegmentStore | SqlClient>
) =>
  Effect.gen(function*() {
    const settings = { keepVersions: 0, keepDeletedFor: Duration.zero }
    const dataDir = yield* Storage.folder
    const value = yield* Effect.provide(first, Layer.fresh(storeIn(dataDir, settings)))
    return yield* Effect.provide(second(value), Layer.fresh(storeIn(dataDir, settings)))
  }).pipe(Effect.scoped, Effect.provide(TestDatabase.pglite))

describe("versions", () => {
  it.effect(
    "and deleted files take no more of the disk than their owner's quota allows, the oldest go first",
    () =>
      run(
        { keepVersions: 100 },
        Effect.gen(function*() {
          const files = yield* FileStore
          const reclaimer = yield* Reclaimer
          const caller = yield* Storage.newUser({ bytesLimit: 10 * KiB })
          const another = yield* Storage.newUser()
          yield* files.create(another, { name }, [randomBytes(50 * KiB)])
          yield* files.write(another, { name }, [randomBytes(50 * KiB)])
          yield* files.create(caller, { name: Storage.name("gone") }, [randomBytes(3 * KiB)])
          yield* TestClock.adjust("1 second")
          yield* files.delete(caller, { name: Storage.name("gone") })
          yield* files.create(caller, { name }, [randomBytes(4 * KiB)])
          // Shared with the current version but for ten bytes each.
          for (let index = 0; index < 20; index++) {
            yield* TestClock.adjust("1 second")
            yield* files.patch(caller, { name, position: 10 * index }, [randomBytes(10)])
          }
          assert.strictEqual(yield* reclaimer.sweepVersions, 0)

          const replace = Effect.andThen(
            TestClock.adjust("1 second"),
            files.write(caller, { name }, [randomBytes(4 * KiB)])
          )
          yield* replace
          yield* replace
          assert.strictEqual(yield* reclaimer.sweepVersions, 1)
          assert.strictEqual(yield* codeOf(files.restore(caller, { name: Storage.name("gone") })), "2:nf")
          assert.strictEqual((yield* read(caller, 1)).length, 4 * KiB)
          yield* replace
          assert.strictEqual(yield* reclaimer.sweepVersions, 21)
          assert.strictEqual((yield* read(caller, 22)).length, 4 * KiB)
          assert.strictEqual(yield* codeOf(read(caller, 1)), "2:nf")
          assert.strictEqual((yield* read(another, 1)).length, 50 * KiB)
          yield* sound
        })
      ),
    60_000
  )

  it.effect("beyond the number that is kept are dropped, with what was theirs alone", () =>
    run(
      { keepVersions: 2 },
      Effect.gen(function*() {
        const files = yield* FileStore
        const reclaimer = yield* Reclaimer
        const caller = yield* Storage.newUser()
        yield* files.create(caller, { name }, [Buffer.from("0".repeat(10))])
        for (let index = 1; index < 6; index++) {
          yield* files.patch(caller, { name, position: index }, [Buffer.from("x")])
        }
        yield* reclaimer.sweepVersions
        yield* reclaimer.sweepVersions
        const { versions } = yield* files.queryVersions(caller, { name })
        assert.deepStrictEqual(versions.map(({ version }) => version), [6, 5, 4])
        assert.strictEqual(yield* codeOf(files.read(caller, { name, version: 3 })), "2:nf")
        for (const version of [4, 5, 6]) {
          const text = `0${"x".repeat(version - 1)}${"0".repeat(10 - version)}`
          assert.strictEqual((yield* read(caller, version)).toString(), text)
        }
        yield* sound
        assert.deepStrictEqual(yield* Storage.usage(caller), { bytes: 10, files: 1 })
      })
    ), 30_000)

  it.effect("are dropped when a newer one took their place too long ago, and never the current one", () =>
    run(
      { keepVersionsFor: Duration.hours(1), keepDeletedFor: Duration.hours(2) },
      Effect.gen(function*() {
        const files = yield* FileStore
        const reclaimer = yield* Reclaimer
        const caller = yield* Storage.newUser()
        const versions = Effect.map(
          files.queryVersions(caller, { name }),
          ({ versions }) => versions.map(({ version }) => version)
        )
        yield* files.create(caller, { name }, [Buffer.from("one")])
        yield* TestClock.adjust("50 minutes")
        yield* files.write(caller, { name }, [Buffer.from("two")])
        yield* TestClock.adjust("50 minutes")
        yield* files.write(caller, { name }, [Buffer.from("three")])
        yield* reclaimer.sweepVersions
        assert.deepStrictEqual(yield* versions, [3, 2, 1])
        yield* TestClock.adjust("10 minutes")
        yield* reclaimer.sweepVersions
        assert.deepStrictEqual(yield* versions, [3, 2])
        yield* TestClock.adjust("50 minutes")
        yield* reclaimer.sweepVersions
        assert.deepStrictEqual(yield* versions, [3])
        assert.deepStrictEqual(yield* counted, { files: 1, versions: 1, extents: 1 })

        yield* files.delete(caller, { name })
        yield* TestClock.adjust("119 minutes")
        yield* reclaimer.sweepVersions
        assert.strictEqual((yield* files.restore(caller, { name })).size, 5)
        yield* files.delete(caller, { name })
        yield* TestClock.adjust("120 minutes")
        yield* reclaimer.sweepVersions
        assert.deepStrictEqual(yield* counted, { files: 0, versions: 0, extents: 0 })
      })
    ), 60_000)

  it.effect("that are dropped are read to their end by who has begun", () =>
    run(
      { keepVersions: 0 },
      Effect.gen(function*() {
        const files = yield* FileStore
        const reclaimer = yield* Reclaimer
        const caller = yield* Storage.newUser()
        yield* files.create(caller, { name }, [Buffer.alloc(400, "0")])
        for (let at = 0; at < 400; at += 4) yield* files.patch(caller, { name, position: at }, [Buffer.from("x")])
        const { content } = yield* files.read(caller, { name })
        yield* files.write(caller, { name }, [Buffer.from("new")])
        yield* reclaimer.sweepVersions
        const { versions } = yield* files.queryVersions(caller, { name })
        assert.lengthOf(versions, 1)
        assert.strictEqual((yield* Effect.promise(() => Storage.drain(content))).toString(), "x000".repeat(100))
        yield* reclaimer.sweepVersions
        assert.deepStrictEqual(yield* counted, { files: 1, versions: 1, extents: 1 })
      })
    ), 30_000)
})

describe("segments", () => {
  const listed = Effect.flatMap(SegmentStore, (store) => store.list)

  it.effect("that nothing refers to are removed, and no others", () =>
    lives(
      Effect.gen(function*() {
        const files = yield* FileStore
        const store = yield* SegmentStore
        const reclaimer = yield* Reclaimer
        // What a crash leaves: bytes that no version has.
        yield* store.append([randomBytes(KiB)], KiB)
        yield* reclaimer.sweepSegments
        yield* reclaimer.sweepSegments
        assert.lengthOf(yield* listed, 1)
        const caller = yield* Storage.newUser()
        const upload = yield* files.uploadBegin(caller, { name, mode: "create" })
        yield* files.uploadPart(caller, { upload_id: upload.upload_id, offset: 0 }, [Buffer.from("half")])
        return { caller, upload }
      }),
      ({ caller, upload }) =>
        Effect.gen(function*() {
          const files = yield* FileStore
          const reclaimer = yield* Reclaimer
          assert.lengthOf(yield* listed, 2)
          yield* reclaimer.sweepSegments
          assert.strictEqual((yield* reclaimer.sweepSegments).segmentsRemoved, 1)
          assert.lengthOf(yield* listed, 1)
          const status = yield* files.uploadStatus(caller, upload.upload_id)
          assert.deepStrictEqual(status.received, [[0, 4]])
        })
    ), 30_000)

  it.effect("give back what nobody needs, although a byte of every block is needed", () =>
    lives(
      Effect.gen(function*() {
        const files = yield* FileStore
        const caller = yield* Storage.newUser()
        const content = randomBytes(64 * KiB)
        yield* files.create(caller, { name }, [content])
        // Each leaves three bytes of the one before.
        for (let at = 0; at < 30; at += 3) {
          const patch = randomBytes(64 * KiB - at)
          patch.copy(content, at)
          yield* files.patch(caller, { name, position: at }, [patch])
        }
        yield* files.copy(caller, { name, new_name: Storage.name("copy") })
        yield* files.patch(caller, { name, position: 1 }, [Buffer.from("!")])
        return { caller, copied: Buffer.from(content), content: (content.write("!", 1), content) }
      }),
      ({ caller, content, copied }) =>
        Effect.gen(function*() {
          const files = yield* FileStore
          const reclaimer = yield* Reclaimer
          const [before] = yield* listed
          assert.isAbove(before?.bytes ?? 0, 600 * KiB)
          yield* reclaimer.sweepVersions
          yield* reclaimer.sweepVersions
          assert.strictEqual((yield* reclaimer.sweepSegments).segmentsCompacted, 1)
          yield* reclaimer.sweepSegments
          assert.isBelow((yield* listed).reduce((sum, { bytes }) => sum + bytes, 0), 70 * KiB)
          assert.isTrue(content.equals(yield* read(caller)))
          const copy = yield* files.read(caller, { name: Storage.name("copy"), position: 2, limit: 1000 })
          assert.isTrue(copied.subarray(2, 1002).equals(yield* Effect.promise(() => Storage.drain(copy.content))))
          yield* sound
        })
    ), 60_000)

  it.effect("that are mostly dead space are counted, give it back, and nobody who reads notices", () => {
    const metrics = new Map<string, () => number>()
    const deadBytes = () => metrics.get("fip_dead_bytes")?.() ?? 0
    const observe = (observed: Observed) =>
      Effect.sync(() => {
        metrics.set(observed.name, observed.read)
      })
    return lives(
      Effect.gen(function*() {
        const files = yield* FileStore
        const caller = yield* Storage.newUser()
        const content = randomBytes(300 * KiB)
        yield* files.create(caller, { name }, [content])
        const big = Storage.name("big")
        yield* files.create(caller, { name: big }, [randomBytes(2000 * KiB)])
        yield* files.patch(caller, { name, position: 100_000 }, [Buffer.alloc(10)])
        content.fill(0, 100_000, 100_010)
        yield* files.copy(caller, { name, new_name: Storage.name("copy") })
        yield* files.delete(caller, { name: big })
        return { caller, content }
      }),
      ({ caller, content }) =>
        Effect.gen(function*() {
          const files = yield* FileStore
          const reclaimer = yield* Reclaimer
          yield* TestClock.adjust(1)
          yield* reclaimer.sweepVersions
          const [before] = yield* listed
          const reading = yield* files.read(caller, { name })
          assert.strictEqual((yield* reclaimer.sweepSegments).segmentsCompacted, 1)
          assert.isAbove(deadBytes(), 2000 * KiB)
          yield* reclaimer.sweepSegments
          // A read that began before still has it.
          assert.include((yield* listed).map(({ segment }) => segment), before?.segment)
          assert.isTrue(content.equals(yield* Effect.promise(() => Storage.drain(reading.content))))
          assert.strictEqual((yield* reclaimer.sweepSegments).segmentsRemoved, 1)
          const left = yield* listed
          assert.notInclude(left.map(({ segment }) => segment), before?.segment)
          assert.isBelow(left.reduce((sum, { bytes }) => sum + bytes, 0), 400 * KiB)
          assert.isBelow(deadBytes(), 400 * KiB)
          assert.isTrue(content.equals(yield* read(caller)))
          yield* sound
        })
    ).pipe(Effect.provideService(Metrics, { ...Metrics.defaultValue(), observe }))
  }, 30_000)
})

describe("a grace period", () => {
  it.effect("is over when all who were there when it began have left", () =>
    Effect.gen(function*() {
      const grace = yield* GracePeriods
      assert.isTrue(grace.isOver(grace.begin()))
      const [a, b] = [grace.enter(), grace.enter()]
      const begun = grace.begin()
      const later = grace.enter()
      grace.leave(b)
      assert.isFalse(grace.isOver(begun))
      grace.leave(a)
      grace.leave(a)
      assert.isTrue(grace.isOver(begun))
      assert.isFalse(grace.isOver(grace.begin()))
      grace.leave(later)
      assert.isTrue(grace.isOver(grace.begin()))
    }).pipe(Effect.provide(GracePeriods.layer)))
})
