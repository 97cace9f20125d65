/**
 * Writes records in the background, many at a time: by count, or when the oldest has waited for long enough.
 *
 * `offer` is synchronous and never waits: when the queue is full the record is dropped, counted, and said in the log.
 * What failed in passing goes to the end of the queue and is tried again, with growing, jittered pauses. What can never
 * be written is found by cutting its batch in halves and put aside, so it holds up nobody; so is a record that fails
 * again and again while others pass. When the shutdown begins, nothing is done by the clock any more: the finalizer
 * writes all that is left, at once, and says what it had to leave behind at the deadline.
 */
import { Cause, Deferred, Duration, Effect, Exit, Fiber, Random, type Scope } from "effect"
import { Metrics } from "./metrics/Metrics.ts"
import { ShutdownCoordinator } from "./ShutdownCoordinator.ts"

export interface FlusherOptions<A, E> {
  /** What it writes, in a few words: for the log and the metrics. */
  readonly name: string
  /** Writes all of a batch, or nothing of it. A batch whose answer was lost is written again. */
  readonly write: (records: ReadonlyArray<A>) => Effect.Effect<void, E>
  /** True when the same batch may pass later; false when something in it never will. */
  readonly isPassing: (error: E) => boolean
  /** Records with the same key that wait at the same time become one. */
  readonly merging?: {
    readonly keyOf: (record: A) => string
    readonly merge: (waiting: A, next: A) => A
  }
  /** Records that may wait. */
  readonly capacity: number
  /**
   * Records of one batch, up to the last flush; so many are written without waiting for more, unless they merge: the
   * longer those wait, the fewer there are.
   */
  readonly count: number
  readonly interval: Duration.Duration
}

/** Counted since the start. Every record that was accepted is waiting, written or poisoned. */
export interface FlusherFigures {
  readonly waiting: number
  readonly written: number
  /** Not accepted, because the queue was full or closed. */
  readonly dropped: number
  /** Could not be written, ever. */
  readonly poisoned: number
  readonly retries: number
}

const FIGURES = [
  ["waiting", "gauge", "Records that wait to be written"],
  ["written", "counter", "Records that were written"],
  ["dropped", "counter", "Records that were dropped because the queue was full"],
  ["poisoned", "counter", "Records that could not be written and were given up"],
  ["retries", "counter", "Batches that were tried again"]
] as const satisfies ReadonlyArray<readonly [keyof FlusherFigures, "counter" | "gauge", string]>

export interface BatchedFlusher<A> {
  readonly name: string
  /** False when the record was dropped. */
  readonly offer: (record: A) => boolean
  /** Has what waits written now. Resolves when it is, or could not be, or the shutdown has begun. */
  readonly flush: Effect.Effect<void>
  readonly figures: () => FlusherFigures
}

/** A batch that failed, or a part of one. */
interface Piece<A> {
  readonly records: ReadonlyArray<A>
  /** How often it failed in passing, and how often of these while others passed. */
  failures: number
  strikes: number
  passedBefore: number
}

const FIRST_PAUSE_MILLIS = 100
const LONGEST_PAUSE_MILLIS = 30_000
/** There is a deadline: a database that is back must be noticed. */
const LONGEST_URGENT_PAUSE_MILLIS = 250
/** Failures after which a piece is cut in halves: one of them may be what keeps the other from passing. */
const FAILURES = 4
/** For the last flush, in which batches are so much larger: nobody waits for the database behind them any more. */
const DEADLINE = Duration.seconds(8)
const URGENT_FACTOR = 10
/** Strikes after which a single record is put aside. */
const STRIKES = 8

const halves = <A>({ passedBefore, records }: Piece<A>): ReadonlyArray<Piece<A>> => {
  const middle = Math.ceil(records.length / 2)
  return [records.slice(0, middle), records.slice(middle)].map((records) => ({
    records,
    failures: 0,
    strikes: 0,
    passedBefore
  }))
}

const answer = (asked: ReadonlyArray<Deferred.Deferred<void>>): void => {
  for (const one of asked) Deferred.doneUnsafe(one, Effect.void)
}

/** Closing the scope flushes what is left. */
export const make = Effect.fnUntraced(function*<A, E>(
  options: FlusherOptions<A, E>
): Effect.fn.Return<BatchedFlusher<A>, never, Scope.Scope | ShutdownCoordinator> {
  const { begun } = yield* ShutdownCoordinator
  const { capacity, count, merging, name, write } = options
  const enough = merging === undefined ? count : Math.max(count, Math.floor(capacity / 2))

  const waiting = new Map<string | number, A>()
  let failed: Array<Piece<A>> = []
  // Records in `failed`, and in the batch that is being written.
  let held = 0
  // Of what waited when this round of batches began: how much is not in one yet. What comes meanwhile waits for the next.
  const due = { records: 0 }
  let nextKey = 0
  let closed = false
  let written = 0
  let dropped = 0
  let droppedSaid = 0
  let poisoned = 0
  let retries = 0
  let passed = 0
  let failuresInARow = 0

  let wake = Deferred.makeUnsafe<void>()
  /** Records that wait when the writer is woken: the first one while it sleeps, then a whole batch. */
  let wakeAt = 1
  let hurried: Array<Deferred.Deferred<void>> = []
  const closing = yield* Deferred.make<void>()

  const offer = (record: A): boolean => {
    const key = merging === undefined ? nextKey++ : merging.keyOf(record)
    if (merging !== undefined) {
      const known = waiting.get(key)
      if (known !== undefined) {
        waiting.set(key, merging.merge(known, record))
        return true
      }
    }
    if (closed || waiting.size + held >= capacity) {
      dropped += 1
      return false
    }
    waiting.set(key, record)
    if (waiting.size === wakeAt) Deferred.doneUnsafe(wake, Effect.void)
    return true
  }

  const nextBatch = (): Piece<A> => {
    const most = Deferred.isDoneUnsafe(closing) ? URGENT_FACTOR * count : count
    const records: Array<A> = []
    for (const [key, record] of waiting) {
      waiting.delete(key)
      records.push(record)
      if (records.length >= most) break
    }
    held += records.length
    due.records -= records.length
    return { records, failures: 0, strikes: 0, passedBefore: passed }
  }

  const putAside = Effect.fnUntraced(function*(record: A, error: unknown) {
    held -= 1
    poisoned += 1
    yield* Effect.logError(`a record of ${name} cannot be written and is given up`, error).pipe(
      Effect.annotateLogs({ record: JSON.stringify(record) ?? "" })
    )
  })

  const sayDropped = Effect.suspend(() => {
    const since = dropped - droppedSaid
    droppedSaid = dropped
    return since === 0 ? Effect.void : Effect.logWarning(`${since} records of ${name} were dropped: its queue was full`)
  })

  const isLeft = () => waiting.size > 0 || failed.length > 0

  /** Tries one batch; false when it failed in passing. */
  const round = Effect.gen(function*() {
    // What failed takes turns with what is new.
    const again = waiting.size === 0 || failuresInARow === 0 ? failed.shift() : undefined
    const piece = again ?? nextBatch()
    if (again !== undefined) retries += 1
    const exit = yield* Effect.exit(write(piece.records))
    if (Exit.isSuccess(exit)) {
      held -= piece.records.length
      written += piece.records.length
      passed += 1
      failuresInARow = 0
      return true
    }
    const [only] = piece.records
    const isSingle = piece.records.length === 1 && only !== undefined
    const failure = exit.cause.reasons.find(Cause.isFailReason)
    if (failure === undefined || !options.isPassing(failure.error)) {
      // In front: what can be written of it is not made to wait.
      if (isSingle) yield* putAside(only, exit.cause)
      else failed = [...halves(piece), ...failed]
      return true
    }
    if (failuresInARow === 0) yield* Effect.logWarning(`${name} cannot be written now: trying again`, exit.cause)
    failuresInARow += 1
    piece.failures += 1
    if (passed > piece.passedBefore) piece.strikes += 1
    piece.passedBefore = passed
    if (!isSingle && (piece.failures >= FAILURES || Deferred.isDoneUnsafe(closing))) failed.push(...halves(piece))
    else if (isSingle && piece.strikes >= STRIKES) yield* putAside(only, exit.cause)
    else failed.push(piece)
    return false
  })

  const pause = (longest: number) =>
    Effect.flatMap(Random.next, (random) => {
      const full = Math.min(longest, FIRST_PAUSE_MILLIS * 2 ** Math.min(failuresInARow - 1, 20))
      return Effect.sleep(Duration.millis(full * (0.5 + random / 2)))
    })

  /** Waits for something to write, then for enough of it or for the interval. */
  const gather = Effect.gen(function*() {
    if (!isLeft() && hurried.length === 0) {
      wakeAt = 1
      wake = Deferred.makeUnsafe()
      yield* Deferred.await(wake)
    }
    if (waiting.size >= enough || hurried.length > 0) return
    wakeAt = enough
    wake = Deferred.makeUnsafe()
    yield* Effect.raceFirst(Deferred.await(wake), Effect.sleep(options.interval))
  })

  const writer = Effect.gen(function*() {
    const leaving = Deferred.await(closing)
    const isLeaving = () => Deferred.isDoneUnsafe(closing)
    while (!isLeaving()) {
      yield* Effect.raceFirst(gather, leaving)
      const asked = hurried
      hurried = []
      due.records = waiting.size
      let isPassing = true
      while (isPassing && (due.records > 0 || failed.length > 0) && !isLeaving()) isPassing = yield* round
      yield* sayDropped
      answer(asked)
      if (!isPassing) yield* Effect.raceFirst(pause(LONGEST_PAUSE_MILLIS), leaving)
    }
    answer(hurried)
    hurried = []
  })

  yield* Effect.forkScoped(Effect.andThen(begun, Deferred.succeed(closing, undefined)))
  const writing = yield* Effect.forkScoped(writer)

  /** What the writer is in the middle of ends first. */
  const urgent = Effect.gen(function*() {
    yield* Fiber.await(writing)
    failuresInARow = 0
    while (isLeft()) {
      if (!(yield* round)) yield* pause(LONGEST_URGENT_PAUSE_MILLIS)
    }
  })
  // Added after the fork: the fork's own finalizer would interrupt the writer.
  yield* Effect.addFinalizer(() =>
    Effect.gen(function*() {
      yield* Deferred.succeed(closing, undefined)
      const inTime = yield* Effect.timeoutOption(Effect.interruptible(urgent), DEADLINE)
      closed = true
      yield* sayDropped
      const left = waiting.size + held
      if (inTime._tag === "None" && left > 0) {
        yield* Effect.logError(`shutdown deadline: ${left} records of ${name} were not written`)
      }
    })
  )

  const figures = (): FlusherFigures => ({ waiting: waiting.size + held, written, dropped, poisoned, retries })
  const { observe } = yield* Metrics
  for (const [key, kind, description] of FIGURES) {
    yield* observe({
      name: `fip_flusher_${key}${kind === "counter" ? "_total" : ""}`,
      description,
      kind,
      attributes: { records: name },
      read: () => figures()[key]
    })
  }

  return {
    name,
    offer,
    flush: Effect.suspend(() => {
      const done = Deferred.makeUnsafe<void>()
      if (Deferred.isDoneUnsafe(closing)) return Effect.void
      hurried.push(done)
      Deferred.doneUnsafe(wake, Effect.void)
      return Deferred.await(done)
    }),
    figures
  }
})
