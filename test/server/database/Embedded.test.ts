import { assert, it } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Scope } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { fdatasyncSync, fsyncSync } from "node:fs"
import { chmod, mkdir, readdir, stat, truncate, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { Database, databaseRefusal } from "../../../src/server/Database.ts"
import { openEmbedded } from "../../../src/server/database/Embedded.ts"
import type { Sync } from "../../../src/server/database/EngineFiles.ts"
import { defaults, type Durability, ServerConfig } from "../../../src/server/ServerConfig.ts"
import { temporaryFolder } from "../../support/temporaryFolder.ts"
import { TestDatabase } from "../../support/TestDatabase.ts"

const POWER_LOSSES = Number(process.env["FIP_TEST_POINTS"] ?? 6)

/** The database of a data folder, as a server has it; open until the scope closes. */
const open = (dataDir: string) =>
  Layer.build(Database.layer).pipe(
    Effect.provideService(ServerConfig, { ...defaults, dataDir }),
    Effect.map((context) => Context.get(context, SqlClient))
  )

/** A data folder with an empty database. */
const seeded = Effect.tap(temporaryFolder, (dataDir) => Effect.promise(() => TestDatabase.seedDataDir(dataDir)))

/** The sentence that a data folder which cannot be used is reported with. */
const complaint = (dataDir: string) => Effect.map(Effect.flip(Effect.scoped(open(dataDir))), (error) => error.message)

const namesIn = (folder: string) => Effect.promise(() => readdir(folder))

it.live("is made at the first start, also after one that was cut off, and found again", () =>
  Effect.gen(function*() {
    const dataDir = join(yield* temporaryFolder, "not", "there")
    yield* Effect.promise(() => mkdir(join(dataDir, "database.new", "base"), { recursive: true }))
    yield* Effect.promise(() => writeFile(join(dataDir, "database.new", "PG_VERSION"), "18\n"))
    yield* Effect.scoped(Effect.gen(function*() {
      const sql = yield* open(dataDir)
      yield* sql`create table kept (n bigint)`
      yield* sql`insert into kept values (7)`
    }))
    assert.sameMembers(yield* namesIn(dataDir), ["database", "database.lock"])
    assert.strictEqual((yield* Effect.promise(() => stat(join(dataDir, "database.lock")))).mode & 0o777, 0o600)
    // Others may look into the data folder, and not into what holds password hashes.
    const database = join(dataDir, "database")
    assert.notStrictEqual((yield* Effect.promise(() => stat(dataDir))).mode & 0o055, 0)
    assert.strictEqual((yield* Effect.promise(() => stat(database))).mode & 0o777, 0o700)
    yield* Effect.promise(() => chmod(database, 0o755))

    const sql = yield* open(dataDir)
    assert.deepStrictEqual(yield* sql`select n from kept`, [{ n: 7 }])
    assert.strictEqual((yield* Effect.promise(() => stat(database))).mode & 0o777, 0o700)
  }).pipe(Effect.scoped))

it.live("has every row that was committed before kill -9", () =>
  Effect.gen(function*() {
    const dataDir = yield* seeded
    const child = spawn(process.execPath, [join(import.meta.dirname, "insertForever.ts"), dataDir], {
      stdio: ["ignore", "pipe", "inherit"]
    })
    const exit = once(child, "exit")
    let committed = 0
    yield* Effect.promise(async () => {
      for await (const line of createInterface(child.stdout)) {
        committed = Number(line)
        if (committed === 200) child.kill("SIGKILL")
      }
      await exit
    })
    assert.isAtLeast(committed, 200)

    const sql = yield* open(dataDir)
    const [found] = yield* sql<{ count: number; last: number }>`select count(*) as count, max(n) as last from rows`
    assert.isAtLeast(found?.count ?? 0, committed)
    assert.strictEqual(found?.count, found?.last)
  }).pipe(Effect.scoped))

/**
 * Lets a program commit rows until the power goes, and again. `check` gets what is there then, and what was committed
 * since it was asked before.
 */
const losePower = Effect.fnUntraced(function*(
  losses: number,
  durability: Durability,
  check: (last: number, committed: number, seed: number) => void
) {
  const dataDir = yield* seeded
  let committed = 0
  const found = (count: number, last: number, seed: number) => {
    assert.strictEqual(count, last, `rows without a gap, after the loss of power with seed ${seed}`)
    check(last, committed, seed)
    committed = last
  }
  for (let seed = 1; seed <= losses; seed++) {
    const child = spawn(
      process.execPath,
      [join(import.meta.dirname, "losePower.ts"), join(dataDir, "database"), String(seed), durability],
      { stdio: ["ignore", "pipe", "inherit"] }
    )
    const exit = once(child, "exit")
    yield* Effect.promise(async () => {
      for await (const line of createInterface(child.stdout)) {
        const [, count, last] = /^found (\d+) (\d+)$/.exec(line)?.map(Number) ?? []
        if (count !== undefined && last !== undefined) found(count, last, seed - 1)
        else committed = Number(line)
      }
      const [, signal] = await exit
      assert.strictEqual(signal, "SIGKILL")
    })
  }
  const sql = yield* open(dataDir)
  const [rows] = yield* sql<{ count: number; last: number }>`
    select count(*) as count, coalesce(max(n), 0) as last from rows`
  found(rows?.count ?? 0, rows?.last ?? 0, losses)
  return committed
})

it.live(
  "has every row that was committed before the power went, whatever of the rest has reached the disk",
  () =>
    Effect.gen(function*() {
      const committed = yield* losePower(POWER_LOSSES, "full", (last, committed, seed) =>
        // One more may have been on its way.
        assert.include([committed, committed + 1], last, `after the loss of power with seed ${seed}`))
      assert.isAtLeast(committed, POWER_LOSSES)
    }).pipe(Effect.scoped),
  30_000 + POWER_LOSSES * 10_000
)

it.live(
  "with durability os loses at most the latest commits when the power goes, and is whole all the same",
  () =>
    losePower(POWER_LOSSES / 2, "os", (last, committed) => assert.isAtMost(last, committed + 1)).pipe(Effect.scoped),
  30_000 + POWER_LOSSES * 10_000
)

it.live("with durability os has every row that was committed before kill -9, and commits without a sync", () =>
  Effect.gen(function*() {
    const dataDir = yield* seeded
    const child = spawn(process.execPath, [join(import.meta.dirname, "insertForever.ts"), dataDir, "os"], {
      stdio: ["ignore", "pipe", "inherit"]
    })
    const exit = once(child, "exit")
    let committed = 0
    yield* Effect.promise(async () => {
      for await (const line of createInterface(child.stdout)) {
        committed = Number(line)
        if (committed === 200) child.kill("SIGKILL")
      }
      await exit
    })
    let syncs = 0
    const engine = yield* Effect.acquireRelease(
      Effect.promise(() => openEmbedded(join(dataDir, "database"), "os", () => void syncs++)),
      (engine) => Effect.promise(() => engine.close())
    )
    const sql = Context.get(yield* Layer.build(Database.layerEngine(engine)), SqlClient)
    const [found] = yield* sql<{ count: number; last: number }>`select count(*) as count, max(n) as last from rows`
    assert.isAtLeast(found?.count ?? 0, committed)
    assert.strictEqual(found?.count, found?.last)
    yield* sql`create table written (n bigint)`
    yield* sql`insert into written values (0)`
    syncs = 0
    for (let n = 1; n <= 50; n++) yield* sql`insert into written values (${n})`
    assert.strictEqual(syncs, 0)
  }).pipe(Effect.scoped))

it.live("belongs to one server at a time", () =>
  Effect.gen(function*() {
    const dataDir = yield* seeded
    const first = yield* Scope.make()
    yield* Scope.provide(open(dataDir), first)
    const refused = yield* Effect.flip(Effect.scoped(open(dataDir)))
    assert.strictEqual(refused.message, `another FIP server is using the data folder ${dataDir}`)
    yield* Scope.close(first, Exit.void)
    yield* open(dataDir)
  }).pipe(Effect.scoped))

it.live("syncs its log at every commit, and for nothing that only reads", () =>
  Effect.gen(function*() {
    const dataDir = yield* seeded
    let syncs = 0
    const count: Sync = (descriptor, isFolder) => {
      syncs++
      if (isFolder) fsyncSync(descriptor)
      else fdatasyncSync(descriptor)
    }
    const engine = yield* Effect.acquireRelease(
      Effect.promise(() => openEmbedded(join(dataDir, "database"), "full", count)),
      (engine) => Effect.promise(() => engine.close())
    )
    const sql = Context.get(yield* Layer.build(Database.layerEngine(engine)), SqlClient)
    yield* sql`create table written (n bigint)`
    for (let n = 0; n < 10; n++) {
      const before = syncs
      yield* sql.withTransaction(
        Effect.andThen(sql`insert into written values (1)`, sql`insert into written values (2)`)
      )
      assert.strictEqual(syncs, before + 1)
      yield* sql`select n from written`
      assert.strictEqual(syncs, before + 1)
    }
  }).pipe(Effect.scoped))

it.live("reports a commit that could not be synced as failed, does nothing more, and recovers when it is opened again", () =>
  Effect.gen(function*() {
    const dataDir = yield* seeded
    const folder = join(dataDir, "database")
    let broken = false
    const sync: Sync = (descriptor) => {
      if (broken) throw new Error("EIO: i/o error, fdatasync")
      fsyncSync(descriptor)
    }
    yield* Effect.scoped(Effect.gen(function*() {
      const engine = yield* Effect.promise(() => openEmbedded(folder, "full", sync))
      const sql = Context.get(yield* Layer.build(Database.layerEngine(engine)), SqlClient)
      yield* sql`create table written (n bigint)`
      yield* sql`insert into written values (1)`
      broken = true
      const refusal = databaseRefusal(yield* Effect.flip(sql.withTransaction(sql`insert into written values (2)`)))
      assert.strictEqual(refusal.code, "3:db")
      broken = false
      assert.isTrue(Exit.isFailure(yield* Effect.exit(sql`select n from written`)))
      assert.isTrue(Exit.isFailure(yield* Effect.exit(sql`insert into written values (3)`)))
    }))
    const sql = yield* open(dataDir)
    const rows = yield* sql<{ n: number }>`select n from written order by n`
    assert.include([1, 2], rows.length)
    assert.strictEqual(rows[0]?.n, 1)
    yield* sql`insert into written values (4)`
  }).pipe(Effect.scoped))

it.live("says in one sentence why a data folder cannot be used", () =>
  Effect.gen(function*() {
    const folder = yield* temporaryFolder
    const file = join(folder, "file")
    yield* Effect.promise(() => writeFile(file, ""))
    assert.strictEqual(yield* complaint(file), `cannot use the data folder ${file}: file already exists`)
    assert.strictEqual(yield* complaint(join(file, "x")), `cannot use the data folder ${file}/x: not a directory`)

    const damaged = yield* seeded
    yield* Effect.promise(() => truncate(join(damaged, "database/global/pg_control"), 0))
    assert.strictEqual(
      yield* complaint(damaged),
      `cannot open the database in ${damaged}: could not read file "global/pg_control": read 0 of 296`
    )
  }).pipe(Effect.scoped))

it.live.skipIf(process.getuid?.() === 0)(
  "says so when the data folder may not be written to",
  () =>
    Effect.gen(function*() {
      const folder = yield* temporaryFolder
      yield* Effect.promise(() => chmod(folder, 0o500))
      assert.include(yield* complaint(folder), `cannot use the data folder ${folder}: `)
      assert.include(yield* complaint(folder), "permission denied")
    }).pipe(Effect.scoped)
)
