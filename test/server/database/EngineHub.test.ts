/** One engine for many clients: each finds a database by itself, whatever the others do. */
import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Context, Deferred, Effect, Fiber, Layer, Queue } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import * as fc from "fast-check"
import type { Duplex } from "node:stream"
import { backendOf } from "../../../src/server/database/Backend.ts"
import { EngineHub } from "../../../src/server/database/EngineHub.ts"
import { ownStream } from "../../../src/server/database/hubStreams.ts"
import { TestDatabase } from "../../support/TestDatabase.ts"

const HELD_MILLIS = 300

class Hub extends Context.Service<Hub, EngineHub>()("fip/test/Hub") {
  static readonly layer = Layer.effect(
    Hub,
    Effect.flatMap(
      TestDatabase.engine,
      (engine) => Effect.promise(() => EngineHub.open(backendOf(engine), HELD_MILLIS))
    )
  )
}

/** A client with a connection of its own. */
const client = Effect.gen(function*() {
  const hub = yield* Hub
  const streams: Array<Duplex> = []
  const connect = ownStream(hub)
  const context = yield* Layer.build(Layer.fresh(PgClient.layer({
    stream: () => {
      const stream = connect()
      streams.push(stream)
      return stream
    },
    username: "postgres",
    database: "postgres",
    multiplex: true,
    minConnections: 1,
    maxConnections: 1
  })))
  return {
    sql: Context.get(context, SqlClient),
    pg: Context.get(context, PgClient.PgClient),
    cutOff: Effect.sync(() => {
      for (const stream of streams) stream.destroy()
    })
  }
})

layer(Hub.layer, { excludeTestServices: true, timeout: "20 seconds" })("clients of one engine", (it) => {
  it.effect("see no transaction of another, neither before its end nor when it was rolled back", () =>
    Effect.gen(function*() {
      const [{ sql: one }, { sql: two }] = [yield* client, yield* client]
      yield* one`create table seen (id int)`
      const isOpen = yield* Deferred.make<void>()
      const mayEnd = yield* Deferred.make<void>()
      const transaction = yield* Effect.forkChild(one.withTransaction(Effect.gen(function*() {
        yield* one`insert into seen values (1)`
        yield* Deferred.succeed(isOpen, undefined)
        yield* Deferred.await(mayEnd)
        yield* one`insert into seen values (2)`
      })))
      yield* Deferred.await(isOpen)
      const other = yield* Effect.forkChild(two`select count(*)::int as count from seen`)
      yield* Deferred.succeed(mayEnd, undefined)
      assert.deepStrictEqual(yield* Fiber.join(other), [{ count: 2 }])
      yield* Fiber.join(transaction)
      yield* Effect.ignore(two.withTransaction(Effect.andThen(two`delete from seen`, Effect.fail("no"))))
      assert.deepStrictEqual(yield* one`select count(*)::int as count from seen`, [{ count: 2 }])
    }))

  it.effect("are not touched by each other's errors, nor by each other's prepared statements", () =>
    Effect.gen(function*() {
      const [{ sql: one }, { sql: two }] = [yield* client, yield* client]
      const results = yield* Effect.all(
        Array.from({ length: 200 }, (_, index) =>
          index % 2 === 0
            ? Effect.map(one<{ readonly n: number }>`select ${index}::int as n`, ([row]) => row?.n)
            : Effect.as(Effect.flip(two`select ${index}::int / 0 as n`), -1)),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(results, Array.from({ length: 200 }, (_, index) => index % 2 === 0 ? index : -1))
    }))

  it.effect("that break in a transaction leave nothing of it, and nobody waiting", () =>
    Effect.gen(function*() {
      const { sql: stays } = yield* client
      yield* stays`create table left_behind (id int)`
      const { cutOff, sql: breaks } = yield* client
      const isOpen = yield* Deferred.make<void>()
      const broken = yield* Effect.forkChild(Effect.ignore(breaks.withTransaction(Effect.gen(function*() {
        yield* breaks`insert into left_behind values (1)`
        yield* Deferred.succeed(isOpen, undefined)
        return yield* Effect.never
      }))))
      yield* Deferred.await(isOpen)
      const count = yield* Effect.forkChild(stays`select count(*)::int as count from left_behind`)
      yield* cutOff
      assert.deepStrictEqual(yield* Fiber.join(count), [{ count: 0 }])
      yield* Fiber.interrupt(broken)
      const kept = yield* stays<{ readonly statement: string }>`select statement from pg_prepared_statements`
      assert.notInclude(kept.map(({ statement }) => statement).join(), "insert into left_behind")
    }))

  it.effect("hear what another has committed, and nothing that it has rolled back", () =>
    Effect.gen(function*() {
      const [{ sql: one }, { pg: two }] = [yield* client, yield* client]
      const heard = yield* two.listen("news")
      yield* Effect.ignore(
        one.withTransaction(Effect.andThen(one`select pg_notify('news', 'undone')`, Effect.fail("no")))
      )
      yield* one.withTransaction(one`select pg_notify('news', 'done')`)
      assert.strictEqual((yield* Queue.take(heard)).payload, "done")
    }))

  it.effect("that stand still in a transaction are cut off; others that are quick never are", () =>
    Effect.gen(function*() {
      const { sql: stays } = yield* client
      const { sql: still } = yield* client
      const isOpen = yield* Deferred.make<void>()
      const stood = yield* Effect.forkChild(Effect.ignore(still.withTransaction(Effect.gen(function*() {
        yield* still`select 1`
        yield* Deferred.succeed(isOpen, undefined)
        return yield* Effect.never
      }))))
      yield* Deferred.await(isOpen)
      const begun = performance.now()
      assert.deepStrictEqual(yield* stays`select 1 as one`, [{ one: 1 }])
      assert.isAtLeast(performance.now() - begun, HELD_MILLIS - 50)
      yield* Fiber.interrupt(stood)
      const { sql: other } = yield* client
      // Longer than anybody may stand still, and each time somebody else comes in the middle.
      const until = performance.now() + 3 * HELD_MILLIS
      while (performance.now() < until) {
        yield* Effect.all([
          stays.withTransaction(Effect.andThen(stays`select 1`, stays`select 2`)),
          other`select 3`
        ], { concurrency: "unbounded" })
      }
    }))

  it.effect("each count what they added themselves, and together all of it, in any order", () =>
    Effect.gen(function*() {
      const clients = [yield* client, yield* client, yield* client].map(({ sql }) => sql)
      const [first] = clients
      if (first === undefined) return
      yield* first`create table sums (run int, who int, amount int)`
      let run = 0
      yield* Effect.promise(() =>
        fc.assert(
          fc.asyncProperty(
            fc.array(
              fc.record({
                who: fc.nat(2),
                amounts: fc.array(fc.integer({ min: 1, max: 9 }), { maxLength: 4 }),
                fails: fc.boolean()
              }),
              { maxLength: 20 }
            ),
            async (steps) => {
              run++
              const outcomes = steps.map(({ amounts, fails, who }) => {
                const sql = clients[who] ?? first
                return Effect.ignore(sql.withTransaction(Effect.gen(function*() {
                  const [before] = yield* sql<{ readonly sum: number }>`
                    select coalesce(sum(amount), 0)::int as sum from sums where run = ${run}`
                  for (const amount of amounts) yield* sql`insert into sums values (${run}, ${who}, ${amount})`
                  const [after] = yield* sql<{ readonly sum: number }>`
                    select coalesce(sum(amount), 0)::int as sum from sums where run = ${run}`
                  const added = amounts.reduce((sum, amount) => sum + amount, 0)
                  assert.strictEqual((after?.sum ?? 0) - (before?.sum ?? 0), added, "nobody came in between")
                  if (fails) return yield* Effect.fail("rolled back")
                })))
              })
              await Effect.runPromise(Effect.all(outcomes, { concurrency: "unbounded" }))
              const [total] = await Effect.runPromise(
                first<{ readonly sum: number }>`
                  select coalesce(sum(amount), 0)::int as sum from sums where run = ${run}`
              )
              const expected = steps.flatMap(({ amounts, fails }) => fails ? [] : amounts)
              assert.strictEqual(total?.sum, expected.reduce((sum, amount) => sum + amount, 0))
            }
          ),
          { numRuns: 25 }
        )
      )
    }))
})
