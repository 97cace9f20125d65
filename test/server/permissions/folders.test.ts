/** Grants on folders: what they cover, how they add up, and what happens to them. */
import { assert, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { TestClock } from "effect/testing"
import type { Caller } from "../../../src/server/Caller.ts"
import { FileRepo } from "../../../src/server/files/FileRepo.ts"
import { FileStore } from "../../../src/server/FileStore.ts"
import { Permissions } from "../../../src/server/Permissions.ts"
import { TestDatabase } from "../../support/TestDatabase.ts"
import { name, newUser, usage } from "../files/Storage.ts"
import { abilities, codeOf, folder, layer } from "./sharedStore.ts"

const HOUR = 3_600_000
const docs = folder("docs/")
const plan = name("docs/2026/plan.txt")
const top = name("top.txt")

/** Alice has two files, one of them in a folder within a folder; the others have nothing yet. */
const begin = Effect.gen(function*() {
  const permissions = yield* Permissions
  const files = yield* FileStore
  const [alice, bob, carol] = yield* Effect.all([newUser(), newUser(), newUser()])
  yield* files.create(alice, { name: plan }, [])
  yield* files.create(alice, { name: top }, [])
  const grant = (who: Caller, on: typeof docs | typeof plan, role: "READ" | "EDIT" | "MANAGE", by = alice) =>
    permissions.grant(by, { owner: alice.username, name: on, username: who.username, role })
  const revoke = (who: Caller, on: typeof docs | typeof plan, by = alice) =>
    permissions.revoke(by, { owner: alice.username, name: on, username: who.username })
  return { permissions, files, alice, bob, carol, grant, revoke, owner: alice.username }
})

for (
  const [database, databaseLayer] of [["PGlite", TestDatabase.pglite], ["PostgreSQL", TestDatabase.postgres]] as const
) {
  it.layer(Layer.provideMerge(layer, databaseLayer))(`a grant on a folder, on ${database}`, (it) => {
    it.effect("covers what is under it, now and later, and nothing else", () =>
      Effect.gen(function*() {
        const { alice, bob, files, grant, owner, permissions, revoke } = yield* begin
        yield* files.create(alice, { name: name("docs") }, [])
        yield* files.create(alice, { name: name("docs.txt") }, [])
        assert.deepInclude(yield* grant(bob, docs, "EDIT"), { owner, name: docs, role: "EDIT" })
        assert.strictEqual(yield* abilities(bob, alice, plan), "read edit")
        for (const other of [top, name("docs"), name("docs.txt")]) {
          assert.strictEqual(yield* abilities(bob, alice, other), "")
        }
        yield* files.create(alice, { name: name("docs/later.txt") }, [])
        assert.strictEqual(yield* abilities(bob, alice, name("docs/later.txt")), "read edit")
        assert.strictEqual(yield* abilities(bob, alice, docs), "")

        assert.deepStrictEqual(yield* revoke(bob, docs), { owner, name: docs, username: bob.username, role: "EDIT" })
        assert.strictEqual(yield* abilities(bob, alice, plan), "")
        assert.strictEqual(yield* codeOf(permissions.queryPermission(bob, { owner, name: docs })), "2:nf")
      }))

    it.effect("of everything covers everything", () =>
      Effect.gen(function*() {
        const { alice, bob, permissions } = yield* begin
        yield* permissions.grant(alice, { name: folder(""), username: bob.username, role: "READ" })
        assert.strictEqual(yield* abilities(bob, alice, plan), "read")
        assert.strictEqual(yield* abilities(bob, alice, top), "read")
      }))

    it.effect("adds to others: the strongest role counts", () =>
      Effect.gen(function*() {
        const { alice, bob, grant, permissions, revoke } = yield* begin
        yield* grant(bob, docs, "READ")
        yield* grant(bob, plan, "EDIT")
        assert.strictEqual(yield* abilities(bob, alice, plan), "read edit")
        yield* grant(bob, folder("docs/2026/"), "MANAGE")
        assert.strictEqual(yield* abilities(bob, alice, plan), "read edit manage")
        assert.deepStrictEqual((yield* revoke(bob, folder("docs/2026/"))).remaining, { role: "READ", through: docs })
        const left = yield* revoke(bob, plan)
        assert.deepStrictEqual([left.role, left.remaining], ["EDIT", { role: "READ", through: docs }])
        assert.strictEqual(yield* abilities(bob, alice, plan), "read")
        // What is not granted on the file itself cannot be revoked there, and the refusal says where.
        const refusal = yield* Effect.flip(revoke(bob, plan))
        assert.strictEqual(refusal.code, "2:opcf")
        assert.include(refusal.message, "READ through docs/")
        yield* permissions.publicise(alice, { name: docs })
        assert.deepStrictEqual((yield* revoke(bob, docs)).remaining, { role: "READ" })
      }))

    it.effect("says in QUERY permission through what each right comes", () =>
      Effect.gen(function*() {
        const { alice, bob, carol, grant, permissions } = yield* begin
        yield* grant(bob, docs, "READ")
        yield* grant(bob, plan, "EDIT")
        yield* grant(carol, folder("docs/2026/"), "MANAGE")
        yield* permissions.publicise(alice, { name: folder("") })
        const { grants, ...of } = yield* permissions.queryPermission(carol, { owner: alice.username, name: plan })
        assert.deepStrictEqual(of, { owner: alice.username, name: plan, public: true, public_through: folder("") })
        assert.deepStrictEqual(grants.map((grant) => [grant.username, grant.role, grant.through]), [
          [bob.username, "EDIT", undefined],
          [bob.username, "READ", docs],
          [carol.username, "MANAGE", folder("docs/2026/")]
        ])
        const whole = yield* permissions.queryPermission(alice, { name: docs })
        assert.deepStrictEqual(whole.grants.map((grant) => [grant.username, grant.through]), [[
          bob.username,
          undefined
        ]])
      }))

    it.effect("with MANAGE lets its holder share what is under it, within a manager's limits", () =>
      Effect.gen(function*() {
        const { alice, bob, carol, grant, revoke } = yield* begin
        yield* grant(bob, docs, "MANAGE")
        yield* grant(carol, plan, "EDIT", bob)
        yield* grant(carol, folder("docs/2026/"), "READ", bob)
        yield* grant(carol, docs, "EDIT", bob)
        assert.strictEqual(yield* abilities(carol, alice, plan), "read edit")
        assert.strictEqual(yield* codeOf(grant(carol, docs, "MANAGE", bob)), "2:perm")
        assert.strictEqual(yield* codeOf(grant(carol, folder(""), "READ", bob)), "2:nf")
        yield* grant(carol, docs, "MANAGE")
        assert.strictEqual(yield* codeOf(revoke(carol, docs, bob)), "2:perm")
        assert.strictEqual(yield* codeOf(grant(carol, docs, "READ", bob)), "2:perm")
        assert.strictEqual(yield* codeOf(revoke(carol, folder("docs/2026/"), bob)), "done")
        assert.strictEqual(yield* codeOf(grant(bob, docs, "READ", bob)), "2:opcf")
        assert.strictEqual(yield* codeOf(grant(alice, docs, "READ", bob)), "2:opcf")
      }))

    it.effect("with EDIT lets its holder make files there, which are the owner's and which the owner pays for", () =>
      Effect.gen(function*() {
        const { alice, bob, carol, files, grant, owner } = yield* begin
        yield* grant(bob, docs, "EDIT")
        yield* grant(carol, docs, "READ")
        const made = { owner, name: name("docs/from-bob.txt") }
        const content = [Buffer.from("hello")]
        assert.strictEqual((yield* files.create(bob, made, content)).version, 1)
        assert.strictEqual((yield* files.write(bob, { ...made, name: name("docs/2.txt") }, content)).version, 1)
        const { upload_id } = yield* files.uploadBegin(bob, { ...made, name: name("docs/3.txt"), mode: "create" })
        yield* files.uploadAbort(bob, upload_id)
        assert.deepStrictEqual(yield* usage(alice), { bytes: 10, files: 4 })
        assert.deepStrictEqual(yield* usage(bob), { bytes: 0, files: 0 })
        assert.strictEqual(yield* abilities(alice, alice, made.name), "read edit manage own")
        assert.strictEqual(yield* abilities(bob, alice, made.name), "read edit")
        assert.strictEqual(yield* codeOf(files.delete(bob, made)), "2:perm")
        assert.strictEqual(yield* codeOf(files.rename(bob, { ...made, new_name: name("docs/x") })), "2:perm")

        assert.strictEqual(yield* codeOf(files.create(bob, made, content)), "2:cnf")
        assert.strictEqual(yield* codeOf(files.create(bob, { owner, name: name("elsewhere.txt") }, content)), "2:nf")
        for (const make of [files.create, files.write]) {
          assert.strictEqual(yield* codeOf(make(carol, { owner, name: name("docs/of-carol.txt") }, content)), "2:perm")
        }
        // A file that its owner deleted is brought back by its owner alone.
        yield* files.delete(alice, made)
        assert.strictEqual(yield* codeOf(files.restore(bob, made)), "2:nf")
        yield* files.restore(alice, made)
        assert.strictEqual(yield* abilities(bob, alice, made.name), "read edit")
      }))

    it.effect("stays with the folder: what is renamed out of it leaves it, what is renamed into it comes under it", () =>
      Effect.gen(function*() {
        const { alice, bob, carol, files, grant } = yield* begin
        yield* grant(bob, docs, "READ")
        yield* grant(carol, plan, "READ")
        yield* files.rename(alice, { name: plan, new_name: name("plan.txt") })
        assert.strictEqual(yield* abilities(bob, alice, name("plan.txt")), "")
        assert.strictEqual(yield* abilities(carol, alice, name("plan.txt")), "read")
        yield* files.rename(alice, { name: top, new_name: name("docs/top.txt") })
        assert.strictEqual(yield* abilities(bob, alice, name("docs/top.txt")), "read")
      }))

    it.effect("does not follow a file that is transferred: there the new owner's folders count", () =>
      Effect.gen(function*() {
        const { alice, bob, carol, grant, permissions } = yield* begin
        yield* grant(bob, docs, "EDIT")
        yield* permissions.grant(carol, { name: folder("in/"), username: bob.username, role: "READ" })
        yield* permissions.transfer(alice, { name: plan, username: carol.username, new_name: name("in/plan.txt") })
        assert.strictEqual(yield* abilities(bob, carol, name("in/plan.txt")), "read")
        assert.strictEqual(yield* abilities(alice, carol, name("in/plan.txt")), "read edit manage")
      }))

    it.effect("ends at its time by the server's clock, and is swept; sleeps while its user is banned", () =>
      Effect.gen(function*() {
        const { alice, bob, carol, grant, permissions } = yield* begin
        const sql = yield* SqlClient
        const username = bob.username
        yield* permissions.grant(alice, { name: docs, username, role: "READ", duration_ms: HOUR })
        yield* grant(carol, docs, "EDIT")
        yield* TestClock.adjust(HOUR - 1)
        assert.strictEqual(yield* abilities(bob, alice, plan), "read")
        const until = (millis: number | null) =>
          sql`
            update users set banned_until = ${millis === null ? null : new Date(millis)}::timestamptz
            where user_id = ${carol.userId}::bigint`
        yield* until(Date.parse("9999-01-01"))
        assert.strictEqual(yield* abilities(carol, alice, plan), "")
        yield* until(null)
        assert.strictEqual(yield* abilities(carol, alice, plan), "read edit")
        yield* TestClock.adjust(1)
        assert.strictEqual(yield* abilities(bob, alice, plan), "")
        const rows = sql`select 1 as one from folder_grants where user_id = ${bob.userId}::bigint`
        yield* Effect.repeat(Effect.andThen(TestClock.adjust(HOUR), rows), { until: (found) => found.length === 0 })
      }))

    it.effect("is shown by LIST, in every scope, once however many grants cover a file", () =>
      Effect.gen(function*() {
        const { alice, bob, carol, files, grant, owner, permissions } = yield* begin
        yield* grant(bob, docs, "READ")
        yield* grant(bob, folder("docs/2026/"), "EDIT")
        yield* grant(bob, plan, "READ")
        yield* files.create(carol, { name: name("open/a.txt") }, [])
        yield* files.create(carol, { name: name("shut.txt") }, [])
        yield* permissions.publicise(carol, { name: folder("open/") })
        const list = (caller: Caller, body: Parameters<typeof files.list>[1]) =>
          Effect.map(
            files.list(caller, body),
            ({ files, folders }) => [...folders, ...files.map((file) => `${file.name} ${file.role}`)]
          )
        assert.deepStrictEqual(yield* list(bob, { scope: "shared" }), [`${plan} EDIT`])
        assert.deepStrictEqual(yield* list(bob, { scope: "shared", owner }), ["docs/"])
        assert.deepStrictEqual(yield* list(bob, { owner }), ["docs/"])
        assert.deepStrictEqual(yield* list(bob, { owner, prefix: docs }), ["docs/2026/"])
        assert.deepStrictEqual(yield* list(bob, { owner, prefix: folder("docs/2026/") }), [`${plan} EDIT`])
        assert.deepStrictEqual(yield* list(bob, { owner, recursive: true }), [`${plan} EDIT`])
        assert.deepStrictEqual(yield* list(bob, { scope: "public", owner: carol.username }), ["open/"])
        const open = yield* files.list(bob, { scope: "public", prefix: folder("open/") })
        assert.deepStrictEqual(
          open.files.filter((file) => file.owner === carol.username).map((file) => [file.name, file.role, file.public]),
          [[name("open/a.txt"), "READ", true]]
        )
        assert.deepStrictEqual(yield* list(alice, { owner: carol.username, recursive: true }), ["open/a.txt READ"])
        assert.deepStrictEqual(yield* list(alice, {}), ["docs/", "top.txt OWNER"])
      }))

    it.effect("PUBLICISE and HIDE of a folder do what they say, and HIDE within a public folder does not pretend to", () =>
      Effect.gen(function*() {
        const { alice, bob, owner, permissions } = yield* begin
        assert.deepStrictEqual(yield* permissions.publicise(alice, { name: docs }), { owner, name: docs, public: true })
        yield* permissions.publicise(alice, { name: docs })
        assert.strictEqual(yield* abilities(bob, alice, plan), "read")
        assert.strictEqual(yield* abilities(bob, alice, top), "")
        assert.strictEqual(yield* codeOf(permissions.queryPermission(bob, { owner, name: docs })), "2:perm")
        const refusal = yield* Effect.flip(permissions.hide(alice, { name: plan }))
        assert.deepInclude(refusal, { code: "2:opcf", field: "name" } as const)
        assert.include(refusal.message, "hide docs/")
        yield* permissions.hide(alice, { name: docs })
        assert.strictEqual(yield* abilities(bob, alice, plan), "")
        assert.strictEqual(yield* codeOf(permissions.hide(alice, { name: docs })), "done")
        assert.strictEqual(yield* codeOf(permissions.publicise(bob, { owner, name: docs })), "2:nf")
      }))
  })
}

it.layer(Layer.provideMerge(layer, TestDatabase.pglite))("looking up a role", (it) => {
  it.effect("costs a probe for each folder that the file is in, whatever else is shared", () =>
    Effect.gen(function*() {
      const { alice, bob, carol } = yield* begin
      const repo = yield* FileRepo
      const sql = yield* SqlClient
      const deep = name("a/b/c/d/e/f/g/file.txt")
      yield* (yield* FileStore).create(alice, { name: deep }, [])
      // Bob may read very many folders of Carol's and of Alice's, and only one that counts here.
      yield* sql`
        insert into folder_grants (user_id, owner_id, folder, role, granted_by, granted_at)
        select ${bob.userId}::bigint, o, 'x' || n || '/', 'EDIT', 'somebody', now()
        from generate_series(1, 5000) n, unnest(array[${alice.userId}::bigint, ${carol.userId}::bigint]) o`
      yield* sql`
        insert into folder_grants (user_id, owner_id, folder, role, granted_by, granted_at)
        values (${bob.userId}::bigint, ${alice.userId}::bigint, 'a/b/c/', 'READ', 'somebody', now())`
      yield* sql`
        insert into public_folders (owner_id, folder)
        select ${carol.userId}::bigint, 'y' || n || '/' from generate_series(1, 5000) n`
      // Blocks of tables and indexes, as the database counts them.
      const touched = Effect.andThen(
        sql`select pg_stat_force_next_flush()`,
        Effect.map(
          sql<{ readonly blocks: number }>`
            select (sum(heap_blks_read + heap_blks_hit + idx_blks_read + idx_blks_hit))::bigint as blocks
            from pg_statio_user_tables`,
          ([row]) => row?.blocks ?? 0
        )
      )
      const look = repo.locate({ callerId: bob.userId, owner: alice.username, name: deep })
      assert.strictEqual((yield* look)?.role, "READ")
      const before = yield* touched
      yield* look
      const blocks = (yield* touched) - before
      // Eight folders, an index of two levels each for grants and for what is public; the file, its owner, locks.
      assert.isBelow(blocks, 80)
    }))
})
