/**
 * Keeps the connection of a person who is logged in: asks the server now and then whether it is there, so that nothing on
 * the way forgets an idle connection, and connects again when it is lost. Both are said once, above the line being typed.
 * Scripts have no need of it: their next command connects again.
 */
import { Duration, Effect, Latch, Option } from "effect"
import { FipClient } from "../../client/FipClient.ts"
import { Output } from "./Output.ts"
import { note } from "./Report.ts"

/** Well below what routers and servers allow a connection to be idle. */
const INTERVAL = Duration.minutes(1)
const FIRST_RETRY = Duration.seconds(1)
const LAST_RETRY = Duration.seconds(15)

/** `lost` opens when the connection is gone. */
export const keepAlive = Effect.fnUntraced(function*(lost: Latch.Latch) {
  const client = yield* FipClient
  yield* Output
  const isLoggedIn = Effect.map(client.session, Option.isSome)
  let retry: Duration.Duration | undefined
  while (true) {
    // A server closes the connection of who is not logged in after a while: that is no loss.
    yield* retry === undefined ? Effect.timeoutOption(lost.await, INTERVAL) : Effect.sleep(retry)
    yield* lost.close
    if (!(yield* isLoggedIn)) {
      retry = undefined
      continue
    }
    const failure = yield* Effect.match(client.heartbeat, { onFailure: (error) => error, onSuccess: () => undefined })
    if (failure === undefined || failure._tag === "Refusal") {
      retry = undefined
    } else {
      if (retry === undefined) {
        yield* note(`the connection is lost: ${failure.message}; the shell tries again, and so does your next command`)
      }
      // Nobody is asked for trust behind their back, and it will not come by itself.
      retry = failure._tag === "TrustError"
        ? LAST_RETRY
        : retry === undefined
        ? FIRST_RETRY
        : Duration.min(Duration.times(retry, 1.5), LAST_RETRY)
    }
  }
})
