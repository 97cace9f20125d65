/** Locks: whom they keep from what, and how they end. */
import { assert, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { TestClock } from "effect/testing"
import { Timestamp } from "../../../src/protocol/Identity.ts"
import type { Refusal } from "../../../src/protocol/Refusal.ts"
import type { Caller } from "../../../src/server/Caller.ts"
import { FileStore } from "../../../src/server/FileStore.ts"
import { Permissions } from "../../../src/server/Permissions.ts"
import { TestDatabase } from "../../support/TestDatabase.ts"
import { name, newUser } from "../files/Storage.ts"
import { codeOf, layer } from "./sharedStore.ts"

const MINUTE = 60_000
const file = name("plan.txt")
const data = [Buffer.from("x")]

/** Alice's file; Bob and Carol may edit it, Dave reads it. */
const begin = Effect.gen(function*() {
  const permissions = yield* Permissions
  const files = yield* FileStore
  const [alice, bob, carol, dave] = yield* Effect.all([newUser(), newUser(), newUser(), newUser()])
  yield* files.create(alice, { name: file }, data)
  for (const [who, role] of [[bob, "EDIT"], [carol, "EDIT"], [dave, "READ"]] as const) {
    yield* permissions.grant(alice, { name: file, username: who.username, role })
  }
  const target = { owner: alice.username, name: file }
  return { permissions, files, alice, bob, carol, dave, target }
})

/** Everything that changes a file and needs no more than EDIT. */
const writes = Effect.fnUntraced(function*(caller: Caller, target: { owner: Caller["username"]; name: typeof file }) {
  const files = yield* FileStore
  const all: ReadonlyArray<Effect.Effect<unknown, Refusal>> = [
    files.write(caller, target, data),
    files.replace(caller, target, data),
    files.append(caller, target, data),
    files.patch(caller, { ...target, position: 0 }, data),
    files.restore(caller, { ...target, version: 1 }),
    files.uploadBegin(caller, { ...target, mode: "write" })
  ]
  return all
})

for (
  const [database, databaseLayer] of [["PGlite", TestDatabase.pglite], ["PostgreSQL", TestDatabase.postgres]] as const
) {
  it.layer(Layer.provideMerge(layer, databaseLayer))(`a lock, on ${database}`, (it) => {
    it.effect("keeps everybody else from changing the file, by name, and from nothing else", () =>
      Effect.gen(function*() {
        const { alice, bob, carol, dave, files, permissions, target } = yield* begin
        const locked = yield* permissions.lock(bob, { ...target, duration_ms: 5 * MINUTE })
        assert.deepStrictEqual(locked, {
          ...target,
          locked_by: bob.username,
          locked_until: Timestamp.make("1970-01-01T00:05:00.000Z")
        })
        for (const caller of [alice, carol]) {
          for (const write of yield* writes(caller, target)) {
            const refusal = yield* Effect.flip(write)
            assert.deepInclude(
              refusal,
              {
                code: "2:lock",
                locked_by: bob.username,
                locked_until: locked.locked_until
              } as const
            )
            assert.include(refusal.message, `locked by ${bob.username} until 1970-01-01T00:05:00.000Z`)
          }
          assert.strictEqual(yield* codeOf(permissions.lock(caller, target)), "2:lock")
          assert.strictEqual(yield* codeOf(permissions.unlock(caller, target)), "2:lock")
        }
        assert.strictEqual(yield* codeOf(files.delete(alice, target)), "2:lock")
        assert.strictEqual(yield* codeOf(files.rename(alice, { ...target, new_name: name("other") })), "2:lock")
        assert.strictEqual(yield* codeOf(permissions.transfer(alice, { ...target, username: dave.username })), "2:lock")
        for (const write of yield* writes(dave, target)) assert.strictEqual(yield* codeOf(write), "2:perm")

        for (const write of yield* writes(bob, target)) assert.strictEqual(yield* codeOf(write), "done")
        assert.strictEqual(yield* codeOf(files.copy(carol, { ...target, new_name: name("copy.txt") })), "done")
        assert.strictEqual(yield* codeOf(files.queryVersions(dave, target)), "done")
        assert.strictEqual(
          yield* codeOf(permissions.grant(alice, { ...target, username: dave.username, role: "READ" })),
          "done"
        )
      }))

    it.effect("is seen in QUERY file and LIST while it lasts", () =>
      Effect.gen(function*() {
        const { bob, dave, files, permissions, target } = yield* begin
        yield* permissions.lock(bob, target)
        const expected = { locked_by: bob.username, locked_until: Timestamp.make("1970-01-01T00:10:00.000Z") }
        assert.deepInclude(yield* files.queryFile(dave, target), expected)
        assert.deepInclude((yield* files.list(dave, { owner: target.owner })).files[0], expected)
        yield* permissions.unlock(bob, target)
        assert.notProperty(yield* files.queryFile(dave, target), "locked_by")
        assert.notProperty((yield* files.list(dave, { owner: target.owner })).files[0], "locked_by")
      }))

    it.effect("ends when it is unlocked, at its time, and when its holder may not edit any more", () =>
      Effect.gen(function*() {
        const { alice, bob, carol, files, permissions, target } = yield* begin
        const attempt = codeOf(files.append(carol, target, data))
        yield* permissions.lock(bob, target)
        assert.strictEqual((yield* permissions.unlock(bob, target)).unlocked, bob.username)
        assert.notProperty(yield* permissions.unlock(bob, target), "unlocked")
        assert.strictEqual(yield* attempt, "done")

        yield* permissions.lock(bob, { ...target, duration_ms: MINUTE })
        yield* TestClock.adjust(MINUTE / 2)
        yield* permissions.lock(bob, { ...target, duration_ms: MINUTE })
        yield* TestClock.adjust(MINUTE - 1)
        assert.strictEqual(yield* attempt, "2:lock")
        yield* TestClock.adjust(1)
        assert.strictEqual(yield* attempt, "done")

        yield* permissions.lock(bob, target)
        yield* permissions.grant(alice, { ...target, username: bob.username, role: "READ" })
        assert.strictEqual(yield* attempt, "done")
        assert.strictEqual(yield* codeOf(permissions.lock(bob, target)), "2:perm")
        assert.strictEqual(yield* codeOf(permissions.lock(carol, target)), "done")
      }))

    it.effect("is broken by the file's owner, when the owner says so, and by nobody else", () =>
      Effect.gen(function*() {
        const { alice, bob, carol, dave, permissions, target } = yield* begin
        yield* permissions.lock(bob, target)
        assert.strictEqual(yield* codeOf(permissions.unlock(alice, target)), "2:lock")
        for (const caller of [carol, dave]) {
          assert.strictEqual(yield* codeOf(permissions.unlock(caller, { ...target, force: true })), "2:perm")
        }
        assert.strictEqual((yield* permissions.unlock(alice, { ...target, force: true })).unlocked, bob.username)
        assert.strictEqual(yield* codeOf(permissions.lock(carol, target)), "done")
      }))

    it.effect("goes with a file that its holder renames, and ends when the holder deletes or transfers it", () =>
      Effect.gen(function*() {
        const { alice, bob, carol, files, permissions, target } = yield* begin
        yield* permissions.lock(alice, target)
        const renamed = { ...target, name: name("renamed.txt") }
        yield* files.rename(alice, { ...target, new_name: renamed.name })
        assert.strictEqual(yield* codeOf(files.append(bob, renamed, data)), "2:lock")
        yield* files.delete(alice, renamed)
        yield* files.restore(alice, renamed)
        yield* permissions.grant(alice, { ...renamed, username: bob.username, role: "EDIT" })
        assert.strictEqual(yield* codeOf(files.append(bob, renamed, data)), "done")
        yield* permissions.lock(alice, renamed)
        yield* permissions.transfer(alice, { ...renamed, username: carol.username })
        assert.strictEqual(yield* codeOf(files.append(carol, { name: renamed.name }, data)), "done")
      }))

    it.effect("stops an upload that was begun before it, at its commit", () =>
      Effect.gen(function*() {
        const { bob, carol, files, permissions, target } = yield* begin
        const sha256 = (yield* files.queryFile(bob, target)).sha256 ?? assert.fail("no hash")
        const { upload_id } = yield* files.uploadBegin(carol, { ...target, mode: "write", size: 1 })
        yield* files.uploadPart(carol, { upload_id, offset: 0 }, data)
        yield* permissions.lock(bob, target)
        assert.strictEqual(yield* codeOf(files.uploadCommit(carol, { upload_id, sha256 })), "2:lock")
        assert.strictEqual((yield* files.queryFile(bob, target)).version, 1)
        yield* permissions.unlock(bob, target)
        assert.strictEqual((yield* files.uploadCommit(carol, { upload_id, sha256 })).version, 2)
      }))

    it.effect("lets no write slip through that comes at the same time", () =>
      Effect.gen(function*() {
        const { bob, carol, files, permissions, target } = yield* begin
        for (let round = 0; round < 10; round++) {
          const [locked, written] = yield* Effect.all([
            codeOf(permissions.lock(bob, target)),
            Effect.map(
              Effect.forEach([1, 2, 3, 4, 5, 6], () => codeOf(files.append(carol, target, data)), {
                concurrency: "unbounded"
              }),
              (codes) => codes.filter((code) => code === "done").length
            )
          ], { concurrency: "unbounded" })
          assert.strictEqual(locked, "done")
          const { version } = yield* files.queryFile(bob, target)
          assert.strictEqual(yield* codeOf(files.append(carol, target, data)), "2:lock")
          assert.strictEqual((yield* files.queryFile(bob, target)).version, version)
          assert.isAtMost(written, 6)
          yield* permissions.unlock(bob, target)
        }
      }))

    it.effect("is swept when it has ended, and goes with its holder's account", () =>
      Effect.gen(function*() {
        const { alice, bob, carol, files, permissions, target } = yield* begin
        const sql = yield* SqlClient
        const rows = sql`
          select 1 as one from locks l join files f on f.file_id = l.file_id
          where f.owner_id = ${alice.userId}::bigint`
        yield* permissions.lock(bob, { ...target, duration_ms: MINUTE })
        assert.lengthOf(yield* rows, 1)
        yield* Effect.repeat(Effect.andThen(TestClock.adjust(MINUTE), rows), { until: (found) => found.length === 0 })
        yield* permissions.lock(bob, target)
        yield* sql`delete from users where user_id = ${bob.userId}::bigint`
        assert.strictEqual(yield* codeOf(files.append(carol, target, data)), "done")
      }))
  })
}
