/** Rows of `invites`. Every method is one statement; a code is never read back. */
import { Context, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { Refusal } from "../../protocol/Refusal.ts"
import { Count } from "../../protocol/Request.ts"
import { databaseRefusal } from "../Database.ts"
import { Instant } from "./Instant.ts"

export const Invite = Schema.Struct({
  invite_id: Count,
  uses_left: Count,
  uses: Count,
  created_at: Instant,
  expires_at: Schema.NullOr(Instant)
})
export type Invite = typeof Invite.Type

const decodeInvites = Schema.decodeUnknownEffect(Schema.Array(Invite))

export class InviteRepo extends Context.Service<InviteRepo, {
  readonly insert: (invite: {
    readonly codeHash: Uint8Array
    readonly uses: number
    readonly now: Date
    readonly expiresAt: Date | null
  }) => Effect.Effect<Invite, Refusal>
  /** Those that somebody can still register with, the oldest first. */
  readonly list: (now: Date) => Effect.Effect<ReadonlyArray<Invite>, Refusal>
  /** True when somebody can register with it. */
  readonly isGood: (codeHash: Uint8Array, now: Date) => Effect.Effect<boolean, Refusal>
  /** Takes one use. False when there is none left. */
  readonly use: (codeHash: Uint8Array, now: Date) => Effect.Effect<boolean, Refusal>
  /** False when nobody could have registered with it any more. */
  readonly revoke: (inviteId: number, now: Date) => Effect.Effect<boolean, Refusal>
}>()("fip/server/users/InviteRepo") {
  static readonly layer = Layer.effect(
    InviteRepo,
    Effect.gen(function*() {
      const sql = yield* SqlClient
      const columns = sql.literal("invite_id, uses_left, uses, created_at, expires_at")
      const good = (now: Date) =>
        sql`uses_left > 0 and revoked_at is null and (expires_at is null or expires_at > ${now}::timestamptz)`
      const some = Effect.mapBoth({
        onFailure: databaseRefusal,
        onSuccess: (rows: ReadonlyArray<unknown>) => rows.length > 0
      })

      return InviteRepo.of({
        insert: ({ codeHash, expiresAt, now, uses }) =>
          sql`
            insert into invites (code_hash, uses_left, uses, created_at, expires_at)
            values (${codeHash}, ${uses}, ${uses}, ${now}, ${expiresAt}::timestamptz)
            returning ${columns}`.pipe(
            Effect.mapError(databaseRefusal),
            Effect.flatMap((rows) => Effect.orDie(decodeInvites(rows))),
            Effect.flatMap(([row]) =>
              row === undefined ? Effect.die(new Error("no row was inserted")) : Effect.succeed(row)
            )
          ),
        list: (now) =>
          sql`select ${columns} from invites where ${good(now)} order by invite_id`.pipe(
            Effect.mapError(databaseRefusal),
            Effect.flatMap((rows) => Effect.orDie(decodeInvites(rows)))
          ),
        isGood: (codeHash, now) => some(sql`select from invites where code_hash = ${codeHash} and ${good(now)}`),
        use: (codeHash, now) =>
          some(sql`
            update invites set uses_left = uses_left - 1
            where code_hash = ${codeHash} and ${good(now)}
            returning invite_id`),
        revoke: (inviteId, now) =>
          some(sql`
            update invites set revoked_at = ${now}
            where invite_id = ${inviteId}::bigint and ${good(now)}
            returning invite_id`)
      })
    })
  )
}
