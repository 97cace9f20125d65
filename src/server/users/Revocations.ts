/**
 * The sessions whose access tokens are dead although they have not expired: in memory, because every request asks.
 *
 * What this server ends is added as it is committed; what another server on the same PostgreSQL ends is heard of by
 * notification, and read again whenever the listener was lost. The embedded database has one server only.
 */
import { PgClient } from "@effect/sql-pg"
import { Clock, Context, Deferred, Duration, Effect, Layer, Queue, Schedule } from "effect"
import type { SessionId } from "../../protocol/Identity.ts"
import { ServerConfig } from "../ServerConfig.ts"
import { SessionRepo } from "./SessionRepo.ts"

/** The trigger of migration 0001 notifies it with the id of each session that is revoked. */
const CHANNEL = "fip_session_revoked"

/** Revocations are kept for so much longer than a token lives, for clocks that are set back. */
const CLOCK_SLACK = Duration.days(1)

export class Revocations extends Context.Service<Revocations, {
  readonly has: (sessionId: SessionId) => boolean
  readonly add: (sessionId: SessionId) => void
}>()("fip/server/users/Revocations") {
  static readonly layer = Layer.effect(
    Revocations,
    Effect.gen(function*() {
      const { accessTokenLifetime, databaseUrl } = yield* ServerConfig
      const clock = yield* Clock.Clock
      const repo = yield* SessionRepo
      const kept = Duration.toMillis(Duration.sum(accessTokenLifetime, CLOCK_SLACK))
      const heardAt = new Map<string, number>()

      const add = (sessionId: string): void => {
        if (!heardAt.has(sessionId)) heardAt.set(sessionId, clock.currentTimeMillisUnsafe())
      }
      const load = Effect.gen(function*() {
        const since = new Date((yield* Clock.currentTimeMillis) - kept)
        for (const sessionId of yield* repo.revokedSince(since)) add(sessionId)
      })
      const forget = Effect.sync(() => {
        const before = clock.currentTimeMillisUnsafe() - kept
        for (const [sessionId, at] of heardAt) {
          if (at < before) heardAt.delete(sessionId)
        }
      })

      yield* load
      yield* Effect.forkScoped(Effect.repeat(forget, Schedule.spaced("1 day")))

      if (databaseUrl !== undefined) {
        const client = yield* PgClient.PgClient
        const listening = yield* Deferred.make<void>()
        const follow = Effect.scoped(Effect.gen(function*() {
          const notifications = yield* client.listen(CHANNEL)
          // Listening first: nothing falls between what is read here and what is heard from now on.
          yield* load
          yield* Deferred.succeed(listening, undefined)
          while (true) {
            for (const { payload } of yield* Queue.takeAll(notifications)) add(payload)
          }
        }))
        yield* follow.pipe(
          Effect.tapError((error) =>
            Effect.andThen(
              Effect.logWarning("not hearing of sessions that other servers end: trying again", error),
              Deferred.succeed(listening, undefined)
            )
          ),
          Effect.retry(Schedule.spaced("1 second")),
          Effect.forkScoped
        )
        yield* Deferred.await(listening)
      }

      return Revocations.of({ has: (sessionId) => heardAt.has(sessionId), add })
    })
  )
}
