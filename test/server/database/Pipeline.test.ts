/** Transactions that do not wait for each answer: whole or not at all, whatever fails in them. */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import * as fc from "fast-check"
import { backendOf } from "../../../src/server/database/Backend.ts"
import { EngineHub } from "../../../src/server/database/EngineHub.ts"
import { ownStream } from "../../../src/server/database/hubStreams.ts"
import * as Pipeline from "../../../src/server/database/Pipeline.ts"
import { TestDatabase } from "../../support/TestDatabase.ts"

const numbers = Effect.gen(function*() {
  const sql = yield* SqlClient
  const rows = yield* sql<{ readonly n: number }>`select n from numbers order by n`
  return rows.map(({ n }) => n)
})

const setUp = Effect.gen(function*() {
  const sql = yield* SqlClient
  yield* sql`drop table if exists numbers`
  yield* sql`create table numbers (n int primary key)`
  return { sql, pipeline: yield* Pipeline.make }
})

const suite = (name: string, database: Layer.Layer<SqlClient | PgClient.PgClient, unknown>) =>
  describe(name, () => {
    it.layer(Layer.orDie(database), { excludeTestServices: true, timeout: 60_000 })((it) => {
      it.effect("are committed with all that was sent, and nothing of it is seen before", () =>
        Effect.gen(function*() {
          const { pipeline, sql } = yield* setUp
          yield* pipeline.transaction(Effect.gen(function*() {
            const first = yield* pipeline.send(sql`insert into numbers values (1) returning n`)
            assert.deepStrictEqual(yield* Fiber.join(first), [{ n: 1 }])
            yield* pipeline.send(sql`insert into numbers values (2)`)
          }))
          assert.deepStrictEqual(yield* numbers, [1, 2])
        }))

      it.effect("leave nothing when a statement fails that nobody waited for, and say which one it was", () =>
        Effect.gen(function*() {
          const { pipeline, sql } = yield* setUp
          const error = yield* Effect.flip(pipeline.transaction(Effect.gen(function*() {
            yield* pipeline.send(sql`insert into numbers values (1)`)
            yield* pipeline.send(sql`insert into numbers values (1)`)
            yield* pipeline.send(sql`insert into numbers values (2)`)
          })))
          assert.strictEqual(error.reason._tag, "UniqueViolation")
          assert.deepStrictEqual(yield* numbers, [])
          yield* pipeline.transaction(pipeline.send(sql`insert into numbers values (3)`))
          assert.deepStrictEqual(yield* numbers, [3])
        }))

      it.effect("leave nothing when the client cannot even send the last statement", () =>
        Effect.gen(function*() {
          const { pipeline, sql } = yield* setUp
          const exit = yield* Effect.exit(pipeline.transaction(Effect.gen(function*() {
            yield* pipeline.send(sql`insert into numbers values (1)`)
            yield* pipeline.send(
              sql`insert into numbers select 2 where ${new Date(Number.NaN)}::timestamptz is not null`
            )
          })))
          assert.isTrue(Exit.isFailure(exit))
          assert.deepStrictEqual(yield* numbers, [])
          yield* pipeline.transaction(pipeline.send(sql`insert into numbers values (3)`))
          assert.deepStrictEqual(yield* numbers, [3])
        }))

      it.effect("come one after the other, and each is whole or not there, in random histories", () =>
        Effect.gen(function*() {
          const { pipeline, sql } = yield* setUp
          const run = Effect.runPromiseWith(yield* Effect.context<SqlClient>())
          const work = fc.record({
            adds: fc.array(fc.nat(20), { maxLength: 4 }),
            waits: fc.boolean(),
            ends: fc.constantFrom("well", "with a failure", "with a defect")
          })
          yield* Effect.promise(() =>
            fc.assert(
              fc.asyncProperty(fc.array(work, { maxLength: 8 }), async (works) => {
                const model = new Set<number>()
                const expected = works.map(({ adds, ends }) => {
                  const isWhole = ends === "well" && new Set(adds).size === adds.length &&
                    !adds.some((n) => model.has(n))
                  if (isWhole) { for (const n of adds) model.add(n) }
                  return isWhole
                })
                await run(sql`truncate numbers`)
                const exits = await run(Effect.forEach(
                  works,
                  ({ adds, ends, waits }) =>
                    Effect.exit(pipeline.transaction(Effect.gen(function*() {
                      for (const n of adds) {
                        const sent = yield* pipeline.send(sql`insert into numbers values (${n})`)
                        if (waits) yield* Fiber.join(sent)
                      }
                      if (ends === "with a failure") return yield* Effect.fail("no")
                      if (ends === "with a defect") return yield* Effect.die("no")
                    }))),
                  { concurrency: "unbounded" }
                ))
                assert.deepStrictEqual(exits.map(Exit.isSuccess), expected)
                assert.deepStrictEqual(await run(numbers), [...model].toSorted((a, b) => a - b))
              }),
              { numRuns: 60 }
            )
          )
        }))
    })
  })

suite("pipelined transactions, embedded", TestDatabase.pglite)
suite("pipelined transactions, PostgreSQL", TestDatabase.postgres)

describe("a pipelined transaction of the embedded database", () => {
  it.live("is asked for twice: to look, and to write and commit", () =>
    Effect.scoped(Effect.gen(function*() {
      const backend = backendOf(yield* TestDatabase.engine)
      let asked = 0
      const hub = yield* Effect.promise(() =>
        EngineHub.open({
          ...backend,
          answer: (messages) => {
            asked++
            return backend.answer(messages)
          }
        })
      )
      const context = yield* Layer.build(PgClient.layer({
        stream: ownStream(hub),
        username: "postgres",
        database: "postgres",
        multiplex: true,
        maxConnections: 1
      }))
      const sql = Context.get(context, SqlClient)
      const pipeline = yield* Effect.provide(Pipeline.make, context)
      yield* sql`create table numbers (n int)`
      const add = pipeline.transaction(Effect.gen(function*() {
        const seen = yield* pipeline.send(sql<{ readonly count: number }>`select count(*)::int as count from numbers`)
        yield* pipeline.send(sql`select 1`)
        const [row] = yield* Fiber.join(seen)
        yield* pipeline.send(sql`insert into numbers values (${row?.count})`)
        yield* pipeline.send(sql`insert into numbers values (${row?.count})`)
      }))
      yield* add
      asked = 0
      yield* add
      assert.strictEqual(asked, 2)
    })), 60_000)
})
