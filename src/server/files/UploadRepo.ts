/** What the database keeps of uploads. Every method is one statement. */
import { Context, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { FileName } from "../../protocol/FileName.ts"
import type { UploadId, Username } from "../../protocol/Identity.ts"
import type { Refusal } from "../../protocol/Refusal.ts"
import type { Attributes, UploadMode, Written } from "../../protocol/Request.ts"
import { databaseRefusal } from "../Database.ts"
import { SegmentId } from "./Extent.ts"
import { bigints, bytes, instants, uuids } from "./parameters.ts"
import { type AttributeColumns, toAttributes } from "./rows.ts"

export interface Upload {
  readonly uploadId: UploadId
  readonly userId: number
  readonly ownerId: number
  readonly owner: Username
  readonly name: FileName
  readonly mode: UploadMode
  readonly size: number | undefined
  readonly position: number | undefined
  readonly expected: number | undefined
  readonly segment: SegmentId
  readonly attributes: Attributes
}

/** Bytes that are durable, and the checksums of the blocks that are whole in them. */
export interface Run {
  readonly position: number
  readonly length: number
  readonly checksums: Uint8Array
}

export interface SavedUpload {
  readonly upload: Upload
  /** The answer to its commit, once it has been committed. */
  readonly outcome: Written | undefined
  readonly runs: ReadonlyArray<Run>
}

export interface ListedUpload {
  readonly upload_id: UploadId
  readonly owner: Username
  readonly name: FileName
  readonly mode: UploadMode
  readonly size: number | null
  readonly received_bytes: number
  readonly expires_at: Date
}

interface Row extends AttributeColumns {
  readonly upload_id: UploadId
  readonly user_id: number
  readonly owner_id: number
  readonly owner: Username
  readonly name: FileName
  readonly mode: UploadMode
  readonly size: number | null
  readonly position: number | null
  readonly expected_version: number | null
  readonly segment_id: string
  readonly outcome: Written | null
  readonly run_position: number | null
  readonly run_length: number
  readonly run_checksums: Uint8Array
}

export class UploadRepo extends Context.Service<UploadRepo, {
  readonly insert: (upload: Upload, expiresAt: Date) => Effect.Effect<void, Refusal>
  /** `undefined`: the user has no such upload. */
  readonly find: (uploadId: UploadId, userId: number) => Effect.Effect<SavedUpload | undefined, Refusal>
  /** How many uploads of a user are not finished, and the noted bytes of those, but one, that an owner is to pay for. */
  readonly unfinished: (
    userId: number,
    ownerId: number,
    except: UploadId | undefined
  ) => Effect.Effect<{ readonly uploads: number; readonly bytes: number }, Refusal>
  /** Those of a user that are not finished, the first to expire first; a user has no more than a hundred. */
  readonly list: (userId: number) => Effect.Effect<ReadonlyArray<ListedUpload>, Refusal>
  readonly save: (uploadId: UploadId, runs: ReadonlyArray<Run>, expiresAt: Date) => Effect.Effect<void, Refusal>
  /** Puts off the end of uploads that are in use. */
  readonly touch: (
    uploads: ReadonlyArray<{ readonly uploadId: UploadId; readonly expiresAt: Date }>
  ) => Effect.Effect<void, Refusal>
  /** Removes an upload that was not committed; its segment, unless there was none. */
  readonly remove: (uploadId: UploadId, userId: number) => Effect.Effect<SegmentId | undefined, Refusal>
  /** Removes those that have expired; the segments of those that were not committed. */
  readonly removeExpired: (now: Date) => Effect.Effect<ReadonlyArray<SegmentId>, Refusal>
}>()("fip/server/files/UploadRepo") {
  static readonly layer = Layer.effect(
    UploadRepo,
    Effect.gen(function*() {
      const sql = yield* SqlClient
      return UploadRepo.of({
        insert: (upload, expiresAt) =>
          sql`
            insert into uploads (
              upload_id, user_id, owner_id, name, mode, size, position, expected_version, segment_id, expires_at,
              modified_ms, executable
            ) values (
              ${upload.uploadId}, ${upload.userId}::bigint, ${upload.ownerId}::bigint, ${upload.name}, ${upload.mode},
              ${upload.size ?? null}::bigint, ${upload.position ?? null}::bigint, ${upload.expected ?? null}::bigint,
              ${upload.segment}, ${expiresAt}, ${upload.attributes.modified_ms ?? null}::bigint,
              ${upload.attributes.executable ?? null}::boolean
            )`.pipe(Effect.mapError(databaseRefusal), Effect.asVoid),

        find: (uploadId, userId) =>
          sql<Row>`
            select
              p.upload_id, p.user_id, p.owner_id, u.username as owner, p.name, p.mode, p.size, p.position,
              p.expected_version, p.segment_id, p.outcome, p.modified_ms, p.executable,
              r.position as run_position, r.length as run_length, r.checksums as run_checksums
            from uploads p
            join users u on u.user_id = p.owner_id
            left join upload_runs r on r.upload_id = p.upload_id
            where p.upload_id = ${uploadId}::uuid and p.user_id = ${userId}::bigint
            order by r.position`.pipe(
            Effect.mapBoth({
              onFailure: databaseRefusal,
              onSuccess: (rows) => {
                const [row] = rows
                return row === undefined ? undefined : {
                  upload: {
                    uploadId: row.upload_id,
                    userId: row.user_id,
                    ownerId: row.owner_id,
                    owner: row.owner,
                    name: row.name,
                    mode: row.mode,
                    size: row.size ?? undefined,
                    position: row.position ?? undefined,
                    expected: row.expected_version ?? undefined,
                    segment: SegmentId(row.segment_id),
                    attributes: toAttributes(row)
                  },
                  outcome: row.outcome ?? undefined,
                  runs: rows.flatMap((run) =>
                    run.run_position === null
                      ? []
                      : [{ position: run.run_position, length: run.run_length, checksums: run.run_checksums }]
                  )
                }
              }
            })
          ),

        unfinished: (userId, ownerId, except) =>
          sql<{ readonly uploads: number; readonly bytes: number }>`
            select
              (select count(*) from uploads u where u.user_id = ${userId}::bigint and u.outcome is null) as uploads,
              (
                select coalesce(sum(r.bytes), 0)::bigint
                from uploads u
                cross join lateral (
                  select sum(x.length) as bytes from upload_runs x where x.upload_id = u.upload_id offset 0
                ) r
                where u.owner_id = ${ownerId}::bigint and u.outcome is null
                  and u.upload_id is distinct from ${except ?? null}::uuid
              ) as bytes`.pipe(
            Effect.mapBoth({ onFailure: databaseRefusal, onSuccess: ([row]) => row ?? { uploads: 0, bytes: 0 } })
          ),

        list: (userId) =>
          sql<ListedUpload>`
            select p.upload_id, u.username as owner, p.name, p.mode, p.size, r.bytes as received_bytes, p.expires_at
            from uploads p
            join users u on u.user_id = p.owner_id
            cross join lateral (
              select coalesce(sum(x.length), 0)::bigint as bytes from upload_runs x
              where x.upload_id = p.upload_id offset 0
            ) r
            where p.user_id = ${userId}::bigint and p.outcome is null
            order by p.expires_at, p.upload_id`.pipe(Effect.mapError(databaseRefusal)),

        save: (uploadId, runs, expiresAt) =>
          sql`
            with kept as (
              update uploads set expires_at = ${expiresAt}
              where upload_id = ${uploadId}::uuid and outcome is null
              returning upload_id
            )
            insert into upload_runs (upload_id, position, length, checksums)
            select kept.upload_id, r.position, r.length, r.checksums
            from kept, unnest(
              ${bigints(runs.map((run) => run.position))}, ${bigints(runs.map((run) => run.length))},
              ${bytes(runs.map((run) => run.checksums))}
            ) as r (position, length, checksums)
            on conflict (upload_id, position) do update set length = excluded.length, checksums = excluded.checksums
            where excluded.length > upload_runs.length`.pipe(Effect.mapError(databaseRefusal), Effect.asVoid),

        touch: (uploads) =>
          sql`
            update uploads u set expires_at = t.expires_at
            from unnest(
              ${uuids(uploads.map((one) => one.uploadId))}, ${instants(uploads.map((one) => one.expiresAt))}
            ) as t (upload_id, expires_at)
            where u.upload_id = t.upload_id and u.outcome is null`.pipe(
            Effect.mapError(databaseRefusal),
            Effect.asVoid
          ),

        remove: (uploadId, userId) =>
          sql<{ readonly segment_id: string }>`
            delete from uploads
            where upload_id = ${uploadId}::uuid and user_id = ${userId}::bigint and outcome is null
            returning segment_id`.pipe(
            Effect.mapBoth({
              onFailure: databaseRefusal,
              onSuccess: ([row]) => row === undefined ? undefined : SegmentId(row.segment_id)
            })
          ),

        removeExpired: (now) =>
          sql<{ readonly segment_id: string; readonly committed: boolean }>`
            delete from uploads where expires_at < ${now}
            returning segment_id, outcome is not null as committed`.pipe(
            Effect.mapBoth({
              onFailure: databaseRefusal,
              onSuccess: (rows) => rows.filter((row) => !row.committed).map((row) => SegmentId(row.segment_id))
            })
          )
      })
    })
  )
}
