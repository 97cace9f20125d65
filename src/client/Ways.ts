/**
 * The connections that one large transfer uses: the one for requests, and where distance or the caller calls for it
 * lanes beside it. What one connection may have on its way is bounded by the system's windows, and several have several.
 *
 * A lane that cannot be had, or breaks, is done without: whatever is sent goes by those that are there.
 */
import { Effect, type Scope } from "effect"
import type { Connection } from "./Connection.ts"
import type { Link } from "./Link.ts"

/** Of one transfer, when nobody says how many. */
const CONNECTIONS_FAR = 4
export const MAX_CONNECTIONS = 16

/** From this round trip on a server is far away. */
const FAR_MILLIS = 30

/** What has less is there before more connections are. */
const WORTH_BYTES = 32 * 1024 * 1024

/** Parts of 1 MiB on their way to a server next door, and how many more for each millisecond: 400 MiB a second. */
const NEAR_WINDOW = 16
const WINDOW_PER_MILLI = 0.4
const MAX_WINDOW = 60

/** How many connections to use for so many bytes. */
export const connectionsFor = (link: Link, bytes: number, asked: number | undefined): number =>
  Math.max(
    1,
    Math.min(
      MAX_CONNECTIONS,
      asked ?? (bytes >= WORTH_BYTES && link.roundTripMillis() >= FAR_MILLIS ? CONNECTIONS_FAR : 1)
    )
  )

/** Parts that may be unanswered at the same time. */
export const windowFor = (roundTripMillis: number): number =>
  Math.min(MAX_WINDOW, NEAR_WINDOW + Math.floor(roundTripMillis * WINDOW_PER_MILLI))

export interface Ways {
  /** Parts that may be unanswered at the same time, on all of them together. */
  readonly window: number
  /** The lane to send the next by; `undefined` is the connection for requests. */
  readonly next: () => Connection | undefined
}

/** Opens lanes beside what goes on meanwhile; they are given back when the scope closes. */
export const openWays = Effect.fnUntraced(function*(
  link: Link,
  bytes: number,
  asked: number | undefined
): Effect.fn.Return<Ways, never, Scope.Scope> {
  const lanes: Array<Connection> = []
  const count = connectionsFor(link, bytes, asked) - 1
  if (count > 0) {
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        for (const lane of lanes) link.releaseLane(lane, lane.idle)
      })
    )
    const take = Effect.uninterruptibleMask((restore) =>
      Effect.map(restore(link.takeLane), (lane) => void lanes.push(lane))
    )
    yield* Effect.forkScoped(
      Effect.all(Array.from({ length: count }, () => Effect.ignore(take)), { concurrency: "unbounded", discard: true })
    )
  }
  let turn = 0
  return {
    window: windowFor(link.roundTripMillis()),
    next: () => {
      turn = (turn + 1) % (lanes.length + 1)
      const lane = lanes[turn]
      return lane?.usable === true ? lane : undefined
    }
  }
})
