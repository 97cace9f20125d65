/** Counters that are written in batches. Keys are sorted, so that two servers never wait for each other. */
import { Context, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SessionId } from "../../protocol/Identity.ts"
import type { Refusal } from "../../protocol/Refusal.ts"
import { databaseRefusal } from "../Database.ts"
import { bigints, instants, uuids } from "../files/parameters.ts"

export interface Reads {
  readonly fileId: number
  readonly reads: number
  readonly lastAt: number
}

export interface Seen {
  readonly sessionId: SessionId
  readonly at: number
}

export class StatisticsRepo extends Context.Service<StatisticsRepo, {
  /** Adds to the counters of files that are still there. */
  readonly addReads: (reads: ReadonlyArray<Reads>) => Effect.Effect<void, Refusal>
  /** Moves the time at which a session was last seen, never back. */
  readonly seen: (sessions: ReadonlyArray<Seen>) => Effect.Effect<void, Refusal>
  readonly readsOf: (fileId: number) => Effect.Effect<Reads | undefined, Refusal>
}>()("fip/server/activity/StatisticsRepo") {
  static readonly layer = Layer.effect(
    StatisticsRepo,
    Effect.gen(function*() {
      const sql = yield* SqlClient
      return StatisticsRepo.of({
        addReads: (reads) => {
          const sorted = reads.toSorted((a, b) => a.fileId - b.fileId)
          return sql`
            select note_reads(
              ${bigints(sorted.map(({ fileId }) => fileId))},
              ${bigints(sorted.map(({ reads }) => reads))},
              ${instants(sorted.map(({ lastAt }) => new Date(lastAt)))}
            )`.pipe(Effect.mapBoth({ onFailure: databaseRefusal, onSuccess: () => undefined }))
        },
        seen: (sessions) => {
          const sorted = sessions.toSorted((a, b) => a.sessionId < b.sessionId ? -1 : 1)
          return sql`
            select note_sessions(
              ${uuids(sorted.map(({ sessionId }) => sessionId))},
              ${instants(sorted.map(({ at }) => new Date(at)))}
            )`.pipe(Effect.mapBoth({ onFailure: databaseRefusal, onSuccess: () => undefined }))
        },
        readsOf: (fileId) =>
          sql<{ readonly reads: number; readonly last_read_at: Date }>`
            select reads, last_read_at from file_reads where file_id = ${fileId}::bigint`.pipe(
            Effect.mapBoth({
              onFailure: databaseRefusal,
              onSuccess: ([row]) =>
                row === undefined ? undefined : { fileId, reads: row.reads, lastAt: row.last_read_at.getTime() }
            })
          )
      })
    })
  )
}
