/** Changes the server's key by schedule (`--rotate-every`), until the shutdown begins. */
import { Clock, Duration, Effect, Layer } from "effect"
import { ServerIdentity } from "../Identity.ts"
import { ServerConfig } from "../ServerConfig.ts"
import { background } from "../ShutdownCoordinator.ts"

/** How often the clock is looked at: a machine that sleeps, or whose clock is set, is not days late. */
const LOOK_EVERY = Duration.minutes(10)

export const rotationLayer = Layer.effectDiscard(Effect.gen(function*() {
  const { rotateEvery } = yield* ServerConfig
  if (rotateEvery === undefined) return
  const every = Duration.toMillis(rotateEvery)
  const identity = yield* ServerIdentity

  const rotateWhenDue = Effect.gen(function*() {
    // Another server may have been faster.
    yield* identity.reload
    const { record } = yield* identity.state
    const now = yield* Clock.currentTimeMillis
    const left = record.notBefore + every - now
    if (left > 0) return left
    const { fingerprint } = yield* identity.rotate("scheduled")
    yield* Effect.annotateLogs(Effect.logInfo("the server's key has been rotated"), { fingerprint })
    return every
  }).pipe(Effect.catch((error) => Effect.as(Effect.logError("the server's key was not rotated", error.message), every)))

  yield* background(
    "rotation",
    rotateWhenDue.pipe(
      Effect.flatMap((left) => Effect.sleep(Duration.min(Duration.millis(left), LOOK_EVERY))),
      Effect.forever
    )
  )
}))
