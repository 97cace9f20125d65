/**
 * What the database does for a group of changes: every method is one statement, whatever the size of the group, and
 * runs within the group's transaction.
 *
 * Owners are locked first, in the order of their ids: whoever changes which files an owner has, or what they hold,
 * takes that lock before any other, so nothing that is read after it can be overtaken, and nobody waits in a circle.
 */
import { Effect } from "effect"
import type { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { Fragment } from "effect/sql/Statement"
import type { Sha256, UploadId, Username } from "../../protocol/Identity.ts"
import type { Role } from "../../protocol/Permission.ts"
import type { Written } from "../../protocol/Request.ts"
import { joinRights, type RightsColumns, rightsColumns, toRole } from "../permissions/rights.ts"
import type { ServerSettings } from "../ServerConfig.ts"
import type { Slot } from "./Change.ts"
import type { Extent } from "./Extent.ts"
import { bigints, booleans, bytes, documents, instants, texts, uuids } from "./parameters.ts"
import type { Content, Plan, Target } from "./Plan.ts"
import {
  type AttributeColumns,
  type ExtentColumns,
  extentColumns,
  type FileColumns,
  fileColumns,
  isPresent,
  isRestorable,
  type Nullable,
  type OwnerColumns,
  stillCurrent,
  toAttributes,
  toExtent,
  toFile,
  toOwner,
  toSharedFile
} from "./rows.ts"
import type { FileRow, Owner } from "./Rules.ts"

export interface SlotQuery {
  readonly ownerId: number
  readonly name: string
  readonly callerId: number
}

export interface LockedSlot {
  /** Index of the query. */
  readonly item: number
  readonly file: FileRow | undefined
  readonly role: Role | undefined
}

export interface Range {
  readonly fileId: number
  readonly from: number
  readonly to: number
}

type Run<A> = Effect.Effect<A, SqlError>

const localInstants = (contents: ReadonlyArray<Content>) =>
  bigints(contents.map(({ attributes }) => attributes.modified_ms ?? null))
const executables = (contents: ReadonlyArray<Content>) =>
  booleans(contents.map(({ attributes }) => attributes.executable ?? null))

/** Of a file that is there. */
const idOf = ({ target }: { readonly target: Target }): number | null => target.fileId ?? null

export const make = (
  sql: SqlClient,
  settings: Pick<ServerSettings, "bytesPerUser" | "filesPerUser" | "keepDeletedFor">
) => {
  const ownerColumns = () =>
    sql`
    u.user_id as owner_id, u.username as owner, u.bytes_used, u.files_used,
    coalesce(u.bytes_limit, ${settings.bytesPerUser}::bigint) as bytes_limit,
    coalesce(u.files_limit, ${settings.filesPerUser}::bigint) as files_limit`

  /** Those of the owners that exist; locked. */
  const lockOwners = (ids: ReadonlyArray<number>): Run<ReadonlyArray<Owner>> =>
    Effect.map(
      sql<OwnerColumns>`
        select ${ownerColumns()}
        from unnest(${bigints(ids.toSorted((a, b) => a - b))}) as q (user_id)
        cross join lateral (select * from users u where u.user_id = q.user_id offset 0 for no key update) u`,
      (rows) => rows.map(toOwner)
    )

  /** Those of these users that exist, by their names; locked, in the order of their ids as everywhere. */
  const lockNamed = (names: ReadonlyArray<Username>): Run<ReadonlyArray<Owner>> =>
    Effect.map(
      sql<OwnerColumns>`
        select ${ownerColumns()}
        from (
          select distinct u.user_id from unnest(${texts(names.map((name) => name.toLowerCase()))}) as q (key)
          cross join lateral (select u.user_id from users u where u.username_key = q.key offset 0) u
          order by u.user_id
        ) q
        cross join lateral (select * from users u where u.user_id = q.user_id offset 0 for no key update) u`,
      (rows) => rows.map(toOwner)
    )

  /** What somebody is to a folder. Nothing of it is locked: whoever changes that locks the owner. */
  const folderRole = (
    { callerId, name, ownerId }: SlotQuery,
    now: Date
  ): Run<Role | undefined> =>
    Effect.map(
      sql<RightsColumns>`
        select ${rightsColumns}
        from (
          select ${ownerId}::bigint as owner_id, ${name}::text as name, ${callerId}::bigint as caller_id,
            null::bigint as file_id
        ) q
        ${joinRights({ owner: "q.owner_id", name: "q.name", file: "q.file_id", caller: "q.caller_id" }, now)}`,
      ([row]) => row === undefined ? undefined : toRole(callerId, ownerId, { ...row, public: false })
    )

  /** The files in these slots, locked, and what their callers are to them, or would be to a file there. */
  const lockFiles = (queries: ReadonlyArray<SlotQuery>, now: Date): Run<ReadonlyArray<LockedSlot>> =>
    Effect.map(
      sql<Nullable<FileColumns> & RightsColumns & { readonly item: number }>`
        select q.item, ${fileColumns}, ${rightsColumns}
        from unnest(
          ${bigints(queries.map((_, item) => item))}, ${bigints(queries.map((query) => query.ownerId))},
          ${texts(queries.map((query) => query.name))}, ${bigints(queries.map((query) => query.callerId))}
        ) as q (item, owner_id, name, caller_id)
        left join lateral (
          select * from files f where f.owner_id = q.owner_id and f.name = q.name and f.deleted_at is null
          offset 0 for no key update
        ) f on true
        ${joinRights({ owner: "q.owner_id", name: "q.name", file: "f.file_id", caller: "q.caller_id" }, now)}`,
      (rows) =>
        rows.flatMap((row) => {
          const query = queries[row.item]
          return query === undefined ? [] : [{
            item: row.item,
            file: isPresent<FileColumns & RightsColumns>(row, "file_id")
              ? toSharedFile(query.ownerId, row)
              : undefined,
            role: toRole(query.callerId, query.ownerId, row)
          }]
        })
    )

  /** The file of each slot that was deleted last and can be restored, locked. */
  const lockDeleted = (
    slots: ReadonlyArray<Slot>,
    now: Date
  ): Run<ReadonlyArray<{ readonly item: number; readonly file: FileRow }>> =>
    Effect.map(
      sql<FileColumns & { readonly item: number }>`
        select q.item, ${fileColumns}
        from unnest(
          ${bigints(slots.map((_, item) => item))}, ${bigints(slots.map((slot) => slot.ownerId))},
          ${texts(slots.map((slot) => slot.name))}
        ) as q (item, owner_id, name)
        cross join lateral (
          select * from files f
          where f.owner_id = q.owner_id and f.name = q.name and ${isRestorable(now, settings.keepDeletedFor)}
          order by f.deleted_at desc, f.file_id desc limit 1 for no key update
        ) f`,
      (rows) => rows.map((row) => ({ item: row.item, file: toFile(row) }))
    )

  /** The answers of uploads that were committed before, `undefined` for those that were not; locked. */
  const lockUploads = (ids: ReadonlyArray<UploadId>): Run<ReadonlyMap<UploadId, Written | undefined>> =>
    Effect.map(
      sql<{ readonly upload_id: UploadId; readonly outcome: Written | null }>`
        select u.upload_id, u.outcome from unnest(${uuids(ids.toSorted())}) as q (upload_id)
        cross join lateral (select * from uploads u where u.upload_id = q.upload_id offset 0 for update) u`,
      (rows) => new Map(rows.map((row) => [row.upload_id, row.outcome ?? undefined]))
    )

  const versions = (
    wanted: ReadonlyArray<{ readonly fileId: number; readonly version: number }>
  ): Run<ReadonlyArray<Content & { readonly item: number }>> =>
    Effect.map(
      sql<AttributeColumns & { readonly item: number; readonly size: number; readonly sha256: Sha256 | null }>`
        select q.item, v.size, encode(v.sha256, 'hex') as sha256, v.modified_ms, v.executable
        from unnest(
          ${bigints(wanted.map((_, item) => item))}, ${bigints(wanted.map((one) => one.fileId))},
          ${bigints(wanted.map((one) => one.version))}
        ) as q (item, file_id, version)
        cross join lateral (
          select * from versions v where v.file_id = q.file_id and v.version = q.version offset 0
        ) v`,
      (rows) =>
        rows.map((row) => ({
          item: row.item,
          size: row.size,
          sha256: row.sha256 ?? undefined,
          attributes: toAttributes(row)
        }))
    )

  /** The current extents that overlap each range, in order. */
  const overlapped = (
    ranges: ReadonlyArray<Range>
  ): Run<ReadonlyArray<{ readonly item: number; readonly extent: Extent }>> =>
    Effect.map(
      sql<ExtentColumns & { readonly item: number }>`
        select q.item, e.*
        from unnest(
          ${bigints(ranges.map((_, item) => item))}, ${bigints(ranges.map((range) => range.fileId))},
          ${bigints(ranges.map((range) => range.from))}, ${bigints(ranges.map((range) => range.to))}
        ) as q (item, file_id, range_from, range_to)
        cross join lateral (
          select ${extentColumns} from extents e
          where e.file_id = q.file_id and e.until_version = ${stillCurrent}
            and e.position + e.length > q.range_from and e.position < q.range_to and e.position >= coalesce((
              select s.position from extents s
              where s.file_id = q.file_id and s.until_version = ${stillCurrent} and s.position <= q.range_from
              order by s.position desc limit 1
            ), 0)
        ) e
        order by q.item, e.position`,
      (rows) => rows.map((row) => ({ item: row.item, extent: toExtent(row) }))
    )

  /**
   * What changes of rows that are there. A file that is deleted loses its grants; what was noted of the progress of
   * uploads that end is not needed any more.
   */
  const changes = ({ closed, owners: charged, updated, uploads }: Plan, now: Date): ReadonlyArray<Fragment> => {
    const owners = [...charged.values()]
    return [
      ...updated.length === 0 ? [] : [sql`
        change_files(
          ${bigints(updated.map((file) => file.fileId))}, ${texts(updated.map((file) => file.name))},
          ${bigints(updated.map((file) => file.size))}, ${bigints(updated.map((file) => file.version))},
          ${texts(updated.map((file) => file.sha256 ?? null))},
          ${instants(updated.map((file) => new Date(file.modifiedAt)))}, ${localInstants(updated)},
          ${executables(updated)}, ${booleans(updated.map((file) => file.isDeleted))}, ${now}::timestamptz
        )`],
      ...closed.length === 0 ? [] : [sql`
        close_extents(
          ${bigints(closed.map((one) => one.fileId))}, ${bigints(closed.map((one) => one.from))},
          ${bigints(closed.map((one) => one.to))}, ${bigints(closed.map((one) => one.version))}
        )`],
      ...owners.length === 0 ? [] : [sql`
        charge_owners(
          ${bigints(owners.map((owner) => owner.userId))}, ${bigints(owners.map((owner) => owner.bytesUsed))},
          ${bigints(owners.map((owner) => owner.filesUsed))}
        )`],
      ...uploads.length === 0 ? [] : [sql`
        end_uploads(
          ${uuids(uploads.map((one) => one.uploadId))}, ${documents(uploads.map((one) => one.outcome))}
        )`]
    ]
  }

  /**
   * Inserts new files, versions and extents, and sets the ids of new files in the plan. After `changes`: an extent takes
   * the place of the one that ends.
   */
  const insert = ({ created, extents, versions }: Plan, now: Date): Run<void> => {
    const items = new Map(created.map(({ target }, item) => [target, item]))
    const itemOf = ({ target }: { readonly target: Target }) => items.get(target) ?? null
    return Effect.map(
      sql<{ readonly item: number; readonly file_id: number }>`
        with made as (
          insert into files (
            owner_id, name, size, version, sha256, created_at, modified_at, modified_ms, executable
          )
          select
            owner_id, name, size, 1, decode(sha256, 'hex'), ${now}::timestamptz, ${now}::timestamptz, modified_ms,
            executable
          from unnest(
            ${bigints(created.map((file) => file.ownerId))}, ${texts(created.map((file) => file.name))},
            ${bigints(created.map((file) => file.size))}, ${texts(created.map((file) => file.sha256 ?? null))},
            ${localInstants(created)}, ${executables(created)}
          ) as c (owner_id, name, size, sha256, modified_ms, executable)
          returning file_id, owner_id, name
        ), target as (
          select c.item, m.file_id
          from unnest(
            ${bigints(created.map((_, item) => item))}, ${bigints(created.map((file) => file.ownerId))},
            ${texts(created.map((file) => file.name))}
          ) as c (item, owner_id, name)
          join made m on m.owner_id = c.owner_id and m.name = c.name
        ), version as (
          insert into versions (file_id, version, size, sha256, author, created_at, modified_ms, executable)
          select
            coalesce(c.file_id, t.file_id), c.version, c.size, decode(c.sha256, 'hex'), c.author, ${now}::timestamptz,
            c.modified_ms, c.executable
          from unnest(
            ${bigints(versions.map(idOf))}, ${bigints(versions.map(itemOf))},
            ${bigints(versions.map((one) => one.version))}, ${bigints(versions.map((one) => one.size))},
            ${texts(versions.map((one) => one.sha256 ?? null))}, ${texts(versions.map((one) => one.author))},
            ${localInstants(versions)}, ${executables(versions)}
          ) as c (file_id, item, version, size, sha256, author, modified_ms, executable)
          left join target t on t.item = c.item
        ), extent as (
          insert into extents (
            file_id, position, length, segment_id, segment_offset, checked_from, checked_to, checksums, from_version
          )
          select
            coalesce(c.file_id, t.file_id), c.position, c.length, c.segment_id, c.segment_offset, c.checked_from,
            c.checked_to, c.checksums, c.from_version
          from unnest(
            ${bigints(extents.map(idOf))}, ${bigints(extents.map(itemOf))},
            ${bigints(extents.map((one) => one.extent.position))}, ${bigints(extents.map((one) => one.extent.length))},
            ${uuids(extents.map((one) => one.extent.segment))}, ${bigints(extents.map((one) => one.extent.offset))},
            ${bigints(extents.map((one) => one.extent.checkedFrom))},
            ${bigints(extents.map((one) => one.extent.checkedTo))},
            ${bytes(extents.map((one) => one.extent.checksums))}, ${bigints(extents.map((one) => one.version))}
          ) as c (
            file_id, item, position, length, segment_id, segment_offset, checked_from, checked_to, checksums,
            from_version
          )
          left join target t on t.item = c.item
        )
        select item, file_id from target`,
      (rows) => {
        for (const row of rows) {
          const file = created[row.item]
          if (file !== undefined) file.target.fileId = row.file_id
        }
      }
    )
  }

  /** After `changes`: what belonged to the source version still bears its interval. */
  const copyExtents = (copied: Plan["copied"]): Run<unknown> =>
    sql`
      insert into extents (
        file_id, position, length, segment_id, segment_offset, checked_from, checked_to, checksums, from_version
      )
      select
        c.target_id, e.position, e.length, e.segment_id, e.segment_offset, e.checked_from, e.checked_to, e.checksums,
        c.version
      from unnest(
        ${bigints(copied.map((one) => one.sourceId))}, ${bigints(copied.map((one) => one.sourceVersion))},
        ${bigints(copied.map((one) => one.target.fileId ?? null))}, ${bigints(copied.map((one) => one.version))}
      ) as c (source_id, source_version, target_id, version)
      cross join lateral (
        select * from extents e
        where e.file_id = c.source_id and e.until_version > c.source_version and e.from_version <= c.source_version
        offset 0
      ) e`

  const removeLocks = (fileIds: ReadonlyArray<number>): Run<unknown> =>
    sql`
      with gone as (select id from unnest(${bigints(fileIds)}) as c (id))
      delete from locks l using gone where l.file_id = gone.id`

  /**
   * Writes all of a plan, after `first`: what there is of it in one statement, whose parts run in their order, because
   * each waits for the one before. What a plan has nothing of costs nothing. `send` need not wait for answers (Pipeline).
   */
  const write = Effect.fnUntraced(function*(
    plan: Plan,
    now: Date,
    first: Fragment | undefined,
    send: (statement: Run<unknown>) => Run<unknown> = (statement) => statement
  ): Effect.fn.Return<void, SqlError> {
    const calls = [...first === undefined ? [] : [first], ...changes(plan, now)]
    if (calls.length > 0) yield* send(sql`select ${sql.join(", ", false)(calls)}`)
    if (plan.created.length + plan.versions.length + plan.extents.length > 0) {
      // What is copied belongs to files whose ids are known only when they were inserted.
      yield* plan.copied.length > 0 ? insert(plan, now) : send(insert(plan, now))
    }
    if (plan.copied.length > 0) yield* send(copyExtents(plan.copied))
    if (plan.unlocked.length > 0) yield* send(removeLocks(plan.unlocked))
  })

  return { lockOwners, lockNamed, folderRole, lockFiles, lockDeleted, lockUploads, versions, overlapped, write }
}
