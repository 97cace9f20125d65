/** A process of its own for the tests: commits row after row, says the number of each that is committed, until killed. */
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { stdout } from "node:process"
import { Database } from "../../../src/server/Database.ts"
import { defaults, ServerConfig } from "../../../src/server/ServerConfig.ts"

const settings = Layer.succeed(ServerConfig, {
  ...defaults,
  dataDir: process.argv[2] ?? "",
  durability: process.argv[3] === "os" ? "os" : "full"
})

await Effect.runPromise(
  Effect.gen(function*() {
    const sql = yield* SqlClient
    yield* sql`create table rows (n bigint primary key, filler text)`
    for (let n = 1;; n++) {
      yield* sql.withTransaction(sql`insert into rows values (${n}, ${"x".repeat(2000)})`)
      stdout.write(`${n}\n`)
    }
  }).pipe(Effect.provide(Database.layer.pipe(Layer.provide(settings))))
)
