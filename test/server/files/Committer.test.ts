import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Result } from "effect"
import type { SqlClient } from "effect/sql/SqlClient"
import * as Statement from "effect/sql/Statement"
import { randomBytes } from "node:crypto"
import type { Refusal } from "../../../src/protocol/Refusal.ts"
import type { Caller } from "../../../src/server/Caller.ts"
import { Disk } from "../../../src/server/files/Disk.ts"
import { FileStore } from "../../../src/server/FileStore.ts"
import { TestDatabase } from "../../support/TestDatabase.ts"
import * as Storage from "./Storage.ts"

const all = <A>(count: number, make: (index: number) => Effect.Effect<A, Refusal>) =>
  Effect.forEach(Array.from({ length: count }, (_, index) => index), (index) => Effect.result(make(index)), {
    concurrency: "unbounded"
  })

const codes = (results: ReadonlyArray<Result.Result<unknown, Refusal>>) => {
  const counts: Record<string, number> = {}
  for (const result of results) {
    const code = Result.isSuccess(result) ? "done" : result.failure.code
    counts[code] = (counts[code] ?? 0) + 1
  }
  return counts
}

const content = Effect.fnUntraced(function*(caller: Caller, name: string) {
  const files = yield* FileStore
  const { content } = yield* files.read(caller, { name: Storage.name(name) })
  return yield* Effect.promise(() => Storage.drain(content))
})

const bodyOf = (index: number) => ({ name: Storage.name(`work/${index}.bin`) })
const bytesOf = (index: number) => Buffer.alloc(100 + index, `file ${index} `)

/** Counts statements, BEGIN and COMMIT aside. */
const counter = { statements: 0 }
const counting = Layer.succeed(Statement.CurrentTransformer, (statement) =>
  Effect.sync(() => {
    counter.statements++
    return statement
  }))

const count = <A, R>(effect: Effect.Effect<A, Refusal, R>) =>
  Effect.suspend(() => {
    counter.statements = 0
    return Effect.map(effect, () => counter.statements)
  })

const suite = (name: string, database: Layer.Layer<SqlClient, unknown>) =>
  describe(name, () => {
    const layer = Storage.layer().pipe(Layer.provideMerge(Layer.orDie(database)), Layer.provideMerge(counting))
    it.layer(layer, { timeout: 60_000 })((it) => {
      it.effect("serves 64 writers at the same time, and charges for exactly what they wrote", () =>
        Effect.gen(function*() {
          const files = yield* FileStore
          const callers = yield* Effect.forEach(Array.from({ length: 8 }), () => Storage.newUser())
          const at = (index: number) => callers[index % 8] ?? assert.fail("no caller")
          const made = yield* all(64, (index) => files.create(at(index), bodyOf(index), [bytesOf(index)]))
          assert.deepStrictEqual(codes(made), { done: 64 })
          const changed = yield* all(64, (index) => files.append(at(index), bodyOf(index), [bytesOf(index)]))
          assert.deepStrictEqual(codes(changed), { done: 64 })
          for (let index = 0; index < 64; index++) {
            const expected = Buffer.concat([bytesOf(index), bytesOf(index)])
            assert.deepStrictEqual(yield* content(at(index), `work/${index}.bin`), expected)
          }
          for (const [index, caller] of callers.entries()) {
            const sizes = Array.from({ length: 8 }, (_, round) => 2 * (100 + index + 8 * round))
            const bytes = sizes.reduce((sum, size) => sum + size, 0)
            assert.deepStrictEqual(yield* Storage.usage(caller), { bytes, files: 8 })
          }
        }))

      it.effect("refuses those of a group that are over the quota, and nobody else", () =>
        Effect.gen(function*() {
          const files = yield* FileStore
          const poor = yield* Storage.newUser({ bytesLimit: 1000 })
          const rich = yield* Storage.newUser()
          const results = yield* all(
            64,
            (index) =>
              files.create(index % 2 === 0 ? poor : rich, { name: Storage.name(`f${index}`) }, [Buffer.alloc(100)])
          )
          assert.deepStrictEqual(codes(results), { done: 42, "2:quota": 22 })
          assert.deepStrictEqual(yield* Storage.usage(poor), { bytes: 1000, files: 10 })
          assert.deepStrictEqual(yield* Storage.usage(rich), { bytes: 3200, files: 32 })
          // It gives room back, at once and to the byte.
          const mine = yield* files.list(poor, {})
          yield* all(10, (index) => files.delete(poor, { name: mine.files[index]?.name ?? Storage.name("none") }))
          assert.deepStrictEqual(yield* Storage.usage(poor), { bytes: 0, files: 0 })
        }))

      it.effect("refuses those that meet a conflict, each with what it met", () =>
        Effect.gen(function*() {
          const files = yield* FileStore
          const caller = yield* Storage.newUser({ filesLimit: 5 })
          const name = Storage.name("one")
          assert.deepStrictEqual(
            codes(yield* all(20, () => files.create(caller, { name }, [Buffer.from("x")]))),
            { done: 1, "2:cnf": 19 }
          )
          const swaps = yield* all(
            20,
            (index) => files.write(caller, { name, expected_version: 1 }, [Buffer.from(`writer ${index}`)])
          )
          assert.deepStrictEqual(codes(swaps), { done: 1, "2:vcf": 19 })
          for (const swap of swaps) {
            if (Result.isFailure(swap)) assert.strictEqual(swap.failure.current_version, 2)
          }
          const winner = swaps.findIndex(Result.isSuccess)
          assert.strictEqual((yield* content(caller, "one")).toString(), `writer ${winner}`)
          const more = yield* all(10, (index) => files.create(caller, { name: Storage.name(`more${index}`) }, []))
          assert.deepStrictEqual(codes(more), { done: 4, "2:fof": 6 })
        }))

      it.effect("lets writers append to one file at the same time without mixing or losing a byte", () =>
        Effect.gen(function*() {
          const files = yield* FileStore
          const caller = yield* Storage.newUser()
          const name = Storage.name("log")
          yield* files.create(caller, { name }, [])
          const results = yield* all(64, (index) => files.append(caller, { name }, [Buffer.from(`line ${index}\n`)]))
          assert.deepStrictEqual(codes(results), { done: 64 })
          const lines = (yield* content(caller, "log")).toString().split("\n").slice(0, -1)
          assert.sameMembers(lines, Array.from({ length: 64 }, (_, index) => `line ${index}`))
          // Each was told the version and the size of its own append.
          const told = results.flatMap((result) => Result.isSuccess(result) ? [result.success] : [])
          const sizes = new Map(told.map(({ size, version }) => [version, size]))
          let size = 0
          for (const [index, line] of lines.entries()) {
            size += line.length + 1
            assert.strictEqual(sizes.get(index + 2), size)
          }
        }))

      it.effect("carries out changes of different kinds, of files that are in each other's way, one after the other", () =>
        Effect.gen(function*() {
          const files = yield* FileStore
          const caller = yield* Storage.newUser()
          const [a, b] = [Storage.name("a"), Storage.name("b")]
          yield* files.create(caller, { name: a }, [Buffer.from("content")])
          const results = yield* all(30, (index) => {
            switch (index % 5) {
              case 0:
                return files.rename(caller, { name: a, new_name: b })
              case 1:
                return files.rename(caller, { name: b, new_name: a })
              case 2:
                return files.copy(caller, { name: a, new_name: b })
              case 3:
                return files.delete(caller, { name: b })
              default:
                return files.write(caller, { name: a }, [Buffer.from(`content ${index}`)])
            }
          })
          assert.containsAllKeys(codes(results), ["done"])
          const { files: left } = yield* files.list(caller, {})
          const bytes = left.reduce((sum, file) => sum + file.size, 0)
          assert.deepStrictEqual(yield* Storage.usage(caller), { bytes, files: left.length })
          for (const file of left) assert.strictEqual((yield* content(caller, file.name)).length, file.size)
        }))

      it.effect("costs a handful of statements, for one change as for many", () =>
        Effect.gen(function*() {
          const files = yield* FileStore
          const caller = yield* Storage.newUser()
          const name = Storage.name("one")
          // A lookup, and in the transaction, beside BEGIN and COMMIT: two for locks, one that changes rows and tells who
          // watches, one that adds rows. A plain write to what is one's own is looked up only there.
          assert.strictEqual(yield* count(files.create(caller, { name }, [randomBytes(4096)])), 5)
          assert.strictEqual(yield* count(content(caller, "one")), 1)
          assert.strictEqual(yield* count(content(caller, "one")), 0)
          assert.strictEqual(yield* count(files.patch(caller, { name, position: 5 }, [randomBytes(10)])), 6)
          assert.strictEqual(yield* count(files.append(caller, { name }, [randomBytes(10)])), 5)
          assert.strictEqual(yield* count(files.write(caller, { name }, [randomBytes(10)])), 4)
          assert.strictEqual(yield* count(files.delete(caller, { name })), 4)
          const many = yield* count(all(100, (index) => files.create(caller, { name: Storage.name(`${index}`) }, [])))
          assert.isAtMost(many, 30)
        }))

      it.effect("carries out what was asked for by somebody who did not wait for the answer", () =>
        Effect.gen(function*() {
          const files = yield* FileStore
          const caller = yield* Storage.newUser()
          const fibers = yield* Effect.forEach(
            Array.from({ length: 20 }, (_, index) => index),
            (index) =>
              Effect.forkChild(files.create(caller, { name: Storage.name(`f${index}`) }, [Buffer.alloc(10)]), {
                startImmediately: true
              })
          )
          yield* Effect.forEach(fibers, Fiber.interrupt, { concurrency: "unbounded" })
          // After it comes everything that was handed over before.
          yield* files.create(caller, { name: Storage.name("last") }, [Buffer.alloc(10)])
          const { files: made } = yield* files.list(caller, {})
          assert.deepStrictEqual(yield* Storage.usage(caller), { bytes: 10 * made.length, files: made.length })
          for (const file of made) assert.strictEqual((yield* content(caller, file.name)).length, 10)
        }))
    })
  })

suite("Committer on the embedded database", TestDatabase.pglite)
suite("Committer on PostgreSQL", TestDatabase.postgres)

describe("Committer", () => {
  it.layer(TestDatabase.pglite, { timeout: 60_000 })((it) => {
    it.effect("refuses what could not be made durable, and only that", () =>
      Effect.gen(function*() {
        const node = yield* Disk
        let failing = false
        const disk = Layer.succeed(Disk, {
          ...node,
          sync: (file: number) =>
            failing ? Promise.reject(Object.assign(new Error("EIO"), { code: "EIO" })) : node.sync(file)
        })
        yield* Effect.gen(function*() {
          const files = yield* FileStore
          const caller = yield* Storage.newUser()
          yield* files.create(caller, { name: Storage.name("before") }, [Buffer.from("before")])
          failing = true
          const results = yield* all(10, (index) =>
            index === 0
              ? files.rename(caller, { name: Storage.name("before"), new_name: Storage.name("renamed") })
              : files.create(caller, { name: Storage.name(`f${index}`) }, [Buffer.alloc(10)]))
          assert.deepStrictEqual(codes(results), { done: 1, "3:disk": 9 })
          failing = false
          yield* files.create(caller, { name: Storage.name("after") }, [Buffer.from("after")])
          const { files: names } = yield* files.list(caller, {})
          assert.deepStrictEqual(names.map(({ name }) => String(name)), ["after", "renamed"])
          assert.deepStrictEqual(yield* Storage.usage(caller), { bytes: 11, files: 2 })
        }).pipe(Effect.provide(Storage.layer().pipe(Layer.provide(disk))))
      }))

    it.effect("ends what it has begun when its layer closes", () =>
      Effect.gen(function*() {
        const caller = yield* Storage.newUser()
        const fibers = yield* Effect.gen(function*() {
          const files = yield* FileStore
          yield* files.create(caller, { name: Storage.name("log") }, [])
          return yield* Effect.forEach(Array.from({ length: 20 }), () =>
            Effect.forkDetach(
              Effect.result(files.append(caller, { name: Storage.name("log") }, [Buffer.from("x")])),
              { startImmediately: true }
            ))
        }).pipe(Effect.provide(Storage.layer()))
        const done = (yield* Effect.forEach(fibers, Fiber.join)).filter(Result.isSuccess)
        assert.deepStrictEqual(yield* Storage.usage(caller), { bytes: done.length, files: 1 })
      }))
  })
})
