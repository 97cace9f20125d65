/** A whole server in this process: real TLS, the embedded database, real files in a temporary folder. */
import { Effect, Layer, References } from "effect"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Server } from "../../src/server/Server.ts"
import { defaults, ServerConfig, type ServerSettings } from "../../src/server/ServerConfig.ts"
import { TestDatabase } from "./TestDatabase.ts"

/** A folder that is removed when the scope closes. */
export const temporaryFolder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "fip-test-"))),
  (folder) => Effect.promise(() => rm(folder, { recursive: true, force: true, maxRetries: 3 }))
)

/** A server on a free port of 127.0.0.1; it logs warnings and worse. */
export const layer = (settings: Partial<ServerSettings> = {}) =>
  Layer.unwrap(Effect.gen(function*() {
    const dataDir = yield* temporaryFolder
    yield* Effect.promise(() => TestDatabase.seedDataDir(dataDir))
    return Server.layer.pipe(
      Layer.provideMerge(Layer.succeed(ServerConfig, { ...defaults, port: 0, dataDir, ...settings })),
      Layer.provideMerge(Layer.succeed(References.MinimumLogLevel, "Warn"))
    )
  }))
