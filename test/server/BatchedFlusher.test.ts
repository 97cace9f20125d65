/** The flusher against a model: what was accepted is written, put aside or counted as left, whatever the sink does. */
import { assert, describe, it } from "@effect/vitest"
import { Data, Duration, Effect, Exit, Fiber, Layer, Logger, Scope } from "effect"
import { TestClock } from "effect/testing"
import * as fc from "fast-check"
import * as BatchedFlusher from "../../src/server/BatchedFlusher.ts"
import { ShutdownCoordinator } from "../../src/server/ShutdownCoordinator.ts"

/** `bad` can never be written; `sticky` looks as if it could, and cannot either. */
type Kind = "plain" | "bad" | "sticky"
interface Item {
  readonly id: number
  readonly kind: Kind
}

class SinkError extends Data.TaggedError("SinkError")<{ readonly passing: boolean }> {}

/** Where records go: `down` fails in passing, `lost` writes and fails, `hung` never answers. */
type Mode = "up" | "down" | "lost" | "hung"

const CAPACITY = 40
const COUNT = 8
const DEADLINE = Duration.seconds(8)

const makeSink = () => {
  const sink = {
    mode: "up" as Mode,
    batches: [] as Array<ReadonlyArray<Item>>,
    biggest: 0,
    calls: 0,
    write: (items: ReadonlyArray<Item>): Effect.Effect<void, SinkError> =>
      Effect.suspend(() => {
        sink.calls += 1
        sink.biggest = Math.max(sink.biggest, items.length)
        if (sink.mode === "hung") return Effect.never
        if (sink.mode === "down") return Effect.fail(new SinkError({ passing: true }))
        if (items.some(({ kind }) => kind === "sticky")) return Effect.fail(new SinkError({ passing: true }))
        if (items.some(({ kind }) => kind === "bad")) return Effect.fail(new SinkError({ passing: false }))
        sink.batches.push(items)
        return sink.mode === "lost" ? Effect.fail(new SinkError({ passing: true })) : Effect.void
      }),
    ids: () => sink.batches.flat().map(({ id }) => id)
  }
  return sink
}

const start = (sink: ReturnType<typeof makeSink>, options: { readonly merging?: boolean } = {}) =>
  Effect.gen(function*() {
    const coordinator = yield* ShutdownCoordinator
    const scope = yield* Scope.make()
    const flusher = yield* BatchedFlusher.make<Item, SinkError>({
      name: "test records",
      write: sink.write,
      isPassing: (error) => error.passing,
      capacity: CAPACITY,
      count: COUNT,
      interval: Duration.seconds(1),
      ...(options.merging === true
        ? { merging: { keyOf: ({ kind }: Item) => kind, merge: (a: Item, b: Item) => ({ ...a, id: a.id + b.id }) } }
        : {})
    }).pipe(Scope.provide(scope))
    yield* Effect.yieldNow
    /** Closes as a server does; the milliseconds that it took. */
    const close = Effect.gen(function*() {
      yield* coordinator.begin
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
      let millis = 0
      for (; closing.pollUnsafe() === undefined && millis < 60_000; millis += 50) yield* TestClock.adjust(50)
      yield* Fiber.join(closing)
      return millis
    })
    return { flusher, close, coordinator }
  })

const item = (id: number, kind: Kind = "plain"): Item => ({ id, kind })
const items = (count: number): ReadonlyArray<Item> => Array.from({ length: count }, (_, id) => item(id))
const run = <A, E>(effect: Effect.Effect<A, E, ShutdownCoordinator>) =>
  effect.pipe(Effect.provide(Layer.merge(ShutdownCoordinator.layer, Logger.layer([]))))

type Step =
  | { readonly _tag: "Offer"; readonly kinds: ReadonlyArray<Kind> }
  | { readonly _tag: "Wait"; readonly millis: number }
  | { readonly _tag: "Turn"; readonly mode: Mode }

const kinds = fc.oneof(
  { weight: 20, arbitrary: fc.constant("plain" as const) },
  { weight: 1, arbitrary: fc.constantFrom("bad" as const, "sticky" as const) }
)
const steps: fc.Arbitrary<Array<Step>> = fc.array(
  fc.oneof(
    {
      weight: 3,
      arbitrary: fc.record({ _tag: fc.constant("Offer" as const), kinds: fc.array(kinds, { maxLength: 30 }) })
    },
    {
      weight: 3,
      arbitrary: fc.record({ _tag: fc.constant("Wait" as const), millis: fc.integer({ min: 1, max: 4000 }) })
    },
    {
      weight: 1,
      arbitrary: fc.record({
        _tag: fc.constant("Turn" as const),
        mode: fc.constantFrom<Mode>("up", "up", "down", "down", "lost")
      })
    }
  ),
  { maxLength: 20 }
)

describe("batched flushes", () => {
  it.effect("come once in an interval, also while records come without end", () =>
    run(Effect.scoped(Effect.gen(function*() {
      const batches: Array<number> = []
      let offer: ((record: Item) => boolean) | undefined
      let id = 100
      const { flusher } = yield* start({
        ...makeSink(),
        // One comes while another is written, as it does on a server that is busy.
        write: (records) =>
          Effect.sync(() => {
            batches.push(records.length)
            offer?.(item(id++))
          })
      })
      offer = flusher.offer
      for (const one of items(3)) flusher.offer(one)
      yield* TestClock.adjust(Duration.millis(1001))
      assert.deepStrictEqual(batches, [3])
      yield* TestClock.adjust(Duration.millis(1001))
      assert.deepStrictEqual(batches, [3, 1])
    }))))

  it.effect(
    "loses nothing that it accepted, writes nothing that it refused, and ends in time, in random histories",
    () =>
      Effect.promise(() =>
        fc.assert(
          fc.asyncProperty(steps, fc.constantFrom<Mode>("up", "down", "hung"), (history, end) =>
            Effect.runPromise(
              Effect.gen(function*() {
                const sink = makeSink()
                const { close, flusher } = yield* start(sink)
                const accepted: Array<Item> = []
                let refused = 0
                let nextId = 0
                let lost = false
                for (const step of history) {
                  if (step._tag === "Wait") yield* TestClock.adjust(step.millis)
                  else if (step._tag === "Turn") {
                    sink.mode = step.mode
                    lost ||= step.mode === "lost"
                  } else {
                    for (const kind of step.kinds) {
                      const one = item(nextId++, kind)
                      if (flusher.offer(one)) accepted.push(one)
                      else refused += 1
                    }
                  }
                  assert.isAtMost(flusher.figures().waiting, CAPACITY)
                }
                assert.isAtMost(sink.biggest, COUNT)
                sink.mode = end
                const millis = yield* close
                assert.isAtMost(millis, Duration.toMillis(DEADLINE) + 100)

                const figures = flusher.figures()
                const ids = new Set(sink.ids())
                const plain = accepted.filter(({ kind }) => kind === "plain")
                assert.strictEqual(figures.dropped, refused)
                assert.strictEqual(figures.waiting + figures.written + figures.poisoned, accepted.length)
                assert.isAtMost(figures.poisoned, accepted.length - plain.length)
                if (!lost) assert.strictEqual(ids.size, sink.ids().length, "written once")
                for (const id of ids) assert.isTrue(plain.some((one) => one.id === id))
                if (end === "up") {
                  assert.isTrue(plain.every(({ id }) => ids.has(id)), "all that can be written is")
                  if (!accepted.some(({ kind }) => kind === "sticky")) assert.strictEqual(figures.waiting, 0)
                } else assert.isAtMost(plain.filter(({ id }) => !ids.has(id)).length, figures.waiting)
              }).pipe(run, Effect.provide(TestClock.layer()), Effect.scoped)
            )),
          { numRuns: 200 }
        )
      ),
    60_000
  )

  it.effect("writes a whole batch at once, and fewer when the first has waited for the interval", () =>
    Effect.gen(function*() {
      const sink = makeSink()
      const { close, flusher } = yield* start(sink)
      for (const one of items(COUNT)) flusher.offer(one)
      yield* TestClock.adjust(0)
      assert.deepStrictEqual(sink.batches.map((batch) => batch.length), [COUNT])
      flusher.offer(item(100))
      yield* TestClock.adjust(999)
      assert.strictEqual(sink.batches.length, 1)
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(sink.batches[1], [item(100)])
      yield* close
    }).pipe(run))

  it.effect("sleeps while there is nothing to write", () =>
    Effect.gen(function*() {
      const sink = makeSink()
      const { close } = yield* start(sink)
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(sink.calls, 0)
      yield* close
    }).pipe(run))

  it.effect("waits longer after each failure, so that a database that is down is asked seldom", () =>
    Effect.gen(function*() {
      const sink = makeSink()
      const { close, flusher } = yield* start(sink)
      sink.mode = "down"
      flusher.offer(item(1))
      yield* TestClock.adjust("10 minutes")
      assert.isBelow(sink.calls, 60)
      assert.isAbove(sink.calls, 10)
      sink.mode = "up"
      // The longest pause, and an interval.
      yield* TestClock.adjust("32 seconds")
      assert.deepStrictEqual(sink.ids(), [1])
      yield* close
    }).pipe(run))

  it.effect("finds the record that cannot be written, and writes all others without waiting", () =>
    Effect.gen(function*() {
      const sink = makeSink()
      const { close, flusher } = yield* start(sink)
      for (const { id } of items(COUNT)) flusher.offer(item(id, id === 5 ? "bad" : "plain"))
      yield* TestClock.adjust(0)
      assert.sameMembers(sink.ids(), [0, 1, 2, 3, 4, 6, 7])
      assert.strictEqual(flusher.figures().poisoned, 1)
      yield* close
    }).pipe(run))

  it.effect("gives up a record that fails in passing for ever while others pass, and only that one", () =>
    Effect.gen(function*() {
      const sink = makeSink()
      const { close, flusher } = yield* start(sink)
      for (let id = 0; id < 400; id++) {
        flusher.offer(item(id, id === 3 ? "sticky" : "plain"))
        yield* TestClock.adjust("500 millis")
      }
      assert.strictEqual(flusher.figures().poisoned, 1)
      yield* close
      assert.strictEqual(new Set(sink.ids()).size, 399)
    }).pipe(run))

  it.effect("drops what comes while the queue is full, counts it, and says so once", () =>
    Effect.gen(function*() {
      const said: Array<unknown> = []
      yield* Effect.gen(function*() {
        const sink = makeSink()
        const { close, flusher } = yield* start(sink)
        sink.mode = "down"
        const results = items(CAPACITY + 7).map((one) => flusher.offer(one))
        assert.strictEqual(results.filter((accepted) => !accepted).length, 7)
        assert.strictEqual(flusher.figures().dropped, 7)
        sink.mode = "up"
        yield* TestClock.adjust("1 second")
        yield* close
        assert.strictEqual(flusher.figures().written, CAPACITY)
        assert.isFalse(flusher.offer(item(1)), "closed")
      }).pipe(
        Effect.provide(Layer.merge(
          ShutdownCoordinator.layer,
          Logger.layer([Logger.make(({ message }) => said.push(String(message)))])
        ))
      )
      assert.deepStrictEqual(said, [
        "test records cannot be written now: trying again",
        "7 records of test records were dropped: its queue was full"
      ])
    }))

  it.effect("makes one of records that wait under the same key", () =>
    Effect.gen(function*() {
      const sink = makeSink()
      const { close, flusher } = yield* start(sink, { merging: true })
      for (const one of items(100)) assert.isTrue(flusher.offer(one))
      yield* close
      assert.deepStrictEqual(sink.batches, [[item(4950)]])
    }).pipe(run))

  it.effect("leaves its interval and its pauses when the shutdown begins, and writes all at once at the end", () =>
    Effect.gen(function*() {
      const sink = makeSink()
      const { close, flusher } = yield* start(sink)
      sink.mode = "down"
      for (const one of items(CAPACITY)) flusher.offer(one)
      yield* TestClock.adjust("20 minutes")
      sink.mode = "up"
      assert.strictEqual(yield* close, 0)
      assert.strictEqual(new Set(sink.ids()).size, CAPACITY)
    }).pipe(run))

  it.effect("says at the deadline how many it leaves behind", () =>
    Effect.gen(function*() {
      const said: Array<string> = []
      const sink = makeSink()
      yield* Effect.gen(function*() {
        const { close, flusher } = yield* start(sink)
        sink.mode = "hung"
        for (const one of items(11)) flusher.offer(one)
        assert.isAtMost(yield* close, Duration.toMillis(DEADLINE) + 50)
      }).pipe(
        Effect.provide(Layer.merge(
          ShutdownCoordinator.layer,
          Logger.layer([Logger.make(({ message }) => said.push(String(message)))])
        ))
      )
      assert.deepStrictEqual(said, ["shutdown deadline: 11 records of test records were not written"])
    }))

  it.effect("writes what waits when it is asked to, and does not keep who asks waiting for a sink that is down", () =>
    Effect.gen(function*() {
      const sink = makeSink()
      const { close, flusher } = yield* start(sink)
      flusher.offer(item(1))
      yield* flusher.flush
      assert.deepStrictEqual(sink.ids(), [1])
      yield* flusher.flush
      sink.mode = "down"
      flusher.offer(item(2))
      yield* flusher.flush
      assert.strictEqual(flusher.figures().waiting, 1)
      yield* close
      yield* flusher.flush
    }).pipe(run))
})
