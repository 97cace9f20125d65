/**
 * Tells every background task that the server is leaving, and knows how far it has got.
 *
 * `begin` comes before any layer is closed; what each layer must then do is its own finalizer, so the order of cleanup
 * is the order of dependency. A layer `phase` stands below what it is named after, and sees it closed. Loops that serve
 * nobody who waits are forked with `background` and end when the shutdown begins.
 */
import { Context, Deferred, Effect, Layer, type Scope } from "effect"

/** What background work needs to know. Without a coordinator nothing ever ends. */
export const ShutdownSignal = Context.Reference<{
  readonly begun: Effect.Effect<void>
  /** Names of the loops that go on. */
  readonly running: Map<symbol, string>
}>("fip/server/ShutdownSignal", { defaultValue: () => ({ begun: Effect.never, running: new Map() }) })

/** Runs a loop until the shutdown begins, or the scope closes. Its step must bear to be interrupted. */
export const background = (
  name: string,
  loop: Effect.Effect<unknown>
): Effect.Effect<void, never, Scope.Scope> =>
  Effect.flatMap(ShutdownSignal, ({ begun, running }) => {
    const key = Symbol(name)
    running.set(key, name)
    return loop.pipe(
      Effect.raceFirst(begun),
      Effect.ensuring(Effect.sync(() => running.delete(key))),
      Effect.forkScoped,
      Effect.asVoid
    )
  })

export class ShutdownCoordinator extends Context.Service<ShutdownCoordinator, {
  /** Announces the shutdown. Idempotent. */
  readonly begin: Effect.Effect<void>
  /** Resolves when the shutdown begins. */
  readonly begun: Effect.Effect<void>
  readonly isBegun: Effect.Effect<boolean>
  /** Names of background loops that have not ended. */
  readonly running: () => ReadonlyArray<string>
  /** What has been opened, in that order, and not been closed yet. */
  readonly open: () => ReadonlyArray<string>
  /** What has been closed, in that order. */
  readonly closed: () => ReadonlyArray<string>
  readonly opened: (name: string) => Effect.Effect<void, never, Scope.Scope>
}>()("fip/server/ShutdownCoordinator") {
  static readonly layer = Layer.effectContext(
    Effect.gen(function*() {
      const begun = yield* Deferred.make<void>()
      const running = new Map<symbol, string>()
      const open = new Set<string>()
      const closed: Array<string> = []
      const signal = { begun: Deferred.await(begun), running }
      const coordinator = ShutdownCoordinator.of({
        begin: Effect.asVoid(Deferred.succeed(begun, undefined)),
        begun: signal.begun,
        isBegun: Deferred.isDone(begun),
        running: () => [...running.values()],
        open: () => [...open],
        closed: () => closed,
        opened: (name) => {
          open.add(name)
          return Effect.addFinalizer(() =>
            Effect.sync(() => {
              open.delete(name)
              closed.push(name)
            })
          )
        }
      })
      return Context.make(ShutdownCoordinator, coordinator).pipe(Context.add(ShutdownSignal, signal))
    })
  )

  /** To be provided to the layers of this name: it closes right after them. */
  static readonly phase = (name: string): Layer.Layer<never, never, ShutdownCoordinator> =>
    Layer.effectDiscard(Effect.flatMap(ShutdownCoordinator, (coordinator) => coordinator.opened(name)))
}
