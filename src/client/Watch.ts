/**
 * Changes as they happen: one request after the other, each of which waits at the server until there is something to
 * tell. The number that the next one begins with is all there is to remember, so nothing is lost with a connection.
 */
import { Effect, Option, Schedule, Stream } from "effect"
import type { ChangeInfo } from "../protocol/Request.ts"
import type { Api, CallError } from "./Api.ts"
import { ProtocolError } from "./ClientError.ts"
import type { WatchOptions } from "./FipClient.ts"

/** Shorter than the silence that a server may keep (`replyTimeout`), and than any time after which links are cut. */
const WAIT_MILLIS = 20_000

/** Between attempts to find the server again. */
const AGAIN = Schedule.min([Schedule.exponential("100 millis"), Schedule.spaced("5 seconds")])

/** The server, or the way to it, is gone for now. */
const isPassing = (error: CallError): boolean =>
  error._tag === "ConnectionLost" || error._tag === "ConnectError" ||
  (error._tag === "Refusal" && (error.code === "3:s" || error.code === "3:db"))

export const watch = (api: Api, options: WatchOptions = {}): Stream.Stream<ChangeInfo, CallError> => {
  const { name, onReady = () => {}, owner, prefix } = options
  const ask = (since: number | undefined) =>
    api.call("Watch", {
      owner,
      name: name?.normalize("NFC"),
      prefix: prefix?.normalize("NFC"),
      since,
      wait_ms: WAIT_MILLIS
    })
  return Stream.paginate(
    options.since,
    Effect.fnUntraced(function*(since) {
      // The first answer says at once what is wrong with the question.
      const { changes, next } = yield* since === undefined
        ? ask(since)
        : Effect.retry(ask(since), { schedule: AGAIN, while: isPassing })
      if (since !== undefined && (next < since || changes.some(({ sequence }) => sequence <= since))) {
        return yield* new ProtocolError({ message: "the server told of the same change twice" })
      }
      if (since === undefined) onReady(next)
      return [changes, Option.some<number | undefined>(next)] as const
    })
  )
}
