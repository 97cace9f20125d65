/**
 * Does what is asked for at the same time in one go: while one batch is under way the next one gathers. Nobody waits
 * for company: what arrives alone is done alone, at once.
 */
import { Deferred, Effect, Fiber, Queue, type Scope } from "effect"
import type { Cause } from "effect"
import { type Refusal, refuse } from "../../protocol/Refusal.ts"

export interface BatcherOptions<A, B> {
  /** Answers in the order of the items. A failure is everybody's. */
  readonly run: (items: ReadonlyArray<A>) => Effect.Effect<ReadonlyArray<B>, Refusal>
  /** Batches under way at the same time. */
  readonly concurrency: number
  /** Items in one. */
  readonly maxItems: number
}

/** What a request is answered with that comes after the layers began to close. */
export const SHUTTING_DOWN = refuse("3:s", "the server is shutting down: try again in a moment")

/**
 * The function that asks for one item. Whoever asks and is interrupted goes without the answer; the batch is done all
 * the same. Closing the scope lets what was asked for end.
 */
export const make = Effect.fnUntraced(function*<A, B>(
  options: BatcherOptions<A, B>
): Effect.fn.Return<(item: A) => Effect.Effect<B, Refusal>, never, Scope.Scope> {
  interface Waiting {
    readonly item: A
    readonly answer: Deferred.Deferred<B, Refusal>
  }
  const queue = yield* Queue.unbounded<Waiting, Cause.Done>()

  const batch = Effect.fnUntraced(function*(waiting: ReadonlyArray<Waiting>) {
    const exit = yield* Effect.exit(options.run(waiting.map((one) => one.item)))
    for (const [index, { answer }] of waiting.entries()) {
      Deferred.doneUnsafe(
        answer,
        Effect.flatMap(exit, (answers) => {
          const value = answers[index]
          return value === undefined ? Effect.die("a batch has fewer answers than items") : Effect.succeed(value)
        })
      )
    }
  })
  const work = Queue.takeBetween(queue, 1, options.maxItems).pipe(
    Effect.flatMap(batch),
    Effect.forever,
    Effect.ignore
  )
  const workers = yield* Effect.forEach(
    Array.from({ length: options.concurrency }, () => work),
    (worker) => Effect.forkScoped(worker)
  )
  // Added after the fork, so that it runs before the workers are interrupted.
  yield* Effect.addFinalizer(() => Effect.andThen(Queue.end(queue), Fiber.awaitAll(workers)))

  return (item) =>
    Effect.suspend(() => {
      const answer = Deferred.makeUnsafe<B, Refusal>()
      return Queue.offerUnsafe(queue, { item, answer }) ? Deferred.await(answer) : Effect.fail(SHUTTING_DOWN)
    })
})
