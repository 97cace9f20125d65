/**
 * Servers that share a folder for their identity: when one of them has changed it, the others read it again, and show
 * the new key to whoever connects from then on.
 */
import { Effect, Layer, Queue } from "effect"
import { refuse } from "../../protocol/Refusal.ts"
import { ServerIdentity } from "../Identity.ts"
import { Notifications } from "../Notifications.ts"

const TOPIC = "identity"

export const identitySharingLayer = Layer.effectDiscard(Effect.gen(function*() {
  const identity = yield* ServerIdentity
  const notifications = yield* Notifications
  if (!notifications.isShared) return
  const heard = yield* Queue.unbounded<void>()
  const changed = yield* Queue.unbounded<void>()
  const reload = Effect.mapError(identity.reload, ({ message }) => refuse("3:?", message))

  yield* notifications.subscribe(TOPIC, {
    onMessages: (_, sender) => {
      if (sender !== notifications.node) Queue.offerUnsafe(heard, undefined)
    },
    onFound: reload
  })
  yield* identity.onChange(() => Queue.offerUnsafe(changed, undefined))
  yield* Queue.takeAll(heard).pipe(
    Effect.andThen(Effect.ignore(reload, { log: "Error" })),
    Effect.forever,
    Effect.forkScoped
  )
  yield* Queue.takeAll(changed).pipe(
    Effect.andThen(Effect.ignore(notifications.publish(TOPIC, ["changed"]), { log: "Warn" })),
    Effect.forever,
    Effect.forkScoped
  )
})).pipe(Layer.provide(Notifications.layer))
