/** Messages between servers: after the commit, to all, once, and what happens when the connection is lost. */
import { assert, it } from "@effect/vitest"
import { Context, Deferred, Effect, Layer, Queue, References } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import * as fc from "fast-check"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Database } from "../../src/server/Database.ts"
import { Notifications } from "../../src/server/Notifications.ts"
import { decode, encode } from "../../src/server/notifications/Envelope.ts"
import { defaults, ServerConfig } from "../../src/server/ServerConfig.ts"
import { TestDatabase } from "../support/TestDatabase.ts"

const layerOf = (databaseUrl: string | undefined) =>
  Layer.mergeAll(
    Layer.succeed(ServerConfig, { ...defaults, dataDir: join(tmpdir(), "fip-unused"), databaseUrl }),
    Layer.succeed(References.MinimumLogLevel, "Error")
  )

const postgres = Layer.unwrap(Effect.map(
  TestDatabase.postgresUrl,
  (databaseUrl) => Database.layer.pipe(Layer.provideMerge(layerOf(databaseUrl)))
))

const embedded = TestDatabase.pglite.pipe(Layer.provideMerge(layerOf(undefined)))

const node = Effect.map(
  Layer.build(Layer.fresh(Notifications.layer)),
  (context) => Context.get(context, Notifications)
)

/** What a node hears on a topic, in order. */
const listener = Effect.fnUntraced(function*(notifications: Notifications["Service"], topic: string) {
  const heard = yield* Queue.unbounded<string>()
  const lost = yield* Deferred.make<void>()
  const found = yield* Deferred.make<void>()
  yield* notifications.subscribe(topic, {
    onMessages: (messages) => Queue.offerAllUnsafe(heard, messages),
    onLost: () => Deferred.doneUnsafe(lost, Effect.void),
    onFound: Effect.asVoid(Deferred.succeed(found, undefined))
  })
  return { next: Queue.take(heard), left: Queue.clear(heard), lost: Deferred.await(lost), found: Deferred.await(found) }
})

it.layer(postgres, { excludeTestServices: true, timeout: "60 seconds" })("servers on one PostgreSQL", (it) => {
  it.effect("hear what was committed, in order and once, and nothing that was rolled back", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient
      const [here, there] = [yield* node, yield* node]
      const [own, others] = [yield* listener(here, "news"), yield* listener(there, "news")]
      const elsewhere = yield* listener(there, "weather")
      yield* Effect.ignore(sql.withTransaction(Effect.andThen(here.publish("news", ["undone"]), Effect.fail("undone"))))
      yield* sql.withTransaction(Effect.gen(function*() {
        yield* here.publish("news", ["one", "two"])
        assert.lengthOf(yield* own.left, 0, "nothing before the commit")
        yield* here.publish("weather", ["rain"])
      }))
      assert.deepStrictEqual([yield* own.next, yield* own.next], ["one", "two"])
      assert.deepStrictEqual([yield* others.next, yield* others.next], ["one", "two"])
      assert.strictEqual(yield* elsewhere.next, "rain")
      yield* there.publish("news", ["last"])
      assert.strictEqual(yield* own.next, "last", "what it says itself does not come a second time")
      assert.strictEqual(yield* others.next, "last")
    }))

  it.effect("hear all of what does not fit into one notification", () =>
    Effect.gen(function*() {
      const [here, there] = [yield* node, yield* node]
      const others = yield* listener(there, "many")
      const messages = Array.from({ length: 1000 }, (_, index) => `${index} ${"ü".repeat(100)}`)
      yield* here.publish("many", messages)
      for (const message of messages) assert.strictEqual(yield* others.next, message)
    }))

  it.effect("are told when their connection is lost, and when it is found again", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient
      const [here, there] = [yield* node, yield* node]
      const others = yield* listener(there, "news")
      yield* sql`
        select pg_terminate_backend(pid, 1000) from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid() and query like 'LISTEN%'`
      yield* others.lost
      yield* others.found
      yield* here.publish("news", ["again"])
      assert.strictEqual(yield* others.next, "again")
    }))
})

it.layer(embedded, { excludeTestServices: true, timeout: "60 seconds" })("the embedded database", (it) => {
  it.effect("lets its server hear itself, after the commit", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient
      const here = yield* node
      const own = yield* listener(here, "news")
      yield* Effect.ignore(sql.withTransaction(Effect.andThen(here.publish("news", ["undone"]), Effect.fail("undone"))))
      yield* sql.withTransaction(Effect.gen(function*() {
        yield* here.publish("news", ["done"])
        assert.lengthOf(yield* own.left, 0)
      }))
      assert.strictEqual(yield* own.next, "done")
    }))
})

it("notifications hold less than 8000 bytes and give back what was put into them", () => {
  const message = fc.string({ unit: "grapheme", maxLength: 300 }).filter((text) => !text.includes("\n"))
  fc.assert(fc.property(fc.array(message, { minLength: 1, maxLength: 200 }), (messages) => {
    let number = 0
    const envelopes = encode("topic", "0a1b", () => ++number, messages)
    for (const { payload } of envelopes) assert.isBelow(Buffer.byteLength(payload), 8000)
    assert.deepStrictEqual(envelopes.flatMap(({ payload }) => decode(payload)?.messages ?? []), messages)
  }))
})
