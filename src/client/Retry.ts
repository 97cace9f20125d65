/**
 * When a request that failed for now is sent again, after what a broken connection calls for by itself (Link.ts).
 *
 * Only what is safe: requests of which nothing was carried out, because they never left, were refused for their number or
 * met a server that is leaving, and those that done twice are done once. A refusal that says when to come back is obeyed.
 */
import { Effect, Schedule } from "effect"
import type { LinkError } from "./Link.ts"
import type { Unanswered } from "./Reply.ts"

/**
 * `times`: so often, after pauses that grow from a fifth of a second to ten seconds. A schedule says itself how often and
 * after which pauses.
 */
export type RetryPolicy = { readonly times: number } | Schedule.Schedule<unknown>

export type Passing = LinkError | Unanswered

/** A server that asks for more patience than this is not waited for. */
const MAX_WAIT_MILLIS = 60_000

const waitOf = (error: unknown): number =>
  typeof error === "object" && error !== null && "retry_after_ms" in error && typeof error.retry_after_ms === "number"
    ? error.retry_after_ms
    : 0

const isPassing = (error: Passing, idempotent: boolean): boolean => {
  switch (error._tag) {
    case "ConnectError":
      return true
    case "ConnectionLost":
      return idempotent
    case "Unanswered":
      return error.loss._tag !== "ProtocolError" && (idempotent || !error.sent)
    case "Refusal": {
      if (waitOf(error) > MAX_WAIT_MILLIS) return false
      const { code } = error
      return code === "2:rlex" || code === "3:s" || (idempotent && (code === "3:db" || code === "3:t"))
    }
    default:
      return false
  }
}

const GROWING = Schedule.min([Schedule.exponential("200 millis"), Schedule.spaced("10 seconds")]).pipe(
  Schedule.jittered
)

/** Runs requests by a policy; without one, once. */
export type Persist = <A, E extends Passing>(effect: Effect.Effect<A, E>, idempotent: boolean) => Effect.Effect<A, E>

export const makePersist = (policy: RetryPolicy | undefined): Persist => {
  if (policy === undefined) return (effect) => effect
  const schedule = Schedule.addDelay(
    "times" in policy ? Schedule.upTo(GROWING, { times: policy.times }) : policy,
    ({ input }) => Effect.succeed(waitOf(input))
  )
  return (effect, idempotent) => Effect.retry(effect, { schedule, while: (error) => isPassing(error, idempotent) })
}
