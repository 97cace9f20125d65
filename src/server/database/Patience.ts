/**
 * Waits for a database that is away for a moment (it restarts, or a connection broke) instead of failing at once.
 *
 * Only for what may be done again. Once the database has been away for longer than anybody waits, everybody fails at
 * once until it is back, so that requests do not pile up.
 */
import { Clock, Duration, Effect } from "effect"
import { isSqlError, type SqlError } from "effect/sql/SqlError"
import { isPassing } from "../Database.ts"

/** How long the database may be away without anybody noticing more than that it is slow. */
const LONGEST = Duration.toMillis(Duration.seconds(5))

/** Between two attempts: at first, and at most. */
const FIRST_PAUSE = 25
const LAST_PAUSE = 400

export type Patience = <A, E, R>(effect: Effect.Effect<A, E | SqlError, R>) => Effect.Effect<A, E | SqlError, R>

/** Patience of one kind of work. An embedded database that is away does not come back: without a URL there is none. */
export const make = (databaseUrl: string | undefined): Patience => {
  if (databaseUrl === undefined) return (effect) => effect
  let awaySince: number | undefined
  let failedAt = 0
  return (effect) => {
    const noted = Effect.tap(effect, () =>
      Effect.sync(() => {
        awaySince = undefined
      }))
    const attempt = (pause: number): typeof effect =>
      Effect.catchIf(
        noted,
        (error): error is typeof error & SqlError => isSqlError(error) && isPassing(error),
        (error) =>
          Effect.flatMap(Clock.currentTimeMillis, (now) => {
            // What was noticed long ago, and by nobody since, may have been over in between.
            if (awaySince === undefined || now - failedAt > LONGEST) awaySince = now
            failedAt = now
            return now + pause - awaySince > LONGEST
              ? Effect.fail(error)
              : Effect.andThen(Effect.sleep(pause), attempt(Math.min(2 * pause, LAST_PAUSE)))
          })
      )
    return attempt(FIRST_PAUSE)
  }
}
