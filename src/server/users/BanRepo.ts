/**
 * Bans: `users.banned_until`, which logins are decided by, and `bans`, the history. The methods that write run in the
 * caller's transaction.
 */
import { Context, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { Username } from "../../protocol/Identity.ts"
import type { Refusal } from "../../protocol/Refusal.ts"
import { databaseRefusal } from "../Database.ts"
import { Instant } from "./Instant.ts"

export const Ban = Schema.Struct({
  username: Username,
  reason: Schema.String,
  banned_at: Instant,
  expires_at: Schema.NullOr(Instant),
  lifted_at: Schema.NullOr(Instant),
  /** False for history. */
  active: Schema.Boolean
})
export type Ban = typeof Ban.Type

const decodeBans = Schema.decodeUnknownEffect(Schema.Array(Ban))

/** `banned_until` of a ban without an end. */
export const FOREVER = new Date("9999-12-31T23:59:59.999Z")

export class BanRepo extends Context.Service<BanRepo, {
  /** Replaces the ban that the user has, if any. False when the user is gone. */
  readonly put: (ban: {
    readonly userId: number
    readonly reason: string
    readonly now: Date
    readonly expiresAt: Date | null
  }) => Effect.Effect<boolean, Refusal>
  /** False when the user was not banned. */
  readonly lift: (userId: number, now: Date) => Effect.Effect<boolean, Refusal>
  /** The last first: of one user or all, in force now or ever. */
  readonly list: (
    which: { readonly username: Username | undefined; readonly all: boolean },
    now: Date
  ) => Effect.Effect<ReadonlyArray<Ban>, Refusal>
}>()("fip/server/users/BanRepo") {
  static readonly layer = Layer.effect(
    BanRepo,
    Effect.gen(function*() {
      const sql = yield* SqlClient
      const active = (now: Date) =>
        sql`user_id is not null and lifted_at is null and (expires_at is null or expires_at > ${now}::timestamptz)`
      const end = (userId: number, now: Date) =>
        sql`update bans set lifted_at = ${now} where user_id = ${userId} and ${active(now)} returning ban_id`.pipe(
          Effect.mapError(databaseRefusal)
        )
      // Comes first: the lock on the user keeps logins, and other bans, out until the transaction ends.
      const setUntil = (userId: number, until: Date | null) =>
        sql`update users set banned_until = ${until}::timestamptz where user_id = ${userId} returning user_id`.pipe(
          Effect.mapError(databaseRefusal)
        )

      return BanRepo.of({
        put: Effect.fnUntraced(function*({ expiresAt, now, reason, userId }) {
          if ((yield* setUntil(userId, expiresAt ?? FOREVER)).length === 0) return false
          yield* end(userId, now)
          yield* Effect.mapError(
            sql`
              insert into bans (user_id, username, reason, banned_at, expires_at)
              select user_id, username, ${reason}, ${now}::timestamptz, ${expiresAt}::timestamptz
              from users where user_id = ${userId}`,
            databaseRefusal
          )
          return true
        }),
        lift: Effect.fnUntraced(function*(userId, now) {
          yield* setUntil(userId, null)
          return (yield* end(userId, now)).length > 0
        }),
        list: ({ all, username }, now) =>
          sql`
            select username, reason, banned_at, expires_at, lifted_at, (${active(now)}) as active
            from bans
            where ${all ? sql`true` : active(now)}
              and ${username === undefined ? sql`true` : sql`lower(username) = ${username.toLowerCase()}`}
            order by ban_id desc`.pipe(
            Effect.mapError(databaseRefusal),
            Effect.flatMap((rows) => Effect.orDie(decodeBans(rows)))
          )
      })
    })
  )
}
