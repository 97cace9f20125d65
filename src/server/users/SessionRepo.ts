/**
 * Rows of `sessions`, `retired_digests` and `revoked_sessions`. Every change is one statement, so it happens or it does
 * not; what ends a session revokes its access tokens in the same statement.
 */
import { Context, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { Fragment } from "effect/sql/Statement"
import { DeviceId, SessionId, Username } from "../../protocol/Identity.ts"
import type { Refusal } from "../../protocol/Refusal.ts"
import { Count, SessionInfo } from "../../protocol/Request.ts"
import { databaseRefusal } from "../Database.ts"
import { Instant } from "./Instant.ts"

export type EndReason = "logout" | "replay" | "password" | "deletion" | "surplus" | "admin" | "ban"

/** A session as `QuerySessions` shows it. */
const Live = Schema.Struct({
  ...SessionInfo.fields,
  created_at: Instant,
  last_seen_at: Instant,
  expires_at: Instant
})

/** A session as an administrator sees it. */
const UserSession = Schema.Struct({
  username: Username,
  session_id: SessionId,
  device: DeviceId,
  address: Schema.String,
  created_at: Instant,
  last_seen_at: Instant,
  expires_at: Instant
})
export type UserSession = typeof UserSession.Type

/** Whose session a digest has refreshed. */
const Rotated = Schema.Struct({ session_id: SessionId, user_id: Count, username: Username })
export type Rotated = typeof Rotated.Type

/** What is known about a digest that could not be rotated. */
const Presented = Schema.Struct({
  session_id: SessionId,
  user_id: Count,
  username: Username,
  device: DeviceId,
  expires_at: Schema.Date,
  ended: Schema.Boolean,
  /** `null`: the digest is the session's current one. */
  retired_at: Schema.NullOr(Schema.Date),
  /** The key that its successor was derived with. */
  key_id: Schema.NullOr(Schema.Int)
})
export type Presented = typeof Presented.Type

/** A session that was ended just now. */
const Ended = Schema.Struct({
  session_id: SessionId,
  /** False when it had expired already. */
  live: Schema.Boolean
})
export type Ended = typeof Ended.Type

const decodeLive = Schema.decodeUnknownEffect(Schema.Array(Live))
const decodeUserSessions = Schema.decodeUnknownEffect(Schema.Array(UserSession))
const decodeOwners = Schema.decodeUnknownEffect(Schema.Array(Schema.Struct({ user_id: Count })))
const decodeRotated = Schema.decodeUnknownEffect(Schema.Array(Rotated))
const decodePresented = Schema.decodeUnknownEffect(Schema.Array(Presented))
const decodeEnded = Schema.decodeUnknownEffect(Schema.Array(Ended))
const decodeRevoked = Schema.decodeUnknownEffect(Schema.Array(Schema.Struct({ session_id: SessionId })))
const decodeCounts = Schema.decodeUnknownEffect(Schema.Array(Schema.Struct({ sessions: Count })))

export class SessionRepo extends Context.Service<SessionRepo, {
  /**
   * Begins a session. False when the user's password is not the one that was verified any more, or the user is banned
   * or gone.
   */
  readonly begin: (session: {
    readonly sessionId: SessionId
    readonly userId: number
    readonly verifiedHash: string
    readonly device: DeviceId
    readonly address: string
    readonly digestHash: Uint8Array
    readonly now: Date
    readonly expiresAt: Date
  }) => Effect.Effect<boolean, Refusal>
  /** Replaces the digest of a live session of this device; `undefined` when it is not the current one of any. */
  readonly rotate: (rotation: {
    readonly digestHash: Uint8Array
    readonly nextHash: Uint8Array
    readonly keyId: number
    readonly device: DeviceId
    readonly address: string
    readonly now: Date
    readonly expiresAt: Date
  }) => Effect.Effect<Rotated | undefined, Refusal>
  /** The session that a digest belongs to, or once belonged to. */
  readonly presented: (digestHash: Uint8Array) => Effect.Effect<Presented | undefined, Refusal>
  /** Ends a session; what was ended. Idempotent. */
  readonly end: (
    userId: number,
    sessionId: SessionId,
    reason: EndReason,
    now: Date
  ) => Effect.Effect<ReadonlyArray<Ended>, Refusal>
  /** Ends all sessions of a user except one; what was ended. */
  readonly endAll: (
    userId: number,
    except: SessionId | undefined,
    reason: EndReason,
    now: Date
  ) => Effect.Effect<ReadonlyArray<Ended>, Refusal>
  /** Ends the sessions of a user beyond the `keep` that were seen last; what was ended. */
  readonly endSurplus: (userId: number, keep: number, now: Date) => Effect.Effect<ReadonlyArray<Ended>, Refusal>
  /** True when the session is, or lately was, the user's. */
  readonly owns: (userId: number, sessionId: SessionId) => Effect.Effect<boolean, Refusal>
  /** Sessions that live, the one seen last first; `current` marks the one that asks. */
  readonly live: (
    userId: number,
    current: SessionId,
    now: Date
  ) => Effect.Effect<ReadonlyArray<SessionInfo>, Refusal>
  readonly count: (userId: number, now: Date) => Effect.Effect<number, Refusal>
  /** Sessions that live, of one user or of all, by user, the one seen last first. */
  readonly list: (userId: number | undefined, now: Date) => Effect.Effect<ReadonlyArray<UserSession>, Refusal>
  /** True when the device has, or lately had, a session of the user of that name. */
  readonly knowsDevice: (username: Username, device: DeviceId) => Effect.Effect<boolean, Refusal>
  /** Whose session this is, or lately was. */
  readonly ownerOf: (sessionId: SessionId) => Effect.Effect<number | undefined, Refusal>
  /** Sessions whose tokens were revoked at `since` or later. */
  readonly revokedSince: (since: Date) => Effect.Effect<ReadonlyArray<SessionId>, Refusal>
  /** Deletes what ended, and what was retired, before an instant. */
  readonly sweep: (before: { readonly ended: Date; readonly retired: Date }) => Effect.Effect<void, Refusal>
}>()("fip/server/users/SessionRepo") {
  static readonly layer = Layer.effect(
    SessionRepo,
    Effect.gen(function*() {
      const sql = yield* SqlClient

      const endWhere = (which: Fragment, reason: EndReason, now: Date) =>
        sql`
          with ended as (
            update sessions set ended_at = ${now}, end_reason = ${reason}
            where ended_at is null and ${which}
            returning session_id, expires_at > ${now} as live
          ), revoked as (
            insert into revoked_sessions (session_id, revoked_at)
            select session_id, ${now} from ended
            on conflict do nothing
          )
          select session_id, live from ended`.pipe(
          Effect.mapError(databaseRefusal),
          Effect.flatMap((rows) => Effect.orDie(decodeEnded(rows)))
        )

      return SessionRepo.of({
        // The lock on the user orders this against a change of the password, and a ban: whichever comes second sees the
        // other.
        begin: (session) =>
          sql`
            with owner as (
              select user_id from users
              where user_id = ${session.userId} and password_hash = ${session.verifiedHash}
                and (banned_until is null or banned_until <= ${session.now})
              for share
            )
            insert into sessions
              (session_id, user_id, device, address, digest_hash, rotated_at, created_at, last_seen_at, expires_at)
            select ${session.sessionId}::uuid, user_id, ${session.device}, ${session.address}, ${session.digestHash},
              ${session.now}, ${session.now}, ${session.now}, ${session.expiresAt}
            from owner
            returning session_id`.pipe(
            Effect.mapBoth({ onFailure: databaseRefusal, onSuccess: (rows) => rows.length > 0 })
          ),
        rotate: (rotation) =>
          sql`
            with rotated as (
              update sessions set
                digest_hash = ${rotation.nextHash}, generation = generation + 1, address = ${rotation.address},
                rotated_at = ${rotation.now}, last_seen_at = ${rotation.now}, expires_at = ${rotation.expiresAt}
              where digest_hash = ${rotation.digestHash} and device = ${rotation.device}
                and ended_at is null and expires_at > ${rotation.now}
              returning session_id, user_id
            ), retired as (
              insert into retired_digests (digest_hash, session_id, key_id, retired_at)
              select ${rotation.digestHash}, session_id, ${rotation.keyId}, ${rotation.now} from rotated
            )
            select session_id, user_id, username from rotated join users using (user_id)`.pipe(
            Effect.mapError(databaseRefusal),
            Effect.flatMap((rows) => Effect.orDie(decodeRotated(rows))),
            Effect.map((rows) => rows[0])
          ),
        presented: (digestHash) =>
          sql`
            select session_id, user_id, username, device, expires_at, ended_at is not null as ended,
              retired_at, key_id
            from (
              select session_id, null::timestamptz as retired_at, null::integer as key_id
              from sessions where digest_hash = ${digestHash}
              union all
              select session_id, retired_at, key_id from retired_digests where digest_hash = ${digestHash}
            ) as digest
            join sessions using (session_id) join users using (user_id)`.pipe(
            Effect.mapError(databaseRefusal),
            Effect.flatMap((rows) => Effect.orDie(decodePresented(rows))),
            Effect.map((rows) => rows[0])
          ),
        end: (userId, sessionId, reason, now) =>
          endWhere(sql`user_id = ${userId} and session_id = ${sessionId}`, reason, now),
        endAll: (userId, except, reason, now) =>
          endWhere(
            except === undefined ? sql`user_id = ${userId}` : sql`user_id = ${userId} and session_id <> ${except}`,
            reason,
            now
          ),
        endSurplus: (userId, keep, now) =>
          endWhere(
            sql`session_id in (
              select session_id from sessions where user_id = ${userId} and ended_at is null
              order by last_seen_at desc, created_at desc offset ${keep}
            )`,
            "surplus",
            now
          ),
        owns: (userId, sessionId) =>
          sql`select from sessions where user_id = ${userId} and session_id = ${sessionId}`.pipe(
            Effect.mapBoth({ onFailure: databaseRefusal, onSuccess: (rows) => rows.length > 0 })
          ),
        live: (userId, current, now) =>
          sql`
            select session_id, device, address, created_at, last_seen_at, expires_at, session_id = ${current} as current
            from sessions
            where user_id = ${userId} and ended_at is null and expires_at > ${now}
            order by last_seen_at desc, session_id`.pipe(
            Effect.mapError(databaseRefusal),
            Effect.flatMap((rows) => Effect.orDie(decodeLive(rows)))
          ),
        count: (userId, now) =>
          sql`
            select count(*) as sessions from sessions
            where user_id = ${userId} and ended_at is null and expires_at > ${now}`.pipe(
            Effect.mapError(databaseRefusal),
            Effect.flatMap((rows) => Effect.orDie(decodeCounts(rows))),
            Effect.map((rows) => rows[0]?.sessions ?? 0)
          ),
        list: (userId, now) =>
          sql`
            select username, session_id, device, address, s.created_at, last_seen_at, expires_at
            from sessions s join users u using (user_id)
            where ended_at is null and expires_at > ${now} and ${
            userId === undefined ? sql`true` : sql`user_id = ${userId}`
          }
            order by username_key, last_seen_at desc, session_id`.pipe(
            Effect.mapError(databaseRefusal),
            Effect.flatMap((rows) => Effect.orDie(decodeUserSessions(rows)))
          ),
        knowsDevice: (username, device) =>
          sql`
            select from sessions join users using (user_id)
            where username_key = ${username.toLowerCase()} and device = ${device} limit 1`.pipe(
            Effect.mapBoth({ onFailure: databaseRefusal, onSuccess: (rows) => rows.length > 0 })
          ),
        ownerOf: (sessionId) =>
          sql`select user_id from sessions where session_id = ${sessionId}`.pipe(
            Effect.mapError(databaseRefusal),
            Effect.flatMap((rows) => Effect.orDie(decodeOwners(rows))),
            Effect.map((rows) => rows[0]?.user_id)
          ),
        revokedSince: (since) =>
          sql`select session_id from revoked_sessions where revoked_at >= ${since}`.pipe(
            Effect.mapError(databaseRefusal),
            Effect.flatMap((rows) => Effect.orDie(decodeRevoked(rows))),
            Effect.map((rows) => rows.map((row) => row.session_id))
          ),
        sweep: (before) =>
          Effect.all([
            sql`delete from sessions where coalesce(ended_at, expires_at) < ${before.ended}`,
            sql`delete from revoked_sessions where revoked_at < ${before.ended}`,
            sql`delete from retired_digests where retired_at < ${before.retired}`
          ], { discard: true }).pipe(Effect.mapError(databaseRefusal))
      })
    })
  )
}
