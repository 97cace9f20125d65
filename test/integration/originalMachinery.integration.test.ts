/**
 * What the original's database machinery does in part, here on a real PostgreSQL. Its batched log and its shutdown are in
 * test/server/BatchedFlusher.test.ts and leaving.integration.test.ts.
 */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Redacted, Stream } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { join } from "node:path"
import { FipClient } from "../../src/client/FipClient.ts"
import { Database } from "../../src/server/Database.ts"
import { Server } from "../../src/server/Server.ts"
import { ServerConfig } from "../../src/server/ServerConfig.ts"
import { TestDatabase } from "../support/TestDatabase.ts"
import * as TestServer from "../support/TestServer.ts"

const secret = Redacted.make("correct horse")

const onPostgres = Layer.unwrap(
  Effect.map(TestDatabase.postgresUrl, (databaseUrl) => TestServer.layer({ databaseUrl, addressRegistrations: 1000 }))
)

const newUser = Effect.fnUntraced(function*(username: string) {
  const { port } = yield* Server
  const knownHosts = join(yield* TestServer.temporaryFolder, "known_hosts")
  const client = Context.get(yield* Layer.build(FipClient.layer({ host: "127.0.0.1", port, knownHosts })), FipClient)
  yield* client.register(username, secret)
  yield* client.login(username, secret)
  return client
})

describe("the original's", () => {
  it.layer(onPostgres, { excludeTestServices: true, timeout: "60 seconds" })((it) => {
    it.effect("Batched storage flush: what is used is right in the moment a change is answered, up and down", () =>
      Effect.gen(function*() {
        const client = yield* newUser("storage_user")
        const used = Effect.map(client.queryStorage, ({ bytes_used, files_used }) => [bytes_used, files_used])
        for (let round = 0; round < 5; round++) {
          yield* client.write("a", "12345")
          assert.deepStrictEqual(yield* used, [5, 1])
          yield* client.append("a", "67")
          assert.deepStrictEqual(yield* used, [7, 1])
          yield* client.patch("a", 6, "abc")
          assert.deepStrictEqual(yield* used, [9, 1])
          yield* client.replace("a", "")
          assert.deepStrictEqual(yield* used, [0, 1])
          yield* client.delete("a")
          assert.deepStrictEqual(yield* used, [0, 0])
        }
      }))

    it.effect(
      "Prioritised DB pools with leases: no connection is lost for good, and none is waited for while others work",
      () =>
        Effect.gen(function*() {
          const client = yield* newUser("pool_user")
          yield* client.write("a", "here")
          const outside = Context.get(
            yield* Layer.build(
              Layer.fresh(Database.layer).pipe(Layer.provide(Layer.succeed(ServerConfig, yield* ServerConfig)))
            ),
            SqlClient
          )
          const work = Effect.all(
            Array.from({ length: 20 }, (_, at) =>
              Effect.all([
                client.write(`file${at}`, "x"),
                Stream.runDrain(client.read("a")),
                client.querySessions,
                Effect.scoped(newUser(`pool_user_${at}`))
              ], { concurrency: "unbounded" })),
            { concurrency: 5 }
          )
          yield* work
          // All of them are cut off, in the server's back.
          const cut = yield* outside<{ readonly done: boolean }>`
          select pg_terminate_backend(pid) as done from pg_stat_activity
          where datname = current_database() and pid <> pg_backend_pid()`
          assert.isAbove(cut.length, 1)
          yield* client.write("after", "still here")
          assert.strictEqual(yield* Stream.mkString(Stream.decodeText(client.read("after"))), "still here")
          assert.strictEqual((yield* client.queryStorage).files_used, 22)
        }),
      60_000
    )
  })
})
