/**
 * Rings for users whose feeds have grown. Whoever waits listens first and reads then: nothing falls between the two, and
 * a ring too many costs one look.
 */
import { Context, Deferred, Effect, Layer, type Scope } from "effect"

export class Bell extends Context.Service<Bell, {
  /** To be called when what was added can be seen. */
  readonly ring: (userIds: Iterable<number>) => void
  /** Listens from now on; the effect that it gives ends with the first ring for this user. */
  readonly listen: (userId: number) => Effect.Effect<Effect.Effect<void>, never, Scope.Scope>
}>()("fip/server/feed/Bell") {
  static readonly layer = Layer.sync(Bell, () => {
    const listeners = new Map<number, Set<Deferred.Deferred<void>>>()

    const leave = (userId: number, listener: Deferred.Deferred<void>): void => {
      const others = listeners.get(userId)
      if (others?.delete(listener) === true && others.size === 0) listeners.delete(userId)
    }

    return Bell.of({
      ring: (userIds) => {
        for (const userId of userIds) {
          for (const listener of listeners.get(userId) ?? []) Deferred.doneUnsafe(listener, Effect.void)
        }
      },
      listen: (userId) =>
        Effect.map(
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
    })
  })
}
