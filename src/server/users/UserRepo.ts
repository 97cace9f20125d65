/** Rows of `users`. Every method is one statement. */
import { Context, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { Username } from "../../protocol/Identity.ts"
import type { Refusal } from "../../protocol/Refusal.ts"
import { Count } from "../../protocol/Request.ts"
import { databaseRefusal } from "../Database.ts"
import { Instant } from "./Instant.ts"

export const User = Schema.Struct({
  user_id: Count,
  username: Username,
  password_hash: Schema.String,
  /** `null`: the server's default. */
  bytes_limit: Schema.NullOr(Count),
  files_limit: Schema.NullOr(Count),
  bytes_used: Count,
  files_used: Count,
  created_at: Instant,
  /** `null`, or an instant that has passed: not banned. */
  banned_until: Schema.NullOr(Schema.Date)
})
export type User = typeof User.Type

/** A ban is over when its time has come, whether or not anybody lifted it. */
export const isBanned = (user: User, now: Date): boolean =>
  user.banned_until !== null && user.banned_until.getTime() > now.getTime()

const decodeUsers = Schema.decodeUnknownEffect(Schema.Array(User))

const first = (rows: ReadonlyArray<unknown>): Effect.Effect<User | undefined> =>
  Effect.map(Effect.orDie(decodeUsers(rows)), (users) => users[0])

/** Names are unique without regard to case. */
const keyOf = (username: Username): string => username.toLowerCase()

export class UserRepo extends Context.Service<UserRepo, {
  readonly byName: (username: Username) => Effect.Effect<User | undefined, Refusal>
  readonly byId: (userId: number) => Effect.Effect<User | undefined, Refusal>
  /** All users, by name. */
  readonly list: Effect.Effect<ReadonlyArray<User>, Refusal>
  /** False when the name is taken. */
  readonly insert: (username: Username, passwordHash: string, createdAt: Date) => Effect.Effect<boolean, Refusal>
  /** False, and nothing changed, when the user's hash is not `verified` any more. */
  readonly replaceHash: (userId: number, verified: string, next: string) => Effect.Effect<boolean, Refusal>
  /**
   * Reads the user and keeps everybody else from changing it until the transaction ends. `undefined` when the user's
   * hash is not `verified` any more.
   */
  readonly lock: (userId: number, verified: string) => Effect.Effect<User | undefined, Refusal>
  /** Replaces the limits; `null` is the server's default. */
  readonly setLimits: (
    userId: number,
    limits: { readonly bytes: number | null; readonly files: number | null }
  ) => Effect.Effect<void, Refusal>
  /** Deletes the user and, by cascade, all that belongs to it. */
  readonly delete: (userId: number) => Effect.Effect<void, Refusal>
}>()("fip/server/users/UserRepo") {
  static readonly layer = Layer.effect(
    UserRepo,
    Effect.gen(function*() {
      const sql = yield* SqlClient
      const columns = sql.literal(
        "user_id, username, password_hash, bytes_limit, files_limit, bytes_used, files_used, created_at, banned_until"
      )

      return UserRepo.of({
        byName: (username) =>
          sql`select ${columns} from users where username_key = ${keyOf(username)}`.pipe(
            Effect.mapError(databaseRefusal),
            Effect.flatMap(first)
          ),
        byId: (userId) =>
          sql`select ${columns} from users where user_id = ${userId}`.pipe(
            Effect.mapError(databaseRefusal),
            Effect.flatMap(first)
          ),
        list: sql`select ${columns} from users order by username_key`.pipe(
          Effect.mapError(databaseRefusal),
          Effect.flatMap((rows) => Effect.orDie(decodeUsers(rows)))
        ),
        insert: (username, passwordHash, createdAt) =>
          sql`
            insert into users (username, username_key, password_hash, created_at)
            values (${username}, ${keyOf(username)}, ${passwordHash}, ${createdAt})
            on conflict (username_key) do nothing
            returning user_id`.pipe(
            Effect.mapBoth({ onFailure: databaseRefusal, onSuccess: (rows) => rows.length > 0 })
          ),
        replaceHash: (userId, verified, next) =>
          sql`
            update users set password_hash = ${next}
            where user_id = ${userId} and password_hash = ${verified}
            returning user_id`.pipe(
            Effect.mapBoth({ onFailure: databaseRefusal, onSuccess: (rows) => rows.length > 0 })
          ),
        lock: (userId, verified) =>
          sql`
            select ${columns} from users
            where user_id = ${userId} and password_hash = ${verified}
            for update`.pipe(
            Effect.mapError(databaseRefusal),
            Effect.flatMap(first)
          ),
        setLimits: (userId, { bytes, files }) =>
          sql`
            update users set bytes_limit = ${bytes}::bigint, files_limit = ${files}::bigint
            where user_id = ${userId}`.pipe(
            Effect.mapError(databaseRefusal),
            Effect.asVoid
          ),
        delete: (userId) =>
          sql`delete from users where user_id = ${userId}`.pipe(
            Effect.mapError(databaseRefusal),
            Effect.asVoid
          )
      })
    })
  )
}
