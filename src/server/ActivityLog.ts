/**
 * The log of what people did: kept in the database for a time, and said on standard error.
 *
 * `RecordActivity` takes records, synchronously; a flusher writes them (`BatchedFlusher.ts`). Repetitions of the same
 * thing that wait together become one record that counts them. What people typed reaches the terminal and the database
 * only escaped.
 */
import { Cause, Clock, Context, Duration, Effect, Layer, References, Result, Schedule } from "effect"
import { isGreaterThanOrEqualTo } from "effect/LogLevel"
import { randomUUID } from "node:crypto"
import { printableLine } from "../platform/unsafeText.ts"
import { Timestamp } from "../protocol/Identity.ts"
import { makeDecoder } from "../protocol/Json.ts"
import type { Refusal } from "../protocol/Refusal.ts"
import { ActivityInfo } from "../protocol/Request.ts"
import { type Activity, type Detail, RecordActivity } from "./activity/Activity.ts"
import { ActivityRepo, type ActivityRow, type AdminFilter, type Page, type Recorded } from "./activity/ActivityRepo.ts"
import { makeDenials } from "./activity/denials.ts"
import * as BatchedFlusher from "./BatchedFlusher.ts"
import { isUnstorable } from "./database/isUnstorable.ts"
import { LogThreshold } from "./LogThreshold.ts"
import { ServerConfig } from "./ServerConfig.ts"
import { background } from "./ShutdownCoordinator.ts"

const SWEEP_EVERY = Duration.hours(1)

/** How long a query waits for what has not been written yet. */
const PATIENCE = Duration.seconds(2)

/** What is the same each time. Asked for every record: a line break is in none of the parts. */
const keyOf = ({ action, address, code, detail, name, owner, userId, username }: Recorded): string => {
  const key = `${action}\n${code}\n${userId}\n${username}\n${address}\n${owner}\n${name}`
  for (const _ in detail) return `${key}\n${JSON.stringify(detail)}`
  return key
}

const merge = (waiting: Recorded, next: Recorded): Recorded => ({
  ...next,
  sequence: waiting.sequence,
  times: waiting.times + 1
})

const decodeDetail = makeDecoder(ActivityInfo.fields.detail, "3:?")

const toInfo = (row: ActivityRow): ActivityInfo => ({
  activity_id: row.activity_id,
  at: Timestamp.make(row.at.toISOString()),
  action: row.action,
  code: row.code,
  ...(row.username === null ? {} : { username: row.username }),
  address: row.address,
  ...(row.owner === null ? {} : { owner: row.owner }),
  ...(row.name === null ? {} : { name: row.name }),
  times: row.times,
  duration_ms: row.duration_ms,
  suspicious: row.suspicious,
  detail: Result.getOrElse(decodeDetail(Buffer.from(row.detail)), () => ({}))
})

const escaped = (detail: Detail): Detail =>
  Object.fromEntries(
    Object.entries(detail).map(([key, value]) => [key, typeof value === "string" ? printableLine(value) : value])
  )

export class ActivityLog extends Context.Service<ActivityLog, {
  /** The user's log, and that of one file: the newest first, with all that happened before the question. */
  readonly ofUser: (userId: number, page: Page) => Effect.Effect<ReadonlyArray<ActivityInfo>, Refusal>
  readonly ofFile: (fileId: number, page: Page) => Effect.Effect<ReadonlyArray<ActivityInfo>, Refusal>
  readonly list: (filter: AdminFilter) => Effect.Effect<ReadonlyArray<ActivityInfo>, Refusal>
  readonly flusher: BatchedFlusher.BatchedFlusher<Recorded>
}>()("fip/server/ActivityLog") {
  static readonly layerNoDeps = Layer.effectContext(
    Effect.gen(function*() {
      const config = yield* ServerConfig
      const repo = yield* ActivityRepo
      const clock = yield* Clock.Clock
      const run = Effect.runForkWith(yield* Effect.context())
      const isShown = (yield* LogThreshold) ?? isGreaterThanOrEqualTo(yield* References.MinimumLogLevel)
      const origin = randomUUID()
      let sequence = 0

      const flusher = yield* BatchedFlusher.make<Recorded, Refusal>({
        name: "the activity log",
        write: (records) => repo.add(origin, records),
        isPassing: (refusal) => !isUnstorable(refusal),
        merging: { keyOf, merge },
        capacity: config.flushQueue,
        count: config.flushCount,
        interval: config.flushInterval
      })

      const say = (activity: Activity): void => {
        const level = activity.suspicious ? "Warn" : activity.notable ? "Info" : "Debug"
        if (!isShown(level)) return
        const { action, address, code, detail, name, owner, says, suspicious, username } = activity
        run(Effect.annotateLogs(Effect.logWithLevel(level)(says), {
          ...(suspicious ? { suspicious } : {}),
          action,
          code,
          ...(username === undefined ? {} : { username }),
          address,
          ...(owner === undefined ? {} : { owner }),
          ...(name === undefined ? {} : { name: printableLine(name) }),
          ...escaped(detail)
        }))
      }

      const now = () => clock.currentTimeMillisUnsafe()
      const keptOf = makeDenials(() => config.denialsPerMinute, now)
      const record = (given: Activity): void => {
        const { activity, isSaid } = keptOf(given)
        flusher.offer({ ...activity, sequence: sequence++, at: now(), times: 1 })
        if (isSaid) say(activity)
      }

      const sweep = Effect.gen(function*() {
        const before = new Date((yield* Clock.currentTimeMillis) - Duration.toMillis(config.activityKeptFor))
        while (!(yield* repo.sweep(before)));
      })
      yield* background(
        "sweep of activity",
        sweep.pipe(
          Effect.catchCause((cause) =>
            Effect.logWarning("the old activity log could not be swept", Cause.squash(cause))
          ),
          Effect.repeat(Schedule.spaced(SWEEP_EVERY))
        )
      )

      const upToDate = (query: Effect.Effect<ReadonlyArray<ActivityRow>, Refusal>) =>
        Effect.map(Effect.andThen(Effect.timeoutOption(flusher.flush, PATIENCE), query), (rows) => rows.map(toInfo))
      const log = ActivityLog.of({
        ofUser: (userId, page) => upToDate(repo.ofUser(userId, page)),
        ofFile: (fileId, page) => upToDate(repo.ofFile(fileId, page)),
        list: (filter) => upToDate(repo.list(filter)),
        flusher
      })
      return Context.make(ActivityLog, log).pipe(Context.add(RecordActivity, record))
    })
  )

  static readonly layer = this.layerNoDeps.pipe(Layer.provide(ActivityRepo.layer))
}
