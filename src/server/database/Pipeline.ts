/**
 * Transactions whose statements are sent without waiting for each other's answers.
 *
 * An answer costs a turn of this thread, which may have much else to do, and over a network a round trip. So `BEGIN` goes
 * with the statements that come first, and on the embedded database `COMMIT` with those that come last: when one of them
 * fails, PostgreSQL makes a rollback of it.
 *
 * One transaction at a time, on a connection of its own: on one that others use, their statements would fall into it.
 */
import { PgClient, PgPool } from "@effect/sql-pg"
import { Effect, Fiber, Predicate, type Scope, Semaphore, Stream } from "effect"
import { makeWithTransaction, SqlClient } from "effect/sql/SqlClient"
import type { Connection } from "effect/sql/SqlConnection"
import { SqlError, UnknownError } from "effect/sql/SqlError"

export interface Pipeline {
  /** Runs `work` in a transaction. */
  readonly transaction: <A, E, R>(work: Effect.Effect<A, E, R>) => Effect.Effect<A, E | SqlError, R>
  /**
   * Within `work`: sends one statement, in the order of the calls. Whoever needs the answer joins the fiber; the
   * transaction waits for all, and fails when one of them does.
   */
  readonly send: <A, R>(
    statement: Effect.Effect<A, SqlError, R>
  ) => Effect.Effect<Fiber.Fiber<A, SqlError>, never, R>
  /** Within `work`: returns when the transaction has begun. To be waited for before anything is written. */
  readonly begun: Effect.Effect<void, SqlError>
}

const becameRollback = (): SqlError =>
  new SqlError({
    reason: new UnknownError({
      cause: new Error("COMMIT became a ROLLBACK"),
      message: "the transaction was rolled back",
      operation: "commit"
    })
  })

export const make: Effect.Effect<Pipeline, SqlError, Scope.Scope | SqlClient | PgClient.PgClient> = Effect.gen(
  function*() {
    const { transactionService } = yield* SqlClient
    const { config } = yield* PgClient.PgClient
    // Opened by the first transaction, and again when it broke.
    const pool = yield* PgPool.make({
      ...config,
      multiplex: true,
      minConnections: 0,
      maxConnections: 1,
      idleTimeout: "10 minutes"
    })
    // A statement that the server has forgotten (its plan, say, after a migration by a newer one) is sent again by the
    // client: behind a COMMIT it would be done without a transaction. The embedded engine forgets none.
    const isOurs = config.stream !== undefined
    const turn = yield* Semaphore.make(1)
    /** Of the transaction that is under way; first of all its `BEGIN`. */
    let sent: Array<Fiber.Fiber<unknown, SqlError>> = []
    /** How many statements the connection was given. */
    let given = 0
    let isEnding = false

    const give = <A>(statement: Effect.Effect<A, SqlError>): Effect.Effect<A, SqlError> =>
      Effect.suspend(() => {
        given++
        return isEnding ? Effect.die(new Error("a statement came after the end of its transaction")) : statement
      })
    const connect = Effect.map(pool.get, (pg): Connection => {
      const rows = (prepare: boolean): Connection["execute"] => (sql, params, transform) =>
        Effect.map(give(pg.query(sql, params, prepare)), (result) => transform?.(result.rows) ?? result.rows)
      return {
        execute: rows(true),
        executeUnprepared: rows(false),
        executeRaw: (sql, params) => give(pg.query(sql, params)),
        executeValues: (sql, params) => give(pg.queryValues(sql, params)),
        executeValuesUnprepared: (sql, params) => give(pg.queryValues(sql, params, false)),
        // It would want the connection for itself.
        executeStream: () => Stream.die(new Error("a pipelined transaction streams nothing"))
      }
    })

    const send: Pipeline["send"] = (statement) =>
      Effect.suspend(() => {
        const before = given
        return Effect.tap(Effect.forkChild(statement, { startImmediately: true }), (fiber) => {
          sent.push(fiber)
          // What did not get as far as to the connection would otherwise be overtaken.
          return given === before ? Fiber.await(fiber) : Effect.void
        })
      })

    /** Fails as the first did that failed, which is the reason for all others. */
    const answers = Effect.gen(function*() {
      for (const answer of yield* Fiber.awaitAll(sent)) yield* answer
    })

    /** Where it fails the connection has ended, and the transaction with it. */
    const rollback = (connection: Connection): Effect.Effect<void> =>
      Effect.suspend(() => {
        isEnding = false
        return Effect.asVoid(Effect.andThen(Effect.ignore(connection.executeRaw("ROLLBACK", [])), Fiber.awaitAll(sent)))
      })

    const transaction = makeWithTransaction({
      transactionService,
      spanAttributes: [],
      acquireConnection: (restore) =>
        Effect.andThen(Effect.acquireRelease(restore(turn.take(1)), () => turn.release(1)), restore(connect)),
      begin: (connection) =>
        Effect.suspend(() => {
          sent = []
          isEnding = false
          // Not prepared: it is never sent again, which would be behind what follows it.
          return Effect.asVoid(send(connection.executeUnprepared("BEGIN", [], undefined)))
        }),
      commit: Effect.fnUntraced(function*(connection) {
        if (!isOurs) yield* answers
        // What the client itself refuses to send would be missing from what is committed.
        for (const fiber of sent) yield* fiber.pollUnsafe() ?? Effect.void
        const ended = yield* send(connection.executeRaw("COMMIT", []))
        isEnding = true
        yield* answers
        const result = yield* Fiber.join(ended)
        const isRollback = Predicate.hasProperty(result, "command") && result.command === "ROLLBACK"
        return yield* isRollback ? Effect.fail(becameRollback()) : Effect.void
      }),
      rollback,
      onCommitFailure: rollback,
      savepoint: () => Effect.die(new Error("there is no transaction within a pipelined one")),
      rollbackSavepoint: () => Effect.void
    })

    return {
      transaction,
      send,
      begun: Effect.suspend(() => sent[0] === undefined ? Effect.void : Effect.asVoid(Fiber.join(sent[0])))
    }
  }
)
