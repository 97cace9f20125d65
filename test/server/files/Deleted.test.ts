import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { TestClock } from "effect/testing"
import { FolderPrefix } from "../../../src/protocol/FileName.ts"
import { Username } from "../../../src/protocol/Identity.ts"
import type { Refusal } from "../../../src/protocol/Refusal.ts"
import { FileStore } from "../../../src/server/FileStore.ts"
import { TestDatabase } from "../../support/TestDatabase.ts"
import * as Storage from "./Storage.ts"

const bytes = (text: string): ReadonlyArray<Uint8Array> => [Buffer.from(text)]
const codeOf = <A, R>(effect: Effect.Effect<A, Refusal, R>) => Effect.map(Effect.flip(effect), ({ code }) => code)

const layer = Storage.layer().pipe(Layer.provideMerge(TestDatabase.pglite))

it.layer(layer, { timeout: 60_000 })("a deleted file", (it) => {
  describe("of one's own", () => {
    it.effect("is listed, and comes back as it was, with its versions", () =>
      Effect.gen(function*() {
        const files = yield* FileStore
        const caller = yield* Storage.newUser()
        const name = Storage.name("docs/a")
        yield* files.create(caller, { name }, bytes("one"))
        yield* files.write(caller, { name }, bytes("second"))
        yield* files.create(caller, { name: Storage.name("b") }, bytes("kept"))
        yield* files.delete(caller, { name })
        assert.deepStrictEqual(yield* Storage.usage(caller), { bytes: 4, files: 1 })

        const listed = yield* files.list(caller, { deleted: true })
        assert.deepStrictEqual(listed.folders, [])
        assert.deepStrictEqual(listed.files.map((file) => [file.name, file.size, file.version]), [["docs/a", 6, 2]])
        assert.isString(listed.files[0]?.deleted_at)
        assert.deepStrictEqual(
          (yield* files.list(caller, { deleted: true, prefix: FolderPrefix.make("other/") })).files,
          []
        )

        const restored = yield* files.restore(caller, { name })
        assert.deepInclude(restored, { owner: caller.username, name, size: 6, version: 2 })
        assert.deepStrictEqual(yield* Storage.usage(caller), { bytes: 10, files: 2 })
        for (const [version, text] of [[1, "one"], [2, "second"]] as const) {
          const { content } = yield* files.read(caller, { name, version })
          assert.strictEqual((yield* Effect.promise(() => Storage.drain(content))).toString(), text)
        }
        assert.deepStrictEqual((yield* files.list(caller, { deleted: true })).files, [])
        assert.strictEqual(yield* codeOf(files.restore(caller, { name })), "2:cnf")
        assert.strictEqual(yield* codeOf(files.restore(caller, { name: Storage.name("never") })), "2:nf")
      }))

    it.effect("comes before those of the same name that were deleted earlier, page by page", () =>
      Effect.gen(function*() {
        const files = yield* FileStore
        const caller = yield* Storage.newUser()
        const name = Storage.name("a")
        for (const text of ["1", "22", "333"]) {
          yield* files.create(caller, { name }, bytes(text))
          yield* files.delete(caller, { name })
        }
        const sizes: Array<number> = []
        let after: string | undefined
        do {
          const page = yield* files.list(caller, { deleted: true, limit: 1, ...(after === undefined ? {} : { after }) })
          sizes.push(...page.files.map((file) => file.size))
          after = page.next
        } while (after !== undefined)
        assert.deepStrictEqual(sizes, [3, 2, 1])

        assert.strictEqual((yield* files.restore(caller, { name })).size, 3)
        assert.strictEqual(yield* codeOf(files.restore(caller, { name })), "2:cnf")
        yield* files.rename(caller, { name, new_name: Storage.name("newest") })
        assert.strictEqual((yield* files.restore(caller, { name })).size, 2)
      }))

    it.effect("needs room in the quota again, and the version that is expected", () =>
      Effect.gen(function*() {
        const files = yield* FileStore
        const caller = yield* Storage.newUser({ bytesLimit: 10 })
        const name = Storage.name("a")
        yield* files.create(caller, { name }, bytes("123456"))
        yield* files.delete(caller, { name })
        yield* files.create(caller, { name: Storage.name("b") }, bytes("123456"))
        assert.strictEqual(yield* codeOf(files.restore(caller, { name })), "2:quota")
        yield* files.delete(caller, { name: Storage.name("b") })
        assert.strictEqual(yield* codeOf(files.restore(caller, { name, expected_version: 7 })), "2:vcf")
        yield* files.restore(caller, { name, expected_version: 1 })
        assert.deepStrictEqual(yield* Storage.usage(caller), { bytes: 6, files: 1 })
      }))

    it.effect("cannot be restored when it was deleted too long ago", () =>
      Effect.gen(function*() {
        const files = yield* FileStore
        const caller = yield* Storage.newUser()
        const name = Storage.name("a")
        yield* files.create(caller, { name }, bytes("x"))
        yield* files.delete(caller, { name })
        yield* TestClock.adjust("30 days")
        assert.strictEqual(yield* codeOf(files.restore(caller, { name })), "2:nf")
        assert.deepStrictEqual((yield* files.list(caller, { deleted: true })).files, [])
      }))
  })

  describe("that others could see", () => {
    it.effect("is nobody else's any more, neither before nor after it comes back", () =>
      Effect.gen(function*() {
        const files = yield* FileStore
        const sql = yield* SqlClient
        const owner = yield* Storage.newUser()
        const friend = yield* Storage.newUser()
        const name = Storage.name("a")
        const theirs = { name, owner: Username.make(owner.username) }
        yield* files.create(owner, { name }, bytes("x"))
        yield* sql`
          insert into grants (file_id, user_id, role, granted_by, granted_at)
          select file_id, ${friend.userId}::bigint, 'MANAGE', ${owner.username}, now()
          from files where owner_id = ${owner.userId}::bigint`
        yield* sql`update files set public = true where owner_id = ${owner.userId}::bigint`
        yield* files.queryFile(friend, theirs)
        yield* files.delete(owner, { name })
        assert.strictEqual(yield* codeOf(files.restore(friend, theirs)), "2:nf")
        assert.strictEqual(yield* codeOf(files.list(friend, { owner: owner.username, deleted: true })), "2:ibv")
        yield* files.restore(owner, { name })
        assert.strictEqual(yield* codeOf(files.queryFile(friend, theirs)), "2:nf")
      }))
  })
})
