import { assert, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { Sha256, type UploadId } from "../../../src/protocol/Identity.ts"
import type { Caller } from "../../../src/server/Caller.ts"
import { FileStore } from "../../../src/server/FileStore.ts"
import { TestDatabase } from "../../support/TestDatabase.ts"
import * as Storage from "./Storage.ts"

const MiB = 1024 * 1024
const piece = Buffer.alloc(MiB, 7)
/** The hash of no bytes. */
const nothing = Sha256.make("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")

const begin = Effect.fnUntraced(function*(caller: Caller, name: string, size: number) {
  const files = yield* FileStore
  return (yield* files.uploadBegin(caller, { name: Storage.name(name), mode: "create", size })).upload_id
})

/** Sends the MiBs [from, to). */
const send = Effect.fnUntraced(function*(caller: Caller, upload_id: UploadId, from: number, to: number) {
  const files = yield* FileStore
  for (let at = from; at < to; at++) yield* files.uploadPart(caller, { upload_id, offset: at * MiB }, [piece])
})

it.layer(Layer.orDie(TestDatabase.pglite), { timeout: 60_000 })("uploads that are not finished", (it) => {
  it.effect(
    "take together no more of the disk than there is room for in the quota, however they were begun",
    () =>
      Effect.gen(function*() {
        const dataDir = yield* Storage.folder
        // A store of its own for each step: when it closes, everything that has arrived is noted.
        const inStore = <A, E>(step: Effect.Effect<A, E, FileStore>) =>
          Effect.provide(step, Layer.fresh(Storage.layerIn(dataDir)))
        const caller = yield* Storage.newUser({ bytesLimit: 60 * MiB })
        const [first, second] = yield* inStore(Effect.gen(function*() {
          const both = [yield* begin(caller, "first", 50 * MiB), yield* begin(caller, "second", 50 * MiB)] as const
          yield* send(caller, both[0], 0, 20)
          return both
        }))
        yield* inStore(Effect.gen(function*() {
          const files = yield* FileStore
          const refused = yield* Effect.flip(send(caller, second, 0, 50))
          assert.strictEqual(refused.code, "2:quota")
          assert.include(refused.message, "20971520 bytes are held by uploads that are not finished")
          assert.strictEqual((yield* Effect.flip(begin(caller, "third", 50 * MiB))).code, "2:quota")
          yield* files.uploadAbort(caller, first)
          yield* send(caller, second, 0, 50)
        }))
      }).pipe(Effect.scoped),
    60_000
  )

  it.effect(
    "are shown to whoever began them, and to nobody else, until they are finished or given up",
    () =>
      Effect.gen(function*() {
        const files = yield* FileStore
        const caller = yield* Storage.newUser()
        const another = yield* Storage.newUser()
        const shown = Effect.map(
          files.queryUploads(caller),
          ({ uploads }) => uploads.map(({ name, owner, size, upload_id }) => ({ name, owner, size, upload_id }))
        )
        const owner = caller.username
        const first = {
          name: Storage.name("first"),
          owner,
          size: 2 * MiB,
          upload_id: yield* begin(caller, "first", 2 * MiB)
        }
        const second = { name: Storage.name("second"), owner, size: 0, upload_id: yield* begin(caller, "second", 0) }
        assert.sameDeepMembers([...yield* shown], [first, second])
        assert.deepStrictEqual((yield* files.queryUploads(another)).uploads, [])
        assert.strictEqual((yield* Effect.flip(files.uploadAbort(another, first.upload_id))).code, "2:nf")
        yield* files.uploadAbort(caller, first.upload_id)
        assert.deepStrictEqual(yield* shown, [second])
        const { upload_id } = second
        yield* files.uploadCommit(caller, { upload_id, sha256: nothing })
        assert.deepStrictEqual(yield* shown, [])
      }).pipe(Effect.provide(Storage.layer())),
    60_000
  )

  it.effect("are a hundred at most", () =>
    Effect.gen(function*() {
      const files = yield* FileStore
      const caller = yield* Storage.newUser()
      const another = yield* Storage.newUser()
      const ids = yield* Effect.forEach(Array.from({ length: 100 }), () => begin(caller, "same", 10))
      assert.include((yield* Effect.flip(begin(caller, "same", 10))).message, "you have 100 uploads")
      yield* begin(another, "same", 10)
      const [upload_id] = ids
      if (upload_id !== undefined) yield* files.uploadAbort(caller, upload_id)
      yield* begin(caller, "same", 10)
    }).pipe(Effect.provide(Storage.layer())), 60_000)
})
