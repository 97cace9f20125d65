/**
 * Tells a group of changes that was committed from one that was not, when the answer to its commit was lost.
 *
 * Each group has a number, which its transaction writes before anything else. Trying the same number again waits for a
 * transaction of it that is still under way, and finds out whether it was committed. The number is of one server, whose
 * groups come one after the other. The embedded database loses no answer without ending, and goes without.
 */
import { Duration, Effect } from "effect"
import type { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { randomUUID } from "node:crypto"

/** Servers that have committed nothing for so long wait for no answer. */
const KEEP = Duration.days(1)

export interface CommitMarks {
  /** False: no answer is ever lost, and no mark is written. */
  readonly areKept: boolean
  /** The first statement of the transaction of group `number`. False: the group was committed before. */
  readonly claim: (number: number, now: Date) => Effect.Effect<boolean, SqlError>
}

const none: CommitMarks = { areKept: false, claim: () => Effect.succeed(true) }

/** Forgets servers that are gone; those that are not write their row anew. */
const forget = (sql: SqlClient, now: number) =>
  sql`delete from commits where committed_at < ${new Date(now - Duration.toMillis(KEEP))}::timestamptz`

export const make = Effect.fnUntraced(function*(
  sql: SqlClient,
  databaseUrl: string | undefined,
  now: number
): Effect.fn.Return<CommitMarks> {
  if (databaseUrl === undefined) return none
  yield* Effect.ignore(forget(sql, now), { log: "Warn" })
  const serverId = randomUUID()
  return {
    areKept: true,
    claim: (number, now) =>
      Effect.map(
        sql`
          insert into commits (server_id, number, committed_at)
          values (${serverId}::uuid, ${number}::bigint, ${now}::timestamptz)
          on conflict (server_id) do update set number = excluded.number, committed_at = excluded.committed_at
          where commits.number < excluded.number
          returning number`,
        (rows) => rows.length > 0
      )
  }
})
