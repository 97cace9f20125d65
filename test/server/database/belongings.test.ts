import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { TestDatabase } from "../../support/TestDatabase.ts"

const OWNED = ["versions", "extents", "file_reads"] as const

const newUser = Effect.fnUntraced(function*(username: string) {
  const sql = yield* SqlClient
  const [row] = yield* sql<{ readonly user_id: number }>`
    insert into users (username, username_key, password_hash, created_at)
    values (${username}, ${username}, 'none', now()) returning user_id`
  return row?.user_id ?? assert.fail("no user")
})

/** Three files, each with a version, an extent and a count of reads; and an entry in the owner's feed. */
const fill = Effect.fnUntraced(function*(userId: number) {
  const sql = yield* SqlClient
  for (const name of ["a", "b", "c"]) {
    yield* sql`
      with made as (
        insert into files (owner_id, name, size, version, created_at, modified_at)
        values (${userId}::bigint, ${name}, 1, 1, now(), now()) returning file_id
      ), version as (
        insert into versions (file_id, version, size, author, created_at) select file_id, 1, 1, 'x', now() from made
      ), extent as (
        insert into extents (
          file_id, position, length, segment_id, segment_offset, checked_from, checked_to, checksums, from_version
        ) select file_id, 0, 1, gen_random_uuid(), 0, 0, 1, '\\x01020304', 1 from made
      )
      insert into file_reads (file_id, reads, last_read_at) select file_id, 1, now() from made`
  }
  yield* sql`
    insert into changes (user_id, sequence, kind, owner, name, author, changed_at)
    values (${userId}::bigint, 1, 'created', 'x', 'a', 'x', now())`
})

const rowsOf = Effect.fnUntraced(function*(userId: number) {
  const sql = yield* SqlClient
  const fileIds = yield* sql<{ readonly file_id: number }>`
    select file_id from files where owner_id = ${userId}::bigint order by file_id`
  return fileIds.map(({ file_id }) => file_id)
})

const counts = Effect.fnUntraced(function*(userId: number, fileIds: ReadonlyArray<number>) {
  const sql = yield* SqlClient
  const found: Record<string, number> = {}
  for (const table of OWNED) {
    let all = 0
    for (const id of fileIds) {
      const rows = yield* sql`select 1 as one from ${sql(table)} where file_id = ${id}::bigint`
      all += rows.length
    }
    found[table] = all
  }
  found["changes"] = (yield* sql`select 1 as one from changes where user_id = ${userId}::bigint`).length
  return found
})

for (
  const [database, layer] of [["PGlite", TestDatabase.pglite], ["PostgreSQL", TestDatabase.postgres]] as const
) {
  it.layer(layer, { excludeTestServices: true, timeout: "60 seconds" })(`on ${database}`, (it) => {
    it.effect("what belongs to files goes with them, all that one statement removes, and nothing else", () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient
        const userId = yield* newUser("some_files")
        yield* fill(userId)
        const [first = 0, second = 0, kept = 0] = yield* rowsOf(userId)
        yield* sql`delete from files where file_id in (${first}::bigint, ${second}::bigint)`
        assert.deepStrictEqual(yield* counts(userId, [first, second]), {
          versions: 0,
          extents: 0,
          file_reads: 0,
          changes: 1
        })
        assert.deepStrictEqual(yield* counts(userId, [kept]), { versions: 1, extents: 1, file_reads: 1, changes: 1 })
      }))

    it.effect("what belongs to a user goes with the user, down to the extents of the files", () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient
        const [gone, stays] = [yield* newUser("who_goes"), yield* newUser("who_stays")]
        yield* fill(gone)
        yield* fill(stays)
        const [before, others] = [yield* rowsOf(gone), yield* rowsOf(stays)]
        assert.strictEqual(before.length, 3)
        yield* sql`delete from users where user_id = ${gone}::bigint`
        assert.deepStrictEqual(yield* rowsOf(gone), [])
        assert.deepStrictEqual(yield* counts(gone, before), { versions: 0, extents: 0, file_reads: 0, changes: 0 })
        assert.deepStrictEqual(yield* counts(stays, others), { versions: 3, extents: 3, file_reads: 3, changes: 1 })
      }))

    it.effect("reads are counted together, and not of files that are gone", () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient
        const userId = yield* newUser("a_reader")
        yield* fill(userId)
        const [one = 0, two = 0] = yield* rowsOf(userId)
        yield* sql`delete from file_reads where file_id = ${two}::bigint`
        yield* sql`
          select note_reads(array[${one}, ${two}, 987654321]::bigint[], array[2, 3, 4]::bigint[],
            array['2020-01-01', '2100-01-01', '2100-01-01']::timestamptz[])`
        const rows = yield* sql<{ readonly file_id: number; readonly reads: number; readonly late: boolean }>`
          select file_id, reads, last_read_at > '2099-01-01' as late from file_reads
          where file_id in (${one}::bigint, ${two}::bigint, 987654321) order by file_id`
        assert.deepStrictEqual(rows, [{ file_id: one, reads: 3, late: false }, { file_id: two, reads: 3, late: true }])
      }))
  })
}
