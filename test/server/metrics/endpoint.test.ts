/** What `/healthz` and `/readyz` say as a server lives: starting, serving, without its database, leaving. */
import { assert, it } from "@effect/vitest"
import { PGlite } from "@electric-sql/pglite"
import { Context, Effect, Layer } from "effect"
import { once } from "node:events"
import { createServer } from "node:http"
import { join } from "node:path"
import { Database } from "../../../src/server/Database.ts"
import { endpointLayer } from "../../../src/server/metrics/endpoint.ts"
import { metricsLayer } from "../../../src/server/metrics/Metrics.ts"
import { defaults, ServerConfig } from "../../../src/server/ServerConfig.ts"
import { ShutdownCoordinator } from "../../../src/server/ShutdownCoordinator.ts"
import { TestDatabase } from "../../support/TestDatabase.ts"
import { temporaryFolder } from "../../support/TestServer.ts"

/** A port that nobody listens on just now. */
const freePort = Effect.promise(async () => {
  const server = createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const address = server.address()
  server.close()
  return address !== null && typeof address === "object" ? address.port : 0
})

it.live("says whether it serves, and why not", () =>
  Effect.gen(function*() {
    const port = yield* freePort
    const folder = yield* temporaryFolder
    const engine = yield* Effect.promise(async () => {
      await TestDatabase.seedDataDir(folder)
      return PGlite.create(join(folder, "database"))
    })
    const context = yield* Layer.build(endpointLayer.pipe(
      Layer.provideMerge(Database.layerEngine(engine)),
      Layer.provideMerge(metricsLayer),
      Layer.provideMerge(ShutdownCoordinator.layer),
      Layer.provide(Layer.succeed(ServerConfig, { ...defaults, dataDir: "", metricsPort: port }))
    ))
    const coordinator = Context.get(context, ShutdownCoordinator)
    const get = (path: string) =>
      Effect.promise(async () => {
        const response = await fetch(`http://127.0.0.1:${port}${path}`)
        return [response.status, await response.text()]
      })
    assert.deepStrictEqual(yield* get("/healthz"), [200, "ok\n"])
    assert.deepStrictEqual(yield* get("/readyz"), [503, "starting\n"])
    yield* coordinator.opened("Server")
    assert.deepStrictEqual(yield* get("/readyz"), [200, "ready\n"])
    yield* Effect.promise(() => engine.close())
    assert.deepStrictEqual(yield* get("/readyz"), [503, "the database does not answer\n"])
    assert.deepStrictEqual(yield* get("/healthz"), [200, "ok\n"])
    yield* coordinator.begin
    assert.deepStrictEqual(yield* get("/readyz"), [503, "shutting down\n"])
  }).pipe(Effect.scoped), 30_000)
