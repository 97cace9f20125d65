import { assert, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Scope } from "effect"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { stat, writeFile } from "node:fs/promises"
import { join } from "node:path"
import * as FileLock from "../../src/platform/FileLock.ts"
import { temporaryFolder } from "../support/temporaryFolder.ts"

const newPath = Effect.map(temporaryFolder, (folder) => join(folder, "lock"))

/** Another process that tries to take the lock, and what it says. */
const otherProcess = Effect.fnUntraced(function*(path: string) {
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawn(process.execPath, [join(import.meta.dirname, "holdLock.ts"), path], { stdio: ["pipe", "pipe", "inherit"] })
    ),
    (child) =>
      Effect.promise(async () => {
        if (child.exitCode !== null || child.signalCode !== null) return
        child.kill("SIGKILL")
        await once(child, "exit")
      })
  )
  const [said] = yield* Effect.promise(() => once(child.stdout, "data"))
  return { child, said: String(said) }
})

/** Held until the scope that this gives is closed. */
const hold = Effect.fnUntraced(function*(path: string) {
  const scope = yield* Scope.make()
  yield* Scope.provide(FileLock.acquire(path), scope)
  return scope
})

it.live("is refused while another process has it, and free as soon as that one is killed with -9", () =>
  Effect.gen(function*() {
    const path = yield* newPath
    const { child, said } = yield* otherProcess(path)
    assert.strictEqual(said, "locked")
    const error = yield* Effect.flip(FileLock.acquire(path))
    assert.strictEqual(error.reason, "held")
    assert.strictEqual(error.message, `${path} is locked by another process`)

    child.kill("SIGKILL")
    yield* Effect.promise(() => once(child, "exit"))
    yield* FileLock.acquire(path)
  }).pipe(Effect.scoped))

it.live("is refused within this process too, and given back when its scope closes", () =>
  Effect.gen(function*() {
    const path = yield* newPath
    const scope = yield* hold(path)
    assert.strictEqual((yield* Effect.flip(FileLock.acquire(path))).reason, "held")
    // The refused attempt has not loosened the lock for others.
    assert.strictEqual((yield* otherProcess(path)).said, "held")
    yield* Scope.close(scope, Exit.void)
    yield* FileLock.acquire(path)
  }).pipe(Effect.scoped))

it.live("waits for its turn when told to", () =>
  Effect.gen(function*() {
    const path = yield* newPath
    const scope = yield* hold(path)
    const waiting = yield* Effect.forkChild(Effect.scoped(FileLock.acquire(path, { wait: "20 seconds" })))
    yield* Scope.close(scope, Exit.void)
    yield* Fiber.join(waiting)
  }).pipe(Effect.scoped))

it.live("waits no longer than told", () =>
  Effect.gen(function*() {
    const path = yield* newPath
    yield* FileLock.acquire(path)
    const error = yield* Effect.flip(FileLock.acquire(path, { wait: "60 millis" }))
    assert.strictEqual(error.reason, "held")
  }).pipe(Effect.scoped))

it.live("lets one at a time through", () =>
  Effect.gen(function*() {
    const path = yield* newPath
    let inside = 0
    const pass = Effect.scoped(Effect.gen(function*() {
      yield* FileLock.acquire(path, { wait: "20 seconds" })
      inside++
      yield* Effect.yieldNow
      assert.strictEqual(inside, 1)
      inside--
    }))
    yield* Effect.all(Array.from({ length: 8 }, () => pass), { concurrency: "unbounded" })
  }).pipe(Effect.scoped))

it.live("keeps its file private and says why it cannot be made", () =>
  Effect.gen(function*() {
    const path = yield* newPath
    yield* FileLock.acquire(path)
    assert.strictEqual((yield* Effect.promise(() => stat(path))).mode & 0o777, 0o600)

    const missing = yield* Effect.flip(FileLock.acquire(join(path, "x")))
    assert.strictEqual(missing.reason, "failed")
    assert.strictEqual(missing.message, `cannot lock ${path}/x: not a directory`)
    const other = `${path}-other`
    yield* Effect.promise(() => writeFile(other, "something else that somebody keeps here"))
    assert.strictEqual((yield* Effect.flip(FileLock.acquire(other))).reason, "failed")
  }).pipe(Effect.scoped))
