/**
 * Sessions: begun by a login, carried on by refresh digests, ended by logout, replay, password change or deletion.
 *
 * A refresh digest is good for one rotation. For a short grace after it, the device that it belongs to may ask again and
 * gets the same successor (its reply was lost); any other use of an old digest means that it is in two hands, and ends
 * the session. What ends a session is committed and takes effect on its live tokens in one step that nothing interrupts;
 * it is acknowledged when every server on the database has heard of it.
 */
import { Clock, Context, Duration, Effect, Layer, Schedule } from "effect"
import { randomUUID } from "node:crypto"
import { type DeviceId, type RefreshDigest as Digest, SessionId } from "../../protocol/Identity.ts"
import { type Refusal, refuse } from "../../protocol/Refusal.ts"
import type { AuthOf, SessionGrant } from "../../protocol/Request.ts"
import { RecordActivity } from "../activity/Activity.ts"
import { Coherence } from "../caches/Coherence.ts"
import type { Peer } from "../Caller.ts"
import { ServerConfig } from "../ServerConfig.ts"
import { background } from "../ShutdownCoordinator.ts"
import { AccessTokens, type Bearer } from "./AccessTokens.ts"
import * as RefreshDigest from "./RefreshDigest.ts"
import { Revocations } from "./Revocations.ts"
import { type Ended, type EndReason, type Presented, SessionRepo } from "./SessionRepo.ts"
import { SigningKeys } from "./SigningKeys.ts"
import type { User } from "./UserRepo.ts"

/** Live sessions of one user. A login beyond them ends the one that was not seen for longest. */
const MAX_SESSIONS = 1000

/** Sessions that ended stay on record until so long after the last of their tokens has expired. */
const ON_RECORD = Duration.days(7)

const sessionOver = refuse("2:auth", "the session has ended: log in again", "refresh_digest")

export class Sessions extends Context.Service<Sessions, {
  /** Begins a session; `undefined` when the user's password hash is not the one that was verified any more. */
  readonly begin: (user: User, device: DeviceId, peer: Peer) => Effect.Effect<SessionGrant | undefined, Refusal>
  readonly refresh: (auth: AuthOf<"digest">, peer: Peer) => Effect.Effect<SessionGrant, Refusal>
  /** Ends one session of a user; nothing, when it had ended before. */
  readonly end: (
    userId: number,
    sessionId: SessionId,
    reason: EndReason
  ) => Effect.Effect<ReadonlyArray<Ended>, Refusal>
  /**
   * Runs what ends sessions (and, in a transaction, whatever goes with it) to its end, and kills the tokens of the
   * sessions that it gives.
   */
  readonly ending: <A extends { readonly ended: ReadonlyArray<Ended> } | undefined>(
    change: Effect.Effect<A, Refusal>
  ) => Effect.Effect<A, Refusal>
}>()("fip/server/users/Sessions") {
  static readonly layer = Layer.effect(
    Sessions,
    Effect.gen(function*() {
      const config = yield* ServerConfig
      const repo = yield* SessionRepo
      const tokens = yield* AccessTokens
      const keys = yield* SigningKeys
      const revocations = yield* Revocations
      const record = yield* RecordActivity
      const coherence = yield* Coherence
      const lifetime = Duration.toMillis(config.refreshLifetime)
      const kept = Duration.toMillis(Duration.sum(config.accessTokenLifetime, ON_RECORD))
      const grace = Duration.toMillis(config.refreshGrace)

      const issue = Effect.fnUntraced(function*(bearer: Bearer, digest: Digest, now: number) {
        const { lastsMillis, token } = yield* tokens.issue(bearer)
        return {
          username: bearer.username,
          session_id: bearer.sessionId,
          token,
          token_expires_in_ms: lastsMillis,
          refresh_digest: digest,
          refresh_expires_in_ms: bearer.sessionExpiresAt - now
        }
      })

      const ending = <A extends { readonly ended: ReadonlyArray<Ended> } | undefined>(
        change: Effect.Effect<A, Refusal>
      ): Effect.Effect<A, Refusal> =>
        Effect.uninterruptible(Effect.tap(change, (changed) => {
          const ended = changed?.ended ?? []
          for (const session of ended) revocations.add(session.session_id)
          return ended.length === 0 ? Effect.void : coherence.heard
        }))

      const end = Effect.fnUntraced(function*(userId: number, sessionId: SessionId, reason: EndReason) {
        const now = new Date(yield* Clock.currentTimeMillis)
        const { ended } = yield* ending(
          Effect.map(repo.end(userId, sessionId, reason, now), (ended) => ({ ended }))
        )
        return ended
      })

      const begin = Effect.fnUntraced(function*(user: User, device: DeviceId, peer: Peer) {
        const now = yield* Clock.currentTimeMillis
        const sessionId = SessionId.make(randomUUID())
        const digest = RefreshDigest.random()
        const sessionExpiresAt = now + lifetime
        const isBegun = yield* repo.begin({
          sessionId,
          userId: user.user_id,
          verifiedHash: user.password_hash,
          device,
          address: peer.address,
          digestHash: RefreshDigest.hash(digest),
          now: new Date(now),
          expiresAt: new Date(sessionExpiresAt)
        })
        if (!isBegun) return undefined
        yield* ending(
          Effect.map(repo.endSurplus(user.user_id, MAX_SESSIONS, new Date(now)), (ended) => ({ ended }))
        )
        return yield* issue({ userId: user.user_id, username: user.username, sessionId, sessionExpiresAt }, digest, now)
      })

      /** The successor that a digest had, when its holder may ask for it again. */
      const lostReply = (used: Presented, auth: AuthOf<"digest">, now: number): Digest | undefined => {
        if (used.device !== auth.device || used.retired_at === null || used.key_id === null) return undefined
        if (now - used.retired_at.getTime() > grace) return undefined
        const secret = keys.digestSecret(used.key_id)
        return secret === undefined ? undefined : RefreshDigest.successor(auth.refresh_digest, secret)
      }

      const refresh = Effect.fnUntraced(function*(auth: AuthOf<"digest">, peer: Peer) {
        const now = yield* Clock.currentTimeMillis
        const digestHash = RefreshDigest.hash(auth.refresh_digest)
        const { keyId, secret } = keys.current.digest
        const next = RefreshDigest.successor(auth.refresh_digest, secret)
        const rotated = yield* repo.rotate({
          digestHash,
          nextHash: RefreshDigest.hash(next),
          keyId,
          device: auth.device,
          address: peer.address,
          now: new Date(now),
          expiresAt: new Date(now + lifetime)
        })
        if (rotated !== undefined) {
          const { session_id: sessionId, user_id: userId, username } = rotated
          return yield* issue({ userId, username, sessionId, sessionExpiresAt: now + lifetime }, next, now)
        }
        const used = yield* repo.presented(digestHash)
        if (used === undefined || used.ended || used.expires_at.getTime() <= now) return yield* sessionOver
        const { session_id: sessionId, user_id: userId, username } = used
        const again = lostReply(used, auth, now)
        if (again !== undefined) {
          const sessionExpiresAt = used.expires_at.getTime()
          return yield* issue({ userId, username, sessionId, sessionExpiresAt }, again, now)
        }
        yield* end(userId, sessionId, "replay")
        record({
          action: "Replay",
          code: "2:auth",
          says: "a refresh digest was used twice: its session has been ended",
          userId,
          username,
          address: peer.address,
          durationMillis: 0,
          suspicious: true,
          notable: true,
          detail: { session_id: sessionId }
        })
        return yield* sessionOver
      })

      // A retired digest is remembered as long as it would have been good for had it not been used.
      const sweep = Effect.gen(function*() {
        const now = yield* Clock.currentTimeMillis
        yield* repo.sweep({ ended: new Date(now - kept), retired: new Date(now - lifetime) })
      })
      yield* background(
        "sweep of sessions",
        sweep.pipe(
          Effect.tapError((error) => Effect.logWarning("old sessions could not be swept", error)),
          Effect.ignore,
          Effect.repeat(Schedule.spaced("1 day"))
        )
      )

      return Sessions.of({ begin, refresh, end, ending })
    })
  )
}
