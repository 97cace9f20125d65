/**
 * The database: PostgreSQL by URL, or one embedded in the data folder; the same client, SQL and migrations for both.
 *
 * A repository takes `SqlClient`, gets rows as they are (names unchanged; types: `database/types.ts`), handles what it
 * expects by `reason` (`UniqueViolation` with its `constraint`), and maps the rest with `databaseRefusal`.
 *
 * The embedded database works on one transaction at a time, whoever asks (database/EngineHub.ts): inside one, wait for no
 * statement of another fiber. A client has one connection for all, which `listen` would take from everybody, to hear only
 * what this process says: it is for a database that others are on (`isShared`). Workers reach the engine through their
 * parent.
 */
import { PgClient } from "@effect/sql-pg"
import type { PGlite } from "@electric-sql/pglite"
import { Context, Data, Effect, FiberSet, Layer, Predicate, Redacted, type Scope } from "effect"
import { Migrator } from "effect/sql"
import { SqlClient } from "effect/sql/SqlClient"
import { isSqlError, type SqlError } from "effect/sql/SqlError"
import { join } from "node:path"
import type { Duplex } from "node:stream"
import { migrations } from "../../migrations/index.ts"
import * as FileLock from "../platform/FileLock.ts"
import { makeFolder } from "../platform/makeFolder.ts"
import { systemErrorReason } from "../platform/systemError.ts"
import { Refusal } from "../protocol/Refusal.ts"
import { backendOf } from "./database/Backend.ts"
import { openThread } from "./database/BackendThread.ts"
import { EngineHub } from "./database/EngineHub.ts"
import { ownStream, serveWorkers, workerStream } from "./database/hubStreams.ts"
import { openReopening } from "./database/reopening.ts"
import { makeTypes } from "./database/types.ts"
import { type Durability, ServerConfig, workersOf } from "./ServerConfig.ts"

/** The database cannot be used. `message` is a sentence for the person who starts the server. */
export class DatabaseError extends Data.TaggedError("DatabaseError")<{ readonly message: string }> {}

/** PostgreSQL quotes the row that it refuses, with whatever hash or name is in it: not for a log. */
const dropRow = (error: SqlError): void => {
  const { cause } = error.reason
  if (Predicate.hasProperty(cause, "detail")) Reflect.deleteProperty(cause, "detail")
}

/** PostgreSQL is stopping, has crashed, is starting, or has no connection left: it will be back. */
const PASSING_STATES: ReadonlySet<unknown> = new Set(["57P01", "57P02", "57P03", "53300"])

/** The same statement may succeed in a moment. */
export const isPassing = ({ isRetryable, reason: { cause } }: SqlError): boolean =>
  isRetryable || (Predicate.hasProperty(cause, "code") && PASSING_STATES.has(cause.code))

/**
 * What a request is refused with when its statement failed. A refusal passes as it is, so that one `mapError` serves a
 * whole transaction. What happened is the refusal's `cause`, for the log; nothing of it is in the message.
 */
export const databaseRefusal = (error: SqlError | Refusal): Refusal => {
  if (error._tag === "Refusal") return error
  const refusal = isPassing(error)
    ? new Refusal({
      code: "3:db",
      message: "the server's database is not available at the moment; try again",
      retry_after_ms: 1000
    })
    : new Refusal({ code: "3:db", message: "the server's database failed; its log says why" })
  dropRow(error)
  refusal.cause = error
  return refusal
}

/** The words of PostgreSQL, or of the system, for a failed statement. */
const reasonOf = (error: SqlError): string => {
  const cause = error.reason.cause
  // A host with several addresses fails once for each.
  return systemErrorReason(cause instanceof AggregateError ? cause.errors[0] : cause)
}

/** The migrations that there are; somebody else's when a database is not to be brought up to date. */
const Migrations = Context.Reference("fip/server/Migrations", { defaultValue: () => migrations })

const migrate = Effect.fnUntraced(function*(where: string): Effect.fn.Return<void, DatabaseError, SqlClient> {
  const record = yield* Migrations
  if (Object.keys(record).length === 0) return
  yield* compare(where, record)
  yield* Migrator.make({})({ loader: Migrator.fromRecord(record), table: "migrations" }).pipe(
    Effect.mapError((error) => {
      if (error._tag === "SqlError") return connectFailure(error, where)
      const reason = isSqlError(error.cause) ? `: ${reasonOf(error.cause)}` : ""
      return new DatabaseError({
        message: `the tables of ${where} cannot be brought up to date: ${error.message}${reason}`
      })
    })
  )
})

const numberOf = (migration: string): number => Number.parseInt(migration, 10)

/**
 * The tables must be such as this version can continue: not of a newer one, and without a gap among their migrations,
 * for those that came later are applied and none before. Asked before anything is changed.
 */
const compare = Effect.fnUntraced(
  function*(
    where: string,
    record: Readonly<Record<string, unknown>>
  ): Effect.fn.Return<void, DatabaseError, SqlClient> {
    const sql = yield* SqlClient
    const rows = yield* Effect.gen(function*() {
      const [present] = yield* sql<{ readonly is: boolean }>`select to_regclass('migrations') is not null as is`
      if (present?.is !== true) return []
      return yield* sql<{ readonly migration_id: number }>`select migration_id from migrations`
    }).pipe(Effect.mapError((error) => connectFailure(error, where)))
    const applied = new Set(rows.map((row) => row.migration_id))
    const known = Object.keys(record).map(numberOf)
    const newest = Math.max(0, ...applied)
    if (newest > Math.max(...known)) {
      return yield* new DatabaseError({
        message: `${where} was used by a newer version of fip, which changed its tables (${newest}): update this one`
      })
    }
    // The second migration was another one on its first day.
    const [extents] = yield* Effect.mapError(
      sql<{ readonly first: boolean }>`
        select not attnotnull as first from pg_attribute
        where attrelid = to_regclass('extents') and attname = 'until_version'`,
      (error) => connectFailure(error, where)
    )
    if (extents?.first === true) {
      return yield* new DatabaseError({
        message: `${where} has tables of files of the first day of fip, which cannot be continued: ` +
          "download the files with the version that made them, and upload them to a new server"
      })
    }
    const missing = known.filter((id) => id < newest && !applied.has(id))
    if (missing.length > 0) {
      return yield* new DatabaseError({
        message: `${where} was made by a version of fip between releases, and lacks tables (${missing.join(", ")}): ` +
          "back it up with that version, and restore the backup with this one"
      })
    }
  }
)

/** Makes the tables as they were after a migration. */
const migrateTo = (last: number): Effect.Effect<void, DatabaseError, SqlClient> =>
  Effect.provideService(
    migrate("the new database"),
    Migrations,
    Object.fromEntries(Object.entries(migrations).filter(([name]) => numberOf(name) <= last))
  )

const connectFailure = (error: SqlError, where: string): DatabaseError => {
  switch (error.reason._tag) {
    case "ConnectionError":
      return new DatabaseError({ message: `cannot reach ${where}: ${reasonOf(error)}` })
    case "AuthenticationError":
      return new DatabaseError({ message: `${where} refused the login: ${reasonOf(error)}` })
    default:
      return new DatabaseError({ message: `${where} failed: ${reasonOf(error)}` })
  }
}

/**
 * Makes a transaction fail whose connection ended. The client takes it for a defect that there is nothing to roll back
 * on.
 */
const failWhenCutOff = (sql: SqlClient): void => {
  const { withTransaction } = sql
  Object.assign(sql, {
    withTransaction: <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | SqlError, R> =>
      Effect.catchDefect(
        withTransaction(effect),
        (defect) => isSqlError(defect) ? Effect.fail(defect) : Effect.die(defect)
      )
  })
}

/** A client and the tables it needs. */
const layerOf = (where: string, config: PgClient.PgPoolConfig) => {
  const client = PgClient.layer({ applicationName: "fip", types: makeTypes(), ...config }).pipe(
    Layer.tap((context) => Effect.sync(() => failWhenCutOff(Context.get(context, SqlClient)))),
    Layer.catch((error) => Layer.effectContext(Effect.fail(connectFailure(error, where))))
  )
  return Layer.effectDiscard(migrate(where)).pipe(Layer.provideMerge(client))
}

/** Connections of a process that is a server by itself; many workers have fewer each. */
const POOL = 10
const POOL_OF_ALL = 60
const LEAST_POOL = 3

const layerPostgres = (databaseUrl: string, durability: Durability, workers: number) => {
  const url = URL.canParse(databaseUrl) ? new URL(databaseUrl) : undefined
  if (url === undefined || (url.protocol !== "postgres:" && url.protocol !== "postgresql:")) {
    return Layer.effectContext(Effect.fail(
      new DatabaseError({ message: "the database URL must look like postgres://user:password@host:5432/name" })
    ))
  }
  return layerOf(`PostgreSQL at ${url.host === "" ? "localhost" : url.host}`, {
    url: Redacted.make(databaseUrl),
    maxConnections: Math.min(POOL, Math.max(LEAST_POOL, Math.floor(POOL_OF_ALL / workers))),
    // A role or a database can be without it, too: only `os` says so for itself.
    ...durability === "os" ? { startupParameters: { synchronous_commit: "off" } } : {}
  })
}

const unusable = (dataDir: string, cause: unknown): DatabaseError =>
  new DatabaseError({ message: `cannot use the data folder ${dataDir}: ${systemErrorReason(cause)}` })

const layerStream = (stream: () => Duplex) =>
  layerOf("the embedded database", {
    stream,
    username: "postgres",
    database: "postgres",
    multiplex: true,
    minConnections: 1,
    maxConnections: 1
  })

const embedded = Effect.fnUntraced(
  function*(dataDir: string, durability: Durability, workers: number): Effect.fn.Return<
    ReturnType<typeof layerStream>,
    DatabaseError,
    Scope.Scope
  > {
    yield* Effect.tryPromise({
      try: () => makeFolder(dataDir, 0o700),
      catch: (cause) => unusable(dataDir, cause)
    })
    yield* FileLock.acquire(join(dataDir, "database.lock")).pipe(Effect.mapError((error) =>
      error.reason === "held"
        ? new DatabaseError({ message: `another FIP server is using the data folder ${dataDir}` })
        : new DatabaseError({ message: `cannot use the data folder ${dataDir}: ${error.message}` })
    ))
    const say = yield* FiberSet.makeRuntime<never>()
    const database = yield* Effect.acquireRelease(
      Effect.tryPromise({
        try: () =>
          openReopening(() => openThread(join(dataDir, "database"), durability), {
            onStopped: (cause) =>
              say(Effect.logError("the embedded database stopped: it is opened again when somebody needs it", cause)),
            onReopened: () => say(Effect.logWarning("the embedded database is open again"))
          }),
        catch: (cause) =>
          new DatabaseError({ message: `cannot open the database in ${dataDir}: ${systemErrorReason(cause)}` })
      }),
      // A stopped engine cannot be closed. Its folder recovers at the next start.
      (database) => Effect.ignore(Effect.tryPromise(() => database.close()))
    )
    const hub = yield* Effect.tryPromise({
      try: () => EngineHub.open(database),
      catch: (cause) => new DatabaseError({ message: `the database in ${dataDir} failed: ${systemErrorReason(cause)}` })
    })
    if (workers > 1) {
      yield* Effect.mapError(
        serveWorkers(hub, dataDir),
        ({ cause }) =>
          new DatabaseError({ message: `workers cannot reach the database in ${dataDir}: ${systemErrorReason(cause)}` })
      )
    }
    return layerStream(ownStream(hub))
  }
)

export const Database = {
  /** To be provided as empty where a database is not to be brought up to date; `migrateTo` does it then. */
  Migrations,
  migrateTo,
  /** Of the last migration. */
  version: Math.max(...Object.keys(migrations).map(numberOf)),
  /** A client on an engine in this thread that somebody else opens and closes. */
  layerEngine: (engine: PGlite) =>
    Layer.unwrap(Effect.map(
      Effect.promise(() => EngineHub.open(backendOf(engine))),
      (hub) => layerStream(ownStream(hub))
    )),
  /** Fails at once when the database cannot be used. Closing the scope closes the embedded one. */
  layer: Layer.unwrap(Effect.gen(function*() {
    const settings = yield* ServerConfig
    const { databaseUrl, dataDir, durability } = settings
    return databaseUrl === undefined
      ? Layer.unwrap(embedded(dataDir, durability, workersOf(settings)))
      : layerPostgres(databaseUrl, durability, workersOf(settings))
  })),
  /** Of a worker: its parent has opened the database and brought it up to date. */
  layerWorker: Layer.unwrap(Effect.gen(function*() {
    const settings = yield* ServerConfig
    const { databaseUrl, dataDir, durability } = settings
    return databaseUrl === undefined
      ? layerStream(workerStream(dataDir))
      : layerPostgres(databaseUrl, durability, workersOf(settings))
  })).pipe(Layer.provide(Layer.succeed(Migrations, {})))
}
