import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { randomBytes } from "node:crypto"
import { open, rm } from "node:fs/promises"
import { join } from "node:path"
import { Fsck } from "../../../src/server/files/Fsck.ts"
import { FileStore } from "../../../src/server/FileStore.ts"
import { ServerConfig } from "../../../src/server/ServerConfig.ts"
import { TestDatabase } from "../../support/TestDatabase.ts"
import * as Storage from "./Storage.ts"

const KiB = 1024
const name = Storage.name("a")

const storeIn = (dataDir: string) =>
  Layer.fresh(Fsck.layer.pipe(Layer.provideMerge(Storage.layerIn(dataDir, { keepDeletedFor: Duration.days(1) }))))

const run = <A, E>(test: Effect.Effect<A, E, FileStore | Fsck | SqlClient | ServerConfig>) =>
  Effect.flatMap(Storage.folder, (dataDir) => Effect.provide(test, storeIn(dataDir))).pipe(
    Effect.scoped,
    Effect.provide(TestDatabase.pglite)
  )

const fsck = (repair = false) => Effect.flatMap(Fsck, (fsck) => fsck.check({ repair }))

/** A user with a file of 200 KiB that has been patched, a copy of it, and one that was deleted. */
const filled = Effect.gen(function*() {
  const files = yield* FileStore
  const caller = yield* Storage.newUser()
  yield* files.create(caller, { name }, [randomBytes(200 * KiB)])
  yield* files.patch(caller, { name, position: 70 * KiB }, [Buffer.from("patched")])
  yield* files.copy(caller, { name, new_name: Storage.name("copy") })
  yield* files.create(caller, { name: Storage.name("gone") }, [Buffer.from("gone")])
  yield* files.delete(caller, { name: Storage.name("gone") })
  const upload = yield* files.uploadBegin(caller, { name: Storage.name("up"), mode: "create" })
  yield* files.uploadPart(caller, { upload_id: upload.upload_id, offset: 0 }, [Buffer.from("half")])
  return caller
})

describe("fsck", () => {
  it.effect("finds nothing wrong with what is in order", () =>
    run(Effect.gen(function*() {
      yield* filled
      const result = yield* fsck()
      assert.deepInclude(result, { files: 3, versions: 4, users: 1, segments: 1, problems: 0, findings: [] })
      // Each block once, however many versions and files have it.
      assert.strictEqual(result.bytes, 200 * KiB + "patched".length + "gone".length)
    })), 30_000)

  it.effect("names the blocks that are damaged or missing, and whose they are", () =>
    run(Effect.gen(function*() {
      const sql = yield* SqlClient
      const { dataDir } = yield* ServerConfig
      const caller = yield* filled
      const [row] = yield* sql<{ readonly segment_id: string }>`select segment_id from extents limit 1`
      const segment = row?.segment_id ?? ""
      const path = join(dataDir, "segments", segment.slice(0, 2), segment)
      yield* Effect.promise(async () => {
        const file = await open(path, "r+")
        await file.write(Buffer.from([1, 2, 3, 4]), 0, 4, 130 * KiB)
        await file.close()
      })
      const damaged = yield* fsck(true)
      assert.deepInclude(damaged, { problems: 1, repaired: 0 })
      assert.deepStrictEqual(damaged.findings, [{
        kind: "damaged",
        subject: segment,
        message: `bytes 131072 to 196607 are damaged or missing: ${caller.username}/a, ${caller.username}/copy`,
        repaired: false
      }])
      yield* Effect.promise(() => rm(path))
      assert.strictEqual((yield* fsck(true)).problems, 6)
    })), 30_000)

  it.effect(
    "finds versions that are not covered, files that are not as their versions say, and wrong counters",
    () =>
      run(Effect.gen(function*() {
        const sql = yield* SqlClient
        const caller = yield* filled
        const before = yield* Storage.usage(caller)
        yield* sql`update users set bytes_used = 7, files_used = 1`
        yield* sql`update files set sha256 = decode(${"00".repeat(32)}, 'hex') where name = 'copy'`
        yield* sql`
        delete from extents where position = 0 and file_id = (select file_id from files where name = 'a')`
        const found = yield* fsck()
        assert.strictEqual(found.repaired, 0)
        assert.deepStrictEqual(found.findings.map(({ kind, subject }) => [kind, subject]), [
          ["version", `${caller.username}/a`],
          ["version", `${caller.username}/a`],
          ["version", `${caller.username}/copy`],
          ["quota", caller.username]
        ])
        assert.deepStrictEqual(yield* Storage.usage(caller), { bytes: 7, files: 1 })
        assert.strictEqual((yield* fsck(true)).repaired, 1)
        assert.deepStrictEqual(yield* Storage.usage(caller), before)
        assert.strictEqual((yield* fsck()).problems, 3)
      })),
    30_000
  )

  it.effect("finds what a crash has left, and removes it when it may", () =>
    Effect.gen(function*() {
      const dataDir = yield* Storage.folder
      yield* Effect.provide(
        Effect.gen(function*() {
          const sql = yield* SqlClient
          yield* filled
          // As if the transaction had not come to its end.
          yield* sql`delete from files`
        }),
        storeIn(dataDir)
      )
      yield* Effect.provide(
        Effect.gen(function*() {
          assert.deepInclude(yield* fsck(), { orphan_segments: 1, removed_segments: 0 })
          assert.deepInclude(yield* fsck(true), { orphan_segments: 0, removed_segments: 1 })
        }),
        storeIn(dataDir)
      )
    }).pipe(Effect.scoped, Effect.provide(TestDatabase.pglite)), 30_000)
})
