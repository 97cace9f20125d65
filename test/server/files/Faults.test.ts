import { assert, describe, it } from "@effect/vitest"
import type { PGlite } from "@electric-sql/pglite"
import { Effect, References } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { Random } from "../../support/Random.ts"
import { complaints } from "../../support/tableInvariants.ts"
import { TestDatabase } from "../../support/TestDatabase.ts"
import { type Life, Machine } from "./Machine.ts"
import * as Storage from "./Storage.ts"
import type { Fault, Operation } from "./VolatileDisk.ts"
import { Writer } from "./Writer.ts"

/** What is logged of failures that a test makes is no news. */
const quietly = Effect.provideService(References.MinimumLogLevel, "None")

/** A disk's failure: which operations it hits, and with what. */
interface Kind {
  readonly name: string
  readonly hits: ReadonlyArray<Operation>
  readonly fault: Fault
  /** It goes on until the end; otherwise it happens once. */
  readonly lasts: boolean
  /** What was stored before can be read meanwhile. */
  readonly readable: boolean
}

const kinds: ReadonlyArray<Kind> = [
  {
    name: "the disk is full",
    hits: ["open", "write", "makeFolder"],
    fault: { code: "ENOSPC" },
    lasts: true,
    readable: false
  },
  { name: "a write does not fit", hits: ["write"], fault: { code: "ENOSPC" }, lasts: true, readable: true },
  { name: "a write fails", hits: ["write"], fault: { code: "EIO" }, lasts: false, readable: true },
  { name: "a write writes nothing", hits: ["write"], fault: { bytes: 0 }, lasts: false, readable: true },
  { name: "a sync fails", hits: ["sync", "syncFolder"], fault: { code: "EIO" }, lasts: false, readable: true },
  {
    name: "too many files are open",
    hits: ["open", "makeFolder", "syncFolder"],
    fault: { code: "EMFILE" },
    lasts: true,
    readable: false
  }
]

/** Everything that was acknowledged is there, whole, and every counter is exact. */
const verify = Effect.fnUntraced(function*(life: Life, writers: ReadonlyArray<Writer>) {
  for (const writer of writers) yield* writer.verify(life)
  const segments = new Map((yield* life.segments.list).map(({ bytes, segment }) => [String(segment), bytes]))
  assert.deepStrictEqual(yield* Effect.provideService(complaints(segments), SqlClient, life.sql), [])
})

/** Does something; true when the disk's failure was in the way. */
const act = Effect.fnUntraced(function*(writer: Writer, life: Life) {
  const refusal = yield* Effect.flip(Effect.asVoid(writer.act(life))).pipe(Effect.catch(() => Effect.undefined))
  if (refusal === undefined) return false
  assert.strictEqual(refusal.code, "3:disk", refusal.message)
  writer.refused()
  return true
})

/** Writers whose disk fails at the `at`th operation that the failure can hit; how many of them there were. */
const failAt = Effect.fnUntraced(function*(engine: PGlite, kind: Kind, at: number) {
  const random = new Random(7)
  let armed = false
  let count = 0
  const machine = new Machine(engine, (operation) => {
    if (!armed || !kind.hits.includes(operation)) return undefined
    count++
    return count === at || (kind.lasts && count > at) ? kind.fault : undefined
  })
  const life = yield* machine.start()
  yield* life.sql`truncate users, files, versions, extents, changes, file_reads cascade`
  const writers = yield* Effect.forEach(
    Array.from({ length: 2 }),
    () => Effect.map(Storage.newUser(), (caller) => new Writer(caller, random.split()))
  ).pipe(Effect.provideService(SqlClient, life.sql))

  armed = true
  const refused = yield* Effect.forEach(
    writers,
    (writer) => Effect.forEach(Array.from({ length: 4 }), () => act(writer, life)),
    { concurrency: "unbounded" }
  )
  const hits = count
  if (hits >= at) assert.isTrue(refused.flat().includes(true), `nobody heard that ${kind.name}`)
  if (kind.readable) yield* verify(life, writers)
  armed = false
  for (const writer of writers) {
    // An upload whose content could not be made durable has to begin again.
    if (yield* act(writer, life)) writer.forgetUpload()
    yield* writer.act(life)
    yield* writer.act(life)
  }
  yield* verify(life, writers)

  machine.cutPower()
  yield* life.end
  machine.restorePower(random)
  const next = yield* machine.start()
  yield* verify(next, writers)
  yield* next.end
  return hits
})

describe("a disk that fails", () => {
  for (const kind of kinds) {
    it.live(
      `is the server's fault, loses nothing, and is forgotten when it is over: ${kind.name}`,
      () =>
        Effect.gen(function*() {
          const engine = yield* TestDatabase.engine
          let at = 1
          while ((yield* failAt(engine, kind, at)) >= at) at++
          assert.isAbove(at, 2, "operations that could fail")
        }).pipe(Effect.scoped, quietly),
      60_000
    )
  }

  it.live("may write and read as little at a time as it likes", () =>
    Effect.gen(function*() {
      const random = new Random(11)
      const machine = new Machine(
        yield* TestDatabase.engine,
        (operation) => operation === "write" || operation === "read" ? { bytes: 1 + random.below(5000) } : undefined
      )
      const life = yield* machine.start()
      const caller = yield* Effect.provideService(Storage.newUser(), SqlClient, life.sql)
      const writer = new Writer(caller, random.split())
      for (let number = 0; number < 30; number++) yield* writer.act(life)
      yield* verify(life, [writer])
      yield* life.end
    }).pipe(Effect.scoped, quietly))
})
