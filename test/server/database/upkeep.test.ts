import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { vacuum } from "../../../src/server/database/upkeep.ts"
import { TestDatabase } from "../../support/TestDatabase.ts"

const churn = Effect.gen(function*() {
  const sql = yield* SqlClient
  for (let round = 0; round < 5; round++) yield* sql`update guesses set bucket = bucket || 'x'`
  const [row] = yield* sql<{ readonly bytes: number }>`select pg_relation_size('guesses')::bigint as bytes`
  return row?.bytes ?? 0
})

it.live(
  "a table of the embedded database that changes all the time does not grow all the time",
  () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient
      yield* sql`
      insert into guesses (bucket, failures, failed_at) select 'b' || i, 1, now() from generate_series(1, 2000) as i`
      const first = yield* churn
      // What changed is counted when a transaction has been over for a second.
      const vacuumed = yield* vacuum.pipe(Effect.repeat({ until: (tables) => tables.length > 0 }))
      assert.deepStrictEqual(vacuumed, ["guesses"])
      assert.isAtMost(yield* churn, first * 1.1)
      const [kept] = yield* sql<{ readonly rows: number }>`select count(*) as rows from guesses`
      assert.strictEqual(kept?.rows, 2000)
    }).pipe(Effect.provide(TestDatabase.pglite)),
  30_000
)
