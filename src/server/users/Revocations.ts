/**
 * The sessions whose access tokens are dead although they have not expired: in memory, because every request asks.
 *
 * What this server ends is added as it is committed; what another server on the same database ends is heard of by
 * notification, and read again whenever some may have been missed.
 */
import { Clock, Context, Duration, Effect, Layer, Schedule } from "effect"
import type { SessionId } from "../../protocol/Identity.ts"
import { Notifications } from "../Notifications.ts"
import { ServerConfig } from "../ServerConfig.ts"
import { background } from "../ShutdownCoordinator.ts"
import { SessionRepo } from "./SessionRepo.ts"

/** The trigger of migration 0008 sends it the id of each session that is revoked. */
const TOPIC = "session"

/** Revocations are kept for so much longer than a token lives, for clocks that are set back. */
const CLOCK_SLACK = Duration.days(1)

export class Revocations extends Context.Service<Revocations, {
  readonly has: (sessionId: SessionId) => boolean
  readonly add: (sessionId: SessionId) => void
}>()("fip/server/users/Revocations") {
  static readonly layer = Layer.effect(
    Revocations,
    Effect.gen(function*() {
      const { accessTokenLifetime } = yield* ServerConfig
      const clock = yield* Clock.Clock
      const repo = yield* SessionRepo
      const notifications = yield* Notifications
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

      // Listening first: nothing falls between what is read here and what is heard from now on.
      yield* notifications.subscribe(TOPIC, { onMessages: (ended) => ended.forEach(add), onFound: load })
      yield* load
      yield* background("revocations that are over", Effect.repeat(forget, Schedule.spaced("1 day")))

      return Revocations.of({ has: (sessionId) => heardAt.has(sessionId), add })
    })
  )
}
