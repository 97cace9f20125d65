/** Servers that share a PostgreSQL and a folder of segments: none touches what another one needs. */
import { assert, it } from "@effect/vitest"
import { Context, Duration, Effect, Exit, Layer, References, Scope } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { randomBytes, randomUUID } from "node:crypto"
import { existsSync } from "node:fs"
import { readdir } from "node:fs/promises"
import { join } from "node:path"
import type { Caller } from "../../src/server/Caller.ts"
import { Cluster } from "../../src/server/Cluster.ts"
import { Siblings } from "../../src/server/cluster/Siblings.ts"
import { Database } from "../../src/server/Database.ts"
import { SegmentId } from "../../src/server/files/Extent.ts"
import { Reclaimer } from "../../src/server/files/Reclaimer.ts"
import { SegmentStore } from "../../src/server/files/SegmentStore.ts"
import { FileStore } from "../../src/server/FileStore.ts"
import { ShutdownCoordinator } from "../../src/server/ShutdownCoordinator.ts"
import { TestDatabase } from "../support/TestDatabase.ts"
import * as Storage from "./files/Storage.ts"

class Shared extends Context.Service<Shared, { readonly databaseUrl: string; readonly segmentsDir: string }>()(
  "test/Shared"
) {
  static readonly layer = Layer.effect(
    Shared,
    Effect.gen(function*() {
      return { databaseUrl: yield* TestDatabase.postgresUrl, segmentsDir: join(yield* Storage.folder, "segments") }
    })
  )
}

const layerOf = (settings: Partial<Parameters<typeof Storage.config>[1]>, dataDir: string) =>
  Reclaimer.layer.pipe(
    Layer.provideMerge(Storage.layerIn(dataDir, settings)),
    Layer.provideMerge(Cluster.layer),
    Layer.provideMerge(Database.layer),
    Layer.provideMerge(ShutdownCoordinator.layer),
    Layer.provideMerge(Storage.config(dataDir, settings)),
    Layer.provideMerge(Layer.succeed(References.MinimumLogLevel, "Error"))
  )

/** A server below its connections, with a data folder of its own. Nothing is kept that can be given up. */
const start = Effect.gen(function*() {
  const { databaseUrl, segmentsDir } = yield* Shared
  const settings = { databaseUrl, segmentsDir, keepVersions: 0, keepDeletedFor: Duration.zero }
  const context = yield* Layer.build(Layer.fresh(layerOf(settings, yield* Storage.folder)))
  const reclaimer = Context.get(context, Reclaimer)
  return {
    files: Context.get(context, FileStore),
    segments: Context.get(context, SegmentStore),
    siblings: Context.get(context, Siblings),
    sql: Context.get(context, SqlClient),
    person: Effect.provideContext(Storage.newUser(), context),
    sweep: Effect.andThen(reclaimer.sweepVersions, reclaimer.sweepSegments)
  }
})
type Server = Effect.Success<typeof start>

const name = Storage.name("file")

const read = Effect.fnUntraced(function*({ files }: Server, caller: Caller) {
  const { content } = yield* files.read(caller, { name })
  return yield* Effect.promise(() => Storage.drain(content))
})

/** Writes a file by a server that ends. */
const writtenBefore = Effect.fnUntraced(function*(caller: Caller, content: Uint8Array) {
  const scope = yield* Scope.make()
  const server = yield* Scope.provide(start, scope)
  yield* server.files.write(caller, { name }, [content])
  yield* Scope.close(scope, Exit.void)
})

const segmentsIn = (folder: string) =>
  Effect.promise(async () =>
    (await readdir(folder, { recursive: true })).filter((path) => /^[0-9a-f]{2}\/[0-9a-f-]{36}$/.test(path))
  )

/** Sweeps until the folder is as wanted; every server says every two seconds what it has finished. */
const sweepUntil = (server: Server, folder: string, wanted: (segments: ReadonlyArray<string>) => boolean) =>
  Effect.gen(function*() {
    yield* server.sweep
    yield* Effect.sleep("100 millis")
    return yield* segmentsIn(folder)
  }).pipe(Effect.repeat({ until: wanted }), Effect.timeout("20 seconds"))

const refusal = (dataDir: string, segmentsDir: string, databaseUrl: string | undefined) =>
  Layer.build(Layer.fresh(layerOf({ databaseUrl, segmentsDir }, dataDir))).pipe(
    Effect.scoped,
    Effect.flip,
    Effect.map(({ message }) => message)
  )

const inFolder = { excludeTestServices: true, timeout: "60 seconds" } as const

it.layer(Shared.layer, inFolder)("servers that share their segments", (it) => {
  it.effect("read what the others write, and leave alone what they are writing to", () =>
    Effect.gen(function*() {
      const { segmentsDir } = yield* Shared
      const [here, there] = [yield* start, yield* start]
      const owner = yield* here.person
      yield* here.sweep
      yield* there.files.write(owner, { name }, [Buffer.from("one")])
      const [segment = ""] = yield* segmentsIn(segmentsDir)
      assert.strictEqual((yield* read(here, owner)).toString(), "one")
      // Nothing refers to the segment any more, but more may come.
      yield* here.files.delete(owner, { name })
      for (let round = 0; round < 6; round++) {
        yield* Effect.sleep("500 millis")
        yield* here.sweep
      }
      assert.isTrue(existsSync(join(segmentsDir, segment)))
      yield* there.files.write(owner, { name }, [Buffer.from("two")])
      assert.strictEqual((yield* read(here, owner)).toString(), "two")
      assert.include([...yield* here.siblings.openSegments], segment.slice(3))
    }), 30_000)

  it.effect("remove nothing that a read on another one may need, and then they do", () =>
    Effect.gen(function*() {
      const { segmentsDir } = yield* Shared
      const [here, there] = [yield* start, yield* start]
      const owner = yield* here.person
      const content = randomBytes(3 * 1024 * 1024)
      const before = new Set(yield* segmentsIn(segmentsDir))
      yield* writtenBefore(owner, content)
      const segment = (yield* segmentsIn(segmentsDir)).find((one) => !before.has(one)) ?? ""
      const reading = yield* there.files.read(owner, { name })
      const first = yield* Effect.promise(() => Promise.resolve(reading.content.next()))
      yield* here.files.write(owner, { name }, [Buffer.from("new")])
      for (let round = 0; round < 8; round++) {
        yield* Effect.sleep("500 millis")
        yield* here.sweep
      }
      assert.isTrue(existsSync(join(segmentsDir, segment)))
      const rest = yield* Effect.promise(() => Storage.drain(reading.content))
      assert.isTrue(Buffer.concat([first ?? Buffer.alloc(0), rest]).equals(content))
      yield* sweepUntil(here, segmentsDir, (segments) => !segments.includes(segment))
    }), 60_000)

  it.effect("compact a segment while another one reads from it, from memory too", () =>
    Effect.gen(function*() {
      const { segmentsDir } = yield* Shared
      const [here, there] = [yield* start, yield* start]
      const owner = yield* here.person
      const before = new Set(yield* segmentsIn(segmentsDir))
      const scope = yield* Scope.make()
      const first = yield* Scope.provide(start, scope)
      const content = randomBytes(100_000)
      yield* first.files.write(owner, { name: Storage.name("large") }, [randomBytes(2 * 1024 * 1024)])
      yield* first.files.write(owner, { name }, [content])
      yield* Scope.close(scope, Exit.void)
      const segment = (yield* segmentsIn(segmentsDir)).find((one) => !before.has(one)) ?? ""
      assert.isTrue((yield* read(there, owner)).equals(content))
      yield* here.files.delete(owner, { name: Storage.name("large") })
      let reads = 0
      const reader = Effect.forever(Effect.gen(function*() {
        assert.isTrue((yield* read(there, owner)).equals(content))
        reads++
        yield* Effect.sleep("1 millis")
      }))
      yield* Effect.raceFirst(reader, sweepUntil(here, segmentsDir, (segments) => !segments.includes(segment)))
      assert.isTrue((yield* read(there, owner)).equals(content))
      assert.isAbove(reads, 10)
    }), 60_000)

  it.effect("give back space one at a time, and take up what one has left that is gone", () =>
    Effect.gen(function*() {
      const [here, there] = [yield* start, yield* start]
      assert.isTrue(yield* here.siblings.mayReclaim)
      assert.isFalse(yield* there.siblings.mayReclaim)
      const gone = randomUUID()
      const segment = SegmentId(randomUUID())
      yield* here.sql`
        insert into nodes (node_id, name, started_at, seen_at) values (${gone}::uuid, 'gone', now(), now())`
      yield* here.sql`insert into open_segments values (${segment}::uuid, ${gone}::uuid)`
      assert.strictEqual(yield* here.siblings.quiet, 0, "nothing is removed while it may be reading")
      yield* here.siblings.mayReclaim
      assert.isFalse((yield* here.siblings.openSegments).has(segment))
      const nodes = yield* here.sql`select node_id from nodes`
      assert.lengthOf(nodes, 2, "a server that lives is left alone, however long it has said nothing")
    }))
})

it.layer(Shared.layer, inFolder)("a server that is given another folder of segments", (it) => {
  it.effect("says so at its start, whether it is empty or another store's", () =>
    Effect.gen(function*() {
      const { databaseUrl, segmentsDir } = yield* Shared
      const other = yield* Storage.folder
      yield* Effect.scoped(Effect.gen(function*() {
        const server = yield* start
        yield* server.files.write(yield* server.person, { name }, [Buffer.from("content")])
      }))
      assert.include(
        yield* refusal(other, join(other, "elsewhere"), databaseUrl),
        "is not where the content of this database is"
      )
      const dataDir = yield* Storage.folder
      yield* Effect.promise(() => TestDatabase.seedDataDir(dataDir))
      assert.include(yield* refusal(dataDir, segmentsDir, undefined), "is not where the content of this database is")
      yield* Effect.scoped(start)
    }), 60_000)
})

it.effect("a server that is alone on the embedded database takes nothing for being written to by workers that are gone", () =>
  Effect.gen(function*() {
    const dataDir = yield* Storage.folder
    const context = yield* Layer.build(
      TestDatabase.pglite.pipe(Layer.provideMerge(Storage.config(dataDir, {})))
    )
    const sql = Context.get(context, SqlClient)
    const [worker, segment] = [randomUUID(), randomUUID()]
    yield* sql`
      insert into nodes (node_id, name, started_at, seen_at, quiet) values (${worker}::uuid, 'gone', now(), now(), 0)`
    yield* sql`insert into open_segments (segment_id, node_id) values (${segment}::uuid, ${worker}::uuid)`
    yield* Layer.build(
      Cluster.layer.pipe(Layer.provide(ShutdownCoordinator.layer), Layer.provide(Layer.succeedContext(context)))
    )
    assert.deepStrictEqual(yield* sql`select 1 from nodes union all select 1 from open_segments`, [])
  }))
