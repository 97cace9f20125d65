/**
 * Where connections come from, and what is counted over all of them. A server by itself listens, and has a door of its
 * own; a worker is handed what its parent has accepted, which counts for all workers (workers/Parent.ts).
 */
import { Clock, Context, Effect, type Scope } from "effect"
import { ServerConfig } from "../ServerConfig.ts"
import { watchDoor } from "./crowds.ts"
import { Door } from "./Door.ts"
import type { Front } from "./Front.ts"
import { listen, type ListenError, makeGate } from "./Gate.ts"
import { UserRate } from "./UserRate.ts"

export interface Entrance {
  /** Lets people in from now on; gives the port that is listened on. */
  readonly open: (front: Front) => Effect.Effect<number, ListenError>
  /** Lets nobody in any more. */
  readonly close: () => void
  /** Notes what a user did; for how many milliseconds to hold back what comes next. */
  readonly spend: (userId: number, requests: number, bytes: number, now: number) => number
  /** To be called every second or so. */
  readonly sweep: (now: number) => void
}

export const Entrance = Context.Reference<Entrance | undefined>("fip/server/connections/Entrance", {
  defaultValue: () => undefined
})

/** The entrance of a server that listens itself. */
export const makeEntrance: Effect.Effect<Entrance, never, ServerConfig | Scope.Scope> = Effect.gen(function*() {
  const config = yield* ServerConfig
  const clock = yield* Clock.Clock
  const now = () => clock.currentTimeMillisUnsafe()
  const run = Effect.runForkWith(yield* Effect.context())
  const door = new Door(config)
  const rate = new UserRate(config)
  const tellOfCrowds = yield* watchDoor(door)
  let front: Front | undefined
  const gate = makeGate({
    door,
    now,
    isFull: () => front === undefined || front.size() >= config.maxConnections,
    pauseOnConnect: false,
    enter: (socket, visit) => front?.receive(socket, visit)
  })
  return {
    open: (given) => {
      front = given
      return listen(gate, config, (error) => run(Effect.logError("the listener failed", error)))
    },
    close: () => void gate.close(),
    spend: (userId, requests, bytes, at) => rate.spend(userId, requests, bytes, at),
    sweep: (at) => {
      door.sweep(at)
      rate.sweep(at)
      tellOfCrowds(at)
    }
  }
})
