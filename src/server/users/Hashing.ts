/**
 * Who may hash a password now: a few at a time, a bounded number waiting, and an early, honest refusal for the rest. The
 * two lanes are counted apart, so that a flood of strangers refuses no one whom an account knows.
 */
import { Clock, Effect } from "effect"
import { Refusal } from "../../protocol/Refusal.ts"
import type { ServerSettings } from "../ServerConfig.ts"
import { HashPlaces, type Lane } from "./HashPlaces.ts"

export interface Hashing {
  /** Runs `work` in a place. Refused with `2:rlex` when too many wait. */
  readonly run: <A>(lane: Lane, work: Effect.Effect<A>) => Effect.Effect<A, Refusal>
}

const MIN_RETRY_MS = 100

export const makeHashing = (
  { passwordConcurrency, passwordQueue }: Pick<ServerSettings, "passwordConcurrency" | "passwordQueue">
): Hashing => {
  const places = new HashPlaces(passwordConcurrency)
  const admitted = { known: 0, stranger: 0 }
  let lastMillis = MIN_RETRY_MS

  const enter = (lane: Lane) =>
    Effect.suspend(() => {
      if (admitted[lane] < passwordConcurrency + passwordQueue) {
        admitted[lane]++
        return Effect.void
      }
      const ahead = lane === "known" ? admitted.known : admitted.known + admitted.stranger
      const wait = Math.max(MIN_RETRY_MS, Math.ceil(ahead * lastMillis / passwordConcurrency))
      return new Refusal({
        code: "2:rlex",
        message: `too many passwords are being checked just now: try again in ${Math.ceil(wait / 1000)} s`,
        retry_after_ms: wait
      })
    })
  const leave = (lane: Lane) =>
    Effect.sync(() => {
      admitted[lane]--
    })
  const timed = Effect.fnUntraced(function*<A>(work: Effect.Effect<A>) {
    const started = yield* Clock.monotonicTimeNanos
    const result = yield* work
    lastMillis = Number((yield* Clock.monotonicTimeNanos) - started) / 1e6
    return result
  })
  return {
    run: (lane, work) => Effect.acquireUseRelease(enter(lane), () => places.run(lane, timed(work)), () => leave(lane))
  }
}
