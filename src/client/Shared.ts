/** Work that many want at the same time and that must be done once. */
import { Deferred, Effect, type Scope } from "effect"

/**
 * Runs `effect` once for everybody who asks while it runs, and gives all of them its result. Whoever is interrupted
 * only stops waiting; the work ends with the scope.
 */
export const makeShared = <A, E>(
  effect: Effect.Effect<A, E>
): Effect.Effect<Effect.Effect<A, E>, never, Scope.Scope> =>
  Effect.map(Effect.scope, (scope) => {
    let running: Deferred.Deferred<A, E> | undefined
    return Effect.suspend(() => {
      if (running !== undefined) return Deferred.await(running)
      // A scope that is closed starts no fiber.
      if (scope.state._tag === "Closed") return effect
      const deferred = Deferred.makeUnsafe<A, E>()
      running = deferred
      return effect.pipe(
        Effect.onExit((exit) => {
          running = undefined
          return Deferred.done(deferred, exit)
        }),
        // At once: a fiber that is interrupted before it has started would never come to `onExit`.
        Effect.forkIn(scope, { startImmediately: true }),
        Effect.andThen(Deferred.await(deferred))
      )
    })
  })
