import { assert, it } from "@effect/vitest"
import { Context, Effect, Fiber, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { join } from "node:path"
import { Database } from "../../../src/server/Database.ts"
import { openThread } from "../../../src/server/database/BackendThread.ts"
import { defaults, ServerConfig } from "../../../src/server/ServerConfig.ts"
import { temporaryFolder } from "../../support/temporaryFolder.ts"
import { TestDatabase } from "../../support/TestDatabase.ts"

const seeded = Effect.tap(temporaryFolder, (dataDir) => Effect.promise(() => TestDatabase.seedDataDir(dataDir)))

it.live("works beside this thread: a long statement holds nothing up", () =>
  Effect.gen(function*() {
    const context = yield* Layer.build(Database.layer).pipe(
      Effect.provideService(ServerConfig, { ...defaults, dataDir: yield* seeded })
    )
    const sql = Context.get(context, SqlClient)
    let turns = 0
    const turn = () => {
      turns++
      next = setImmediate(turn)
    }
    let next = setImmediate(turn)
    const statement = yield* Effect.forkChild(sql`select count(*) as count from generate_series(1, 300000)`)
    // Behind the first, on the same connection.
    const second = yield* Effect.forkChild(sql`select 2 as two`)
    assert.deepStrictEqual(yield* Fiber.join(statement), [{ count: 300_000 }])
    clearImmediate(next)
    assert.deepStrictEqual(yield* Fiber.join(second), [{ two: 2 }])
    assert.isAbove(turns, 100, "turns of the event loop meanwhile")
  }).pipe(Effect.scoped))

it.live("answers what was asked before it is closed, and fails what comes later", () =>
  Effect.gen(function*() {
    const folder = join(yield* seeded, "database")
    const backend = yield* Effect.promise(() => openThread(folder, "full"))
    const query = Buffer.from("Q\0\0\0\x0dselect 1\0", "latin1")
    const asked = Effect.tryPromise(() => backend.answer(query))
    const [answer] = yield* Effect.all([asked, Effect.promise(() => backend.close())], { concurrency: 2 })
    assert.include(Buffer.from(answer).toString("latin1"), "SELECT 1")
    assert.include(String((yield* Effect.flip(asked)).cause), "the embedded database is closed")
  }).pipe(Effect.scoped))
