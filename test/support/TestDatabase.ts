/**
 * Databases for tests, empty, with all migrations: `it.layer(TestDatabase.pglite)(…)` and the like give `SqlClient`.
 *
 * `pglite` is in memory and costs half a second. `postgres` is a real PostgreSQL, or with `FIP_TEST_DATABASE_URL` a new
 * database on that server. What initdb and the migrations make of an embedded one is kept in `node_modules/.cache`, once
 * for all tests.
 */
import { PgClient } from "@effect/sql-pg"
import { PGlite } from "@electric-sql/pglite"
import { Effect, Layer, Redacted, type Scope } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { createHash, randomBytes } from "node:crypto"
import { existsSync } from "node:fs"
import { link, mkdir, readdir, readFile, rename, rm, truncate, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join, relative } from "node:path"
import { Database } from "../../src/server/Database.ts"
import { defaults, ServerConfig } from "../../src/server/ServerConfig.ts"
import * as TestPostgres from "./TestPostgres.ts"

const modules = join(import.meta.dirname, "../../node_modules")

/** What `make` puts at a path, made by the first who needs it. */
const kept = async (name: string, inputs: ReadonlyArray<string>, make: (path: string) => Promise<void>) => {
  const hash = createHash("sha256")
  for (const input of inputs) hash.update(await readFile(input))
  const path = join(modules, ".cache/fip", name.replace("*", hash.digest("hex").slice(0, 16)))
  if (existsSync(path)) return path
  await mkdir(dirname(path), { recursive: true })
  const temporary = `${path}.${randomBytes(6).toString("hex")}`
  await make(temporary)
  try {
    await rename(temporary, path)
  } catch (error) {
    // Another test was faster.
    if (!existsSync(path)) throw error
    await rm(temporary, { recursive: true })
  }
  return path
}

const version = join(modules, "@electric-sql/pglite/package.json")

const openedTar = async (path: string): Promise<Blob> => new Blob([await readFile(path)])

const writeTar = async (engine: PGlite, path: string): Promise<void> =>
  writeFile(path, new Uint8Array(await (await engine.dumpDataDir("none")).arrayBuffer()))

/** The folder that initdb of this version of PGlite makes, as a tar. */
const emptyCluster = async (): Promise<Blob> =>
  openedTar(
    await kept("pglite-*.tar", [version], async (path) => {
      const engine = await PGlite.create()
      await writeTar(engine, path)
      await engine.close()
    })
  )

const migrationSources = async (): Promise<ReadonlyArray<string>> => {
  const folder = join(import.meta.dirname, "../../migrations")
  return [version, ...(await readdir(folder)).toSorted().map((name) => join(folder, name))]
}

const migrate = (engine: PGlite): Promise<void> =>
  Effect.runPromise(Effect.scoped(Effect.asVoid(Layer.build(Database.layerEngine(engine)))))

/** The same with all tables, as a tar for engines in memory. */
const migratedCluster = async (): Promise<Blob> =>
  openedTar(
    await kept("pglite-migrated-*.tar", await migrationSources(), async (path) => {
      const engine = await PGlite.create({ loadDataDir: await emptyCluster() })
      await migrate(engine)
      await writeTar(engine, path)
      await engine.close()
    })
  )

/** The same as a folder. */
const migratedFolder = async (): Promise<string> =>
  kept("pglite-migrated-*", await migrationSources(), async (path) => {
    const engine = await PGlite.create(path, { loadDataDir: await emptyCluster() })
    await migrate(engine)
    await engine.close()
  })

/** What a server's database never writes to: the databases that new ones are copied from, if there were any. */
const isPattern = (path: string): boolean => /^base\/[14]\//.test(path)

/** A copy, with holes where there are only zeros at the end: most of the log. */
const copySparse = async (from: string, to: string): Promise<void> => {
  const bytes = await readFile(from)
  let end = bytes.length
  while (end > 0 && bytes[end - 1] === 0) end--
  await writeFile(to, bytes.subarray(0, end), { mode: 0o600 })
  if (end < bytes.length) await truncate(to, bytes.length)
}

/** False where there are no links, as from one file system to another. */
const isLinked = (from: string, to: string): Promise<boolean> => link(from, to).then(() => true, () => false)

/**
 * Puts an embedded database with all tables into a server's data folder, which saves it initdb and the migrations at its
 * first start.
 */
const seedDataDir = async (dataDir: string): Promise<void> => {
  const from = await migratedFolder()
  const to = join(dataDir, "database")
  await mkdir(to, { recursive: true, mode: 0o700 })
  for (const entry of await readdir(from, { withFileTypes: true, recursive: true })) {
    const source = join(entry.parentPath, entry.name)
    const path = relative(from, source)
    if (entry.isDirectory()) await mkdir(join(to, path), { mode: 0o700 })
    else if (!isPattern(path) || !await isLinked(source, join(to, path))) await copySparse(source, join(to, path))
  }
}

/** Puts one without tables there. */
const seedEmpty = async (dataDir: string): Promise<void> => {
  const engine = await PGlite.create(join(dataDir, "database"), { loadDataDir: await emptyCluster() })
  await engine.close()
}

const engineOf = (cluster: () => Promise<Blob>) =>
  Effect.acquireRelease(
    Effect.promise(async () => PGlite.create({ loadDataDir: await cluster() })),
    (engine) => Effect.promise(() => engine.close())
  )

/** An engine in memory with nothing in it, for `Database.layerEngine`. */
const engine = engineOf(emptyCluster)

const pglite = Layer.unwrap(Effect.map(engineOf(migratedCluster), Database.layerEngine))

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

export const TestDatabase = { engine, pglite, postgres, postgresUrl, seedDataDir, seedEmpty }
