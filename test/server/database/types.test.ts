/** What a bigint is on its way to a database and back. */
import { assert, it } from "@effect/vitest"
import { Effect, Exit } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import * as fc from "fast-check"
import { bigints } from "../../../src/server/files/parameters.ts"
import { TestDatabase } from "../../support/TestDatabase.ts"

it.layer(TestDatabase.pglite)("a bigint", (it) => {
  it.effect("comes back as it went, alone and in arrays, and as the database itself writes it", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient
      const run = Effect.runPromiseWith(yield* Effect.context<SqlClient>())
      const edges = [0, -1, 2 ** 31, -(2 ** 31), 2 ** 32 - 1, 2 ** 32, -(2 ** 32), Number.MAX_SAFE_INTEGER]
      const integer = fc.oneof(fc.maxSafeInteger(), fc.constantFrom(...edges, Number.MIN_SAFE_INTEGER))
      yield* Effect.promise(() =>
        fc.assert(
          fc.asyncProperty(fc.array(fc.option(integer), { minLength: 1 }), integer, async (many, one) => {
            const rows = await run(sql<{ readonly many: unknown; readonly words: unknown; readonly one: unknown }>`
              select ${bigints(many)} as many, ${bigints(many)}::text[] as words, ${one}::bigint as one`)
            assert.deepStrictEqual(rows, [{ many, words: many.map((n) => n === null ? null : String(n)), one }])
          })
        )
      )
    }))

  it.effect("is refused, both ways, when a number cannot be it", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient
      for (
        const statement of [
          sql`select ${2n ** 70n}::bigint`,
          sql`select ${2 ** 53}::bigint`,
          sql`select ${bigints([0.5])}`,
          sql`select 9007199254740993::bigint`
        ]
      ) assert.isTrue(Exit.isFailure(yield* Effect.exit(statement)))
    }))
})
