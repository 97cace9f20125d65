import { assert, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { FileName } from "../../../src/protocol/FileName.ts"
import { Username } from "../../../src/protocol/Identity.ts"
import { FeedRepo } from "../../../src/server/feed/FeedRepo.ts"
import { defaults, ServerConfig } from "../../../src/server/ServerConfig.ts"
import { TestDatabase } from "../../support/TestDatabase.ts"

const settings = Layer.succeed(ServerConfig, { ...defaults, dataDir: join(tmpdir(), "fip-unused") })
const START = Date.parse("2026-11-22T08:00:00Z")
const author = Username.make("alice_smith")

const newUser = Effect.fnUntraced(function*(username: string) {
  const sql = yield* SqlClient
  const [row] = yield* sql<{ readonly user_id: number }>`
    insert into users (username, username_key, password_hash, created_at)
    values (${username}, ${username}, 'none', now()) returning user_id`
  return row?.user_id ?? assert.fail("no user")
})

/** Adds changes a minute apart, each in a transaction of its own. */
const fill = Effect.fnUntraced(function*(userId: number, count: number) {
  const sql = yield* SqlClient
  const repo = yield* FeedRepo
  for (let index = 1; index <= count; index++) {
    const entry = { userId, kind: "written" as const, owner: author, name: FileName.make(`file${index}`), author }
    yield* sql.withTransaction(repo.add([entry], new Date(START + index * 60_000)))
  }
})

for (
  const [database, databaseLayer] of [["PGlite", TestDatabase.pglite], ["PostgreSQL", TestDatabase.postgres]] as const
) {
  const layer = FeedRepo.layer.pipe(Layer.provideMerge(databaseLayer), Layer.provide(settings))
  it.layer(layer, { excludeTestServices: true, timeout: "60 seconds" })(`a feed on ${database}`, (it) => {
    it.effect("is numbered without gaps, whoever adds to it at the same time", () =>
      Effect.gen(function*() {
        const repo = yield* FeedRepo
        const sql = yield* SqlClient
        const userId = yield* newUser("many_writers")
        const entry = { userId, kind: "created" as const, owner: author, name: FileName.make("a"), author }
        const lockAndAdd = sql.withTransaction(Effect.andThen(
          sql`select user_id from users where user_id = ${userId}::bigint for no key update`,
          repo.add([entry, entry], new Date(START))
        ))
        yield* Effect.all(Array.from({ length: 40 }, () => lockAndAdd), { concurrency: 8 })
        const rows = yield* repo.after(userId, 0, userId, 1000)
        assert.deepStrictEqual(rows.map(({ sequence }) => sequence), Array.from({ length: 80 }, (_, at) => at + 1))
        assert.strictEqual(yield* repo.head(userId), 80)
      }))

    it.effect("keeps the order of what is added at once to several feeds, and leaves out who is gone", () =>
      Effect.gen(function*() {
        const repo = yield* FeedRepo
        const sql = yield* SqlClient
        const [one, two] = [yield* newUser("one_of_two"), yield* newUser("two_of_two")]
        const entries = [two, one, 987_654_321, two, one, two].map((userId, index) => ({
          userId,
          kind: "created" as const,
          owner: author,
          name: FileName.make(`file${index}`),
          author
        }))
        yield* sql.withTransaction(repo.add(entries, new Date(START)))
        yield* sql.withTransaction(repo.add(entries.slice(3), new Date(START)))
        const feed = (userId: number) =>
          Effect.map(repo.after(userId, 0, userId, 10), (rows) => rows.map(({ name, sequence }) => [sequence, name]))
        assert.deepStrictEqual(yield* feed(one), [[1, "file1"], [2, "file4"], [3, "file4"]])
        assert.deepStrictEqual(yield* feed(two), [[1, "file0"], [2, "file3"], [3, "file5"], [4, "file3"], [5, "file5"]])
      }))

    it.effect("forgets what is too old or too much, of every user, and goes on counting", () =>
      Effect.gen(function*() {
        const repo = yield* FeedRepo
        const [old, many, few] = [yield* newUser("old_feed"), yield* newUser("many_feed"), yield* newUser("few_feed")]
        yield* fill(old, 10)
        yield* fill(many, 20)
        yield* fill(few, 12)
        const names = (userId: number) =>
          Effect.map(repo.after(userId, 0, userId, 1000), (rows) => rows.map(({ sequence }) => sequence))
        // The eleventh minute is the first that is kept, and six changes of each user.
        let last: number | undefined = 0
        let rounds = 0
        while (last !== undefined) {
          last = yield* repo.forget(last, 2, new Date(START + 11 * 60_000), 6)
          rounds++
        }
        assert.isAbove(rounds, 2)
        assert.deepStrictEqual(yield* names(old), [])
        assert.deepStrictEqual(yield* names(many), [15, 16, 17, 18, 19, 20])
        assert.deepStrictEqual(yield* names(few), [11, 12])
        yield* fill(old, 1)
        assert.deepStrictEqual(yield* names(old), [11])
      }))
  })
}
