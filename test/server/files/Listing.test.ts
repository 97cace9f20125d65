import { assert, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import * as Statement from "effect/sql/Statement"
import * as fc from "fast-check"
import { FolderPrefix } from "../../../src/protocol/FileName.ts"
import type { Refusal } from "../../../src/protocol/Refusal.ts"
import type { BodyOf } from "../../../src/protocol/Request.ts"
import type { Caller } from "../../../src/server/Caller.ts"
import { FileStore } from "../../../src/server/FileStore.ts"
import { TestDatabase } from "../../support/TestDatabase.ts"
import * as Storage from "./Storage.ts"

/** Makes files by their rows alone: content does not matter to a listing. */
const make = Effect.fnUntraced(function*(
  owner: Caller,
  names: ReadonlyArray<string>,
  options?: { readonly public?: boolean; readonly grantTo?: Caller }
) {
  const sql = yield* SqlClient
  const rows = yield* sql<{ readonly file_id: number }>`
    insert into files (owner_id, name, public, size, version, created_at, modified_at)
    select ${owner.userId}::bigint, name, ${options?.public ?? false}, 0, 1, now(), now()
    from unnest(${names}::text[]) as n (name) returning file_id`.pipe(Effect.orDie)
  if (options?.grantTo === undefined) return
  yield* sql`
    insert into grants (file_id, user_id, role, granted_by, granted_at)
    select file_id, ${options.grantTo.userId}::bigint, 'READ', 'somebody', now()
    from unnest(${rows.map((row) => row.file_id)}::bigint[]) as f (file_id)`.pipe(Effect.orDie)
})

/** All pages, as the lines of one listing: a folder ends with `/`. */
const everything = Effect.fnUntraced(function*(caller: Caller, body: BodyOf<"List">) {
  const files = yield* FileStore
  const lines: Array<string> = []
  const keys: Array<string> = []
  let after: string | undefined
  do {
    const page = yield* files.list(caller, { ...body, ...(after === undefined ? {} : { after }) })
    const here = [...page.folders, ...page.files.map((file) => String(file.name))]
    assert.isAtMost(here.length, body.limit ?? 1000)
    assert.isTrue(page.next === undefined || here.length === (body.limit ?? 1000), "only the last page is short")
    lines.push(...here)
    keys.push(...page.files.map((file) => `${file.owner}:${file.name}`))
    after = page.next
  } while (after !== undefined)
  return { lines, keys }
})

const linesOf = (caller: Caller, body: BodyOf<"List">) =>
  Effect.map(everything(caller, { ...body, limit: 2 }), ({ lines }) => lines.toSorted())
const keysOf = (caller: Caller, body: BodyOf<"List">) =>
  Effect.map(everything(caller, { ...body, limit: 2 }), ({ keys }) => keys)

const inOrderOfBytes = (names: Iterable<string>) =>
  [...names].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))

/** What a listing of one level shows of `names`. */
const level = (names: ReadonlyArray<string>, prefix: string) =>
  inOrderOfBytes(
    new Set(
      names.filter((name) => name.startsWith(prefix)).map((name) => {
        const slash = name.indexOf("/", prefix.length)
        return slash < 0 ? name : name.slice(0, slash + 1)
      })
    )
  )

let statements = 0
const counting = Layer.succeed(Statement.CurrentTransformer, (statement) =>
  Effect.sync(() => {
    statements++
    return statement
  }))

const layer = Storage.layer().pipe(Layer.provideMerge(TestDatabase.pglite), Layer.provideMerge(counting))

it.layer(layer, { timeout: 60_000 })("List", (it) => {
  it.effect("shows one level, or all below, page by page, whatever the names", () =>
    Effect.gen(function*() {
      const part = fc.constantFrom("a", "b", "a.b", "a0", "ä", "日本", "🦀", "A", "a-", "~", "0")
      const names = fc.uniqueArray(
        fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => parts.join("/")),
        { maxLength: 40, size: "max" }
      )
      const run = Effect.runPromiseWith(yield* Effect.context<FileStore | SqlClient>())
      yield* Effect.promise(() =>
        fc.assert(
          fc.asyncProperty(
            names,
            fc.array(part, { maxLength: 2 }),
            fc.integer({ min: 1, max: 7 }),
            (names, at, limit) =>
              run(Effect.gen(function*() {
                const caller = yield* Storage.newUser()
                yield* make(caller, names)
                const folder = at.map((part) => `${part}/`).join("")
                const prefix = FolderPrefix.make(folder)
                const one = yield* everything(caller, { prefix, limit })
                assert.sameMembers(one.lines, level(names, folder))
                assert.strictEqual(one.lines.length, new Set(one.lines).size)
                const below = yield* everything(caller, { prefix, limit, recursive: true })
                assert.deepStrictEqual(below.lines, inOrderOfBytes(names.filter((name) => name.startsWith(folder))))
              }))
          ),
          { numRuns: 40 }
        )
      )
    }))

  it.effect("shows of others only what is public or shared with the caller, in every scope", () =>
    Effect.gen(function*() {
      const [alice, bob, carol] = [yield* Storage.newUser(), yield* Storage.newUser(), yield* Storage.newUser()]
      yield* make(alice, ["p/private", "top-private"])
      yield* make(alice, ["p/public", "q/deep/public", "top-public"], { public: true })
      yield* make(alice, ["p/shared", "r/shared", "top-shared"], { grantTo: bob })
      yield* make(alice, ["both"], { public: true, grantTo: bob })
      yield* make(carol, ["p/public", "other"], { public: true })
      yield* make(carol, ["top-shared"], { grantTo: bob })
      const [a, c] = [alice.username, carol.username]

      const mine = ["both", "p/", "q/", "r/", "top-private", "top-public", "top-shared"]
      assert.deepStrictEqual(yield* linesOf(alice, {}), mine)
      assert.deepStrictEqual(yield* linesOf(bob, { owner: a }), ["both", "p/", "q/", "r/", "top-public", "top-shared"])
      assert.deepStrictEqual(yield* linesOf(bob, { owner: a, prefix: FolderPrefix.make("p/") }), [
        "p/public",
        "p/shared"
      ])
      assert.deepStrictEqual(yield* linesOf(carol, { owner: a, recursive: true }), [
        "both",
        "p/public",
        "q/deep/public",
        "top-public"
      ])
      assert.deepStrictEqual(yield* linesOf(bob, { owner: a, scope: "shared" }), ["both", "p/", "r/", "top-shared"])
      assert.deepStrictEqual(yield* linesOf(bob, { owner: a, scope: "public" }), ["both", "p/", "q/", "top-public"])

      assert.deepStrictEqual(yield* keysOf(bob, { scope: "shared" }), [
        `${a}:both`,
        `${a}:p/shared`,
        `${a}:r/shared`,
        `${a}:top-shared`,
        `${c}:top-shared`
      ])
      assert.deepStrictEqual(yield* keysOf(bob, { scope: "public" }), [
        `${a}:both`,
        `${c}:other`,
        `${a}:p/public`,
        `${c}:p/public`,
        `${a}:q/deep/public`,
        `${a}:top-public`
      ])
      assert.deepStrictEqual(yield* keysOf(bob, { scope: "public", prefix: FolderPrefix.make("p/") }), [
        `${a}:p/public`,
        `${c}:p/public`
      ])
      assert.deepStrictEqual(yield* keysOf(alice, { scope: "shared" }), [])
    }))

  it.effect("says the role of the caller with every file, and nothing of files that were deleted", () =>
    Effect.gen(function*() {
      const files = yield* FileStore
      const [alice, bob] = [yield* Storage.newUser(), yield* Storage.newUser()]
      yield* make(alice, ["shared"], { grantTo: bob })
      yield* make(alice, ["open"], { public: true })
      yield* files.create(alice, { name: Storage.name("gone") }, [])
      yield* files.delete(alice, { name: Storage.name("gone") })
      const roles = (caller: Caller) =>
        Effect.map(
          files.list(caller, { owner: alice.username }),
          ({ files }) => files.map(({ name, public: isPublic, role }) => [String(name), role, isPublic])
        )
      assert.deepStrictEqual(yield* roles(alice), [["open", "OWNER", true], ["shared", "OWNER", false]])
      assert.deepStrictEqual(yield* roles(bob), [["open", "READ", true], ["shared", "READ", false]])
    }))

  it.effect("shows of somebody who does not exist what it shows of somebody who hides everything", () =>
    Effect.gen(function*() {
      const files = yield* FileStore
      const [alice, bob] = [yield* Storage.newUser(), yield* Storage.newUser()]
      yield* make(alice, ["secret"])
      const nobody: typeof alice.username = (yield* Storage.newUser()).username
      const empty = { folders: [], files: [] }
      assert.deepStrictEqual(yield* files.list(bob, { owner: alice.username }), empty)
      assert.deepStrictEqual(yield* files.list(bob, { owner: nobody }), empty)
    }))

  it.effect("refuses a page that it did not give", () =>
    Effect.gen(function*() {
      const files = yield* FileStore
      const caller = yield* Storage.newUser()
      for (const after of ["", "x", "1", "1/a\0b", "-1/a", `${"9".repeat(30)}/a`]) {
        const refusal: Refusal = yield* Effect.flip(files.list(caller, { after }))
        assert.deepInclude(refusal, { code: "2:ibv", field: "after" } as const)
      }
    }))

  it.effect("costs one statement, and what is on the page, not what is in the folders", () =>
    Effect.gen(function*() {
      const files = yield* FileStore
      const sql = yield* SqlClient
      const caller = yield* Storage.newUser()
      yield* make(caller, Array.from({ length: 20_000 }, (_, index) => `folder${index % 3}/file${index}`))
      statements = 0
      const page = yield* files.list(caller, {})
      assert.strictEqual(statements, 1)
      assert.deepStrictEqual(page, { folders: ["folder0/", "folder1/", "folder2/"], files: [] })
      // Blocks of tables and indexes that the same listing touches, as the database counts them.
      yield* sql`select pg_stat_force_next_flush()`
      const touched = Effect.map(
        sql<{ readonly blocks: number }>`
          select (sum(heap_blks_read + heap_blks_hit + idx_blks_read + idx_blks_hit))::bigint as blocks
          from pg_statio_user_tables`,
        ([row]) => row?.blocks ?? 0
      )
      const before = yield* touched
      yield* files.list(caller, {})
      yield* sql`select pg_stat_force_next_flush()`
      assert.isBelow((yield* touched) - before, 200)
    }))
})
