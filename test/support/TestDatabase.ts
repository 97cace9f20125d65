/**
 * Databases for tests, empty, with all migrations: `it.layer(TestDatabase.pglite)(…)` and the like give `SqlClient`.
 *
 * `pglite` is in memory and costs half a second: the first run keeps what initdb made in `node_modules/.cache`.
 * `postgres` is a real PostgreSQL, or with `FIP_TEST_DATABASE_URL` a new database on that server.
 */
import { PgClient } from "@effect/sql-pg"
import { PGlite } from "@electric-sql/pglite"
import { Effect, Layer, Redacted, type Scope } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { createHash, randomBytes } from "node:crypto"
import { existsSync } from "node:fs"
import { mkdir, readFile, rename, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { Database } from "../../src/server/Database.ts"
import { defaults, ServerConfig } from "../../src/server/ServerConfig.ts"
import * as TestPostgres from "./TestPostgres.ts"

const modules = join(import.meta.dirname, "../../node_modules")

/** The folder that initdb of this version of PGlite makes, as a tar. */
const emptyCluster = async (): Promise<Blob> => {
  const version = createHash("sha256").update(await readFile(join(modules, "@electric-sql/pglite/package.json")))
  const path = join(modules, ".cache/fip", `pglite-${version.digest("hex").slice(0, 16)}.tar`)
  if (!existsSync(path)) {
    const engine = await PGlite.create()
    const dump = await engine.dumpDataDir("none")
    await engine.close()
    await mkdir(dirname(path), { recursive: true })
    const temporary = `${path}.${randomBytes(6).toString("hex")}`
    await writeFile(temporary, new Uint8Array(await dump.arrayBuffer()))
    await rename(temporary, path)
  }
  return new Blob([await readFile(path)])
}

/** Puts an empty embedded database into a server's data folder, which saves it initdb at its first start. */
const seedDataDir = async (dataDir: string): Promise<void> => {
  const engine = await PGlite.create(join(dataDir, "database"), { loadDataDir: await emptyCluster() })
  await engine.close()
}

/** An engine in memory with nothing in it, for `Database.layerEngine`. */
const engine = Effect.acquireRelease(
  Effect.promise(async () => PGlite.create({ loadDataDir: await emptyCluster() })),
  (engine) => Effect.promise(() => engine.close())
)

const pglite = Layer.unwrap(Effect.map(engine, Database.layerEngine))

const withDatabase = (url: string, name: string): string => {
  const changed = new URL(url)
  changed.pathname = `/${name}`
  return changed.href
}

/** A new database on a real server, dropped when the scope closes. Without tables: `Database.layer` makes them. */
const postgresUrl: Effect.Effect<string, never, Scope.Scope> = Effect.gen(function*() {
  const given = process.env["FIP_TEST_DATABASE_URL"]
  const server = given === undefined ? yield* TestPostgres.newServer : given
  const name = `fip_${randomBytes(6).toString("hex")}`
  const run = (statement: (sql: SqlClient) => Effect.Effect<unknown, unknown>) =>
    Effect.scoped(
      SqlClient.pipe(
        Effect.flatMap(statement),
        Effect.provide(PgClient.layer({ url: Redacted.make(server) })),
        Effect.orDie
      )
    )
  yield* Effect.acquireRelease(
    run((sql) => sql`create database ${sql(name)}`),
    () => run((sql) => sql`drop database ${sql(name)} with (force)`)
  )
  return withDatabase(server, name)
})

const postgres = Layer.unwrap(Effect.map(postgresUrl, (databaseUrl) =>
  Database.layer.pipe(
    // The data folder is not touched with a database of one's own.
    Layer.provide(Layer.succeed(ServerConfig, { ...defaults, dataDir: join(tmpdir(), "fip-unused"), databaseUrl }))
  )))

export const TestDatabase = { engine, pglite, postgres, postgresUrl, seedDataDir }
