/**
 * Rings for users whose feeds have grown, whichever server made them grow. Whoever waits listens first and reads then:
 * nothing falls between the two, and a ring too many costs one look.
 */
import { Context, Deferred, Effect, Layer, type Scope } from "effect"
import { Notifications } from "../Notifications.ts"

/** Messages are the ids of users. */
export const TOPIC = "feed"

export class Bell extends Context.Service<Bell, {
  /** Listens from now on; the effect that it gives ends with the first ring for this user. */
  readonly listen: (userId: number) => Effect.Effect<Effect.Effect<void>, never, Scope.Scope>
}>()("fip/server/feed/Bell") {
  static readonly layer = Layer.effect(
    Bell,
    Effect.gen(function*() {
      const notifications = yield* Notifications
      const listeners = new Map<string, Set<Deferred.Deferred<void>>>()

      const ring = (userIds: Iterable<string>): void => {
        for (const userId of userIds) {
          for (const listener of listeners.get(userId) ?? []) Deferred.doneUnsafe(listener, Effect.void)
        }
      }
      const leave = (userId: string, listener: Deferred.Deferred<void>): void => {
        const others = listeners.get(userId)
        if (others?.delete(listener) === true && others.size === 0) listeners.delete(userId)
      }

      yield* notifications.subscribe(TOPIC, {
        onMessages: ring,
        // What grew in between was not heard of.
        onFound: Effect.sync(() => ring(listeners.keys()))
      })

      return Bell.of({
        listen: (id) => {
          const userId = String(id)
          return Effect.map(
            Effect.acquireRelease(
              Effect.sync(() => {
                const listener = Deferred.makeUnsafe<void>()
                const others = listeners.get(userId)
                if (others === undefined) listeners.set(userId, new Set([listener]))
                else others.add(listener)
                return listener
              }),
              (listener) => Effect.sync(() => leave(userId, listener))
            ),
            Deferred.await
          )
        }
      })
    })
  ).pipe(Layer.provide(Notifications.layer))
}
