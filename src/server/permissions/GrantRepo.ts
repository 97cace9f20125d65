/**
 * Rows of `grants`, and what sharing changes of `files` and `users`. Statements alone: they know no rules, and those
 * that write run in the caller's transaction, which holds the locks.
 *
 * A grant that has expired at the instant given is treated as not there.
 */
import { Context, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { FileName } from "../../protocol/FileName.ts"
import type { Username } from "../../protocol/Identity.ts"
import type { GrantRole } from "../../protocol/Permission.ts"

export interface Grant {
  readonly role: GrantRole
  readonly grantedBy: Username
  /** In milliseconds since 1970. */
  readonly grantedAt: number
  /** `undefined`: permanent. */
  readonly expiresAt: number | undefined
}

interface GrantColumns {
  readonly role: GrantRole
  readonly granted_by: Username
  readonly granted_at: Date
  readonly expires_at: Date | null
}

const toGrant = (row: GrantColumns): Grant => ({
  role: row.role,
  grantedBy: row.granted_by,
  grantedAt: row.granted_at.getTime(),
  expiresAt: row.expires_at?.getTime()
})

/** A file that changes hands, and the room that it takes. */
export interface Handover {
  readonly fileId: number
  readonly size: number
  readonly from: number
  readonly to: number
  readonly name: FileName
}

export class GrantRepo extends Context.Service<GrantRepo, {
  readonly find: (fileId: number, userId: number, now: Date) => Effect.Effect<Grant | undefined, SqlError>
  /** By name. */
  readonly list: (
    fileId: number,
    now: Date
  ) => Effect.Effect<ReadonlyArray<Grant & { readonly username: Username }>, SqlError>
  /** Replaces what the user had. */
  readonly put: (fileId: number, userId: number, grant: Grant) => Effect.Effect<void, SqlError>
  readonly remove: (fileId: number, userId: number) => Effect.Effect<void, SqlError>
  /** Removes what has expired, everywhere. */
  readonly sweep: (now: Date) => Effect.Effect<void, SqlError>
  readonly setPublic: (fileId: number, isPublic: boolean) => Effect.Effect<void, SqlError>
  /** Moves the file, and what it takes from the quotas, to its new owner. */
  readonly handOver: (handover: Handover) => Effect.Effect<void, SqlError>
}>()("fip/server/permissions/GrantRepo") {
  static readonly layer = Layer.effect(
    GrantRepo,
    Effect.gen(function*() {
      const sql = yield* SqlClient
      const columns = sql.literal("g.role, g.granted_by, g.granted_at, g.expires_at")
      const live = (now: Date) => sql`(g.expires_at is null or g.expires_at > ${now}::timestamptz)`

      return GrantRepo.of({
        find: (fileId, userId, now) =>
          Effect.map(
            sql<GrantColumns>`
              select ${columns} from grants g
              where g.file_id = ${fileId}::bigint and g.user_id = ${userId}::bigint and ${live(now)}`,
            ([row]) => row === undefined ? undefined : toGrant(row)
          ),

        list: (fileId, now) =>
          Effect.map(
            sql<GrantColumns & { readonly username: Username }>`
              select u.username, ${columns} from grants g join users u on u.user_id = g.user_id
              where g.file_id = ${fileId}::bigint and ${live(now)}
              order by u.username_key`,
            (rows) => rows.map((row) => ({ username: row.username, ...toGrant(row) }))
          ),

        put: (fileId, userId, grant) =>
          Effect.asVoid(sql`
            insert into grants (file_id, user_id, role, granted_by, granted_at, expires_at)
            values (
              ${fileId}::bigint, ${userId}::bigint, ${grant.role}, ${grant.grantedBy},
              ${new Date(grant.grantedAt)}::timestamptz,
              ${grant.expiresAt === undefined ? null : new Date(grant.expiresAt)}::timestamptz
            )
            on conflict (file_id, user_id) do update set
              role = excluded.role, granted_by = excluded.granted_by, granted_at = excluded.granted_at,
              expires_at = excluded.expires_at`),

        remove: (fileId, userId) =>
          Effect.asVoid(sql`delete from grants where file_id = ${fileId}::bigint and user_id = ${userId}::bigint`),

        sweep: (now) => Effect.asVoid(sql`delete from grants where expires_at <= ${now}::timestamptz`),

        setPublic: (fileId, isPublic) =>
          Effect.asVoid(sql`update files set public = ${isPublic} where file_id = ${fileId}::bigint`),

        handOver: ({ fileId, from, name, size, to }) =>
          Effect.all([
            sql`update files set owner_id = ${to}::bigint, name = ${name} where file_id = ${fileId}::bigint`,
            sql`
              update users set bytes_used = bytes_used - ${size}::bigint, files_used = files_used - 1
              where user_id = ${from}::bigint`,
            sql`
              update users set bytes_used = bytes_used + ${size}::bigint, files_used = files_used + 1
              where user_id = ${to}::bigint`
          ], { discard: true })
      })
    })
  )
}
