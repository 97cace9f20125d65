/** Rows of `guesses`. Every method is one statement. A row whose last failure was before `since` is as good as gone. */
import { Context, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { Refusal } from "../../protocol/Refusal.ts"
import { databaseRefusal } from "../Database.ts"

export interface Guesses {
  readonly bucket: string
  readonly failures: number
  readonly failed_at: Date
}

export class GuessRepo extends Context.Service<GuessRepo, {
  readonly find: (buckets: ReadonlyArray<string>, since: Date) => Effect.Effect<ReadonlyArray<Guesses>, Refusal>
  /** Counts one failure in each bucket; what they are then. */
  readonly count: (
    buckets: ReadonlyArray<string>,
    now: Date,
    since: Date
  ) => Effect.Effect<ReadonlyArray<Guesses>, Refusal>
  readonly clear: (bucket: string) => Effect.Effect<void, Refusal>
  readonly sweep: (since: Date) => Effect.Effect<void, Refusal>
}>()("fip/server/guard/GuessRepo") {
  static readonly layer = Layer.effect(
    GuessRepo,
    Effect.gen(function*() {
      const sql = yield* SqlClient
      return GuessRepo.of({
        find: (buckets, since) =>
          sql<Guesses>`
            select bucket, failures, failed_at from guesses
            where bucket = any(${buckets}::text[]) and failed_at >= ${since}::timestamptz`.pipe(
            Effect.mapError(databaseRefusal)
          ),
        // In one order for all, so that two of them never wait for each other.
        count: (buckets, now, since) =>
          sql<Guesses>`
            insert into guesses (bucket, failures, failed_at)
            select bucket, 1, ${now}::timestamptz from unnest(${buckets}::text[]) as b (bucket) order by bucket
            on conflict (bucket) do update set
              failures = case
                when guesses.failed_at < ${since}::timestamptz then 1 else least(guesses.failures, 1000000) + 1
              end,
              failed_at = excluded.failed_at
            returning bucket, failures, failed_at`.pipe(Effect.mapError(databaseRefusal)),
        clear: (bucket) =>
          sql`delete from guesses where bucket = ${bucket}`.pipe(Effect.mapError(databaseRefusal), Effect.asVoid),
        sweep: (since) =>
          sql`delete from guesses where failed_at < ${since}::timestamptz`.pipe(
            Effect.mapError(databaseRefusal),
            Effect.asVoid
          )
      })
    })
  )
}
