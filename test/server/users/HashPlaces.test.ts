import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber } from "effect"
import * as fc from "fast-check"
import { HashPlaces, type Lane } from "../../../src/server/users/HashPlaces.ts"

/** Work that ends when it is told to, and notes when it began. */
const job = (places: HashPlaces, lane: Lane, name: string, begun: Array<string>) =>
  Effect.gen(function*() {
    const done = yield* Deferred.make<void>()
    const work = Effect.andThen(Effect.sync(() => begun.push(name)), Deferred.await(done))
    const fiber = yield* Effect.forkChild(places.run(lane, work))
    yield* Effect.yieldNow
    return { fiber, finish: Effect.andThen(Deferred.succeed(done, undefined), Fiber.await(fiber)) }
  })

describe("HashPlaces", () => {
  it.effect("gives a place that is free to whoever the account knows, before strangers who came earlier", () =>
    Effect.gen(function*() {
      const begun: Array<string> = []
      const places = new HashPlaces(1)
      const running = yield* job(places, "stranger", "running", begun)
      const strangers = [yield* job(places, "stranger", "s1", begun), yield* job(places, "stranger", "s2", begun)]
      const known = [yield* job(places, "known", "k1", begun), yield* job(places, "known", "k2", begun)]
      yield* running.finish
      for (const { finish } of [...known, ...strangers]) yield* finish
      assert.deepStrictEqual(begun, ["running", "k1", "k2", "s1", "s2"])
    }))

  it.effect("loses no place, runs no more than it has, and starves nobody, whoever goes away in between", () =>
    Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(
          fc.integer({ min: 1, max: 3 }),
          fc.array(fc.record({ known: fc.boolean(), interrupted: fc.boolean(), turns: fc.nat(3) }), { maxLength: 25 }),
          (count, callers) =>
            Effect.runPromise(
              Effect.gen(function*() {
                const places = new HashPlaces(count)
                let [running, most, done] = [0, 0, 0]
                const work = (turns: number) =>
                  Effect.acquireUseRelease(
                    Effect.sync(() => {
                      running++
                      most = Math.max(most, running)
                    }),
                    () => Effect.repeat(Effect.yieldNow, { times: turns }),
                    () =>
                      Effect.sync(() => {
                        running--
                      })
                  )
                const fibers: Array<Fiber.Fiber<unknown>> = []
                for (const { interrupted, known, turns } of callers) {
                  const run = places.run(known ? "known" : "stranger", work(turns))
                  const fiber = yield* Effect.forkChild(Effect.tap(run, () =>
                    Effect.sync(() => {
                      done++
                    })))
                  if (interrupted) {
                    yield* Effect.yieldNow
                    yield* Effect.forkChild(Fiber.interrupt(fiber))
                  }
                  fibers.push(fiber)
                }
                for (const fiber of fibers) yield* Fiber.await(fiber)
                assert.isAtMost(most, count)
                assert.isAtLeast(done, callers.filter(({ interrupted }) => !interrupted).length)
                assert.strictEqual(running, 0)
                for (let place = 0; place < count; place++) yield* places.run("stranger", Effect.void)
              }).pipe(Effect.timeout("5 seconds"))
            )
        ),
        { numRuns: 300 }
      )
    ))
})
