import { assert, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { Database } from "../../../src/server/Database.ts"
import { FileStore } from "../../../src/server/FileStore.ts"
import { defaults, type Durability, ServerConfig } from "../../../src/server/ServerConfig.ts"
import { TestDatabase } from "../../support/TestDatabase.ts"
import * as Storage from "./Storage.ts"

/** Syncs of content while changes are acknowledged, one after the other, and when the store is closed after them. */
const syncs = Effect.fnUntraced(function*(durability: Durability) {
  const { counts, layer } = Storage.countingDisk()
  const whileServing = yield* Effect.gen(function*() {
    const files = yield* FileStore
    const caller = yield* Storage.newUser()
    yield* files.create(caller, { name: Storage.name("first") }, [Buffer.from("one")])
    const before = counts.syncs
    for (let n = 0; n < 10; n++) {
      yield* files.append(caller, { name: Storage.name("first") }, [Buffer.from("more")])
    }
    return counts.syncs - before
  }).pipe(Effect.provide(Storage.layer({ durability }).pipe(Layer.provide(layer))))
  return { whileServing, inAll: counts.syncs }
})

it.layer(Layer.orDie(TestDatabase.pglite), { timeout: 60_000 })((it) => {
  it.effect("syncs content for each change that comes alone, and with durability os only when the server stops", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* syncs("full")).whileServing, 10)
      assert.deepStrictEqual(yield* syncs("os"), { whileServing: 0, inAll: 1 })
    }))
})

it.live("lets PostgreSQL decide on commits, unless durability is os", () =>
  Effect.gen(function*() {
    const databaseUrl = yield* TestDatabase.postgresUrl
    for (const [durability, expected] of [["full", "on"], ["os", "off"]] as const) {
      const context = yield* Layer.build(Database.layer).pipe(
        Effect.provideService(ServerConfig, { ...defaults, dataDir: "unused", databaseUrl, durability })
      )
      const [row] = yield* Context.get(context, SqlClient)<{ readonly value: string }>`
        select current_setting('synchronous_commit') as value`
      assert.strictEqual(row?.value, expected)
    }
  }).pipe(Effect.scoped), 60_000)
