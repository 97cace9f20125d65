/**
 * Pages of names.
 *
 * One level of one owner's tree is a loose scan of an index: from one entry to the first name behind it, which for a
 * folder is the first that is not in it. So a page costs what is on it, whatever lies in the folders and in the store.
 * Names are in the order of their bytes; a folder stands where its name with the `/` does.
 */
import { Clock, Context, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { Fragment } from "effect/sql/Statement"
import { Timestamp, type Username } from "../../protocol/Identity.ts"
import { MAX_PAGE } from "../../protocol/Limits.ts"
import type { GrantRole } from "../../protocol/Permission.ts"
import { type Refusal, refuse } from "../../protocol/Refusal.ts"
import type { BodyOf, FileInfo, ResultOf } from "../../protocol/Request.ts"
import type { Caller } from "../Caller.ts"
import { databaseRefusal } from "../Database.ts"
import { roleOf } from "../permissions/Policy.ts"
import { ServerConfig } from "../ServerConfig.ts"
import { type FileColumns, fileColumns, isLive, isPresent, isRestorable, type Nullable, toFile } from "./rows.ts"
import type { FileRow } from "./Rules.ts"

export const timestamp = (millis: number): Timestamp => Timestamp.make(new Date(millis).toISOString())

export const toFileInfo = (owner: Username, file: FileRow, role: FileInfo["role"]): FileInfo => ({
  owner,
  name: file.name,
  size: file.size,
  version: file.version,
  created_at: timestamp(file.createdAt),
  modified_at: timestamp(file.modifiedAt),
  role,
  public: file.isPublic,
  ...(file.sha256 === undefined ? {} : { sha256: file.sha256 })
})

/** Behind every name in the folder, and before every other name that comes after it: `0` follows `/`. */
const behindFolder = (folder: string): string => `${folder.slice(0, -1)}0`

/** The entry that a page ended with, by its owner, or by itself where names are not unique; ids and names cannot be confused, for a name does not begin with `/`. */
interface Cursor {
  readonly id: number
  /** A file's name, or a folder's with its `/`. */
  readonly key: string
}
const CURSOR = /^(\d{1,15})\/([^\0]*)$/s
const formatCursor = ({ id, key }: Cursor): string => `${id}/${key}`
const parseCursor = (text: string): Cursor | undefined => {
  const match = CURSOR.exec(text)
  return match === null ? undefined : { id: Number(match[1]), key: match[2] ?? "" }
}

const badCursor = refuse("2:ibv", "after: pass the `next` of the page before", "after")

interface Row extends Nullable<FileColumns> {
  readonly key: string
  readonly owner_id: number
  readonly owner: Username
  readonly grant_role: GrantRole | null
}

type Body = BodyOf<"List">
type Page = ResultOf<"List">

export class Listing extends Context.Service<Listing, {
  readonly list: (caller: Caller, body: Body) => Effect.Effect<Page, Refusal>
}>()("fip/server/files/Listing") {
  static readonly layer = Layer.effect(
    Listing,
    Effect.gen(function*() {
      const sql = yield* SqlClient
      const { keepDeletedFor } = yield* ServerConfig
      const nothing = sql.literal("")

      /** The caller's grants, those that count. */
      const live = (caller: Caller, now: Date): Fragment => sql`g.user_id = ${caller.userId}::bigint and ${isLive(now)}`

      /** The entries of one level: `key`, and the file of those that are no folders. */
      const oneLevel = (options: {
        readonly owner: Fragment
        /** Which of the owner's files are found by their index; and whether the granted ones are, too. */
        readonly indexed: Fragment | undefined
        readonly granted: Fragment | undefined
        readonly prefix: string
        readonly low: string
        readonly bound: Fragment
        readonly limit: number
      }): Fragment => {
        const { bound, granted, indexed, limit, low, owner, prefix } = options
        // In characters, as the database counts them.
        const depth = Array.from(prefix).length
        const feeds: Array<Fragment> = []
        if (indexed !== undefined) {
          feeds.push(sql`(
            select f.name, f.file_id from files f
            where f.owner_id = ${owner} and f.deleted_at is null ${indexed} and f.name >= e.low ${bound}
            order by f.name limit 1
          )`)
        }
        if (granted !== undefined) {
          feeds.push(sql`(
            select f.name, f.file_id from granted f where f.name >= e.low ${bound} order by f.name limit 1
          )`)
        }
        return sql`
          with recursive ${
          granted === undefined ? nothing : sql`granted as materialized (
            select f.name, f.file_id from grants g join files f on f.file_id = g.file_id
            where ${granted} and f.owner_id = ${owner} and f.deleted_at is null
          ),`
        }
          entry (low, key, file_id, place) as (
            select ${low}::text collate "C", null::text collate "C", null::bigint, 0
            union all
            select
              case when p.slash > 0 then left(f.name, p.slash - 1) || '0' else f.name || chr(1) end,
              case when p.slash > 0 then left(f.name, p.slash) else f.name end,
              case when p.slash > 0 then null else f.file_id end,
              e.place + 1
            from entry e
            cross join lateral (
              select f.name, f.file_id from (${sql.join(" union all ", false)(feeds)}) f order by f.name limit 1
            ) f
            cross join lateral (
              select coalesce(
                nullif(strpos(substr(f.name, ${depth + 1}::int), '/'), 0) + ${depth}::int, 0
              ) as slash
            ) p
            where e.place < ${limit}::int
          )
          select n.key, ${owner} as owner_id, n.file_id from entry n where n.place > 0`
      }

      /** The caller's own deleted files, those of the same name from the last one on. */
      const listDeleted = Effect.fnUntraced(function*(caller: Caller, body: Body): Effect.fn.Return<Page, Refusal> {
        const now = new Date(yield* Clock.currentTimeMillis)
        const limit = body.limit ?? MAX_PAGE
        const prefix = body.prefix ?? ""
        const after = body.after === undefined ? undefined : parseCursor(body.after)
        if (body.after !== undefined && after === undefined) return yield* badCursor
        const isSelf = body.owner === undefined || body.owner.toLowerCase() === caller.username.toLowerCase()
        if (!isSelf || (body.scope ?? "own") !== "own") {
          return yield* refuse("2:ibv", "only your own deleted files can be listed", "deleted")
        }
        const begins = after === undefined
          ? nothing
          : sql`and (f.name > ${after.key} or (f.name = ${after.key} and f.file_id < ${after.id}::bigint))`
        const rows = yield* sql<FileColumns & { readonly deleted_at: Date }>`
          select ${fileColumns}, f.deleted_at from files f
          where f.owner_id = ${caller.userId}::bigint and ${isRestorable(now, keepDeletedFor)}
            and f.name >= ${prefix} ${prefix === "" ? nothing : sql`and f.name < ${behindFolder(prefix)}`} ${begins}
          order by f.name, f.file_id desc
          limit ${limit + 1}::bigint`.pipe(Effect.mapError(databaseRefusal))
        const page = rows.slice(0, limit)
        const last = page.at(-1)
        return {
          folders: [],
          files: page.map((row) =>
            Object.assign(toFileInfo(caller.username, toFile(row), "OWNER"), {
              deleted_at: timestamp(row.deleted_at.getTime())
            })
          ),
          ...(rows.length > limit && last !== undefined
            ? { next: formatCursor({ id: last.file_id, key: last.name }) }
            : {})
        }
      })

      const list = Effect.fnUntraced(function*(caller: Caller, body: Body): Effect.fn.Return<Page, Refusal> {
        const now = new Date(yield* Clock.currentTimeMillis)
        const limit = body.limit ?? MAX_PAGE
        const scope = body.scope ?? "own"
        const prefix = body.prefix ?? ""
        const after = body.after === undefined ? undefined : parseCursor(body.after)
        if (body.after !== undefined && after === undefined) return yield* badCursor
        const ownerName = scope === "own" ? body.owner ?? caller.username : body.owner
        const isSelf = ownerName?.toLowerCase() === caller.username.toLowerCase()
        const owner = ownerName === undefined
          ? undefined
          : isSelf
          ? sql`${caller.userId}::bigint`
          : sql`(select user_id from users where username_key = ${ownerName.toLowerCase()})`
        const bound = prefix === "" ? nothing : sql`and f.name < ${behindFolder(prefix)}`
        const indexed = scope === "shared"
          ? undefined
          : scope === "own" && isSelf
          ? nothing
          : sql.literal("and f.public")
        const granted = scope === "shared" || (scope === "own" && !isSelf) ? live(caller, now) : undefined

        const flat = (): Fragment => {
          const order = owner === undefined ? sql.literal("f.name, f.owner_id") : sql.literal("f.name")
          const begins = after === undefined
            ? sql`and f.name >= ${prefix}`
            : owner === undefined
            ? sql`and (f.name, f.owner_id) > (${after.key}, ${after.id}::bigint)`
            : sql`and f.name > ${after.key}`
          const where = sql`
            f.deleted_at is null ${owner === undefined ? nothing : sql`and f.owner_id = ${owner}`} ${begins} ${bound}`
          const feeds: Array<Fragment> = []
          if (indexed !== undefined) {
            feeds.push(sql`(
              select f.name, f.owner_id, f.file_id from files f
              where ${where} ${indexed} order by ${order} limit ${limit + 1}::bigint
            )`)
          }
          if (granted !== undefined) {
            feeds.push(sql`(
              select f.name, f.owner_id, f.file_id from grants g join files f on f.file_id = g.file_id
              where ${granted} and ${where} order by ${order} limit ${limit + 1}::bigint
            )`)
          }
          return sql`select f.name as key, f.owner_id, f.file_id from (${sql.join(" union ", false)(feeds)}) f`
        }

        const entries = body.recursive === true || owner === undefined ? flat() : oneLevel({
          owner,
          indexed,
          granted,
          prefix,
          low: after === undefined ? prefix : after.key.endsWith("/") ? behindFolder(after.key) : `${after.key}\u0001`,
          bound,
          limit: limit + 1
        })
        const rows = yield* sql<Row>`
          select n.key, u.user_id as owner_id, u.username as owner, ${fileColumns}, g.role as grant_role
          from (${entries}) n
          cross join lateral (select * from users u where u.user_id = n.owner_id offset 0) u
          left join lateral (select * from files f where f.file_id = n.file_id offset 0) f on true
          left join lateral (
            select g.role from grants g where g.file_id = f.file_id and ${live(caller, now)} offset 0
          ) g on true
          order by n.key, n.owner_id
          limit ${limit + 1}::bigint`.pipe(Effect.mapError(databaseRefusal))

        const page = rows.slice(0, limit)
        const folders: Array<string> = []
        const files: Array<FileInfo> = []
        for (const row of page) {
          if (!isPresent<FileColumns>(row, "file_id")) {
            folders.push(row.key)
            continue
          }
          const file = toFile(row)
          const role = roleOf({
            callerId: caller.userId,
            ownerId: row.owner_id,
            isPublic: file.isPublic,
            grant: row.grant_role ?? undefined
          })
          // A grant that ended between two parts of the statement is none.
          if (role !== undefined) files.push(toFileInfo(row.owner, file, role))
        }
        const last = page.at(-1)
        return {
          folders,
          files,
          ...(rows.length > limit && last !== undefined
            ? { next: formatCursor({ id: last.owner_id, key: last.key }) }
            : {})
        }
      })

      return Listing.of({
        list: (caller, body) => body.deleted === true ? listDeleted(caller, body) : list(caller, body)
      })
    })
  )
}
