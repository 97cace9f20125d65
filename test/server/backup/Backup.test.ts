import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { randomBytes } from "node:crypto"
import { existsSync } from "node:fs"
import { mkdir, open, readdir, readFile, stat, truncate, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { migrations } from "../../../migrations/index.ts"
import { checksumsOf } from "../../../src/platform/Checksum.ts"
import { Backup } from "../../../src/server/backup/Backup.ts"
import { find, verify } from "../../../src/server/backup/Restore.ts"
import { Database } from "../../../src/server/Database.ts"
import { Fsck } from "../../../src/server/files/Fsck.ts"
import { SegmentStore } from "../../../src/server/files/SegmentStore.ts"
import { FileStore } from "../../../src/server/FileStore.ts"
import { TestDatabase } from "../../support/TestDatabase.ts"
import * as Storage from "../files/Storage.ts"
import { allOf, backUp, contentOf, restoreInto, serverIn, storeIn } from "./Source.ts"

const MiB = 1024 * 1024
const name = Storage.name

/** Changes a byte of a file. */
const damage = (path: string, position: number) =>
  Effect.promise(async () => {
    const file = await open(path, "r+")
    const { buffer } = await file.read(Buffer.alloc(1), 0, 1, position)
    await file.write(Buffer.from([(buffer[0] ?? 0) ^ 0x40]), 0, 1, position)
    await file.close()
  })

const filesBelow = (folder: string) =>
  Effect.promise(async () =>
    (await readdir(folder, { recursive: true, withFileTypes: true }))
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
  )

const segmentsOf = (folder: string) => filesBelow(join(folder, "segments"))

/** Makes a file as a version of fip did whose tables had fewer columns: today's store does not work on those. */
const writeOlder = Effect.fnUntraced(function*(userId: number, name: string, content: Buffer) {
  const sql = yield* SqlClient
  const segments = yield* SegmentStore
  const { offset, segment } = yield* segments.append([content], content.length)
  yield* segments.sync(segment)
  yield* sql`
    with file as (
      insert into files (owner_id, name, size, version, created_at, modified_at)
      values (${userId}::bigint, ${name}, ${content.length}::bigint, 1, now(), now())
      returning file_id, size
    ), version as (
      insert into versions (file_id, version, size, author, created_at)
      select file_id, 1, size, 'someone', now() from file
    )
    insert into extents (
      file_id, position, length, segment_id, segment_offset, checked_from, checked_to, checksums, from_version
    )
    select
      file_id, 0, size, ${segment}::uuid, ${offset}::bigint, ${offset}::bigint, ${offset}::bigint + size,
      ${checksumsOf([content], content.length)}::bytea, 1
    from file`
})

/** A store on a database in memory, with a user who has two files, in a folder of its own with a folder for backups. */
const withStore = <A, E>(
  test: (
    files: FileStore["Service"],
    caller: Effect.Success<ReturnType<typeof Storage.newUser>>,
    folder: string
  ) => Effect.Effect<A, E, FileStore | Backup | SqlClient>
) =>
  Effect.gen(function*() {
    const folder = yield* Storage.folder
    yield* Effect.gen(function*() {
      const files = yield* FileStore
      const caller = yield* Storage.newUser()
      yield* files.create(caller, { name: name("large") }, [randomBytes(5 * MiB)])
      yield* files.create(caller, { name: name("small") }, [randomBytes(100)])
      yield* test(files, caller, folder)
    }).pipe(Effect.provide(storeIn(join(folder, "data"))))
  }).pipe(Effect.scoped, Effect.provide(TestDatabase.pglite))

const whole = (root: string) => Effect.flatMap(find(root, undefined), (backup) => verify(root, backup, () => {}))

describe("a backup", () => {
  it.live(
    "has every file as it was at its instant, although there are writers, in either database",
    () =>
      Effect.gen(function*() {
        const folder = yield* Storage.folder
        const dataDir = join(folder, "data")
        const root = join(folder, "backup")
        yield* Effect.promise(async () => {
          await mkdir(dataDir)
          await TestDatabase.seedDataDir(dataDir)
        })
        const attributes = { modified_ms: 1_795_334_100_123, executable: true }
        const made = yield* Effect.gen(function*() {
          const files = yield* FileStore
          const caller = yield* Storage.newUser()
          yield* files.create(caller, { name: name("still") }, [randomBytes(3 * MiB)])
          yield* files.patch(caller, { name: name("still"), position: 70_000 }, [randomBytes(10)])
          yield* files.create(caller, { name: name("gone") }, [Buffer.from("deleted")])
          yield* files.delete(caller, { name: name("gone") })
          yield* files.create(caller, { name: name("counted") }, [])
          let count = 0
          const writer = yield* Effect.forkChild(Effect.forever(Effect.suspend(() =>
            Effect.tap(files.append(caller, { name: name("counted") }, [Buffer.from(`${count + 1}\n`)]), () =>
              Effect.sync(() =>
                count++
              ))
          )))
          const before = count
          const first = yield* backUp(root)
          const after = count
          yield* Fiber.interrupt(writer)
          assert.isAbove(after, before, "the writer went on")

          yield* backUp(root)
          yield* files.create(caller, { name: name("later"), attributes }, [randomBytes(1000)])
          const third = yield* backUp(root)
          assert.strictEqual(third.bytes_copied, 1000)
          assert.strictEqual((yield* backUp(root)).bytes_copied, 0)
          return {
            caller,
            first,
            before,
            after,
            third: third.backup,
            still: yield* contentOf(caller, "still"),
            all: yield* allOf(caller),
            usage: yield* Storage.usage(caller),
            fingerprint: yield* Effect.promise(() =>
              readFile(join(dataDir, "identity/current.pem"), "utf8")
            )
          }
        }).pipe(Effect.provide(serverIn(dataDir)), Effect.scoped)
        const { caller } = made

        // The latest, into PostgreSQL.
        const databaseUrl = yield* TestDatabase.postgresUrl
        const inPostgres = join(folder, "postgres")
        yield* restoreInto(root, inPostgres, { databaseUrl })
        yield* Effect.gen(function*() {
          assert.deepStrictEqual(yield* allOf(caller), made.all)
          assert.deepStrictEqual(yield* Storage.usage(caller), made.usage)
          const fsck = yield* Fsck
          assert.deepInclude(yield* fsck.check({ repair: false }), { problems: 0, files: 4 })
          const files = yield* FileStore
          assert.deepStrictEqual((yield* files.queryFile(caller, { name: name("later") })).attributes, attributes)
          yield* files.restore(caller, { name: name("gone") })
          assert.strictEqual((yield* contentOf(caller, "gone")).toString(), "deleted")
          yield* files.create(caller, { name: name("new") }, [Buffer.from("new")])
          yield* backUp(join(folder, "second"))
        }).pipe(Effect.provide(serverIn(inPostgres, databaseUrl)), Effect.scoped)
        const refused = yield* Effect.flip(restoreInto(root, join(folder, "again"), { databaseUrl }))
        assert.include(refused.message, "the database is not empty")
        assert.isFalse(existsSync(join(folder, "again")))

        // The first one.
        const earlier = join(folder, "earlier")
        const anotherUrl = yield* TestDatabase.postgresUrl
        yield* restoreInto(root, earlier, { name: made.first.backup, databaseUrl: anotherUrl })
        const key = join(earlier, "identity/current.pem")
        assert.strictEqual(
          yield* Effect.promise(() => readFile(key, "utf8")),
          made.fingerprint
        )
        assert.strictEqual((yield* Effect.promise(() => stat(key))).mode & 0o777, 0o600)
        yield* Effect.gen(function*() {
          const all = yield* allOf(caller)
          assert.sameMembers([...all.keys()], ["counted", "still"])
          assert.isTrue((yield* contentOf(caller, "still")).equals(made.still))
          const lines = (all.get("counted") ?? "").split("\n").slice(0, -1)
          assert.deepStrictEqual(lines, lines.map((_, index) => String(index + 1)))
          assert.isAtLeast(lines.length, made.before)
          assert.isAtMost(lines.length, made.after + 1)
          const fsck = yield* Fsck
          assert.deepInclude(yield* fsck.check({ repair: false }), { problems: 0 })
        }).pipe(Effect.provide(serverIn(earlier, anotherUrl)), Effect.scoped)
        assert.include((yield* Effect.flip(restoreInto(root, earlier))).message, "is not empty")

        // And what was in PostgreSQL, into an embedded database.
        const back = join(folder, "back")
        yield* restoreInto(join(folder, "second"), back)
        yield* Effect.gen(function*() {
          const expected = new Map(made.all).set("gone", "deleted").set("new", "new")
          assert.deepStrictEqual(new Map([...yield* allOf(caller)].toSorted()), new Map([...expected].toSorted()))
          const fsck = yield* Fsck
          assert.deepInclude(yield* fsck.check({ repair: false }), { problems: 0 })
        }).pipe(Effect.provide(serverIn(back)), Effect.scoped)
      }).pipe(Effect.scoped),
    180_000
  )

  it.live(
    "of an older version is restored as it was, and brought up to date by the next start",
    () =>
      Effect.gen(function*() {
        const folder = yield* Storage.folder
        const root = join(folder, "backup")
        const older = Object.fromEntries(Object.entries(migrations).filter(([one]) => one < "0014"))
        const caller = yield* Effect.gen(function*() {
          const caller = yield* Storage.newUser()
          yield* writeOlder(caller.userId, "small", Buffer.from("older"))
          yield* backUp(root)
          return caller
        }).pipe(
          Effect.provide(
            storeIn(join(folder, "data")).pipe(
              Layer.provideMerge(Layer.unwrap(Effect.map(TestDatabase.engine, Database.layerEngine))),
              Layer.provide(Layer.succeed(Database.Migrations, older))
            )
          )
        )
        assert.strictEqual((yield* find(root, undefined)).manifest.migration, 13)

        const databaseUrl = yield* TestDatabase.postgresUrl
        const restored = join(folder, "restored")
        yield* restoreInto(root, restored, { databaseUrl })
        yield* Effect.gen(function*() {
          const sql = yield* SqlClient
          const [row] = yield* sql<{ readonly last: number }>`select max(migration_id)::bigint as last from migrations`
          assert.strictEqual(row?.last, Database.version)
          assert.strictEqual((yield* contentOf(caller, "small")).toString(), "older")
        }).pipe(Effect.provide(serverIn(restored, databaseUrl)))
      }).pipe(Effect.scoped),
    120_000
  )

  it.live(
    "that is damaged is refused by name, and nothing is put in place",
    () =>
      withStore((_files, _caller, folder) =>
        Effect.gen(function*() {
          const root = join(folder, "backup")
          const { backup } = yield* backUp(root)
          const target = join(folder, "restored")
          const [segment = ""] = yield* segmentsOf(root)
          const parts = join(root, "backups", backup)
          for (const path of [segment, join(parts, "tables.jsonl.gz"), join(parts, "identity.pem")]) {
            yield* damage(path, 20)
            for (const attempt of [whole(root), restoreInto(root, target)]) {
              const refused = yield* Effect.flip(attempt)
              assert.strictEqual(refused.code, "3:bad")
              assert.include(refused.message, path.replace(target, root))
            }
            yield* damage(path, 20)
            yield* whole(root)
          }
          yield* damage(join(parts, "manifest.json"), 30)
          assert.include((yield* Effect.flip(restoreInto(root, target))).message, `the backup ${parts} is damaged`)
          assert.isFalse(existsSync(target))
        })
      ),
    60_000
  )

  it.live(
    "that was cut off is none, and the next one goes on from what of it is good",
    () =>
      withStore((_files, _caller, folder) =>
        Effect.gen(function*() {
          const root = join(folder, "backup")
          const service = yield* Backup
          const running = yield* Effect.forkChild(service.run({ folder: root, keep: null }))
          while (!existsSync(join(root, "segments"))) yield* Effect.yieldNow
          yield* Fiber.interrupt(running)
          assert.strictEqual((yield* Effect.flip(find(root, undefined))).code, "2:nf")

          // As a loss of power may leave it: longer than what has reached the disk.
          yield* backUp(join(folder, "other"))
          const [source = ""] = yield* segmentsOf(join(folder, "other"))
          const left = join(root, source.slice(join(folder, "other").length))
          yield* Effect.promise(async () => {
            await mkdir(join(left, ".."), { recursive: true })
            await writeFile(left, await readFile(source))
            await truncate(left, 3 * MiB)
          })
          yield* damage(left, 2 * MiB + 17)
          const next = yield* backUp(root)
          assert.strictEqual(next.bytes_copied, 3 * MiB + 100)
          yield* whole(root)
          assert.deepStrictEqual(yield* Effect.promise(() => readdir(join(root, "backups"))), [next.backup])
        })
      ),
    60_000
  )

  it.live(
    "tells what is damaged on the server, and is whole apart from that",
    () =>
      withStore((files, caller, folder) =>
        Effect.gen(function*() {
          const root = join(folder, "backup")
          const [segment = ""] = yield* segmentsOf(join(folder, "data"))
          yield* damage(segment, MiB)
          assert.strictEqual((yield* backUp(root)).damaged_blocks, 1)
          yield* whole(root)
          yield* files.append(caller, { name: name("small") }, [Buffer.from("more")])
          assert.deepInclude(yield* backUp(root), { damaged_blocks: 1, bytes_copied: 4 })
          yield* whole(root)
        })
      ),
    60_000
  )

  it.live(
    "makes room for the next, and is kept apart from those of other servers and from everything else",
    () =>
      withStore((files, caller, folder) =>
        Effect.gen(function*() {
          const root = join(folder, "backup")
          yield* backUp(root)
          for (let round = 0; round < 3; round++) {
            yield* files.write(caller, { name: name("large") }, [randomBytes(100)])
            yield* backUp(root, 2)
          }
          assert.lengthOf(yield* Effect.promise(() => readdir(join(root, "backups"))), 2)
          yield* whole(root)

          const inside = yield* Effect.flip(backUp(join(folder, "data", "backup")))
          assert.include(inside.message, "outside of the data folder")
          const full = join(folder, "full")
          yield* Effect.promise(async () => {
            await mkdir(full)
            await writeFile(join(full, "note.txt"), "mine")
          })
          assert.include((yield* Effect.flip(backUp(full))).message, "is not empty")
          const other = yield* Effect.flip(
            Effect.provide(backUp(root), storeIn(join(folder, "another server")))
          )
          assert.include(other.message, "of another server")
        })
      ),
    60_000
  )
})
