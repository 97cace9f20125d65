/** Rows of `changes` (migration 0010): what is added is added in the transaction of the change itself. */
import { Context, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { Fragment } from "effect/sql/Statement"
import type { FileName, Shareable } from "../../protocol/FileName.ts"
import type { Username } from "../../protocol/Identity.ts"
import type { GrantRole } from "../../protocol/Permission.ts"
import type { ChangeKind } from "../../protocol/Request.ts"
import { bigints, texts } from "../files/parameters.ts"
import { Notifications } from "../Notifications.ts"
import { TOPIC } from "./Bell.ts"

/** A change as it is added to a feed. */
export interface FeedEntry {
  /** Whose feed. */
  readonly userId: number
  readonly kind: ChangeKind
  readonly owner: Username
  readonly name: Shareable
  readonly newName?: FileName
  readonly version?: number
  readonly size?: number
  readonly author: Username
  readonly role?: GrantRole
  /** Of a file that is deleted by this change. */
  readonly deletedId?: number
}

export interface FeedRow {
  readonly sequence: number
  readonly kind: ChangeKind
  readonly owner: Username
  readonly name: Shareable
  readonly new_name: FileName | null
  readonly version: number | null
  readonly size: number | null
  readonly author: Username
  readonly role: GrantRole | null
  /** Whether the reader was granted anything on a file that was deleted, or everybody. */
  readonly was_reader: boolean
  readonly changed_at: Date
}

export class FeedRepo extends Context.Service<FeedRepo, {
  /**
   * Adds to feeds, in the transaction of the change, which has locked their users and has not deleted anything yet. Those
   * who wait for them hear of it when it commits.
   */
  readonly add: (entries: ReadonlyArray<FeedEntry>, now: Date) => Effect.Effect<void, SqlError>
  /** The first half of `add`, for a statement that does more; there must be entries. */
  readonly added: (entries: ReadonlyArray<FeedEntry>, now: Date) => Fragment
  /** The second half. */
  readonly publish: (entries: ReadonlyArray<FeedEntry>) => Effect.Effect<void, SqlError>
  /** The last number of a user's feed; `undefined`: there is no such user. */
  readonly head: (userId: number) => Effect.Effect<number | undefined, SqlError>
  /** The next changes after a number, in order, as `readerId` may know of them. */
  readonly after: (
    userId: number,
    sequence: number,
    readerId: number,
    limit: number
  ) => Effect.Effect<ReadonlyArray<FeedRow>, SqlError>
  /** Forgets what is older than `before`, and all but the last `keep`, of users after `afterId`; the last user seen. */
  readonly forget: (
    afterId: number,
    users: number,
    before: Date,
    keep: number
  ) => Effect.Effect<number | undefined, SqlError>
}>()("fip/server/feed/FeedRepo") {
  static readonly layer = Layer.effect(
    FeedRepo,
    Effect.gen(function*() {
      const sql = yield* SqlClient
      const notifications = yield* Notifications

      const added = (entries: ReadonlyArray<FeedEntry>, now: Date): Fragment =>
        sql`
          add_changes(
            ${bigints(entries.map((one) => one.userId))}, ${texts(entries.map((one) => one.kind))},
            ${texts(entries.map((one) => one.owner))}, ${texts(entries.map((one) => one.name))},
            ${texts(entries.map((one) => one.newName ?? null))},
            ${bigints(entries.map((one) => one.version ?? null))},
            ${bigints(entries.map((one) => one.size ?? null))}, ${texts(entries.map((one) => one.author))},
            ${texts(entries.map((one) => one.role ?? null))},
            ${bigints(entries.map((one) => one.deletedId ?? null))}, ${now}::timestamptz
          )`
      const publish = (entries: ReadonlyArray<FeedEntry>) =>
        entries.length === 0
          ? Effect.void
          : notifications.publish(TOPIC, [...new Set(entries.map((one) => String(one.userId)))])

      return FeedRepo.of({
        added,
        publish,
        add: (entries, now) =>
          entries.length === 0
            ? Effect.void
            : Effect.andThen(sql`select ${added(entries, now)}`, publish(entries)),

        head: (userId) =>
          Effect.map(
            sql<{ readonly feed_sequence: number }>`
              select feed_sequence from users where user_id = ${userId}::bigint`,
            ([row]) => row?.feed_sequence
          ),

        after: (userId, sequence, readerId, limit) =>
          sql<FeedRow>`
            select
              sequence, kind, owner, name, new_name, version, size, author, role, changed_at,
              was_public or coalesce(${readerId}::bigint = any (readers), false) as was_reader
            from changes where user_id = ${userId}::bigint and sequence > ${sequence}::bigint
            order by sequence limit ${limit}::bigint`,

        forget: (afterId, users, before, keep) =>
          Effect.map(
            sql<{ readonly user_id: number | null }>`select max(user_id) as user_id from forget_changes(
              ${afterId}::bigint, ${users}::bigint, ${before}::timestamptz, ${keep}::bigint
            ) as f (user_id)`,
            ([row]) => row?.user_id ?? undefined
          )
      })
    })
  ).pipe(Layer.provide(Notifications.layer))
}
