/**
 * Tells every background task that the server is leaving.
 *
 * `begin` comes before any layer is closed; what each layer must then do is its own finalizer, so the order of cleanup
 * is the order of dependency. Loops race their next step against `begun` and turn to clean-up.
 */
import { Context, Deferred, Effect, Layer } from "effect"

export class ShutdownCoordinator extends Context.Service<ShutdownCoordinator, {
  /** Announces the shutdown. Idempotent. */
  readonly begin: Effect.Effect<void>
  /** Resolves when the shutdown begins. */
  readonly begun: Effect.Effect<void>
  readonly isBegun: Effect.Effect<boolean>
}>()("fip/server/ShutdownCoordinator") {
  static readonly layer = Layer.effect(
    ShutdownCoordinator,
    Effect.gen(function*() {
      const begun = yield* Deferred.make<void>()
      return ShutdownCoordinator.of({
        begin: Effect.asVoid(Deferred.succeed(begun, undefined)),
        begun: Deferred.await(begun),
        isBegun: Deferred.isDone(begun)
      })
    })
  )
}
