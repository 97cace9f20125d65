/** What the door does is counted, and said now and then: whom it turns away leaves no other trace. */
import { Effect } from "effect"
import { RecordActivity } from "../activity/Activity.ts"
import { Metrics } from "../metrics/Metrics.ts"
import type { Door } from "./Door.ts"

/** At most so often is the log told that connections are turned away. */
const TOLD_EVERY_MILLIS = 60_000

/** Gives what is to be called now and then, with the time. */
export const watchDoor = Effect.fnUntraced(function*(door: Door) {
  const record = yield* RecordActivity
  const { observe } = yield* Metrics
  yield* observe({
    name: "fip_guests",
    description: "Connections on which nobody has logged in yet",
    kind: "gauge",
    read: () => door.guestCount
  })
  yield* observe({
    name: "fip_connections_turned_away_total",
    description: "Connections that were closed unread, and guests that were pushed out",
    kind: "counter",
    read: () => door.refused + door.shed
  })
  let told = { at: 0, refused: 0, shed: 0 }
  return (at: number): void => {
    const { refused, shed } = door
    if (refused + shed === told.refused + told.shed || at - told.at < TOLD_EVERY_MILLIS) return
    const since = { refused: refused - told.refused, shed: shed - told.shed }
    told = { at, refused, shed }
    record({
      action: "Crowd",
      code: "2:rlex",
      says: "connections were turned away: too many of one address, or without a login",
      address: "",
      durationMillis: 0,
      suspicious: true,
      notable: true,
      detail: since
    })
  }
})
