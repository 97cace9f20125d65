import { assert, it } from "@effect/vitest"
import type { PGlite } from "@electric-sql/pglite"
import { Duration, Effect, Fiber, References } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { UploadId } from "../../../src/protocol/Identity.ts"
import type { Caller } from "../../../src/server/Caller.ts"
import { Ranges } from "../../../src/server/files/Ranges.ts"
import { sha256 } from "../../support/FileModel.ts"
import { Random } from "../../support/Random.ts"
import { complaints } from "../../support/tableInvariants.ts"
import { TestDatabase } from "../../support/TestDatabase.ts"
import { type Life, Machine } from "./Machine.ts"
import * as Storage from "./Storage.ts"
import { Writer } from "./Writer.ts"

const POINTS = Number(process.env["FIP_TEST_POINTS"] ?? 100)
const SEED = Number(process.env["FIP_TEST_SEED"] ?? 1)

/** Losses of power that one set of users and one disk go through. */
const POINTS_PER_HISTORY = 10
const WRITERS = 3

/** Little is kept that is not needed, so that there is something to reclaim. */
const settings = { keepVersions: 2, keepDeletedFor: Duration.zero }

/** What a store says whose power goes is no news. */
const quietly = Effect.provideService(References.MinimumLogLevel, "None")

/** Everything that was acknowledged is there, and nothing is there in part. */
const verify = Effect.fnUntraced(function*(life: Life, writers: ReadonlyArray<Writer>) {
  for (const writer of writers) yield* writer.verify(life)
  const segments = new Map((yield* life.segments.list).map(({ bytes, segment }) => [String(segment), bytes]))
  assert.deepStrictEqual(yield* Effect.provideService(complaints(segments), SqlClient, life.sql), [])
})

const history = Effect.fnUntraced(function*(engine: PGlite, seed: number) {
  const random = new Random(seed)
  const machine = new Machine(engine)
  let life = yield* machine.start(settings)
  yield* life.sql`truncate users, files, versions, extents, changes, file_reads cascade`
  const writers = yield* Effect.forEach(
    Array.from({ length: WRITERS }),
    () => Effect.map(Storage.newUser(), (caller) => new Writer(caller, random.split()))
  ).pipe(Effect.provideService(SqlClient, life.sql))

  let compacted = 0
  let removed = 0
  for (let point = 0; point < POINTS_PER_HISTORY; point++) {
    if (random.chance(0.3)) {
      // Some time without trouble, that ends as it should.
      yield* Effect.forEach(writers, (writer) => writer.act(life), { concurrency: "unbounded" })
      yield* life.end
      life = yield* machine.start(settings)
    }
    const { reclaimer } = life
    const sweep = Effect.andThen(
      reclaimer.sweepVersions,
      Effect.map(reclaimer.sweepSegments, ({ segmentsCompacted, segmentsRemoved }) => {
        compacted += segmentsCompacted
        removed += segmentsRemoved
      })
    )
    const sweeps = random.chance(0.4)
    // What nothing refers to is found by one sweep, and removed by a later one.
    if (sweeps) yield* sweep
    machine.cutPowerAfter(1 + random.below(sweeps ? 250 : 100))
    const sweeper = yield* Effect.forkChild(sweeps ? Effect.forever(sweep) : Effect.void)
    yield* Effect.forEach(
      writers,
      (writer) => Effect.ignore(Effect.forever(writer.act(life))),
      { concurrency: "unbounded" }
    )
    yield* Fiber.interrupt(sweeper)
    assert.isTrue(machine.isOff, "nothing else made a writer stop")
    yield* life.end
    machine.restorePower(random)
    life = yield* machine.start(settings)
    yield* verify(life, writers)
  }
  yield* life.end
  const sum = (of: (writer: Writer) => number) => writers.reduce((total, writer) => total + of(writer), 0)
  return { acknowledged: sum((one) => one.acknowledged), resumed: sum((one) => one.resumed), compacted, removed }
})

const KiB = 1024
const MiB = 1024 * KiB

/** Sends what is missing of an upload, until it is committed or something fails. */
const finish = Effect.fnUntraced(function*(life: Life, caller: Caller, upload_id: UploadId, content: Buffer) {
  const missing = new Ranges()
  const { received } = yield* life.files.uploadStatus(caller, upload_id)
  for (const [from, to] of received) missing.add(from, to)
  const parts = missing.missing(0, content.length).flatMap(([from, to]) =>
    Array.from(
      { length: Math.ceil((to - from) / MiB) },
      (_, index) => [from + index * MiB, Math.min(to, from + (index + 1) * MiB)] as const
    )
  )
  yield* Effect.forEach(
    parts,
    ([from, to]) => life.files.uploadPart(caller, { upload_id, offset: from }, [content.subarray(from, to)]),
    { concurrency: 4, discard: true }
  )
  return yield* life.files.uploadCommit(caller, { upload_id, sha256: sha256(content) })
})

it.live("has of an upload what it says it has, whenever the power goes", () =>
  Effect.gen(function*() {
    const random = new Random(SEED)
    const machine = new Machine(yield* TestDatabase.engine)
    const content = random.bytes(40 * MiB + 7)
    let life = yield* machine.start()
    const caller = yield* Effect.provideService(Storage.newUser(), SqlClient, life.sql)
    const name = Storage.name("large")
    const { upload_id } = yield* life.files.uploadBegin(caller, { name, mode: "write", size: content.length })
    let kept = 0
    let cuts = 0
    for (let steps = 60;; steps += 5) {
      machine.cutPowerAfter(steps)
      const exit = yield* Effect.exit(finish(life, caller, upload_id, content))
      if (!machine.isOff) {
        yield* exit
        break
      }
      yield* life.end
      machine.restorePower(random)
      life = yield* machine.start()
      const { received } = yield* life.files.uploadStatus(caller, upload_id)
      if (received.length > 0) kept++
      cuts++
    }
    assert.isAtLeast(kept, 2, `parts that were noted before one of ${cuts} cuts`)
    const { content: stored, head } = yield* life.files.read(caller, { name })
    assert.strictEqual(head.version, 1)
    assert.isTrue(content.equals(yield* Effect.promise(() => Storage.drain(stored))))
    yield* life.end
  }).pipe(Effect.scoped, quietly))

it.live(
  `keeps what was acknowledged, whole, when the power goes at ${POINTS} points`,
  () =>
    Effect.gen(function*() {
      const engine = yield* TestDatabase.engine
      const done = { acknowledged: 0, resumed: 0, compacted: 0, removed: 0 }
      for (let number = 0; number < POINTS / POINTS_PER_HISTORY; number++) {
        const seed = SEED + number
        const counts = yield* Effect.onError(
          history(engine, seed),
          () => Effect.sync(() => console.error(`again: FIP_TEST_SEED=${seed} FIP_TEST_POINTS=${POINTS_PER_HISTORY}`))
        )
        done.acknowledged += counts.acknowledged
        done.resumed += counts.resumed
        done.compacted += counts.compacted
        done.removed += counts.removed
      }
      if (POINTS > 100) console.log(done)
      assert.isAbove(done.acknowledged, POINTS)
      assert.isAbove(done.resumed, POINTS / 20)
      assert.isAbove(done.compacted, 0)
      assert.isAbove(done.removed, 0)
    }).pipe(Effect.scoped, quietly),
  30_000 + POINTS * 500
)
