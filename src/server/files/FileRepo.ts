/**
 * What the database knows of files, for reading. Every method is one statement.
 *
 * `locate` is the one lookup that everything begins with: a file by owner and name, what the caller is to it at this
 * moment, who pays for it, and the extents of the range that is to be read, all of one snapshot. Lookups that are asked
 * for at the same time share a statement.
 */
import { Clock, Context, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { FileName } from "../../protocol/FileName.ts"
import type { Sha256, Username } from "../../protocol/Identity.ts"
import type { Refusal } from "../../protocol/Refusal.ts"
import type { Attributes } from "../../protocol/Request.ts"
import { databaseRefusal } from "../Database.ts"
import * as Patience from "../database/Patience.ts"
import { joinRights, type RightsColumns, rightsColumns, toRole } from "../permissions/rights.ts"
import { ServerConfig } from "../ServerConfig.ts"
import * as Batcher from "./Batcher.ts"
import type { Extent } from "./Extent.ts"
import { bigints, texts } from "./parameters.ts"
import {
  type AttributeColumns,
  type ExtentColumns,
  extentColumns,
  type FileColumns,
  fileColumns,
  isPresent,
  type Nullable,
  type OwnerColumns,
  stillCurrent,
  toAttributes,
  toExtent,
  toOwner,
  toSharedFile
} from "./rows.ts"
import type { Place } from "./Rules.ts"

/** Extents that one statement gives for one read. */
export const EXTENTS_PER_BATCH = 64

export interface LocateRequest {
  readonly callerId: number
  readonly owner: Username
  readonly name: FileName
  /** The range of the current version whose extents are wanted; none unless `from < to`. */
  readonly from?: number
  readonly to?: number
}

export interface Located extends Place {
  /** When the first of the caller's grants ends that count, in milliseconds since 1970; `Infinity`: none does. */
  readonly roleUntil: number
  /** The first extents of the range, in order: all of them, or `EXTENTS_PER_BATCH`. */
  readonly extents: ReadonlyArray<Extent>
}

export interface VersionRow {
  readonly version: number
  readonly size: number
  readonly sha256: Sha256 | undefined
  readonly author: Username
  readonly createdAt: number
  readonly attributes: Attributes
}

export class FileRepo extends Context.Service<FileRepo, {
  /** `undefined`: there is no such owner. */
  readonly locate: (request: LocateRequest) => Effect.Effect<Located | undefined, Refusal>
  /** The same for many, in their order, in one statement of their own. */
  readonly locateMany: (
    requests: ReadonlyArray<LocateRequest>
  ) => Effect.Effect<ReadonlyArray<Located | undefined>, Refusal>
  readonly version: (fileId: number, version: number) => Effect.Effect<VersionRow | undefined, Refusal>
  /** The newest first. */
  readonly versions: (fileId: number, limit: number) => Effect.Effect<ReadonlyArray<VersionRow>, Refusal>
  /** At most `EXTENTS_PER_BATCH` extents of a version, in order, from the one that has `position` on. */
  readonly extents: (
    fileId: number,
    version: number,
    position: number
  ) => Effect.Effect<ReadonlyArray<Extent>, Refusal>
  /** Remembers the hash of a version's content. */
  readonly setHash: (fileId: number, version: number, sha256: Sha256) => Effect.Effect<void, Refusal>
}>()("fip/server/files/FileRepo") {
  static readonly layer = Layer.effect(
    FileRepo,
    Effect.gen(function*() {
      const sql = yield* SqlClient
      const config = yield* ServerConfig
      const patiently = Patience.make(config.databaseUrl)

      const batch = sql.literal(String(EXTENTS_PER_BATCH))

      interface Row extends OwnerColumns, RightsColumns, Nullable<FileColumns>, Nullable<ExtentColumns> {
        readonly item: number
      }

      const locateAll = Effect.fnUntraced(function*(requests: ReadonlyArray<LocateRequest>) {
        const now = new Date(yield* Clock.currentTimeMillis)
        const rows = yield* sql<Row>`
          select
            q.item, u.user_id as owner_id, u.username as owner, u.bytes_used, u.files_used,
            coalesce(u.bytes_limit, ${config.bytesPerUser}::bigint) as bytes_limit,
            coalesce(u.files_limit, ${config.filesPerUser}::bigint) as files_limit,
            ${fileColumns}, ${rightsColumns}, e.*
          from unnest(
            ${bigints(requests.map((_, item) => item))}, ${bigints(requests.map((request) => request.callerId))},
            ${texts(requests.map((request) => request.owner.toLowerCase()))},
            ${texts(requests.map((request) => request.name))},
            ${bigints(requests.map((request) => request.from ?? 0))},
            ${bigints(requests.map((request) => request.to ?? 0))}
          ) as q (item, caller_id, owner_key, name, range_from, range_to)
          cross join lateral (select * from users u where u.username_key = q.owner_key offset 0) u
          left join lateral (
            select * from files f where f.owner_id = u.user_id and f.name = q.name and f.deleted_at is null offset 0
          ) f on true
          ${joinRights({ owner: "u.user_id", name: "q.name", file: "f.file_id", caller: "q.caller_id" }, now)}
          left join lateral (
            select ${extentColumns} from extents e
            where q.range_from < q.range_to and e.file_id = f.file_id and e.until_version = ${stillCurrent}
              and e.position < q.range_to and e.position >= (
                select s.position from extents s
                where s.file_id = f.file_id and s.until_version = ${stillCurrent} and s.position <= q.range_from
                order by s.position desc limit 1
              )
            order by e.position
            limit ${batch}
          ) e on true
          order by q.item, e.position`
        const found: Array<Located & { readonly extents: Array<Extent> } | undefined> = requests.map(() => undefined)
        for (const row of rows) {
          const request = requests[row.item]
          if (request === undefined) continue
          let located = found[row.item]
          if (located === undefined) {
            located = {
              callerId: request.callerId,
              owner: toOwner(row),
              name: request.name,
              file: isPresent<FileColumns & RightsColumns>(row, "file_id")
                ? toSharedFile(row.owner_id, row)
                : undefined,
              role: toRole(request.callerId, row.owner_id, row),
              roleUntil: row.granted_until?.getTime() ?? Infinity,
              extents: []
            }
            found[row.item] = located
          }
          if (isPresent<ExtentColumns>(row, "position")) located.extents.push(toExtent(row))
        }
        return found
      })

      const locateMany = (requests: ReadonlyArray<LocateRequest>) =>
        Effect.mapError(patiently(locateAll(requests)), databaseRefusal)

      const locate = yield* Batcher.make({
        run: (requests: ReadonlyArray<LocateRequest>) =>
          Effect.map(locateMany(requests), (found) => found.map((located) => ({ located }))),
        concurrency: 2,
        maxItems: 64
      })

      interface VersionColumns extends AttributeColumns {
        readonly version: number
        readonly size: number
        readonly sha256: Sha256 | null
        readonly author: Username
        readonly created_at: Date
      }
      const toVersion = (row: VersionColumns): VersionRow => ({
        version: row.version,
        size: row.size,
        sha256: row.sha256 ?? undefined,
        author: row.author,
        createdAt: row.created_at.getTime(),
        attributes: toAttributes(row)
      })
      const versionColumns = sql.literal(
        "version, size, encode(sha256, 'hex') as sha256, author, created_at, modified_ms, executable"
      )

      return FileRepo.of({
        locate: (request) => Effect.map(locate(request), ({ located }) => located),
        locateMany,

        version: (fileId, version) =>
          sql<VersionColumns>`
            select ${versionColumns} from versions
            where file_id = ${fileId}::bigint and version = ${version}::bigint`.pipe(
            Effect.mapBoth({
              onFailure: databaseRefusal,
              onSuccess: ([row]) => row === undefined ? undefined : toVersion(row)
            })
          ),

        versions: (fileId, limit) =>
          sql<VersionColumns>`
            select ${versionColumns} from versions
            where file_id = ${fileId}::bigint order by version desc limit ${limit}::bigint`.pipe(
            Effect.mapBoth({ onFailure: databaseRefusal, onSuccess: (rows) => rows.map(toVersion) })
          ),

        // Of the extents of a version that is not the current one, some still belong to the current one, and the others
        // were closed by a later one. Of the first, the one that has the position is the last that begins there or
        // before.
        extents: (fileId, version, position) =>
          sql<ExtentColumns>`
            select ${extentColumns} from (
              (
                select * from extents
                where file_id = ${fileId}::bigint and until_version = ${stillCurrent}
                  and from_version <= ${version}::bigint and position >= coalesce((
                    select position from extents
                    where file_id = ${fileId}::bigint and until_version = ${stillCurrent}
                      and from_version <= ${version}::bigint and position <= ${position}::bigint
                    order by position desc limit 1
                  ), 0)
                order by position limit ${batch}
              ) union all (
                select * from extents
                where file_id = ${fileId}::bigint and until_version > ${version}::bigint
                  and until_version < ${stillCurrent} and from_version <= ${version}::bigint
                  and position + length > ${position}::bigint
                order by position limit ${batch}
              )
            ) e
            order by e.position limit ${batch}`.pipe(
            Effect.mapBoth({ onFailure: databaseRefusal, onSuccess: (rows) => rows.map(toExtent) })
          ),

        setHash: (fileId, version, sha256) =>
          sql`
            with hashed as (
              update versions set sha256 = decode(${sha256}, 'hex')
              where file_id = ${fileId}::bigint and version = ${version}::bigint
            )
            update files set sha256 = decode(${sha256}, 'hex')
            where file_id = ${fileId}::bigint and version = ${version}::bigint`.pipe(
            Effect.mapBoth({ onFailure: databaseRefusal, onSuccess: () => undefined })
          )
      })
    })
  )
}
