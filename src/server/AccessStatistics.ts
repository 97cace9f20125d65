/**
 * How often files are read and when a session was last seen: counted in memory, written in batches.
 *
 * `NoteAccess` takes both, synchronously, for every request that has a token. A crash loses what the last interval
 * counted; a batch whose answer from the database was lost may be counted twice. Nothing is decided by these numbers.
 */
import { Clock, Context, Duration, Effect, Layer } from "effect"
import type { SessionId } from "../protocol/Identity.ts"
import type { Refusal } from "../protocol/Refusal.ts"
import { type Reads, type Seen, StatisticsRepo } from "./activity/StatisticsRepo.ts"
import * as BatchedFlusher from "./BatchedFlusher.ts"
import { isUnstorable } from "./database/isUnstorable.ts"
import { ServerConfig } from "./ServerConfig.ts"

/** Counts of one statement: whoever waits for the database behind them does not wait for long. */
const READS_AT_ONCE = 128

/** A session's last sign of life is written down at most so often. */
const SEEN_EVERY_MILLIS = 60_000
/** Sessions of which that is remembered; about a hundred bytes each. */
const REMEMBERED = 16_384

/** How long a question waits for what has not been written yet. */
const PATIENCE = Duration.seconds(2)

/** What is noted, and known. Without `AccessStatistics` nothing is kept. */
export interface NoteAccess {
  /** Somebody began to read the file. */
  readonly read: (fileId: number) => void
  /** A request of the session came. */
  readonly seen: (sessionId: SessionId) => void
  /** With all that was noted before the question; `undefined` when nobody has read the file yet. */
  readonly readsOf: (fileId: number) => Effect.Effect<Reads | undefined, Refusal>
}

export const NoteAccess = Context.Reference<NoteAccess>("fip/server/NoteAccess", {
  defaultValue: () => ({ read: () => {}, seen: () => {}, readsOf: () => Effect.succeed(undefined) })
})

export class AccessStatistics extends Context.Service<AccessStatistics, {
  readonly flushers: ReadonlyArray<Pick<BatchedFlusher.BatchedFlusher<never>, "name" | "figures">>
}>()("fip/server/AccessStatistics") {
  static readonly layerNoDeps = Layer.effectContext(
    Effect.gen(function*() {
      const { flushCount, flushInterval, flushQueue } = yield* ServerConfig
      const repo = yield* StatisticsRepo
      const clock = yield* Clock.Clock
      const common = {
        isPassing: (refusal: Refusal) => !isUnstorable(refusal),
        capacity: flushQueue,
        count: flushCount,
        interval: flushInterval
      }
      const reads = yield* BatchedFlusher.make<Reads, Refusal>({
        ...common,
        count: Math.min(flushCount, READS_AT_ONCE),
        name: "the counts of reads",
        write: repo.addReads,
        merging: {
          keyOf: ({ fileId }) => String(fileId),
          merge: (waiting, next) => ({ ...next, reads: waiting.reads + next.reads })
        }
      })
      const sessions = yield* BatchedFlusher.make<Seen, Refusal>({
        ...common,
        name: "the last signs of sessions",
        write: repo.seen,
        merging: { keyOf: ({ sessionId }) => sessionId, merge: (_, next) => next }
      })

      const notedAt = new Map<SessionId, number>()
      const note: NoteAccess = {
        read: (fileId) => {
          reads.offer({ fileId, reads: 1, lastAt: clock.currentTimeMillisUnsafe() })
        },
        seen: (sessionId) => {
          const at = clock.currentTimeMillisUnsafe()
          if (at - (notedAt.get(sessionId) ?? Number.NEGATIVE_INFINITY) < SEEN_EVERY_MILLIS) return
          if (notedAt.size >= REMEMBERED) notedAt.clear()
          notedAt.set(sessionId, at)
          sessions.offer({ sessionId, at })
        },
        readsOf: (fileId) => Effect.andThen(Effect.timeoutOption(reads.flush, PATIENCE), repo.readsOf(fileId))
      }
      return Context.make(AccessStatistics, AccessStatistics.of({ flushers: [reads, sessions] })).pipe(
        Context.add(NoteAccess, note)
      )
    })
  )

  static readonly layer = this.layerNoDeps.pipe(Layer.provide(StatisticsRepo.layer))
}
