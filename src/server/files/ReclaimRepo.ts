/** What giving back space asks of the database. Every method is one statement. */
import { Context, Duration, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { BLOCK_BYTES } from "../../platform/Checksum.ts"
import type { Refusal } from "../../protocol/Refusal.ts"
import { databaseRefusal } from "../Database.ts"
import { ServerConfig } from "../ServerConfig.ts"
import { SegmentId, type Span } from "./Extent.ts"
import { bigints, bytes, uuids } from "./parameters.ts"
import { stillCurrent } from "./rows.ts"
import type { OldExtent } from "./Surplus.ts"

/** What some extents of a segment are made of, and where the same bytes lie, too. */
export interface Move {
  readonly from: Span
  readonly to: Span
}

/** Extents of a segment that one statement looks at, more or less: everybody else may wait meanwhile. */
const MANY = 4000
const LARGEST_RANGE = 2 ** 40

const ago = (now: number, duration: Duration.Duration) => new Date(now - Duration.toMillis(duration))

export class ReclaimRepo extends Context.Service<ReclaimRepo, {
  /** Drops the versions, of at most `batch` files, that are not to be kept. Their extents stay. */
  readonly dropVersions: (
    now: number,
    batch: number
  ) => Effect.Effect<{ readonly seen: number; readonly dropped: number }, Refusal>
  /** Owners of files that `dropVersions` would look at. */
  readonly dueOwners: (now: number) => Effect.Effect<ReadonlyArray<number>, Refusal>
  /**
   * How many bytes of the disk earlier versions and deleted files of an owner may take, and how many they take at most:
   * those that they share are counted several times.
   */
  readonly oldBytes: (ownerId: number) => Effect.Effect<{ readonly allowed: number; readonly most: number }, Refusal>
  /** The extents of those files: the current ones, then the others from the latest to the oldest. */
  readonly oldExtents: (ownerId: number) => Effect.Effect<ReadonlyArray<OldExtent>, Refusal>
  /** Drops what ceased to be current by then; how many versions. */
  readonly trim: (ownerId: number, endedBy: number) => Effect.Effect<number, Refusal>
  /** Files of which versions were dropped and extents may have to be. */
  readonly filesWithDropped: (batch: number) => Effect.Effect<ReadonlyArray<number>, Refusal>
  /** Removes the extents that no version has any more, at most so many; the segments that have less to hold now. */
  readonly dropExtents: (
    fileIds: ReadonlyArray<number>,
    most: number
  ) => Effect.Effect<ReadonlyArray<SegmentId>, Refusal>
  /** Those of the segments that no extent and no upload refers to, and that no server is writing to. */
  readonly unreferenced: (segments: ReadonlyArray<SegmentId>) => Effect.Effect<ReadonlyArray<SegmentId>, Refusal>
  /** Of the current content of all files, as their owners are charged for it. */
  readonly currentBytes: Effect.Effect<number, Refusal>
  /** How many bytes of a segment extents are made of, each byte once. */
  readonly liveBytes: (segment: SegmentId) => Effect.Effect<number, Refusal>
  /** Hands on what extents of a segment are made of, each once, in order, some thousand at a time. */
  readonly liveSpans: <E, R>(
    segment: SegmentId,
    use: (spans: ReadonlyArray<Span>) => Effect.Effect<void, E, R>
  ) => Effect.Effect<void, Refusal | E, R>
  /** Makes extents refer to where their bytes have been copied to. Files that are busy are left for later. */
  readonly move: (segment: SegmentId, moves: ReadonlyArray<Move>) => Effect.Effect<void, Refusal>
}>()("fip/server/files/ReclaimRepo") {
  static readonly layer = Layer.effect(
    ReclaimRepo,
    Effect.gen(function*() {
      const sql = yield* SqlClient
      const config = yield* ServerConfig

      /**
       * Looks at all extents of a segment, those of a range of its bytes in one statement: `look` says how many there were,
       * and what comes next is to be some thousand.
       */
      const inRanges = Effect.fnUntraced(function*<E, R>(
        segment: SegmentId,
        look: (from: number, to: number) => Effect.Effect<number, Refusal | E, R>
      ): Effect.fn.Return<void, Refusal | E, R> {
        let size = BLOCK_BYTES
        for (let from = 0;;) {
          const found = yield* look(from, from + size)
          from += size
          if (found > MANY) size = Math.max(1024, size / 4)
          else if (found < MANY / 8) size = Math.min(LARGEST_RANGE, size * 4)
          if (found > 0) continue
          const [next] = yield* sql<{ readonly checked_from: number }>`
            select checked_from from extents where segment_id = ${segment}::uuid and checked_from >= ${from}::bigint
            order by checked_from limit 1`.pipe(Effect.mapError(databaseRefusal))
          if (next === undefined) return
          from = next.checked_from
        }
      })

      return ReclaimRepo.of({
        currentBytes: sql<{ readonly bytes: number }>`
          select coalesce(sum(bytes_used), 0)::bigint as bytes from users`.pipe(Effect.mapBoth({
          onFailure: databaseRefusal,
          onSuccess: ([row]) => row?.bytes ?? 0
        })),
        dropVersions: (now, batch) =>
          sql<{ readonly seen: number; readonly dropped: number }>`
            select * from drop_versions(
              ${batch}::int, ${config.keepVersions}::bigint, ${new Date(now)}::timestamptz,
              ${ago(now, config.keepVersionsFor)}::timestamptz, ${ago(now, config.keepDeletedFor)}::timestamptz
            )`.pipe(Effect.mapBoth({
            onFailure: databaseRefusal,
            onSuccess: ([row]) => row ?? { seen: 0, dropped: 0 }
          })),

        dueOwners: (now) =>
          sql<{ readonly owner_id: number }>`
            select distinct o.owner_id from outdated o
            where o.due_at <= ${new Date(now)}::timestamptz`.pipe(
            Effect.mapBoth({ onFailure: databaseRefusal, onSuccess: (rows) => rows.map((row) => row.owner_id) })
          ),

        oldBytes: (ownerId) =>
          sql<{ readonly allowed: number; readonly most: number }>`
            select
              coalesce(
                (select coalesce(u.bytes_limit, ${config.bytesPerUser}::bigint) from users u where u.user_id = ${ownerId}::bigint),
                0
              ) as allowed,
              coalesce(sum(e.bytes), 0)::bigint as most
            from outdated_files(${ownerId}::bigint) f
            cross join lateral (
              select sum(x.length) as bytes from extents x
              where x.file_id = f.file_id and (x.until_version < ${stillCurrent} or f.deleted_at is not null)
              offset 0
            ) e`.pipe(
            Effect.mapBoth({ onFailure: databaseRefusal, onSuccess: ([row]) => row ?? { allowed: 0, most: 0 } })
          ),

        oldExtents: (ownerId) =>
          sql<{
            readonly segment_id: string
            readonly segment_offset: number
            readonly length: number
            readonly is_current: boolean
            readonly ended_at: Date | null
          }>`
            select e.segment_id, e.segment_offset, e.length, e.is_current, e.ended_at
            from outdated_files(${ownerId}::bigint) f
            cross join lateral (
              select x.segment_id, x.segment_offset, x.length,
                x.until_version = ${stillCurrent} and f.deleted_at is null as is_current,
                case when x.until_version = ${stillCurrent} then f.deleted_at else v.created_at end as ended_at
              from extents x
              left join lateral (
                select w.created_at from versions w where w.file_id = x.file_id and w.version = x.until_version offset 0
              ) v on true
              where x.file_id = f.file_id
              offset 0
            ) e
            order by e.is_current desc, e.ended_at desc nulls last`.pipe(Effect.mapBoth({
            onFailure: databaseRefusal,
            onSuccess: (rows) =>
              rows.map((row) => ({
                segment: SegmentId(row.segment_id),
                offset: row.segment_offset,
                length: row.length,
                // The version after it is gone, too: nothing is older.
                endedAt: row.is_current ? undefined : row.ended_at?.getTime() ?? 0
              }))
          })),

        trim: (ownerId, endedBy) =>
          sql<{ readonly dropped: number }>`
            select trim_owner(${ownerId}::bigint, ${new Date(endedBy)}::timestamptz) as dropped`.pipe(
            Effect.mapBoth({ onFailure: databaseRefusal, onSuccess: ([row]) => row?.dropped ?? 0 })
          ),

        filesWithDropped: (batch) =>
          sql<{ readonly file_id: number }>`
            select file_id from outdated where has_dropped order by file_id limit ${batch}::bigint`.pipe(
            Effect.mapBoth({ onFailure: databaseRefusal, onSuccess: (rows) => rows.map((row) => row.file_id) })
          ),

        dropExtents: (fileIds, most) =>
          sql<{ readonly segment_id: string }>`
            select distinct segment_id from drop_extents(${bigints(fileIds)}, ${most}::bigint)`.pipe(Effect.mapBoth({
            onFailure: databaseRefusal,
            onSuccess: (rows) => rows.map((row) => SegmentId(row.segment_id))
          })),

        unreferenced: (segments) =>
          sql<{ readonly segment_id: string }>`
            select q.segment_id from unnest(${uuids(segments)}) as q (segment_id)
            where not exists (select from extents e where e.segment_id = q.segment_id)
              and not exists (select from uploads u where u.segment_id = q.segment_id and u.outcome is null)
              and not exists (select from open_segments o where o.segment_id = q.segment_id)`.pipe(
            Effect.mapBoth({
              onFailure: databaseRefusal,
              onSuccess: (rows) => rows.map((row) => SegmentId(row.segment_id))
            })
          ),

        liveBytes: Effect.fnUntraced(function*(segment): Effect.fn.Return<number, Refusal> {
          let live = 0
          let end = 0
          yield* inRanges(segment, (from, to) =>
            Effect.map(
              sql<{ readonly extents: number; readonly live: number; readonly end: number | null }>`
                select
                  count(*) as extents, max(e.segment_offset + e.length) as end,
                  coalesce(
                    sum(greatest(0, e.segment_offset + e.length - greatest(e.segment_offset, e.before))), 0
                  )::bigint as live
                from (
                  select segment_offset, length, greatest(
                    ${end}::bigint,
                    max(segment_offset + length) over (
                      order by segment_offset rows between unbounded preceding and 1 preceding
                    )
                  ) as before
                  from extents
                  where segment_id = ${segment}::uuid and checked_from >= ${from}::bigint and checked_from < ${to}::bigint
                ) e`,
              ([row]) => {
                live += row?.live ?? 0
                end = Math.max(end, row?.end ?? 0)
                return row?.extents ?? 0
              }
            ).pipe(Effect.mapError(databaseRefusal)))
          return live
        }),

        liveSpans: (segment, use) =>
          inRanges(segment, (from, to) =>
            Effect.flatMap(
              sql<{
                readonly segment_offset: number
                readonly length: number
                readonly checked_from: number
                readonly checked_to: number
                readonly checksums: Uint8Array
              }>`
                select distinct on (segment_offset, length)
                  segment_offset, length, checked_from, checked_to, checksums
                from extents
                where segment_id = ${segment}::uuid and checked_from >= ${from}::bigint and checked_from < ${to}::bigint
                order by segment_offset, length`.pipe(Effect.mapError(databaseRefusal)),
              (rows) =>
                Effect.as(
                  rows.length === 0
                    ? Effect.void
                    : use(rows.map((row) => ({
                      segment,
                      offset: row.segment_offset,
                      length: row.length,
                      checkedFrom: row.checked_from,
                      checkedTo: row.checked_to,
                      checksums: row.checksums
                    }))),
                  rows.length
                )
            )),

        move: (segment, moves) =>
          sql`
            select rehome_extents(
              ${segment}::uuid, ${bigints(moves.map((move) => move.from.checkedFrom))},
              ${bigints(moves.map((move) => move.from.offset))}, ${bigints(moves.map((move) => move.from.length))},
              ${uuids(moves.map((move) => move.to.segment))}, ${bigints(moves.map((move) => move.to.offset))},
              ${bigints(moves.map((move) => move.to.checkedFrom))}, ${bigints(moves.map((move) => move.to.checkedTo))},
              ${bytes(moves.map((move) => move.to.checksums))}
            )`.pipe(Effect.mapError(databaseRefusal), Effect.asVoid)
      })
    })
  )
}
