import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Layer, Scope } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { TestClock } from "effect/testing"
import * as fc from "fast-check"
import { createHash, randomBytes, randomUUID } from "node:crypto"
import { crc32 } from "node:zlib"
import { BLOCK_BYTES, blocksIn, checksumAt, checksumsOf } from "../../../src/platform/Checksum.ts"
import { Sha256, UploadId } from "../../../src/protocol/Identity.ts"
import type { Refusal } from "../../../src/protocol/Refusal.ts"
import type { UploadMode } from "../../../src/protocol/Request.ts"
import type { Caller } from "../../../src/server/Caller.ts"
import { Ranges } from "../../../src/server/files/Ranges.ts"
import { SegmentStore } from "../../../src/server/files/SegmentStore.ts"
import { UploadContent } from "../../../src/server/files/UploadContent.ts"
import { UploadSessions } from "../../../src/server/files/UploadSessions.ts"
import { FileStore } from "../../../src/server/FileStore.ts"
import { TestDatabase } from "../../support/TestDatabase.ts"
import * as Storage from "./Storage.ts"

const KiB = 1024
const MiB = 1024 * KiB
const sha256 = (content: Uint8Array): Sha256 => Sha256.make(createHash("sha256").update(content).digest("hex"))
const codeOf = <A, R>(effect: Effect.Effect<A, Refusal, R>) => Effect.map(Effect.flip(effect), ({ code }) => code)

const read = Effect.fnUntraced(function*(caller: Caller, name: string) {
  const files = yield* FileStore
  const { content } = yield* files.read(caller, { name: Storage.name(name) })
  return yield* Effect.promise(() => Storage.drain(content))
})

/** Sends the parts [from, to) of `content`, at the same time. */
const send = Effect.fnUntraced(function*(
  caller: Caller,
  upload_id: UploadId,
  content: Buffer,
  parts: ReadonlyArray<readonly [number, number]>
) {
  const files = yield* FileStore
  yield* Effect.forEach(
    parts,
    ([from, to]) =>
      files.uploadPart(caller, { upload_id, offset: from }, Storage.inPieces(content.subarray(from, to), 50_000)),
    { concurrency: "unbounded", discard: true }
  )
})

const everyMiB = (length: number) =>
  Array.from(
    { length: Math.ceil(length / MiB) },
    (_, index) => [index * MiB, Math.min(length, (index + 1) * MiB)] as const
  )

it.layer(TestDatabase.pglite, { timeout: 60_000 })("uploads", (it) => {
  it.layer(Storage.layer({ uploadLifetime: Duration.hours(1) }))((it) => {
    it.effect("publish what was sent in parts, in any order, on any connection, and can be committed twice", () =>
      Effect.gen(function*() {
        const files = yield* FileStore
        const caller = yield* Storage.newUser()
        const name = Storage.name("large")
        const content = randomBytes(20 * MiB + 12_345)
        const { upload_id } = yield* files.uploadBegin(caller, { name, mode: "create", size: content.length })
        const parts = everyMiB(content.length)
        yield* send(caller, upload_id, content, [...parts.toReversed(), ...parts.slice(0, 3)])
        assert.deepStrictEqual((yield* files.uploadStatus(caller, upload_id)).received, [[0, content.length]])
        assert.strictEqual(yield* codeOf(read(caller, "large")), "2:nf")
        const commit = { upload_id, sha256: sha256(content) }
        const written = yield* files.uploadCommit(caller, commit)
        assert.deepStrictEqual(written, {
          owner: caller.username,
          name,
          size: content.length,
          version: 1,
          sha256: sha256(content)
        })
        assert.deepStrictEqual(yield* files.uploadCommit(caller, commit), written)
        assert.deepStrictEqual(yield* read(caller, "large"), content)
        assert.deepStrictEqual(yield* Storage.usage(caller), { bytes: content.length, files: 1 })
        assert.strictEqual(yield* codeOf(send(caller, upload_id, content, [[0, 10]])), "2:opcf")
        assert.strictEqual(yield* codeOf(files.uploadAbort(caller, upload_id)), "2:opcf")
      }))

    it.effect("change a file in each of the five ways, as it is when they are committed", () =>
      Effect.gen(function*() {
        const files = yield* FileStore
        const caller = yield* Storage.newUser()
        const name = Storage.name("a")
        const commit = Effect.fnUntraced(function*(mode: UploadMode, text: string, position?: number) {
          const { upload_id } = yield* files.uploadBegin(caller, {
            name,
            mode,
            ...(position === undefined ? {} : { position })
          })
          const content = Buffer.from(text)
          yield* send(caller, upload_id, content, [[0, content.length]])
          if (mode === "append") yield* files.append(caller, { name }, [Buffer.from("|before|")])
          return yield* files.uploadCommit(caller, { upload_id, sha256: sha256(content) })
        })
        assert.deepInclude(yield* commit("create", "created"), { version: 1, size: 7 })
        assert.strictEqual(yield* codeOf(commit("create", "again")), "2:cnf")
        assert.deepInclude(yield* commit("write", "written"), { version: 2 })
        assert.deepInclude(yield* commit("replace", "replaced"), { version: 3 })
        assert.deepInclude(yield* commit("append", " and more"), { version: 5, size: 25 })
        assert.deepInclude(yield* commit("patch", "RE", 0), { version: 6, size: 25 })
        assert.deepInclude(yield* commit("patch", "!", 25), { version: 7, size: 26 })
        assert.strictEqual((yield* read(caller, "a")).toString(), "REplaced|before| and more!")
        assert.strictEqual(yield* codeOf(commit("patch", "hole", 99)), "2:ibv")
        yield* files.delete(caller, { name })
        assert.strictEqual(yield* codeOf(commit("replace", "x")), "2:nf")
        assert.deepInclude(yield* commit("write", ""), { version: 1, size: 0 })
      }))

    it.effect("publish nothing when the hash is wrong, and nothing of them stays", () =>
      Effect.gen(function*() {
        const files = yield* FileStore
        const store = yield* SegmentStore
        const caller = yield* Storage.newUser()
        const name = Storage.name("a")
        const before = yield* store.list
        const content = randomBytes(MiB)
        const { upload_id } = yield* files.uploadBegin(caller, { name, mode: "write" })
        yield* send(caller, upload_id, content, [[0, MiB]])
        assert.strictEqual((yield* store.list).length, before.length + 1)
        const commit = files.uploadCommit(caller, { upload_id, sha256: sha256(Buffer.from("another")) })
        assert.strictEqual(yield* codeOf(commit), "2:sum")
        assert.strictEqual(yield* codeOf(commit), "2:nf")
        assert.strictEqual(yield* codeOf(read(caller, "a")), "2:nf")
        assert.strictEqual((yield* store.list).length, before.length)
      }))

    it.effect("say what is missing, and take it", () =>
      Effect.gen(function*() {
        const files = yield* FileStore
        const caller = yield* Storage.newUser()
        const name = Storage.name("a")
        const content = randomBytes(100 * KiB)
        const { upload_id } = yield* files.uploadBegin(caller, { name, mode: "write", size: content.length })
        yield* send(caller, upload_id, content, [[0, 1000], [50_000, 60_000]])
        const commit = files.uploadCommit(caller, { upload_id, sha256: sha256(content) })
        const refusal = yield* Effect.flip(commit)
        assert.strictEqual(refusal.code, "2:opcf")
        assert.include(refusal.message, "bytes 1000 to 49999")
        assert.deepStrictEqual((yield* files.uploadStatus(caller, upload_id)).received, [[0, 1000], [50_000, 60_000]])
        yield* send(caller, upload_id, content, [[0, content.length]])
        yield* commit
        assert.deepStrictEqual(yield* read(caller, "a"), content)
      }))

    it.effect("are refused beyond the quota: at once when the size is known, and otherwise when it is reached", () =>
      Effect.gen(function*() {
        const files = yield* FileStore
        const caller = yield* Storage.newUser({ bytesLimit: 100 * KiB, filesLimit: 1 })
        const name = Storage.name("a")
        const content = randomBytes(100 * KiB + 1)
        const begin = (mode: UploadMode, size?: number) =>
          files.uploadBegin(caller, { name, mode, ...(size === undefined ? {} : { size }) })
        assert.strictEqual(yield* codeOf(begin("create", content.length)), "2:quota")
        const { upload_id } = yield* begin("create")
        yield* send(caller, upload_id, content, [[0, 100 * KiB]])
        assert.strictEqual(yield* codeOf(send(caller, upload_id, content, [[100 * KiB, content.length]])), "2:quota")
        assert.strictEqual(
          yield* codeOf(files.uploadPart(caller, { upload_id, offset: 10 ** 15 }, [Buffer.alloc(1)])),
          "2:quota"
        )
        // Somebody else is faster: the commit decides.
        yield* files.create(caller, { name: Storage.name("b") }, [Buffer.alloc(10)])
        const commit = { upload_id, sha256: sha256(content.subarray(0, 100 * KiB)) }
        assert.strictEqual(yield* codeOf(files.uploadCommit(caller, commit)), "2:fof")
        yield* files.delete(caller, { name: Storage.name("b") })
        yield* files.uploadCommit(caller, commit)
        assert.deepStrictEqual(yield* Storage.usage(caller), { bytes: 100 * KiB, files: 1 })
        // What is replaced counts as free.
        yield* begin("replace", 100 * KiB)
        assert.strictEqual(yield* codeOf(begin("append", 1)), "2:quota")
      }))

    it.effect("do not take more than they announced", () =>
      Effect.gen(function*() {
        const files = yield* FileStore
        const caller = yield* Storage.newUser()
        const { upload_id } = yield* files.uploadBegin(caller, { name: Storage.name("a"), mode: "write", size: 10 })
        assert.deepInclude(
          yield* Effect.flip(files.uploadPart(caller, { upload_id, offset: 5 }, [Buffer.alloc(6)])),
          { code: "2:ibv", field: "offset" } as const
        )
      }))

    it.effect("belong to who began them", () =>
      Effect.gen(function*() {
        const files = yield* FileStore
        const [alice, bob] = [yield* Storage.newUser(), yield* Storage.newUser()]
        const { upload_id } = yield* files.uploadBegin(alice, { name: Storage.name("a"), mode: "write" })
        const wanted = Effect.gen(function*() {
          for (const caller of [bob, { ...alice, userId: -1 }]) {
            assert.strictEqual(yield* codeOf(files.uploadStatus(caller, upload_id)), "2:nf")
            assert.strictEqual(yield* codeOf(send(caller, upload_id, Buffer.alloc(10), [[0, 10]])), "2:nf")
            assert.strictEqual(yield* codeOf(files.uploadAbort(caller, upload_id)), "2:nf")
            const commit = files.uploadCommit(caller, { upload_id, sha256: sha256(Buffer.alloc(0)) })
            assert.strictEqual(yield* codeOf(commit), "2:nf")
          }
        })
        yield* wanted
        yield* send(alice, upload_id, Buffer.alloc(10), [[0, 10]])
        yield* wanted
        assert.strictEqual(yield* codeOf(files.uploadStatus(alice, UploadId.make(randomUUID()))), "2:nf")
      }))

    it.effect("leave nothing when they are aborted", () =>
      Effect.gen(function*() {
        const files = yield* FileStore
        const store = yield* SegmentStore
        const caller = yield* Storage.newUser()
        const before = (yield* store.list).length
        const { upload_id } = yield* files.uploadBegin(caller, { name: Storage.name("a"), mode: "write" })
        yield* send(caller, upload_id, Buffer.alloc(20 * MiB), everyMiB(20 * MiB))
        yield* files.uploadAbort(caller, upload_id)
        assert.strictEqual((yield* store.list).length, before)
        assert.strictEqual(yield* codeOf(files.uploadStatus(caller, upload_id)), "2:nf")
        assert.strictEqual(yield* codeOf(files.uploadAbort(caller, upload_id)), "2:nf")
        assert.deepStrictEqual(yield* Storage.usage(caller), { bytes: 0, files: 0 })
      }))

    it.effect("are dropped when nothing was added for their lifetime, and no sooner", () =>
      Effect.gen(function*() {
        const files = yield* FileStore
        const sessions = yield* UploadSessions
        const store = yield* SegmentStore
        const caller = yield* Storage.newUser()
        const sql = yield* SqlClient
        const content = randomBytes(MiB)
        const begin = files.uploadBegin(caller, { name: Storage.name("a"), mode: "write" })
        const [idle, busy, done] = [yield* begin, yield* begin, yield* begin]
        for (const { upload_id } of [idle, busy, done]) yield* send(caller, upload_id, content, [[0, MiB]])
        const rows = yield* sql<{ readonly upload_id: UploadId; readonly segment_id: string }>`
          select upload_id, segment_id from uploads where user_id = ${caller.userId}::bigint`.pipe(Effect.orDie)
        const segmentOf = new Map(rows.map((row) => [row.upload_id, row.segment_id]))
        const commit = { upload_id: done.upload_id, sha256: sha256(content) }
        yield* files.uploadCommit(caller, commit)
        yield* TestClock.adjust(Duration.minutes(50))
        yield* sessions.expire
        yield* send(caller, busy.upload_id, content, [[0, MiB]])
        yield* TestClock.adjust(Duration.minutes(20))
        yield* sessions.expire
        assert.strictEqual(yield* codeOf(files.uploadStatus(caller, idle.upload_id)), "2:nf")
        assert.strictEqual(yield* codeOf(files.uploadCommit(caller, commit)), "2:nf")
        assert.deepStrictEqual(yield* read(caller, "a"), content)
        const commitBusy = { upload_id: busy.upload_id, sha256: sha256(content) }
        assert.deepInclude(yield* files.uploadCommit(caller, commitBusy), { version: 2 })
        const left = new Set<string>((yield* store.list).map(({ segment }) => segment))
        const isLeft = [idle, busy, done].map(({ upload_id }) => left.has(segmentOf.get(upload_id) ?? ""))
        assert.deepStrictEqual(isLeft, [false, true, true])
      }))
  })

  it.effect("continue after a restart, and after a crash with what was noted before it", () =>
    Effect.gen(function*() {
      const dataDir = yield* Storage.folder
      const database = yield* Effect.context<SqlClient>()
      const caller = yield* Storage.newUser()
      const content = randomBytes(40 * MiB)
      const start = Effect.gen(function*() {
        const scope = yield* Scope.make()
        const layer = Storage.layerIn(dataDir).pipe(Layer.provide(Layer.succeedContext(database)))
        const services = yield* Layer.buildWithScope(layer, scope)
        return { services, stop: Scope.close(scope, Exit.void) }
      })
      const first = yield* start
      const { upload_id } = yield* Effect.flatMap(
        FileStore,
        (files) => files.uploadBegin(caller, { name: Storage.name("a"), mode: "write", size: content.length })
      ).pipe(Effect.provide(first.services))
      yield* Effect.provide(send(caller, upload_id, content, [[MiB, 2 * MiB], [0, 300_001]]), first.services)
      yield* first.stop

      const received = Effect.flatMap(FileStore, (files) => files.uploadStatus(caller, upload_id)).pipe(
        Effect.map(({ received }) => received)
      )
      const second = yield* start
      assert.deepStrictEqual(yield* Effect.provide(received, second.services), [[0, 300_001], [MiB, 2 * MiB]])
      yield* Effect.provide(send(caller, upload_id, content, everyMiB(35 * MiB)), second.services)

      // Noted beside the parts, not by a request that could be waited for.
      const sql = yield* SqlClient
      yield* sql<{ readonly bytes: number }>`
        select sum(length)::bigint as bytes from upload_runs where upload_id = ${upload_id}::uuid`.pipe(
        Effect.repeat({ until: ([row]) => (row?.bytes ?? 0) >= 16 * MiB }),
        Effect.orDie
      )
      // A server that knows nothing of what the one before it had in memory.
      const third = yield* start
      const noted = yield* Effect.provide(received, third.services)
      yield* Effect.provide(
        Effect.gen(function*() {
          const files = yield* FileStore
          const missing = new Ranges()
          for (const [from, to] of noted) missing.add(from, to)
          yield* send(caller, upload_id, content, missing.missing(0, content.length))
          yield* files.uploadCommit(caller, { upload_id, sha256: sha256(content) })
          assert.isTrue((yield* read(caller, "a")).equals(content))
        }),
        third.services
      )
      yield* third.stop
      yield* second.stop
    }), 30_000)
})

const checksums = (content: Buffer) => checksumsOf([content], content.length)
const claim = (content: Buffer, offset: number, to: number) => ({
  offset,
  checksums: Buffer.from(checksums(content.subarray(offset, to))).toString("base64")
})

it.layer(TestDatabase.pglite, { timeout: 60_000 })("uploads after a crash", (it) => {
  it.effect(
    "take blocks that were written and not noted, when the client knows their checksums",
    () =>
      Effect.gen(function*() {
        const dataDir = yield* Storage.folder
        const database = yield* Effect.context<SqlClient>()
        const caller = yield* Storage.newUser()
        const content = randomBytes(5 * MiB + 1000)
        const start = Effect.gen(function*() {
          const scope = yield* Scope.make()
          const layer = Storage.layerIn(dataDir).pipe(Layer.provide(Layer.succeedContext(database)))
          return { services: yield* Layer.buildWithScope(layer, scope), stop: Scope.close(scope, Exit.void) }
        })
        const first = yield* start
        const upload_id = yield* Effect.gen(function*() {
          const files = yield* FileStore
          const { upload_id } = yield* files.uploadBegin(caller, {
            name: Storage.name("a"),
            mode: "write",
            size: content.length
          })
          yield* send(caller, upload_id, content, [[0, 1000]])
          return upload_id
        }).pipe(Effect.provide(first.services))
        yield* first.stop
        // This one is not stopped, so that nothing is noted: a crash, as far as the next can see.
        const { services: killed } = yield* start
        yield* send(caller, upload_id, content, [[0, 3 * MiB], [4 * MiB, content.length]]).pipe(Effect.provide(killed))
        const { services } = yield* start
        yield* Effect.gen(function*() {
          const files = yield* FileStore
          const received = (body?: ReturnType<typeof claim>) =>
            Effect.map(files.uploadStatus(caller, upload_id, body), ({ received }) => received)
          const noted = [[0, 1000]] as const
          assert.deepStrictEqual(yield* received(), noted)
          const other = randomBytes(content.length)
          assert.deepStrictEqual(yield* received(claim(other, 0, 2 * MiB)), noted)
          assert.deepStrictEqual(yield* received({ ...claim(content, 0, MiB), offset: 1 }), noted)
          // One block of it is not what was sent.
          const damaged = Buffer.from(content)
          damaged[BLOCK_BYTES] = (damaged[BLOCK_BYTES] ?? 0) + 1
          assert.deepStrictEqual(yield* received(claim(damaged, 0, MiB)), [[0, BLOCK_BYTES], [2 * BLOCK_BYTES, MiB]])
          const all = claim(content, 0, content.length)
          assert.deepStrictEqual(yield* received(all), [[0, 3 * MiB], [4 * MiB, content.length]])
          yield* send(caller, upload_id, content, [[3 * MiB, 4 * MiB]])
          const blocks_sha256 = sha256(checksums(content))
          assert.strictEqual(
            yield* codeOf(files.uploadCommit(caller, { upload_id })),
            "2:ibv"
          )
          const written = yield* files.uploadCommit(caller, { upload_id, blocks_sha256, sha256: sha256(other) })
          // It was not hashed by one process from end to end, and what a client says of it is not believed.
          assert.strictEqual(written.sha256, undefined)
          assert.isTrue((yield* read(caller, "a")).equals(content))
          assert.strictEqual((yield* files.queryFile(caller, { name: Storage.name("a") })).sha256, sha256(content))
        }).pipe(Effect.provide(services))
      }),
    30_000
  )

  it.layer(Storage.layer())((it) => {
    it.effect("are published by the checksums of their blocks, and dropped when those are others", () =>
      Effect.gen(function*() {
        const files = yield* FileStore
        const caller = yield* Storage.newUser()
        const content = randomBytes(2 * MiB + 7)
        const begun = Effect.gen(function*() {
          const { upload_id } = yield* files.uploadBegin(caller, { name: Storage.name("a"), mode: "write" })
          yield* send(caller, upload_id, content, everyMiB(content.length))
          return upload_id
        })
        const blocks_sha256 = sha256(checksums(content))
        const wrong = sha256(Buffer.from("else"))
        for (const proof of [{ blocks_sha256: wrong }, { blocks_sha256, sha256: wrong }]) {
          const upload_id = yield* begun
          assert.strictEqual(yield* codeOf(files.uploadCommit(caller, { upload_id, ...proof })), "2:sum")
          assert.strictEqual(yield* codeOf(files.uploadStatus(caller, upload_id)), "2:nf")
        }
        assert.strictEqual(
          (yield* files.uploadCommit(caller, { upload_id: yield* begun, blocks_sha256 })).sha256,
          sha256(content)
        )
      }))
  })
})

describe("UploadContent", () => {
  it("knows checksums and hash of what came, whatever the order and the cuts", () =>
    fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: 5 * BLOCK_BYTES }),
        fc.array(fc.tuple(fc.nat(100), fc.nat(60)), { maxLength: 8 }),
        fc.nat(),
        async (length, cuts, noteAt) => {
          const whole = Buffer.alloc(length, "every block of this is different from all others")
          const readBack = (from: number, to: number) => Promise.resolve(whole.subarray(from, to))
          let content = new UploadContent()
          const accept = ([from, to]: readonly [number, number]) => {
            for (const [begin, end] of content.received.missing(from, to)) {
              content.accept(begin, Storage.inPieces(whole.subarray(begin, end), 10_000))
            }
          }
          for (const [index, [at, share]] of cuts.entries()) {
            const from = Math.floor(length * at / 100)
            accept([from, Math.min(length, from + Math.floor(length * share / 100))])
            await content.catchUp(1000, readBack)
            if (index === noteAt % 8) {
              // Noted down, and taken up again.
              const runs = await content.runs(new Ranges(), readBack)
              content = new UploadContent()
              for (const run of runs) content.restore(run)
            }
          }
          accept([0, length])
          assert.strictEqual(await content.sha256(length, readBack), sha256(whole))
          const sums = await content.complete(length, readBack)
          assert.strictEqual(sums.length, 4 * blocksIn(length))
          for (let index = 0; index < blocksIn(length); index++) {
            const block = whole.subarray(index * BLOCK_BYTES, (index + 1) * BLOCK_BYTES)
            assert.strictEqual(checksumAt(sums, index), crc32(block))
          }
        }
      ),
      { numRuns: 100 }
    ))
})
