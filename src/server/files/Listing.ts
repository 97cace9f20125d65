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
import { type Refusal, refuse } from "../../protocol/Refusal.ts"
import type { Attributes, BodyOf, FileInfo, ResultOf } from "../../protocol/Request.ts"
import type { Caller } from "../Caller.ts"
import { databaseRefusal } from "../Database.ts"
import { isLive, joinRights, type RightsColumns, rightsColumns, toRole } from "../permissions/rights.ts"
import { ServerConfig } from "../ServerConfig.ts"
import { bigints, texts } from "./parameters.ts"
import { type FileColumns, fileColumns, isPresent, isRestorable, type Nullable, toFile, toSharedFile } from "./rows.ts"
import type { FileRow } from "./Rules.ts"

export const timestamp = (millis: number): Timestamp => Timestamp.make(new Date(millis).toISOString())

/** As a result has them: left out when nothing is known. */
export const withAttributes = (attributes: Attributes): { readonly attributes?: Attributes } =>
  attributes.modified_ms === undefined && attributes.executable === undefined ? {} : { attributes }

export const toFileInfo = (owner: Username, file: FileRow, role: FileInfo["role"]): FileInfo => ({
  owner,
  name: file.name,
  size: file.size,
  version: file.version,
  created_at: timestamp(file.createdAt),
  modified_at: timestamp(file.modifiedAt),
  role,
  public: file.isPublic,
  ...(file.lock === undefined
    ? {}
    : { locked_by: file.lock.username, locked_until: timestamp(file.lock.expiresAt) }),
  ...(file.sha256 === undefined ? {} : { sha256: file.sha256 }),
  ...withAttributes(file.attributes)
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

interface Row extends Nullable<FileColumns>, RightsColumns {
  readonly key: string
  readonly owner_id: number
  readonly owner: Username
}

/** A folder that is listed whole. */
interface Area {
  readonly owner_id: number
  readonly folder: string
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
      const config = yield* ServerConfig
      const nothing = sql.literal("")

      /** The caller's grants, those that count. */
      const live = (caller: Caller, now: Date): Fragment => sql`g.user_id = ${caller.userId}::bigint and ${isLive(now)}`

      /**
       * Folders of `owner`, or of everybody, that are listed whole: those granted to the caller, and those that are
       * public. A folder within another of them adds nothing and is left out, and so is what has nothing of `prefix`.
       */
      const areas = (options: {
        readonly owner: Fragment | undefined
        readonly granted: Fragment | undefined
        readonly isPublic: boolean
        readonly prefix: string
      }): Effect.Effect<ReadonlyArray<Area>, Refusal> => {
        const { granted, isPublic, owner, prefix } = options
        const feeds: Array<Fragment> = []
        if (granted !== undefined) {
          feeds.push(sql`
            select g.owner_id, g.folder from folder_grants g
            where ${granted} ${owner === undefined ? nothing : sql`and g.owner_id = ${owner}`}`)
        }
        if (isPublic) {
          feeds.push(sql`
            select p.owner_id, p.folder from public_folders p
            ${owner === undefined ? nothing : sql`where p.owner_id = ${owner}`}`)
        }
        if (feeds.length === 0) return Effect.succeed([])
        return Effect.mapBoth(
          sql<Area>`
            select a.owner_id, a.folder from (${sql.join(" union ", false)(feeds)}) a order by a.owner_id, a.folder`,
          {
            onFailure: databaseRefusal,
            onSuccess: (rows) => {
              const kept: Array<Area> = []
              for (const row of rows) {
                const last = kept.at(-1)
                if (last?.owner_id === row.owner_id && row.folder.startsWith(last.folder)) continue
                if (row.folder.startsWith(prefix) || prefix.startsWith(row.folder)) kept.push(row)
              }
              return kept
            }
          }
        )
      }

      /** The areas as `a (owner_id, low, high)`: a range of names each, without an upper end when it is everything. */
      const areaRows = (areas: ReadonlyArray<Area>): Fragment =>
        sql`unnest(
          ${bigints(areas.map((area) => area.owner_id))}, ${texts(areas.map((area) => area.folder))},
          ${texts(areas.map(({ folder }) => folder === "" ? null : behindFolder(folder)))}
        ) as a (owner_id, low, high)`

      /** The part of an area, of `files f`. */
      const inArea = sql.literal(`f.owner_id = a.owner_id and f.name >= a.low and (a.high is null or f.name < a.high)`)

      /** The entries of one level: `key`, and the file of those that are no folders. */
      const oneLevel = (options: {
        readonly owner: Fragment
        /** Which of the owner's files are found by their index; and whether the granted ones are, too. */
        readonly indexed: Fragment | undefined
        readonly granted: Fragment | undefined
        /** Folders that are listed whole. */
        readonly areas: ReadonlyArray<Area>
        readonly prefix: string
        readonly low: string
        readonly bound: Fragment
        readonly limit: number
      }): Fragment => {
        const { areas, bound, granted, indexed, limit, low, owner, prefix } = options
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
        if (areas.length > 0) {
          feeds.push(sql`(
            select f.name, f.file_id from ${areaRows(areas)}
            cross join lateral (
              select f.name, f.file_id from files f
              where ${inArea} and f.deleted_at is null and f.name >= e.low ${bound}
              order by f.name limit 1
            ) f
            order by f.name limit 1
          )`)
        }
        const scan = sql`
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
        if (feeds.length > 1 || indexed === undefined) return scan
        // Most folders have no others in them: then one scan gives all names, which takes half of a look for each of them
        // and does not grow with the store.
        return sql`
          with names as materialized (
            select f.name, f.file_id, strpos(substr(f.name, ${depth + 1}::int), '/') > 0 as is_below from files f
            where f.owner_id = ${owner} and f.deleted_at is null ${indexed} and f.name >= ${low} ${bound}
            order by f.name limit ${limit}::bigint
          )
          select n.name as key, ${owner} as owner_id, n.file_id from names n
          where not exists (select from names b where b.is_below)
          union all
          select s.key, s.owner_id, s.file_id from (${scan}) s where exists (select from names b where b.is_below)`
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
          where f.owner_id = ${caller.userId}::bigint and ${isRestorable(now, config.keepDeletedFor)}
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

        const isPublic = scope === "public" || (scope === "own" && !isSelf)
        const whole = yield* areas({ owner, granted, isPublic, prefix })

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
          if (whole.length > 0) {
            feeds.push(sql`(
              select f.name, f.owner_id, f.file_id from ${areaRows(whole)}
              cross join lateral (
                select f.name, f.owner_id, f.file_id from files f
                where ${inArea} and ${where}
                order by f.name limit ${limit + 1}::bigint
              ) f
              order by ${order} limit ${limit + 1}::bigint
            )`)
          }
          return sql`
            select f.name as key, f.owner_id, f.file_id from (${sql.join(" union ", false)(feeds)}) f`
        }

        const entries = body.recursive === true || owner === undefined ? flat() : oneLevel({
          owner,
          indexed,
          granted,
          areas: whole,
          prefix,
          low: after === undefined ? prefix : after.key.endsWith("/") ? behindFolder(after.key) : `${after.key}\u0001`,
          bound,
          limit: limit + 1
        })
        const rows = yield* sql<Row>`
          select n.key, u.user_id as owner_id, u.username as owner, ${fileColumns}, ${rightsColumns}
          from (${entries}) n
          cross join lateral (select * from users u where u.user_id = n.owner_id offset 0) u
          left join lateral (select * from files f where f.file_id = n.file_id offset 0) f on true
          cross join (select ${caller.userId}::bigint as id) c
          ${joinRights({ owner: "u.user_id", name: "n.key", file: "f.file_id", caller: "c.id" }, now)}
          order by n.key, n.owner_id
          limit ${limit + 1}::bigint`.pipe(Effect.mapError(databaseRefusal))

        const page = rows.slice(0, limit)
        const names: Array<string> = []
        const files: Array<FileInfo> = []
        for (const row of page) {
          if (!isPresent<FileColumns & RightsColumns>(row, "file_id")) {
            names.push(row.key)
            continue
          }
          const role = toRole(caller.userId, row.owner_id, row)
          // A grant that ended between two parts of the statement is none.
          if (role !== undefined) files.push(toFileInfo(row.owner, toSharedFile(row.owner_id, row), role))
        }
        const last = page.at(-1)
        return {
          folders: names,
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
