/**
 * Data of earlier versions: what their servers left (test/fixtures/upgrades) is brought up to date by today's server and
 * read, on both databases; tables that cannot be are refused with a sentence, and left as they are.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { PGlite } from "@electric-sql/pglite"
import { Duration, Effect, Layer, Redacted, References, Stream } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { createHash } from "node:crypto"
import { mkdir, readFile, writeFile } from "node:fs/promises"
import { dirname, join } from "node:path"
import { migrations } from "../migrations/index.ts"
import { FipClient } from "../src/client/FipClient.ts"
import { Database } from "../src/server/Database.ts"
import { Server } from "../src/server/Server.ts"
import { defaults, ServerConfig, type ServerSettings } from "../src/server/ServerConfig.ts"
import older0002 from "./fixtures/upgrades/0002_files.before.ts"
import { type Fixture, fixtures, HALF, HALF_SENT, PASSWORD } from "./fixtures/upgrades/Fixture.ts"
import { run } from "./support/Program.ts"
import { RawClient } from "./support/RawClient.ts"
import { TestDatabase } from "./support/TestDatabase.ts"
import { temporaryFolder } from "./support/TestServer.ts"

const kept = await fixtures()

/** Puts the rows of a fixture into the tables that its version had. */
const loadTables = Effect.fnUntraced(function*({ migrations, sequences, tables }: Fixture) {
  const sql = yield* SqlClient
  yield* Database.migrateTo(migrations.at(-1) ?? 0)
  yield* sql.withTransaction(Effect.gen(function*() {
    yield* sql`set local session_replication_role = replica`
    for (const [table, rows] of Object.entries(tables)) {
      const columns = yield* sql<{ readonly name: string }>`
        select attname::text as name from pg_attribute
        where attrelid = ${table}::regclass and attnum > 0 and not attisdropped and attgenerated = ''`
      const names = columns.map(({ name }) => `"${name}"`).join(", ")
      yield* sql.unsafe(`delete from "${table}"`)
      yield* sql.unsafe(
        `insert into "${table}" (${names}) overriding system value
         select ${names} from json_populate_recordset(null::"${table}", $1::json)`,
        [rows]
      )
    }
    // It has not expired, as if the server had ended a moment ago.
    yield* sql`update uploads set expires_at = now() + interval '1 day'`
    for (const [sequence, value] of Object.entries(sequences)) {
      yield* sql`select setval(${sequence}::regclass, ${value}::bigint)`
    }
  }))
})

const writeFiles = async (dataDir: string, files: Fixture["files"]): Promise<void> => {
  for (const [name, content] of Object.entries(files)) {
    const path = join(dataDir, name)
    await mkdir(dirname(path), { recursive: true, mode: 0o700 })
    await writeFile(path, Buffer.from(content, "base64"), { mode: 0o600 })
  }
}

/** Makes the data folder that a fixture was, on the embedded database or on PostgreSQL. */
const revive = Effect.fnUntraced(function*(fixture: Fixture, databaseUrl: string | undefined) {
  const dataDir = yield* temporaryFolder
  yield* Effect.promise(() => writeFiles(dataDir, fixture.files))
  if (databaseUrl === undefined) {
    yield* Effect.promise(() => TestDatabase.seedEmpty(dataDir))
    const engine = yield* Effect.promise(() => PGlite.create(join(dataDir, "database")))
    yield* Effect.scoped(Effect.gen(function*() {
      yield* Effect.provide(loadTables(fixture), yield* Layer.build(Database.layerEngine(engine)))
    })).pipe(Effect.provideService(Database.Migrations, {}))
    yield* Effect.promise(() => engine.close())
  } else {
    yield* Effect.scoped(Effect.gen(function*() {
      yield* Effect.provide(
        loadTables(fixture),
        yield* Layer.build(PgClient.layer({ url: Redacted.make(databaseUrl) }))
      )
    }))
  }
  return dataDir
})

/** Nothing is dropped because the fixture has become old. */
const LONG = Duration.days(36_500)

const settingsOf = (dataDir: string, databaseUrl: string | undefined): ServerSettings => ({
  ...defaults,
  port: 0,
  dataDir,
  databaseUrl,
  keepVersionsFor: LONG,
  keepDeletedFor: LONG
})

const useServer = <A, E>(settings: ServerSettings, use: (server: Server["Service"]) => Effect.Effect<A, E>) =>
  Effect.flatMap(Server, use).pipe(
    Effect.provide(
      Server.layer.pipe(
        Layer.provide(Layer.succeed(ServerConfig, settings)),
        Layer.provideMerge(Layer.succeed(References.MinimumLogLevel, "Warn"))
      )
    )
  )

/** The upload that was under way goes on where it was: what had arrived is there, and what is missing makes it whole. */
const finishHalf = async (port: number, { unfinished }: Fixture): Promise<void> => {
  const client = await RawClient.open(port)
  const auth = { token: await client.login("alice", PASSWORD) }
  const status = await client.ask("UploadStatus", { id: 1, auth, body: { upload_id: unfinished } })
  assert.deepStrictEqual(status.body["received"], HALF_SENT)
  const data = HALF.subarray(100_000, 200_000)
  const part = { id: 2, auth, body: { upload_id: unfinished, offset: 100_000 }, data }
  assert.strictEqual((await client.ask("UploadPart", part)).header.code, "1:upart")
  const sha256 = createHash("sha256").update(HALF).digest("hex")
  const done = await client.ask("UploadCommit", { id: 3, auth, body: { upload_id: unfinished, sha256 } })
  assert.deepStrictEqual([done.header.code, done.body["size"]], ["1:fnew", HALF.length], JSON.stringify(done.body))
  client.close()
}

/** What a user of today sees of it. */
const check = Effect.fnUntraced(function*(fixture: Fixture, dataDir: string, databaseUrl: string | undefined) {
  const did = (step: string): boolean => fixture.done.includes(step)
  yield* useServer(settingsOf(dataDir, databaseUrl), (server) =>
    Effect.gen(function*() {
      assert.strictEqual(server.fingerprint, fixture.fingerprint, "its clients know it")
      const clientLayer = FipClient.layer({
        host: "127.0.0.1",
        port: server.port,
        knownHosts: join(dataDir, "known_hosts")
      })
      yield* Effect.gen(function*() {
        const fip = yield* FipClient
        const contentOf = (name: string, version?: number) =>
          Stream.mkString(Stream.decodeText(fip.read(name, { version })))
        yield* fip.login("robert", Redacted.make(PASSWORD))
        assert.strictEqual(yield* contentOf("~alice/notes.txt"), fixture.content["~alice/notes.txt"], "by its grant")
        assert.strictEqual((yield* contentOf("~alice/docs/large.txt")).length, 180_000, "it is public")
        yield* fip.login("alice", Redacted.make(PASSWORD))
        for (const [name, content] of Object.entries(fixture.content)) {
          if (name.startsWith("~alice/")) assert.strictEqual(yield* contentOf(name), content, name)
        }
        assert.strictEqual(yield* contentOf("notes.txt", 1), "first")
        const { versions } = yield* fip.queryVersions("notes.txt")
        assert.deepStrictEqual(versions.map(({ version }) => version).toSorted(), [1, 2, 3])
        if (did("DELETE gone.txt") && fixture.migrations.includes(5)) {
          yield* fip.restore("gone.txt")
          assert.strictEqual(yield* contentOf("gone.txt"), "deleted")
        }
        assert.strictEqual((yield* fip.append("notes.txt", "!")).version, 4)
        assert.strictEqual(yield* contentOf("notes.txt"), "second, and more!")
        assert.deepStrictEqual((yield* fip.queryUploads).uploads.map(({ name }) => String(name)), ["half.txt"])
        yield* Effect.promise(() => finishHalf(server.port, fixture))
        assert.strictEqual(yield* contentOf("half.txt"), HALF.toString())
      }).pipe(Effect.provide(clientLayer))
      const fsck = yield* Effect.promise(() => run(["admin", "fsck", "--data-dir", dataDir]))
      assert.strictEqual(fsck.status, 0, fsck.stderr + fsck.stdout.toString())
    }))
})

describe("what an earlier server left", () => {
  for (const fixture of kept) {
    it.live(`on the embedded database is read by today's: ${fixture.commit}`, () =>
      Effect.gen(function*() {
        yield* check(fixture, yield* revive(fixture, undefined), undefined)
      }).pipe(Effect.scoped), 60_000)
  }

  it.live(
    "on PostgreSQL is read by today's",
    () =>
      Effect.forEach([...kept.slice(0, 1), ...kept.slice(-1)], (fixture) =>
        Effect.gen(function*() {
          const databaseUrl = yield* TestDatabase.postgresUrl
          yield* check(fixture, yield* revive(fixture, databaseUrl), databaseUrl)
        }).pipe(Effect.scoped), { discard: true }),
    120_000
  )
})

/** What today's server says of tables that these migrations have made; `undefined` when it takes them. */
const complaint = (record: typeof migrations) =>
  Effect.gen(function*() {
    const engine = yield* TestDatabase.engine
    const open = Effect.scoped(Layer.build(Database.layerEngine(engine)))
    yield* Effect.provideService(open, Database.Migrations, record)
    const message = yield* Effect.match(open, { onFailure: (error) => error.message, onSuccess: () => undefined })
    const applied = yield* Effect.promise(() => engine.query("select 1 from migrations"))
    if (message !== undefined) assert.lengthOf(applied.rows, Object.keys(record).length, "nothing was changed")
    return message
  }).pipe(Effect.scoped)

const only = (...ids: ReadonlyArray<number>) =>
  Object.fromEntries(Object.entries(migrations).filter(([name]) => ids.includes(Number.parseInt(name, 10))))

describe("migrations", () => {
  it("that made a fixture have not been edited since", async () => {
    const text = await readFile(new URL("fixtures/upgrades/migrations.json", import.meta.url), "utf8")
    const hashes: Readonly<Record<string, string>> = JSON.parse(text)
    assert.isAtLeast(Object.keys(hashes).length, 14)
    for (const [name, hash] of Object.entries(hashes)) {
      const source = await readFile(new URL(`../migrations/${name}`, import.meta.url))
      assert.strictEqual(createHash("sha256").update(source).digest("hex"), hash, name)
    }
  })

  it.live("of every commit are continued, or refused with what to do", () =>
    Effect.gen(function*() {
      for (const ids of [[1], [1, 2, 3]]) assert.isUndefined(yield* complaint(only(...ids)), ids.join())
      const between: ReadonlyArray<readonly [ids: ReadonlyArray<number>, missing: string]> = [
        [[1, 2, 3, 4, 5, 6, 8], "7"],
        [[1, 2, 3, 4, 5, 6, 8, 10], "7, 9"],
        [[1, 2, 3, 4, 5, 6, 7, 8, 10], "9"],
        [[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 13], "11"]
      ]
      for (const [ids, missing] of between) {
        assert.include(yield* complaint(only(...ids)), `lacks tables (${missing}): back it up with that version`)
      }
      const [users = "", , grants = ""] = Object.keys(migrations)
      const edited = { ...only(1), "0002_files": older0002, ...only(3) }
      assert.sameMembers(Object.keys(edited), [users, "0002_files", grants])
      assert.include(yield* complaint(edited), "has tables of files of the first day of fip")
    }), 60_000)
})
