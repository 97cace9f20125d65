/** Writers and readers beside sweeps that never pause: nothing that is kept is lost, and space comes back. */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Layer, type Scope } from "effect"
import type { SqlClient } from "effect/sql/SqlClient"
import { createHash, randomBytes, randomInt } from "node:crypto"
import { Sha256 } from "../../../src/protocol/Identity.ts"
import type { Caller } from "../../../src/server/Caller.ts"
import { Reclaimer } from "../../../src/server/files/Reclaimer.ts"
import { SegmentStore } from "../../../src/server/files/SegmentStore.ts"
import { FileStore } from "../../../src/server/FileStore.ts"
import { complaints } from "../../support/tableInvariants.ts"
import { TestDatabase } from "../../support/TestDatabase.ts"
import * as Storage from "./Storage.ts"

const WRITERS = 6
const STEPS = 15
const LIVES = 3
const MAX_BYTES = 150_000

type Contents = Map<string, Buffer>

const bytesIn = (contents: Contents): number => {
  let bytes = 0
  for (const content of contents.values()) bytes += content.length
  return bytes
}

const names = ["a", "b", "c"]
const pick = () => names[randomInt(names.length)] ?? "a"
const settings = { keepVersions: 0, keepDeletedFor: Duration.zero }

const readWhole = Effect.fnUntraced(function*(caller: Caller, name: string) {
  const files = yield* FileStore
  const { content } = yield* files.read(caller, { name: Storage.name(name) })
  return yield* Effect.promise(() => Storage.drain(content))
})

const upload = Effect.fnUntraced(function*(caller: Caller, name: string, content: Buffer) {
  const files = yield* FileStore
  const { upload_id } = yield* files.uploadBegin(caller, { name: Storage.name(name), mode: "write" })
  yield* files.uploadPart(caller, { upload_id, offset: 0 }, [content])
  const sha256 = Sha256.make(createHash("sha256").update(content).digest("hex"))
  yield* files.uploadCommit(caller, { upload_id, sha256 })
})

const step = Effect.fnUntraced(function*(caller: Caller, contents: Contents) {
  const files = yield* FileStore
  const name = pick()
  const file = { name: Storage.name(name) }
  const old = contents.get(name)
  const content = randomBytes(1 + randomInt(MAX_BYTES))
  const choice = randomInt(old === undefined ? 2 : 7)
  if (choice === 0) {
    yield* upload(caller, name, content)
    contents.set(name, content)
  } else if (choice === 1 || old === undefined) {
    yield* files.write(caller, file, [content])
    contents.set(name, content)
  } else if (choice === 2) {
    const position = randomInt(old.length + 1)
    const piece = content.subarray(0, 1 + randomInt(2000))
    yield* files.patch(caller, { ...file, position }, [piece])
    const size = Math.max(old.length, position + piece.length)
    contents.set(
      name,
      Buffer.concat([old, Buffer.alloc(size - old.length)], size).fill(piece, position, position + piece.length)
    )
  } else if (choice === 3) {
    yield* files.delete(caller, file)
    contents.delete(name)
  } else if (choice === 4) {
    const target = names.find((other) => !contents.has(other))
    if (target === undefined) return
    yield* files.copy(caller, { ...file, new_name: Storage.name(target) })
    contents.set(target, old)
  } else {
    // Begun before the next changes, and read to its end after sweeps.
    const { content } = yield* files.read(caller, file)
    yield* files.append(caller, file, [Buffer.from("!")])
    contents.set(name, Buffer.concat([old, Buffer.from("!")]))
    yield* Effect.yieldNow
    assert.isTrue(old.equals(yield* Effect.promise(() => Storage.drain(content))))
  }
})

const life = Effect.fnUntraced(
  function*(writers: ReadonlyArray<{ readonly caller: Caller; readonly contents: Contents }>) {
    const reclaimer = yield* Reclaimer
    const sweeping = yield* Effect.forkScoped(
      Effect.forever(Effect.andThen(reclaimer.sweepVersions, reclaimer.sweepSegments))
    )
    yield* Effect.forEach(
      writers,
      ({ caller, contents }) => Effect.repeat(step(caller, contents), { times: STEPS }),
      { concurrency: "unbounded", discard: true }
    )
    // A sweep that failed would have ended.
    assert.isUndefined(sweeping.pollUnsafe())
    for (const { caller, contents } of writers) {
      for (const [name, content] of contents) assert.isTrue(content.equals(yield* readWhole(caller, name)), name)
      const bytes = bytesIn(contents)
      assert.deepStrictEqual(yield* Storage.usage(caller), { bytes, files: contents.size })
    }
  }
)

/** When nobody is there any more, nothing but what is needed is left. */
const settled = Effect.fnUntraced(function*() {
  const reclaimer = yield* Reclaimer
  const store = yield* SegmentStore
  for (let round = 0; round < 3; round++) {
    yield* reclaimer.sweepVersions
    yield* reclaimer.sweepSegments
  }
  const segments = yield* store.list
  assert.deepStrictEqual(yield* complaints(new Map(segments.map(({ bytes, segment }) => [String(segment), bytes]))), [])
  return segments.reduce((sum, { bytes }) => sum + bytes, 0)
})

const run = (database: Layer.Layer<SqlClient, unknown, Scope.Scope>) =>
  Effect.gen(function*() {
    const dataDir = yield* Storage.folder
    const storeLayer = () => Layer.fresh(Reclaimer.layer.pipe(Layer.provideMerge(Storage.layerIn(dataDir, settings))))
    const writers = yield* Effect.forEach(
      Array.from({ length: WRITERS }),
      () => Effect.map(Storage.newUser(), (caller) => ({ caller, contents: new Map<string, Buffer>() }))
    )
    for (let count = 0; count < LIVES; count++) yield* Effect.provide(Effect.scoped(life(writers)), storeLayer())
    const live = writers.reduce((sum, { contents }) => sum + bytesIn(contents), 0)
    const bytes = yield* Effect.provide(settled(), storeLayer())
    // Half of what is in closed segments, the blocks of extents that were cut, and nothing else.
    assert.isBelow(bytes, 2 * live + WRITERS * names.length * 2 * 65536 + 1)
  }).pipe(Effect.scoped, Effect.provide(database))

describe("sweeps beside writers and readers", () => {
  it.live("lose nothing on the embedded database", () => run(TestDatabase.pglite), 60_000)
  it.live("lose nothing on PostgreSQL", () => run(TestDatabase.postgres), 60_000)
})
