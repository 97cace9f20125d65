/**
 * Rows of `grants`, `folder_grants`, `public_folders` and `locks`, and what sharing changes of `files` and `users`.
 * Statements alone: they know no rules, and those that write run in the caller's transaction, which holds the locks.
 *
 * Every change of rights that is asked for goes through here and names the file or folder that it is about. (Deleting a
 * file ends its grants, too: `change_files` in the migrations.) A grant that has expired at the instant given is
 * treated as not there.
 */
import { Context, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { FileName, FolderPrefix } from "../../protocol/FileName.ts"
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

/** What is shared. */
export type Subject =
  & {
    readonly ownerId: number
  }
  & (
    | { readonly _tag: "File"; readonly name: FileName; readonly fileId: number }
    | { readonly _tag: "Folder"; readonly name: FolderPrefix }
  )

/** A grant that covers a subject. */
export interface CoveringGrant extends Grant {
  readonly userId: number
  readonly username: Username
  /** The folder that it was given on, unless it was given on the subject itself. */
  readonly through: FolderPrefix | undefined
}

interface GrantColumns {
  readonly role: GrantRole
  readonly granted_by: Username
  readonly granted_at: Date
  readonly expires_at: Date | null
}

interface CoveringColumns extends GrantColumns {
  readonly user_id: number
  readonly username: Username
  readonly folder: FolderPrefix | null
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
  /** The user's grant on the subject itself. */
  readonly find: (subject: Subject, userId: number, now: Date) => Effect.Effect<Grant | undefined, SqlError>
  /** All grants that cover the subject: by name of their users, those of the subject itself before those of folders. */
  readonly list: (subject: Subject, now: Date) => Effect.Effect<ReadonlyArray<CoveringGrant>, SqlError>
  /** Replaces what the user had on the subject. */
  readonly put: (subject: Subject, userId: number, grant: Grant) => Effect.Effect<void, SqlError>
  readonly remove: (subject: Subject, userId: number) => Effect.Effect<void, SqlError>
  readonly setPublic: (subject: Subject, isPublic: boolean) => Effect.Effect<void, SqlError>
  /** The largest public folder that the subject is in (a folder is in itself). */
  readonly publicFolder: (subject: Subject) => Effect.Effect<FolderPrefix | undefined, SqlError>
  /** Moves the file, and what it takes from the quotas, to its new owner. Its lock ends. */
  readonly handOver: (handover: Handover) => Effect.Effect<void, SqlError>
  /** Replaces the file's lock. */
  readonly lock: (
    fileId: number,
    lock: { readonly userId: number; readonly lockedAt: number; readonly expiresAt: number }
  ) => Effect.Effect<void, SqlError>
  readonly unlock: (fileId: number) => Effect.Effect<void, SqlError>
  /** Removes grants and locks that have expired, everywhere. */
  readonly sweep: (now: Date) => Effect.Effect<void, SqlError>
}>()("fip/server/permissions/GrantRepo") {
  static readonly layer = Layer.effect(
    GrantRepo,
    Effect.gen(function*() {
      const sql = yield* SqlClient
      const columns = sql.literal("g.role, g.granted_by, g.granted_at, g.expires_at")
      const live = (now: Date) => sql`(g.expires_at is null or g.expires_at > ${now}::timestamptz)`

      /** Of `g`: a user's grant on the subject itself. */
      const ofUser = (subject: Subject, userId: number) =>
        subject._tag === "File"
          ? sql`grants g where g.file_id = ${subject.fileId}::bigint and g.user_id = ${userId}::bigint`
          : sql`
            folder_grants g
            where g.user_id = ${userId}::bigint and g.owner_id = ${subject.ownerId}::bigint and g.folder = ${subject.name}`

      /** Values and conflict of an insert, the same for both tables. */
      const values = (grant: Grant) =>
        sql`
          ${grant.role}, ${grant.grantedBy}, ${new Date(grant.grantedAt)}::timestamptz,
          ${grant.expiresAt === undefined ? null : new Date(grant.expiresAt)}::timestamptz`
      const replaces = sql.literal(`
        update set role = excluded.role, granted_by = excluded.granted_by, granted_at = excluded.granted_at,
          expires_at = excluded.expires_at`)

      return GrantRepo.of({
        find: (subject, userId, now) =>
          Effect.map(
            sql<GrantColumns>`select ${columns} from ${ofUser(subject, userId)} and ${live(now)}`,
            ([row]) => row === undefined ? undefined : toGrant(row)
          ),

        list: (subject, now) =>
          Effect.map(
            sql<CoveringColumns>`
              select u.user_id, u.username, g.* from (
                ${
              subject._tag === "Folder" ? sql.literal("") : sql`
                select g.user_id, null::text as folder, ${columns} from grants g
                where g.file_id = ${subject.fileId}::bigint and ${live(now)}
                union all`
            }
                select g.user_id, g.folder, ${columns} from unnest(folders_of(${subject.name})) d (folder)
                cross join lateral (
                  select * from folder_grants g
                  where g.owner_id = ${subject.ownerId}::bigint and g.folder = d.folder and ${live(now)} offset 0
                ) g
              ) g join users u on u.user_id = g.user_id
              order by u.username_key, length(g.folder) desc nulls first`,
            (rows) =>
              rows.map((row) => ({
                userId: row.user_id,
                username: row.username,
                through: row.folder === null || row.folder === subject.name ? undefined : row.folder,
                ...toGrant(row)
              }))
          ),

        put: (subject, userId, grant) =>
          Effect.asVoid(
            subject._tag === "File"
              ? sql`
                insert into grants (file_id, user_id, role, granted_by, granted_at, expires_at)
                values (${subject.fileId}::bigint, ${userId}::bigint, ${values(grant)})
                on conflict (file_id, user_id) do ${replaces}`
              : sql`
                insert into folder_grants (owner_id, folder, user_id, role, granted_by, granted_at, expires_at)
                values (${subject.ownerId}::bigint, ${subject.name}, ${userId}::bigint, ${values(grant)})
                on conflict (user_id, owner_id, folder) do ${replaces}`
          ),

        remove: (subject, userId) => Effect.asVoid(sql`delete from ${ofUser(subject, userId)}`),

        setPublic: (subject, isPublic) =>
          Effect.asVoid(
            subject._tag === "File"
              ? sql`update files set public = ${isPublic} where file_id = ${subject.fileId}::bigint`
              : isPublic
              ? sql`
                insert into public_folders (owner_id, folder) values (${subject.ownerId}::bigint, ${subject.name})
                on conflict do nothing`
              : sql`
                delete from public_folders
                where owner_id = ${subject.ownerId}::bigint and folder = ${subject.name}`
          ),

        publicFolder: (subject) =>
          Effect.map(
            sql<{ readonly folder: FolderPrefix }>`
              select p.folder from unnest(folders_of(${subject.name})) d (folder)
              cross join lateral (
                select p.folder from public_folders p
                where p.owner_id = ${subject.ownerId}::bigint and p.folder = d.folder offset 0
              ) p
              order by length(p.folder) limit 1`,
            ([row]) => row?.folder
          ),

        handOver: ({ fileId, from, name, size, to }) =>
          Effect.all([
            sql`update files set owner_id = ${to}::bigint, name = ${name} where file_id = ${fileId}::bigint`,
            sql`delete from locks where file_id = ${fileId}::bigint`,
            sql`
              update users set bytes_used = bytes_used - ${size}::bigint, files_used = files_used - 1
              where user_id = ${from}::bigint`,
            sql`
              update users set bytes_used = bytes_used + ${size}::bigint, files_used = files_used + 1
              where user_id = ${to}::bigint`
          ], { discard: true }),

        lock: (fileId, { expiresAt, lockedAt, userId }) =>
          Effect.asVoid(sql`
            insert into locks (file_id, user_id, locked_at, expires_at)
            values (
              ${fileId}::bigint, ${userId}::bigint, ${new Date(lockedAt)}::timestamptz,
              ${new Date(expiresAt)}::timestamptz
            )
            on conflict (file_id) do update set
              user_id = excluded.user_id, locked_at = excluded.locked_at, expires_at = excluded.expires_at`),

        unlock: (fileId) => Effect.asVoid(sql`delete from locks where file_id = ${fileId}::bigint`),

        sweep: (now) =>
          Effect.all([
            sql`delete from grants where expires_at <= ${now}::timestamptz`,
            sql`delete from folder_grants where expires_at <= ${now}::timestamptz`,
            sql`delete from locks where expires_at <= ${now}::timestamptz`
          ], { discard: true })
      })
    })
  )
}
