import { assert, describe, it, layer } from "@effect/vitest"
import { Context, Deferred, Effect, Exit, Fiber, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { SqlError, UnknownError } from "effect/sql/SqlError"
import { migrations } from "../../migrations/index.ts"
import { refuse } from "../../src/protocol/Refusal.ts"
import { Database, databaseRefusal } from "../../src/server/Database.ts"
import { defaults, ServerConfig, type ServerSettings } from "../../src/server/ServerConfig.ts"
import { TestDatabase } from "../support/TestDatabase.ts"

const openDatabase = (settings: Pick<ServerSettings, "dataDir" | "databaseUrl">) =>
  Database.layer.pipe(Layer.provide(Layer.succeed(ServerConfig, { ...defaults, ...settings })))

/** The sentence that a database which cannot be used is reported with. */
const complaint = (databaseUrl: string) =>
  Layer.build(openDatabase({ dataDir: "/nowhere", databaseUrl })).pipe(
    Effect.flip,
    Effect.map((error) => error.message),
    Effect.scoped
  )

/** What a request is refused with when PostgreSQL gives this code. */
const refusedWith = (code: string) => {
  const cause = Object.assign(new Error("as PostgreSQL says it"), { code })
  return databaseRefusal(new SqlError({ reason: new UnknownError({ cause, message: "failed", operation: "query" }) }))
}

it("asks to try again while PostgreSQL stops or starts, and not when a statement is wrong", () => {
  for (const code of ["57P01", "57P02", "57P03", "53300"]) assert.strictEqual(refusedWith(code).retry_after_ms, 1000)
  assert.isUndefined(refusedWith("22012").retry_after_ms)
})

for (const [name, database] of [["PGlite", TestDatabase.pglite], ["PostgreSQL", TestDatabase.postgres]] as const) {
  layer(database)(name, (it) => {
    it.effect("has every migration", () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient
        const rows = yield* sql<
          { id: number; name: string }
        >`select migration_id as id, name from migrations order by 1`
        assert.deepStrictEqual(
          rows.map((row) => `${String(row.id).padStart(4, "0")}_${row.name}`),
          Object.keys(migrations)
        )
      }))

    it.effect("gives bigints as numbers, timestamps as dates and bytea as bytes", () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient
        const instant = new Date("2026-11-22T08:00:00.123Z")
        const bytes = new Uint8Array([0, 255, 7])
        const [row] = yield* sql`
          select ${2 ** 53 - 1}::bigint as big, ${-(2 ** 40)}::bigint as negative, ${7}::bigint as small,
                 ${[1, 2]}::bigint[] as bigs, ${instant}::timestamptz as at, ${bytes}::bytea as bytes,
                 ${null}::bigint as nothing, (select count(*) from pg_class where false) as count`
        assert.deepStrictEqual(row, {
          big: 2 ** 53 - 1,
          negative: -(2 ** 40),
          small: 7,
          bigs: [1, 2],
          at: instant,
          bytes,
          nothing: null,
          count: 0
        })
      }))

    it.effect("fails a statement whose bigint is no safe integer, and lives on", () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient
        assert.isTrue(Exit.isFailure(yield* Effect.exit(sql`select 9007199254740993::bigint as big`)))
        assert.deepStrictEqual(yield* sql`select 1::bigint as one`, [{ one: 1 }])
      }))

    it.effect("names the constraint that a row violates, and refuses with 3:db what nobody expected", () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient
        yield* sql`create table taken (name text constraint taken_name unique)`
        yield* sql`insert into taken values ('a')`
        const error = yield* Effect.flip(sql`insert into taken values ('a')`)
        assert.strictEqual(error.reason._tag === "UniqueViolation" ? error.reason.constraint : "", "taken_name")

        const refusal = databaseRefusal(yield* Effect.flip(sql`select nonsense`))
        assert.strictEqual(refusal.code, "3:db")
        assert.notInclude(refusal.message, "nonsense")
        assert.isDefined(refusal.cause)
        const own = refuse("2:nf", "no such file: a")
        assert.strictEqual(databaseRefusal(own), own)
      }))

    it.effect("keeps the statements of others out of a transaction, and undoes it when it fails", () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient
        yield* sql`create table counted (n bigint)`
        yield* sql`insert into counted values (0)`
        const add = sql`update counted set n = n + 1`
        const addAndFail = sql.withTransaction(Effect.andThen(add, Effect.fail(refuse("2:opcf", "no"))))
        yield* Effect.forEach(
          Array.from({ length: 40 }, (_, index) => index),
          (index) => index % 4 === 0 ? Effect.ignore(addAndFail) : index % 4 === 1 ? sql.withTransaction(add) : add,
          { concurrency: "unbounded", discard: true }
        )
        assert.deepStrictEqual(yield* sql`select n from counted`, [{ n: 30 }])
      }))

    it.effect("undoes a transaction that is interrupted half-way", () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient
        yield* sql`create table halves (n bigint)`
        const begun = yield* Deferred.make<void>()
        const transaction = yield* sql`insert into halves values (1)`.pipe(
          Effect.andThen(Deferred.succeed(begun, undefined)),
          Effect.andThen(Effect.never),
          sql.withTransaction,
          Effect.forkChild
        )
        yield* Deferred.await(begun)
        yield* Fiber.interrupt(transaction)
        assert.deepStrictEqual(yield* sql`select n from halves`, [])
      }))
  })
}

describe("Database on PostgreSQL", () => {
  it.live("two servers that start at once on one database migrate it once", () =>
    Effect.gen(function*() {
      const databaseUrl = yield* TestDatabase.postgresUrl
      const servers = yield* Effect.all(
        Array.from({ length: 4 }, () => Layer.build(openDatabase({ dataDir: "/nowhere", databaseUrl }))),
        { concurrency: "unbounded" }
      )
      for (const server of servers) {
        const rows = yield* Effect.provide(
          Effect.flatMap(SqlClient, (sql) => sql`select migration_id from migrations`),
          server
        )
        assert.lengthOf(rows, Object.keys(migrations).length)
      }
    }).pipe(Effect.scoped))

  it.live("refuses tables of a newer version, and tables in which a migration is missing", () =>
    Effect.gen(function*() {
      const databaseUrl = yield* TestDatabase.postgresUrl
      const open = Layer.build(openDatabase({ dataDir: "/nowhere", databaseUrl }))
      const sql = Context.get(yield* open, SqlClient)
      yield* sql`insert into migrations (migration_id, name, created_at) values (9999, 'later', now())`
      assert.include((yield* Effect.flip(open)).message, "newer version of fip")
      yield* sql`delete from migrations where migration_id in (9999, 7)`
      assert.include((yield* Effect.flip(open)).message, "lacks tables (7)")
    }).pipe(Effect.scoped))

  it.live("reports a connection that ends within a transaction as a failure to try again, and goes on", () =>
    Effect.gen(function*() {
      const databaseUrl = yield* TestDatabase.postgresUrl
      const sql = Context.get(yield* Layer.build(openDatabase({ dataDir: "/nowhere", databaseUrl })), SqlClient)
      yield* sql`create table halves (n bigint)`
      const error = yield* sql`insert into halves values (1)`.pipe(
        Effect.andThen(sql`select pg_terminate_backend(pg_backend_pid())`),
        sql.withTransaction,
        Effect.flip
      )
      assert.strictEqual(databaseRefusal(error).retry_after_ms, 1000)
      assert.deepStrictEqual(yield* sql`select n from halves`, [])
    }).pipe(Effect.scoped))

  it.live("says in one sentence why a PostgreSQL cannot be used, without the password", () =>
    Effect.gen(function*() {
      const url = yield* TestDatabase.postgresUrl
      const changed = (change: (url: URL) => void): string => {
        const other = new URL(url)
        change(other)
        return other.href
      }

      const password = yield* complaint(changed((url) => url.password = "sesame-open"))
      assert.include(password, "refused the login: password authentication failed for user \"postgres\"")
      assert.notInclude(password, "sesame")
      assert.include(yield* complaint(changed((url) => url.pathname = "/nope")), "database \"nope\" does not exist")
      assert.strictEqual(
        yield* complaint("postgres://me:sesame@127.0.0.1:1/fip"),
        "cannot reach PostgreSQL at 127.0.0.1:1: connection refused"
      )
      for (const notOne of ["mysql://me:sesame@127.0.0.1/fip", "sesame"]) {
        assert.strictEqual(
          yield* complaint(notOne),
          "the database URL must look like postgres://user:password@host:5432/name"
        )
      }
    }).pipe(Effect.scoped))
})
