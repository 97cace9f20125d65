/** Commits whose answer does not come, on a real PostgreSQL. */
import { assert, it } from "@effect/vitest"
import { Context, Effect, Layer, Result } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { join } from "node:path"
import { Database } from "../../../src/server/Database.ts"
import { FileStore } from "../../../src/server/FileStore.ts"
import * as CutLine from "../../support/CutLine.ts"
import * as TestPostgres from "../../support/TestPostgres.ts"
import * as Storage from "./Storage.ts"

class Subject extends Context.Service<Subject, {
  readonly postgres: TestPostgres.Server
  readonly line: CutLine.CutLine
}>()("test/Subject") {}

/** A store that reaches its PostgreSQL over a line that can be cut. */
const layer = Layer.unwrap(Effect.gen(function*() {
  const postgres = yield* TestPostgres.restartable
  const url = new URL(postgres.url)
  const { line, port } = yield* CutLine.make(join(url.searchParams.get("host") ?? "", ".s.PGSQL.5432"))
  const databaseUrl = `postgres://${url.username}:${url.password}@127.0.0.1:${port}/postgres`
  const dataDir = yield* Storage.folder
  return Storage.layerIn(dataDir, { databaseUrl }).pipe(
    Layer.provideMerge(Database.layer),
    Layer.provide(Storage.config(dataDir, { databaseUrl })),
    Layer.orDie,
    Layer.merge(Layer.succeed(Subject, { postgres, line }))
  )
}))

const name = Storage.name("log")

/** Cuts the line at the next commit; gives how often that was. */
const cutCommit = (line: CutLine.CutLine, cut: CutLine.Cut, onCut = () => {}): () => number => {
  let met = 0
  line.choose = (statements) => {
    if (met > 0 || !statements.includes("COMMIT")) return undefined
    met++
    onCut()
    return cut
  }
  return () => met
}

const contentOf = Effect.fnUntraced(function*(caller: Parameters<typeof Storage.usage>[0]) {
  const files = yield* FileStore
  const { content, head } = yield* files.read(caller, { name })
  return { text: (yield* Effect.promise(() => Storage.drain(content))).toString(), version: head.version }
})

it.layer(layer, { timeout: 60_000, excludeTestServices: true })("a change whose commit is cut off", (it) => {
  for (const cut of ["before", "after", "late"] as const) {
    it.effect(`is made once, and acknowledged: ${cut}`, () =>
      Effect.gen(function*() {
        const { line } = yield* Subject
        const files = yield* FileStore
        const caller = yield* Storage.newUser()
        yield* files.create(caller, { name }, [Buffer.from("begin")])
        const met = cutCommit(line, cut)
        const written = yield* files.append(caller, { name }, [Buffer.from(", more")])
        assert.strictEqual(met(), 1)
        assert.include(written, { size: 11, version: 2 })
        assert.deepStrictEqual(yield* contentOf(caller), { text: "begin, more", version: 2 })
        assert.deepStrictEqual(yield* Storage.usage(caller), { bytes: 11, files: 1 })
        // And the next one is another one.
        yield* files.append(caller, { name }, [Buffer.from("!")])
        assert.deepStrictEqual(yield* contentOf(caller), { text: "begin, more!", version: 3 })
      }))
  }

  it.effect("is refused as it was decided, when the answer was a refusal", () =>
    Effect.gen(function*() {
      const { line } = yield* Subject
      const files = yield* FileStore
      const caller = yield* Storage.newUser({ bytesLimit: 8 })
      yield* files.create(caller, { name }, [Buffer.from("begin")])
      const other = yield* Storage.newUser()
      cutCommit(line, "after")
      const results = yield* Effect.all([
        Effect.result(files.append(caller, { name }, [Buffer.from("abc")])),
        Effect.result(files.append(caller, { name }, [Buffer.from("def")])),
        Effect.result(files.create(other, { name }, [Buffer.from("begin")]))
      ], { concurrency: "unbounded" })
      assert.strictEqual(results.filter(Result.isSuccess).length, 2)
      assert.deepStrictEqual(
        results.filter(Result.isFailure).map((result) => result.failure.code),
        ["2:quota"]
      )
      assert.deepStrictEqual(yield* Storage.usage(caller), { bytes: 8, files: 1 })
    }))

  it.effect("is made once or refused with 3:db, when PostgreSQL is killed in the middle of it", () =>
    Effect.gen(function*() {
      const { postgres, line } = yield* Subject
      const files = yield* FileStore
      const caller = yield* Storage.newUser()
      yield* files.create(caller, { name }, [Buffer.from("begin")])
      let restarted: Promise<void> | undefined
      cutCommit(line, "after", () => {
        restarted = postgres.kill().then(() => postgres.start())
      })
      const result = yield* Effect.result(files.append(caller, { name }, [Buffer.from(", more")]))
      yield* Effect.promise(() => restarted ?? Promise.reject(new Error("nothing was killed")))
      if (Result.isFailure(result)) assert.strictEqual(result.failure.code, "3:db")
      const { text, version } = yield* contentOf(caller)
      if (Result.isSuccess(result)) assert.strictEqual(version, 2)
      assert.strictEqual(text, version === 1 ? "begin" : "begin, more")
      assert.deepStrictEqual(yield* Storage.usage(caller), { bytes: text.length, files: 1 })
    }))

  it.effect("leaves one row, whatever is committed", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient
      assert.lengthOf(yield* sql`select server_id from commits`, 1)
    }))
})
