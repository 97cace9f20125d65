/**
 * What is noticed of every request that was answered, in one place: numbers, the activity log, the last sign of life of
 * its session. Synchronous: the answer has left, and the next request waits.
 */
import { Effect } from "effect"
import { NoteAccess } from "./AccessStatistics.ts"
import { RecordActivity } from "./activity/Activity.ts"
import { activitiesOf } from "./activity/requestActivity.ts"
import type { Answered } from "./Connection.ts"
import { Metrics } from "./metrics/Metrics.ts"

export interface RequestObserver {
  readonly answered: (address: string, answered: Answered) => void
  /** A message was refused before it was known what it asks. */
  readonly refused: (code: string) => void
}

export const makeRequestObserver: Effect.Effect<RequestObserver> = Effect.gen(function*() {
  const record = yield* RecordActivity
  const note = yield* NoteAccess
  const metrics = yield* Metrics
  return {
    answered: (address, answered) => {
      metrics.request(answered)
      if (answered.caller !== undefined) note.seen(answered.caller.sessionId)
      for (const activity of activitiesOf(address, answered)) record(activity)
    },
    refused: (code) => metrics.request({ request: undefined, code, millis: 0, bytesIn: 0, bytesOut: 0 })
  }
})
