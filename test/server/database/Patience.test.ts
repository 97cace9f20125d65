import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Result } from "effect"
import { ConnectionError, SqlError, UniqueViolation } from "effect/sql/SqlError"
import { TestClock } from "effect/testing"
import * as Patience from "../../../src/server/database/Patience.ts"

const broken = new SqlError({ reason: new ConnectionError({ cause: new Error("gone"), message: "gone" }) })

/** A database that is there or not, and how often it was asked. */
const database = () => {
  const state = { isAway: false, asked: 0 }
  const ask = Effect.suspend(() => {
    state.asked++
    return state.isAway ? Effect.fail(broken) : Effect.succeed("here")
  })
  return { state, ask }
}

const URL = "postgres://somewhere"

describe("patience with the database", () => {
  it.effect("waits for one that comes back within five seconds", () =>
    Effect.gen(function*() {
      const { ask, state } = database()
      const patiently = Patience.make(URL)
      state.isAway = true
      const fiber = yield* Effect.forkChild(patiently(ask))
      yield* TestClock.adjust("4 seconds")
      assert.isAbove(state.asked, 5)
      state.isAway = false
      yield* TestClock.adjust("400 millis")
      assert.strictEqual(yield* Fiber.join(fiber), "here")
    }))

  it.effect("ends for all after five seconds, and begins anew when it was back", () =>
    Effect.gen(function*() {
      const { ask, state } = database()
      const patiently = Patience.make(URL)
      state.isAway = true
      const fiber = yield* Effect.forkChild(Effect.result(patiently(ask)))
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(yield* Fiber.join(fiber), Result.fail(broken))
      state.asked = 0
      assert.deepStrictEqual(yield* Effect.result(patiently(ask)), Result.fail(broken))
      assert.strictEqual(state.asked, 1)
      state.isAway = false
      yield* patiently(ask)
      state.isAway = true
      const again = yield* Effect.forkChild(patiently(ask))
      yield* TestClock.adjust("1 second")
      state.isAway = false
      yield* TestClock.adjust("400 millis")
      assert.strictEqual(yield* Fiber.join(again), "here")
    }))

  it.effect("takes an absence that nobody has noticed for a while for a new one", () =>
    Effect.gen(function*() {
      const { ask, state } = database()
      const patiently = Patience.make(URL)
      state.isAway = true
      const first = yield* Effect.forkChild(Effect.result(patiently(ask)))
      yield* TestClock.adjust("1 minute")
      yield* Fiber.join(first)
      const second = yield* Effect.forkChild(patiently(ask))
      yield* TestClock.adjust("1 second")
      state.isAway = false
      yield* TestClock.adjust("400 millis")
      assert.strictEqual(yield* Fiber.join(second), "here")
    }))

  it.effect("is for what passes by itself, and for a database that can be away", () =>
    Effect.gen(function*() {
      const { ask, state } = database()
      const other = new SqlError({
        reason: new UniqueViolation({ cause: new Error("there already"), message: "there already", constraint: "name" })
      })
      assert.deepStrictEqual(yield* Effect.result(Patience.make(URL)(Effect.fail(other))), Result.fail(other))
      state.isAway = true
      assert.deepStrictEqual(yield* Effect.result(Patience.make(undefined)(ask)), Result.fail(broken))
    }))
})
