/** Rows of `activity`. Whom a name belongs to, and which file, is looked up as the rows are written. */
import { Context, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { Fragment } from "effect/sql/Statement"
import type { Refusal } from "../../protocol/Refusal.ts"
import { databaseRefusal } from "../Database.ts"
import { bigints, booleans, instants, texts } from "../files/parameters.ts"
import type { Activity } from "./Activity.ts"
import { whereabouts } from "./whereabouts.ts"

/** Something that happened once or, when nothing of it but the time differs, several times in a row. */
export interface Recorded extends Activity {
  /** Of this server, since its start. */
  readonly sequence: number
  /** When it ended; the last time. */
  readonly at: number
  readonly times: number
}

export interface ActivityRow {
  readonly activity_id: number
  readonly at: Date
  readonly action: string
  readonly code: string
  readonly username: string | null
  readonly address: string
  readonly owner: string | null
  readonly name: string | null
  readonly times: number
  readonly duration_ms: number
  readonly suspicious: boolean
  /** JSON. */
  readonly detail: string
}

/** Which rows: those of one page, the newest first unless `after` is given. */
export interface Page {
  readonly limit: number
  /** Only rows older than this one. */
  readonly before?: number | undefined
}

export interface AdminFilter extends Page {
  readonly username?: string | undefined
  readonly since?: Date | undefined
  readonly suspicious: boolean
  /** Only rows newer than this one, the oldest first. */
  readonly after?: number | undefined
}

/** Rows that one statement deletes: it holds up everything else on the embedded database. */
const SWEPT_AT_ONCE = 5000

const END = Number.MAX_SAFE_INTEGER

export class ActivityRepo extends Context.Service<ActivityRepo, {
  /** Adds those that are not there yet. */
  readonly add: (origin: string, records: ReadonlyArray<Recorded>) => Effect.Effect<void, Refusal>
  /** What the user did, and what others did to the user's files. */
  readonly ofUser: (userId: number, page: Page) => Effect.Effect<ReadonlyArray<ActivityRow>, Refusal>
  readonly ofFile: (fileId: number, page: Page) => Effect.Effect<ReadonlyArray<ActivityRow>, Refusal>
  readonly list: (filter: AdminFilter) => Effect.Effect<ReadonlyArray<ActivityRow>, Refusal>
  /** Deletes rows that are older; false when there may be more. */
  readonly sweep: (before: Date) => Effect.Effect<boolean, Refusal>
}>()("fip/server/activity/ActivityRepo") {
  static readonly layer = Layer.effect(
    ActivityRepo,
    Effect.gen(function*() {
      const sql = yield* SqlClient
      const columns = sql.literal(
        "activity_id, at, action, code, username, address, owner, name, times, duration_ms, suspicious, detail"
      )
      const newest = (which: Fragment, { before = END, limit }: Page) =>
        sql`
          select ${columns} from activity where ${which} and activity_id < ${before}::bigint
          order by activity_id desc limit ${limit}::bigint`

      return ActivityRepo.of({
        add: (origin, records) => {
          const files = whereabouts(records)
          const of = <A>(pick: (record: Recorded) => A | undefined) => records.map((record) => pick(record) ?? null)
          return sql`
            insert into activity (
              origin, sequence, at, action, code, user_id, username, address, owner_id, owner, file_id, name, times,
              duration_ms, suspicious, detail
            )
            select ${origin}::uuid, r.sequence, r.at, r.action, r.code, coalesce(r.user_id, u.user_id), r.username,
              r.address, o.user_id, r.owner, f.file_id, r.name, r.times::integer, r.duration_ms::integer, r.suspicious,
              r.detail
            from unnest(
              ${bigints(records.map(({ sequence }) => sequence))},
              ${instants(records.map(({ at }) => new Date(at)))},
              ${texts(records.map(({ action }) => action))},
              ${texts(records.map(({ code }) => code))},
              ${bigints(of(({ userId }) => userId))},
              ${texts(of(({ username }) => username))},
              ${texts(records.map(({ address }) => address))},
              ${texts(of(({ owner }) => owner))},
              ${texts(of(({ name }) => name))},
              ${bigints(records.map(({ times }) => times))},
              ${bigints(records.map(({ durationMillis }) => Math.min(durationMillis, 2 ** 31 - 1)))},
              ${booleans(records.map(({ suspicious }) => suspicious))},
              ${texts(records.map(({ detail }) => JSON.stringify(detail)))},
              ${texts(files.map(({ owner }) => owner ?? null))},
              ${texts(files.map(({ name }) => name ?? null))},
              ${booleans(files.map(({ gone }) => gone))}
            ) as r (
              sequence, at, action, code, user_id, username, address, owner, name, times, duration_ms, suspicious, detail,
              owner_now, name_now, gone
            )
            left join lateral (
              select user_id from users where username_key = lower(r.username) offset 0
            ) u on r.user_id is null
            left join lateral (select user_id from users where username_key = lower(r.owner) offset 0) o on true
            left join lateral (
              select coalesce(
                (
                  select file_id from files
                  where not r.gone and owner_id = n.user_id and name = r.name_now and deleted_at is null
                ),
                (
                  select file_id from files
                  where owner_id = n.user_id and name = r.name_now and deleted_at is not null
                  order by deleted_at desc limit 1
                )
              ) as file_id
              from users n where n.username_key = lower(r.owner_now)
              offset 0
            ) f on r.name is not null
            order by r.sequence
            on conflict (origin, sequence) do nothing`.pipe(
            Effect.mapBoth({ onFailure: databaseRefusal, onSuccess: () => undefined })
          )
        },

        // What an administrator did to somebody has an owner without a name.
        ofUser: (userId, page) =>
          sql<ActivityRow>`
            select distinct on (activity_id) ${columns} from (
              (${newest(sql`user_id = ${userId}::bigint`, page)})
              union all
              (${newest(sql`owner_id = ${userId}::bigint`, page)})
            ) a
            order by activity_id desc limit ${page.limit}::bigint`.pipe(Effect.mapError(databaseRefusal)),

        ofFile: (fileId, page) =>
          sql<ActivityRow>`${newest(sql`file_id = ${fileId}::bigint`, page)}`.pipe(Effect.mapError(databaseRefusal)),

        list: ({ after, before = END, limit, since, suspicious, username }) => {
          const which = [
            sql`activity_id < ${before}::bigint`,
            ...(after === undefined ? [] : [sql`activity_id > ${after}::bigint`]),
            ...(username === undefined ? [] : [sql`lower(username) = ${username.toLowerCase()}`]),
            ...(suspicious ? [sql`suspicious`] : []),
            // By id, whose order the rest is in: rows before it are not looked at.
            ...(since === undefined ? [] : [
              sql`at >= ${since}::timestamptz and activity_id >= coalesce(
                (select min(activity_id) from activity where at >= ${since}::timestamptz), 0)`
            ])
          ]
          const order = sql.literal(after === undefined ? "desc" : "asc")
          return sql<ActivityRow>`
            select ${columns} from activity where ${sql.and(which)} order by activity_id ${order} limit ${limit}::bigint
          `.pipe(Effect.mapError(databaseRefusal))
        },

        sweep: (before) =>
          sql`
            with gone as (
              delete from activity where activity_id in (
                select activity_id from activity where at < ${before}::timestamptz order by at limit ${SWEPT_AT_ONCE}
              ) returning 1
            )
            select count(*) as count from gone`.pipe(
            Effect.mapBoth({
              onFailure: databaseRefusal,
              onSuccess: ([row]) => Number(row?.["count"] ?? 0) < SWEPT_AT_ONCE
            })
          )
      })
    })
  )
}
