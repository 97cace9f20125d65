/** Connections to a real PostgreSQL that break at any statement, while several users write. */
import { assert, it } from "@effect/vitest"
import { Context, Effect, Layer, Result } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { join } from "node:path"
import { Database } from "../../../src/server/Database.ts"
import { Reclaimer } from "../../../src/server/files/Reclaimer.ts"
import { SegmentStore } from "../../../src/server/files/SegmentStore.ts"
import { FileStore } from "../../../src/server/FileStore.ts"
import * as CutLine from "../../support/CutLine.ts"
import { Random } from "../../support/Random.ts"
import { complaints } from "../../support/tableInvariants.ts"
import * as TestPostgres from "../../support/TestPostgres.ts"
import type { Life } from "./Machine.ts"
import * as Storage from "./Storage.ts"
import { Writer } from "./Writer.ts"

const SEED = Number(process.env["FIP_TEST_SEED"] ?? 1)
const ROUNDS = Math.ceil(Number(process.env["FIP_TEST_POINTS"] ?? 60) / 4)

const WRITERS = 4
const CHANGES = 6

/** Of a line whose next message is a commit, and any other one. */
const CUT_COMMIT = 0.1
const CUT_OTHER = 0.01

it.live(
  `loses, doubles and tears nothing when connections to PostgreSQL break (seed ${SEED})`,
  () =>
    Effect.gen(function*() {
      const random = new Random(SEED)
      const postgres = yield* TestPostgres.restartable
      const url = new URL(postgres.url)
      const { line, port } = yield* CutLine.make(join(url.searchParams.get("host") ?? "", ".s.PGSQL.5432"))
      const databaseUrl = `postgres://${url.username}:${url.password}@127.0.0.1:${port}/postgres`
      const dataDir = yield* Storage.folder
      const services = yield* Layer.build(
        Reclaimer.layer.pipe(
          Layer.provideMerge(Storage.layerIn(dataDir, { databaseUrl, keepVersions: 2 })),
          Layer.provideMerge(Database.layer),
          Layer.provide(Storage.config(dataDir, { databaseUrl }))
        )
      )
      const life: Life = {
        files: Context.get(services, FileStore),
        segments: Context.get(services, SegmentStore),
        reclaimer: Context.get(services, Reclaimer),
        sql: Context.get(services, SqlClient),
        end: Effect.void
      }
      const writers = yield* Effect.forEach(
        Array.from({ length: WRITERS }),
        () => Effect.map(Storage.newUser(), (caller) => new Writer(caller, random.split()))
      ).pipe(Effect.provide(services))

      let cuts = 0
      const choose = (statements: ReadonlyArray<string>): CutLine.Cut | undefined => {
        const isCommit = statements.includes("COMMIT")
        if (statements.length === 0 || !random.chance(isCommit ? CUT_COMMIT : CUT_OTHER)) return undefined
        cuts++
        return random.pick(["before", "after"])
      }

      let refused = 0
      const work = Effect.fnUntraced(function*(writer: Writer) {
        for (let n = 0; n < CHANGES; n++) {
          const result = yield* Effect.result(writer.act(life))
          if (Result.isSuccess(result)) continue
          refused++
          assert.strictEqual(result.failure.code, "3:db", result.failure.message)
          // Like a client that gives up, some of the time.
          if (random.chance(0.5)) yield* writer.abort(life)
          return
        }
      })
      for (let round = 0; round < ROUNDS; round++) {
        line.choose = choose
        yield* Effect.forEach(writers, work, { concurrency: "unbounded", discard: true })
        yield* Effect.ignore(life.reclaimer.sweepVersions)
        yield* Effect.ignore(life.reclaimer.sweepSegments)
        line.choose = () => undefined
        for (const writer of writers) yield* writer.verify(life)
      }
      const segments = new Map((yield* life.segments.list).map(({ bytes, segment }) => [String(segment), bytes]))
      assert.deepStrictEqual(yield* complaints(segments).pipe(Effect.provide(services)), [])
      const acknowledged = writers.reduce((sum, writer) => sum + writer.acknowledged, 0)
      assert.isAtLeast(acknowledged, ROUNDS * WRITERS)
      assert.isAtLeast(cuts, ROUNDS)
      assert.isBelow(refused, cuts)
      if (process.env["FIP_TEST_POINTS"] !== undefined) {
        yield* Effect.logInfo({ rounds: ROUNDS, acknowledged, cuts, refused })
      }
    }).pipe(Effect.scoped),
  300_000
)
