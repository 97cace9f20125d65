/** Rows of `password_resets`: at most one code per user, the one that was given out last. */
import { Context, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { Refusal } from "../../protocol/Refusal.ts"
import { databaseRefusal } from "../Database.ts"

export class ResetRepo extends Context.Service<ResetRepo, {
  /** Replaces the code that the user had. */
  readonly put: (userId: number, codeHash: Uint8Array, expiresAt: Date) => Effect.Effect<void, Refusal>
  /** True when the code is the user's and good. */
  readonly isGood: (userId: number, codeHash: Uint8Array, now: Date) => Effect.Effect<boolean, Refusal>
  /** Uses the code up. False when it was not good any more. */
  readonly use: (userId: number, codeHash: Uint8Array, now: Date) => Effect.Effect<boolean, Refusal>
  /** Whatever code the user has is worth nothing any more. */
  readonly remove: (userId: number) => Effect.Effect<void, Refusal>
}>()("fip/server/users/ResetRepo") {
  static readonly layer = Layer.effect(
    ResetRepo,
    Effect.gen(function*() {
      const sql = yield* SqlClient
      const good = (userId: number, codeHash: Uint8Array, now: Date) =>
        sql`user_id = ${userId} and code_hash = ${codeHash} and expires_at > ${now}::timestamptz`
      const some = Effect.mapBoth({
        onFailure: databaseRefusal,
        onSuccess: (rows: ReadonlyArray<unknown>) => rows.length > 0
      })

      return ResetRepo.of({
        put: (userId, codeHash, expiresAt) =>
          sql`
            insert into password_resets (user_id, code_hash, expires_at)
            values (${userId}, ${codeHash}, ${expiresAt})
            on conflict (user_id) do update set code_hash = excluded.code_hash, expires_at = excluded.expires_at`.pipe(
            Effect.mapError(databaseRefusal),
            Effect.asVoid
          ),
        isGood: (userId, codeHash, now) => some(sql`select from password_resets where ${good(userId, codeHash, now)}`),
        use: (userId, codeHash, now) =>
          some(sql`delete from password_resets where ${good(userId, codeHash, now)} returning user_id`),
        remove: (userId) =>
          sql`delete from password_resets where user_id = ${userId}`.pipe(
            Effect.mapError(databaseRefusal),
            Effect.asVoid
          )
      })
    })
  )
}
