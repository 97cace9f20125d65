/**
 * What PostgreSQL's autovacuum does, for the embedded database, which has no processes besides the one that answers: the
 * room of rows that were changed or deleted is made free for new ones.
 *
 * One statement for each table that has enough of them, between other statements. Nothing is analysed: the server's
 * statements do not need it (migrations/0002_files.ts).
 */
import { Duration, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { ServerConfig } from "../ServerConfig.ts"
import { background } from "../ShutdownCoordinator.ts"

const LOOK_EVERY = Duration.minutes(1)

/** Dead rows from which on a table is vacuumed: so many, and so many for each that is alive. */
const LEAST_DEAD = 1000
const DEAD_PER_LIVE = 0.2

/** Vacuums the tables that need it; their names. */
export const vacuum: Effect.Effect<ReadonlyArray<string>, SqlError, SqlClient> = Effect.gen(function*() {
  const sql = yield* SqlClient
  const tables = yield* sql<{ readonly name: string }>`
    select relname as name from pg_stat_user_tables
    where n_dead_tup > ${LEAST_DEAD}::bigint + ${DEAD_PER_LIVE}::float8 * n_live_tup order by relname`
  for (const { name } of tables) yield* sql`vacuum ${sql(name)}`
  return tables.map(({ name }) => name)
})

/** Vacuums now and then until the shutdown begins. A PostgreSQL of one's own does that by itself. */
export const upkeepLayer = Layer.effectDiscard(Effect.gen(function*() {
  const { databaseUrl } = yield* ServerConfig
  if (databaseUrl !== undefined) return
  const context = yield* Effect.context<SqlClient>()
  yield* background(
    "vacuum",
    Effect.sleep(LOOK_EVERY).pipe(
      Effect.andThen(Effect.provide(Effect.ignore(vacuum, { log: "Warn" }), context)),
      Effect.forever
    )
  )
}))
