/** Rows of the servers that share a store, and of what they are writing (migration 0008). Every method is one statement. */
import { Effect } from "effect"
import type { SqlClient } from "effect/sql/SqlClient"
import type { Refusal } from "../../protocol/Refusal.ts"
import { databaseRefusal } from "../Database.ts"
import { SegmentId } from "../files/Extent.ts"
import { uuids } from "../files/parameters.ts"

type Run<A> = Effect.Effect<A, Refusal>

export const make = (sql: SqlClient, node: string) => ({
  /** A server that begins has begun no read before any period. */
  join: (name: string, now: Date): Run<unknown> =>
    sql`
      insert into nodes (node_id, name, started_at, seen_at, quiet)
      select ${node}::uuid, ${name}, ${now}::timestamptz, ${now}::timestamptz,
        case when is_called then last_value else 0 end
      from grace_periods`.pipe(Effect.mapError(databaseRefusal)),

  /** With what it was writing. */
  remove: (id: string): Run<unknown> =>
    sql`delete from nodes where node_id = ${id}::uuid`.pipe(Effect.mapError(databaseRefusal)),

  others: Effect.mapBoth(
    sql<{ readonly node_id: string }>`select node_id from nodes where node_id <> ${node}::uuid`,
    { onFailure: databaseRefusal, onSuccess: (rows) => rows.map((row) => row.node_id) }
  ),

  open: (segment: SegmentId): Run<unknown> =>
    sql`
      insert into open_segments (segment_id, node_id) values (${segment}::uuid, ${node}::uuid)`.pipe(
      Effect.mapError(databaseRefusal)
    ),

  close: (segments: ReadonlyArray<SegmentId>): Run<unknown> =>
    sql`delete from open_segments where segment_id = any(${uuids(segments)})`.pipe(Effect.mapError(databaseRefusal)),

  openSegments: Effect.mapBoth(
    sql<{ readonly segment_id: string }>`select segment_id from open_segments`,
    { onFailure: databaseRefusal, onSuccess: (rows) => new Set(rows.map((row) => SegmentId(row.segment_id))) }
  ),

  beginPeriod: Effect.mapBoth(
    sql<{ readonly period: number }>`select nextval('grace_periods') as period`,
    { onFailure: databaseRefusal, onSuccess: ([row]) => row?.period ?? 0 }
  ),

  /** The last period that has begun. */
  lastPeriod: Effect.mapBoth(
    sql<{ readonly period: number }>`
      select case when is_called then last_value else 0 end as period from grace_periods`,
    { onFailure: databaseRefusal, onSuccess: ([row]) => row?.period ?? 0 }
  ),

  /** What this server had begun before the period has ended. */
  noteQuiet: (period: number, now: Date): Run<unknown> =>
    sql`
      update nodes set quiet = greatest(quiet, ${period}::bigint), seen_at = ${now}::timestamptz
      where node_id = ${node}::uuid`.pipe(Effect.mapError(databaseRefusal)),

  quiet: Effect.mapBoth(
    sql<{ readonly quiet: number | null }>`select min(quiet) as quiet from nodes`,
    { onFailure: databaseRefusal, onSuccess: ([row]) => row?.quiet ?? 0 }
  )
})
