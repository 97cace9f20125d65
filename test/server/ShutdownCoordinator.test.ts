/** What hears of a shutdown, and in which order a whole server closes. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Layer, Scope } from "effect"
import { readFileSync } from "node:fs"
import { Server } from "../../src/server/Server.ts"
import { background, ShutdownCoordinator } from "../../src/server/ShutdownCoordinator.ts"
import * as TestServer from "../support/TestServer.ts"

/** The first name of each line of the drawing, from the top, without what the shutdown itself stands on. */
const drawn = (): ReadonlyArray<string> => {
  const page = readFileSync(new URL("../../docs/architecture.md", import.meta.url), "utf8")
  const drawing = /## The layers of the server.*?```text\n(.*?)```/s.exec(page)?.[1] ?? ""
  const names = drawing.split("\n").flatMap((line) => /^ *(\w+)/.exec(line)?.[1] ?? [])
  return names.filter((name) => !["ShutdownCoordinator", "ServerConfig"].includes(name))
}

describe("a shutdown", () => {
  it.effect("is heard by every background loop, and by those that begin after it", () =>
    Effect.gen(function*() {
      const coordinator = yield* ShutdownCoordinator
      yield* background("one", Effect.never)
      yield* background("two", Effect.forever(Effect.sleep("1 second")))
      assert.deepStrictEqual(coordinator.running(), ["one", "two"])
      assert.isFalse(yield* coordinator.isBegun)
      const heard = yield* Effect.forkChild(coordinator.begun, { startImmediately: true })
      yield* coordinator.begin
      yield* coordinator.begin
      yield* Fiber.join(heard)
      yield* background("late", Effect.never)
      yield* Effect.yieldNow
      yield* Effect.yieldNow
      assert.deepStrictEqual(coordinator.running(), [])
    }).pipe(Effect.provide(ShutdownCoordinator.layer)))

  it.effect("knows what has closed, and what has not", () =>
    Effect.gen(function*() {
      const coordinator = yield* ShutdownCoordinator
      const [first, second] = [yield* Scope.make(), yield* Scope.make()]
      yield* Scope.provide(coordinator.opened("first"), first)
      yield* Scope.provide(coordinator.opened("second"), second)
      assert.deepStrictEqual(coordinator.open(), ["first", "second"])
      yield* Scope.close(second, Exit.void)
      assert.deepStrictEqual([coordinator.open(), coordinator.closed()], [["first"], ["second"]])
    }).pipe(Effect.provide(ShutdownCoordinator.layer)))

  it.live(
    "of a server ends all background work at once, and closes the layers in the order of the drawing",
    () =>
      Effect.gen(function*() {
        const scope = yield* Scope.make()
        const context = yield* Layer.buildWithScope(TestServer.layer(), scope)
        const { beginShutdown, shutdown } = Context.get(context, Server)
        assert.isAtLeast(shutdown.running().length, 10)
        assert.sameMembers([...shutdown.open()], [...drawn()])
        yield* beginShutdown
        for (let turns = 0; turns < 100 && shutdown.running().length > 0; turns++) yield* Effect.yieldNow
        assert.deepStrictEqual(shutdown.running(), [])
        assert.deepStrictEqual(shutdown.closed(), [])
        yield* Scope.close(scope, Exit.void)
        assert.deepStrictEqual(shutdown.closed(), drawn())
        assert.deepStrictEqual(shutdown.open(), [])
      }),
    60_000
  )
})
