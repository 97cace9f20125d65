/** What a worker asks of its parent, message by message: the parent is made up. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Option } from "effect"
import type { FromWorker } from "../../../src/server/workers/Channel.ts"
import { makeParent } from "../../../src/server/workers/Parent.ts"

const make = () => {
  const sent: Array<FromWorker> = []
  const arrived: Array<() => void> = []
  const parent = makeParent({
    port: 6090,
    send: (message) => {
      sent.push(message)
      for (const wake of arrived.splice(0)) wake()
    }
  })
  /** The next message of a type, which it takes out. */
  const next = async <T extends FromWorker["type"]>(type: T): Promise<Extract<FromWorker, { readonly type: T }>> => {
    for (;;) {
      const at = sent.findIndex((message) => message.type === type)
      const found = at < 0 ? undefined : sent.splice(at, 1)[0]
      if (found !== undefined && isOf(found, type)) return found
      await new Promise<void>((resolve) => arrived.push(resolve))
    }
  }
  return { sent, parent, next: <T extends FromWorker["type"]>(type: T) => Effect.promise(() => next(type)) }
}

const isOf = <T extends FromWorker["type"]>(
  message: FromWorker,
  type: T
): message is Extract<FromWorker, { readonly type: T }> => message.type === type

describe("a worker", () => {
  it.effect("does what there are few places for when it has one, and gives it back", () =>
    Effect.gen(function*() {
      const { next, parent, sent } = make()
      let isRunning = false
      const work = yield* Effect.forkChild(parent.places.hashing.run(
        "known",
        Effect.sync(() => {
          isRunning = true
          return 42
        })
      ))
      const { place, want } = yield* next("want")
      assert.deepStrictEqual(place, { kind: "hashing", lane: "known" })
      assert.isFalse(isRunning)
      parent.hear({ type: "place", want, outcome: { kind: "granted" } }, undefined)
      assert.strictEqual(yield* Fiber.join(work), 42)
      assert.deepStrictEqual(sent, [{ type: "done", want }])
    }))

  it.effect("takes a wish back when whoever had it has gone", () =>
    Effect.gen(function*() {
      const { next, parent } = make()
      const work = yield* Effect.forkChild(parent.places.turns.accounts.take("alice", Effect.never))
      const { want } = yield* next("want")
      yield* Fiber.interrupt(work)
      assert.strictEqual((yield* next("done")).want, want)
      parent.hear({ type: "place", want, outcome: { kind: "granted" } }, undefined)
    }))

  it.effect("refuses with the parent's words, and does nothing when too many wait", () =>
    Effect.gen(function*() {
      const { next, parent } = make()
      const hashed = yield* Effect.forkChild(Effect.exit(parent.places.hashing.run("stranger", Effect.die("it ran"))))
      const first = yield* next("want")
      parent.hear({
        type: "place",
        want: first.want,
        outcome: { kind: "refused", code: "2:rlex", message: "later", retryAfterMs: 700 }
      }, undefined)
      const exit = yield* Fiber.join(hashed)
      const refusal = Exit.isFailure(exit) ? Option.getOrUndefined(Exit.findErrorOption(exit)) : undefined
      assert.deepInclude(refusal, { code: "2:rlex", message: "later", retry_after_ms: 700 })
      const guessed = yield* Effect.forkChild(parent.places.turns.addresses.take("192.0.2.1", Effect.die("it ran")))
      const second = yield* next("want")
      parent.hear({ type: "place", want: second.want, outcome: { kind: "full" } }, undefined)
      assert.isTrue(Option.isNone(yield* Fiber.join(guessed)))
    }))

  it.live("reports what users did as a sum, and slows down who was too fast on all workers together", () =>
    Effect.gen(function*() {
      const { next, parent } = make()
      const { spend } = parent.entrance
      assert.strictEqual(spend(7, 1, 100, 0), 0)
      assert.strictEqual(spend(7, 2, 50, 0), 0)
      assert.strictEqual(spend(8, 1, 0, 0), 0)
      assert.deepStrictEqual((yield* next("spent")).users, [[7, 3, 150], [8, 1, 0]])
      parent.hear({ type: "slow", users: [[7, 60_000]] }, undefined)
      assert.isAbove(spend(7, 1, 0, 0), 59_000)
      assert.strictEqual(spend(8, 1, 0, 0), 0)
      yield* next("spent")
    }))
})
