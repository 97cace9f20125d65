import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Latch, Layer } from "effect"
import { TestClock } from "effect/testing"
import { keepAlive } from "../../src/cli/shell/KeepAlive.ts"
import { Output } from "../../src/cli/shell/Output.ts"
import { ConnectError } from "../../src/client/ClientError.ts"
import { FipClient, type FipClientShape } from "../../src/client/FipClient.ts"
import { Capture, recordingClient } from "../support/ShellHarness.ts"

const gone = new ConnectError({ host: "localhost", port: 6090, message: "localhost:6090 refuses connections" })

/** Somebody sits at a prompt; `there` says whether the server answers. */
const idle = Effect.fnUntraced(function*(answers: Partial<FipClientShape> = {}) {
  const state = { there: true, asked: 0 }
  const stderr = new Capture()
  const lost = Latch.makeUnsafe(false)
  const heartbeat = Effect.suspend(() => {
    state.asked++
    return state.there ? Effect.succeed({ server_version: "1.0.0" }) : Effect.fail(gone)
  })
  yield* Effect.forkChild(
    keepAlive(lost).pipe(
      Effect.provide(Layer.merge(
        Output.layerStreams({ stdout: new Capture(), stderr }),
        Layer.succeed(FipClient, recordingClient([], { heartbeat, ...answers }))
      ))
    )
  )
  yield* TestClock.adjust(0)
  return { state, lost, said: () => stderr.text.split("\n").slice(0, -1) }
})

describe("an idle shell", () => {
  it.effect("asks every minute whether the server is there", () =>
    Effect.gen(function*() {
      const { said, state } = yield* idle()
      yield* TestClock.adjust(Duration.minutes(10))
      assert.strictEqual(state.asked, 10)
      assert.deepStrictEqual(said(), [])
    }))

  it.effect("says once that the connection is lost, tries again until it is not, and then asks every minute", () =>
    Effect.gen(function*() {
      const { lost, said, state } = yield* idle()
      state.there = false
      yield* lost.open
      yield* TestClock.adjust(Duration.minutes(5))
      assert.strictEqual(said().length, 1)
      assert.match(said()[0] ?? "", /^the connection is lost: localhost:6090 refuses connections/)
      assert.isAbove(state.asked, 20)
      state.there = true
      yield* TestClock.adjust(Duration.seconds(15))
      const asked = state.asked
      yield* TestClock.adjust(Duration.minutes(3))
      assert.isAtMost(state.asked, asked + 3)
      state.there = false
      yield* lost.open
      yield* TestClock.adjust(Duration.seconds(1))
      assert.strictEqual(said().length, 2)
    }))

  it.effect("leaves a connection alone on which nobody is logged in", () =>
    Effect.gen(function*() {
      const { lost, said, state } = yield* idle({ session: Effect.succeedNone })
      yield* lost.open
      yield* TestClock.adjust(Duration.minutes(10))
      assert.strictEqual(state.asked, 0)
      assert.deepStrictEqual(said(), [])
    }))
})
