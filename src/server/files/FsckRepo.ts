/**
 * What checking the store asks of the database. Every method is one statement, and so sees one moment. One that is asked
 * page by page costs what is on its page, whatever the store holds (migrations/0002_files.ts says how).
 */
import { Context, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { Fragment } from "effect/sql/Statement"
import type { Refusal } from "../../protocol/Refusal.ts"
import { databaseRefusal } from "../Database.ts"
import { SegmentId } from "./Extent.ts"

/** Files, and segments, of one statement. */
const PAGE = 500

export interface FilesPage {
  /** The last one; `undefined`: there are no more. */
  readonly last: number | undefined
  readonly files: number
  readonly versions: number
  readonly faults: ReadonlyArray<{ readonly label: string; readonly version: number; readonly fault: string }>
}

export interface NamedUpload {
  readonly uploadId: string
  readonly segment: SegmentId
  /** Where what has been noted of it ends. */
  readonly end: number
}

export interface Drift {
  readonly userId: number
  readonly username: string
  readonly bytesUsed: number
  readonly filesUsed: number
  /** What the files say. */
  readonly bytes: number
  readonly files: number
}

const refused = <A>(effect: Effect.Effect<A, SqlError>) => Effect.mapError(effect, databaseRefusal)

export class FsckRepo extends Context.Service<FsckRepo, {
  /** Checks that each version is covered once by its extents, and that files are as their versions say. */
  readonly files: (after: number) => Effect.Effect<FilesPage, Refusal>
  readonly drifted: Effect.Effect<ReadonlyArray<Drift>, Refusal>
  /** Counts anew what a user is charged for, in one step. */
  readonly recount: (userId: number) => Effect.Effect<void, Refusal>
  readonly users: Effect.Effect<number, Refusal>
  /** How many segments extents refer to. */
  readonly segmentCount: Effect.Effect<number, Refusal>
  /** Segments that extents refer to, in the order of their ids. */
  readonly segments: (after: SegmentId | undefined) => Effect.Effect<ReadonlyArray<SegmentId>, Refusal>
  /** `owner/name` of files that have something in these bytes of a segment; some of them. */
  readonly filesAt: (segment: SegmentId, from: number, to: number) => Effect.Effect<ReadonlyArray<string>, Refusal>
  /** Uploads that are under way and of which something was noted. */
  readonly uploads: Effect.Effect<ReadonlyArray<NamedUpload>, Refusal>
}>()("fip/server/files/FsckRepo") {
  static readonly layer = Layer.effect(
    FsckRepo,
    Effect.gen(function*() {
      const sql = yield* SqlClient
      const charged = sql`
        select u.user_id, u.username, u.bytes_used, u.files_used,
          coalesce(f.bytes, 0)::bigint as bytes, coalesce(f.files, 0)::bigint as files
        from users u
        left join (
          select owner_id, sum(size)::bigint as bytes, count(*) as files from files where deleted_at is null
          group by owner_id
        ) f on f.owner_id = u.user_id`

      /** `segment (id)`: those that extents refer to, in order, from one to the next; with a null behind the last. */
      const segmentsFrom = (begin: Fragment) =>
        sql`
          with recursive segment (id) as (
            (select segment_id from extents where ${begin} order by segment_id limit 1)
            union all
            select (select e.segment_id from extents e where e.segment_id > s.id order by e.segment_id limit 1)
            from segment s where s.id is not null
          )`

      return FsckRepo.of({
        files: (after) =>
          refused(Effect.map(
            sql<{
              readonly file_id: number
              readonly label: string
              readonly version: number | null
              readonly size: number | null
              readonly covered: number
              readonly broken: boolean
              readonly is_current: boolean
              readonly has_current: boolean
              readonly agrees: boolean
            }>`
              select
                f.file_id, u.username || '/' || f.name as label, v.version, v.size,
                coalesce(e.covered, 0)::bigint as covered, coalesce(e.broken, false) as broken,
                coalesce(v.version = f.version, false) as is_current,
                v.version is null and f.deleted_at is not null or c.is_there is not null as has_current,
                coalesce(v.size = f.size and v.sha256 is not distinct from f.sha256, false) as agrees
              from (
                select * from files where file_id > ${after}::bigint order by file_id limit ${PAGE}::bigint
              ) f
              cross join lateral (select u.username from users u where u.user_id = f.owner_id offset 0) u
              left join lateral (select * from versions v where v.file_id = f.file_id offset 0) v on true
              left join lateral (
                select true as is_there from versions c where c.file_id = f.file_id and c.version = f.version offset 0
              ) c on true
              left join lateral (
                select sum(p.length) as covered, bool_or(p.position <> p.expected) as broken
                from (
                  select x.position, x.length,
                    lag(x.position + x.length, 1, 0::bigint) over (order by x.position) as expected
                  from extents x
                  where x.file_id = f.file_id and x.from_version <= v.version and x.until_version > v.version
                ) p
              ) e on true
              order by f.file_id, v.version`,
            (rows) => {
              const faults: Array<FilesPage["faults"][number]> = []
              const lost = new Set<number>()
              for (const row of rows) {
                if (!row.has_current && !lost.has(row.file_id)) {
                  lost.add(row.file_id)
                  faults.push({ label: row.label, version: 0, fault: "its current version is not there" })
                }
                if (row.version === null) continue
                const { label, version } = row
                if (row.broken || row.covered !== row.size) {
                  faults.push({ label, version, fault: "its extents do not cover it exactly once" })
                }
                if (row.is_current && !row.agrees) {
                  faults.push({ label, version, fault: "the file has another size or hash than its current version" })
                }
              }
              const files = new Set(rows.map((row) => row.file_id))
              const versions = rows.filter((row) => row.version !== null).length
              return { last: rows.at(-1)?.file_id, files: files.size, versions, faults }
            }
          )),

        drifted: refused(Effect.map(
          sql<{
            readonly user_id: number
            readonly username: string
            readonly bytes_used: number
            readonly files_used: number
            readonly bytes: number
            readonly files: number
          }>`
            select * from (${charged}) c where c.bytes_used <> c.bytes or c.files_used <> c.files order by c.username`,
          (rows) =>
            rows.map((row) => ({
              userId: row.user_id,
              username: row.username,
              bytesUsed: row.bytes_used,
              filesUsed: row.files_used,
              bytes: row.bytes,
              files: row.files
            }))
        )),

        // The lock first: whoever moves the counters takes it before the files change.
        recount: (userId) =>
          refused(sql.withTransaction(Effect.andThen(
            sql`select from users where user_id = ${userId}::bigint for no key update`,
            sql`
              update users u set bytes_used = c.bytes, files_used = c.files
              from (${charged}) c where c.user_id = u.user_id and u.user_id = ${userId}::bigint`
          ))).pipe(Effect.asVoid),

        users: refused(Effect.map(
          sql<{ readonly users: number }>`select count(*) as users from users`,
          ([row]) => row?.users ?? 0
        )),

        segmentCount: refused(Effect.map(
          sql<{ readonly segments: number }>`${
            segmentsFrom(sql.literal("true"))
          } select count(id) as segments from segment`,
          ([row]) => row?.segments ?? 0
        )),

        segments: (after) =>
          refused(Effect.map(
            sql<{ readonly segment_id: string }>`
              ${segmentsFrom(after === undefined ? sql.literal("true") : sql`segment_id > ${after}::uuid`)}
              select id as segment_id from segment where id is not null limit ${PAGE}::bigint`,
            (rows) => rows.map((row) => SegmentId(row.segment_id))
          )),

        filesAt: (segment, from, to) =>
          refused(Effect.map(
            sql<{ readonly label: string }>`
              select distinct u.username || '/' || f.name as label
              from extents e
              cross join lateral (select * from files f where f.file_id = e.file_id offset 0) f
              cross join lateral (select u.username from users u where u.user_id = f.owner_id offset 0) u
              where e.segment_id = ${segment}::uuid and e.checked_from < ${to}::bigint and e.checked_to > ${from}::bigint
              order by label limit 5`,
            (rows) => rows.map((row) => row.label)
          )),

        uploads: refused(Effect.map(
          sql<{ readonly upload_id: string; readonly segment_id: string; readonly end: number }>`
            select u.upload_id, u.segment_id, max(r.position + r.length)::bigint as end
            from uploads u join upload_runs r on r.upload_id = u.upload_id
            where u.outcome is null group by u.upload_id`,
          (rows) =>
            rows.map((row) => ({
              uploadId: row.upload_id,
              segment: SegmentId(row.segment_id),
              end: row.end
            }))
        ))
      })
    })
  )
}
