/** The activity log and the counters of use, on both databases. */
import { assert, describe, layer as suite } from "@effect/vitest"
import { Context, Duration, Effect, Exit, Layer, Logger, References, Scope } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { TestClock } from "effect/testing"
import { AccessStatistics, NoteAccess } from "../../../src/server/AccessStatistics.ts"
import { type Activity, RecordActivity } from "../../../src/server/activity/Activity.ts"
import { ActivityRepo, type Recorded } from "../../../src/server/activity/ActivityRepo.ts"
import { StatisticsRepo } from "../../../src/server/activity/StatisticsRepo.ts"
import { ActivityLog } from "../../../src/server/ActivityLog.ts"
import type { Caller } from "../../../src/server/Caller.ts"
import { defaults, ServerConfig, type ServerSettings } from "../../../src/server/ServerConfig.ts"
import { ShutdownCoordinator } from "../../../src/server/ShutdownCoordinator.ts"
import { TestDatabase } from "../../support/TestDatabase.ts"
import { nameOf, newFile, newPerson } from "../permissions/world.ts"

const read: Activity = {
  action: "Read",
  code: "1:read",
  says: "file read",
  username: "somebody",
  address: "192.0.2.1",
  durationMillis: 3,
  suspicious: false,
  notable: false,
  detail: {}
}

/** A log of its own, as long as the test's scope; `close` ends it as a server does. */
const start = Effect.fnUntraced(function*(settings: Partial<ServerSettings> = {}) {
  const scope = yield* Scope.make()
  const context = yield* Layer.buildWithScope(
    Layer.fresh(Layer.mergeAll(ActivityLog.layer, AccessStatistics.layer)).pipe(
      Layer.provideMerge(ShutdownCoordinator.layer),
      Layer.provide(Layer.succeed(ServerConfig, { ...defaults, dataDir: "", ...settings }))
    ),
    scope
  )
  const close = Effect.andThen(
    Context.get(context, ShutdownCoordinator).begin,
    Scope.close(scope, Exit.void)
  )
  yield* Effect.addFinalizer(() => Scope.close(scope, Exit.void))
  return {
    log: Context.get(context, ActivityLog),
    record: Context.get(context, RecordActivity),
    note: Context.get(context, NoteAccess),
    close
  }
})

const everything = { suspicious: false, limit: 10_000 }
let people = 0
/** A name that no other record has. */
const somebody = () => `nobody_${people++}`

const both = [["the embedded database", TestDatabase.pglite], ["PostgreSQL", TestDatabase.postgres]] as const
for (const [where, database] of both) {
  suite(database, { timeout: Duration.seconds(60) })(`batched database logging: the activity log on ${where}`, (it) => {
    /** With a clock of its own, which begins at 0. */
    const test = <E>(name: string, body: () => Effect.Effect<void, E, SqlClient | Scope.Scope>) =>
      it.effect(name, () => Effect.provide(body(), TestClock.layer()))

    test("shows who did what to which file, from where, with what result and how long it took", () =>
      Effect.gen(function*() {
        const { log, record } = yield* start()
        const [alice, bob] = [yield* newPerson(), yield* newPerson()]
        yield* newFile(alice, nameOf("docs/notes.txt"))
        record({
          ...read,
          username: bob.username,
          userId: bob.userId,
          owner: alice.username,
          name: "docs/notes.txt"
        })
        const [seen, ...more] = yield* log.ofUser(alice.userId, { limit: 10 })
        assert.deepStrictEqual(more, [])
        const { activity_id, at, ...rest } = seen ?? assert.fail("nothing recorded")
        assert.isAbove(activity_id, 0)
        assert.strictEqual(at, "1970-01-01T00:00:00.000Z")
        assert.deepStrictEqual(rest, {
          action: "Read",
          code: "1:read",
          username: bob.username,
          address: "192.0.2.1",
          owner: alice.username,
          name: nameOf("docs/notes.txt"),
          times: 1,
          duration_ms: 3,
          suspicious: false,
          detail: {}
        })
        assert.strictEqual((yield* log.ofUser(bob.userId, { limit: 10 }))[0]?.activity_id, activity_id)
      }))

    test("stays with a file when it is renamed, handed over and deleted, and not with its name", () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient
        const { log, record } = yield* start()
        const alice = yield* newPerson()
        yield* newFile(alice, nameOf("a"))
        record({ ...read, owner: alice.username, name: "a" })
        yield* log.flusher.flush
        yield* sql`update files set name = 'b' where owner_id = ${alice.userId}::bigint`
        yield* newFile(alice, nameOf("a"))
        record({ ...read, action: "Append", owner: alice.username, name: "b" })
        const files = yield* sql<{ readonly file_id: number; readonly name: string }>`
          select file_id, name from files where owner_id = ${alice.userId}::bigint`
        const actions = Effect.fnUntraced(function*(name: string) {
          const file = files.find((one) => one.name === name)
          return (yield* log.ofFile(file?.file_id ?? 0, { limit: 10 })).map(({ action }) => action)
        })
        assert.deepStrictEqual(yield* actions("b"), ["Append", "Read"])
        assert.deepStrictEqual(yield* actions("a"), [])
        yield* sql`update files set deleted_at = now() where owner_id = ${alice.userId}::bigint and name = 'a'`
        record({ ...read, action: "Delete", owner: alice.username, name: "a" })
        assert.deepStrictEqual(yield* actions("a"), ["Delete"])
      }))

    test("stays with a file also when all of that happens before it is written down", () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient
        const { log, record } = yield* start()
        const [alice, bob] = [yield* newPerson(), yield* newPerson()]
        yield* newFile(alice, nameOf("a"))
        const rename = (owner: Caller, name: string, to: Caller, newName: string) =>
          sql`
            update files set owner_id = ${to.userId}::bigint, name = ${newName}
            where owner_id = ${owner.userId}::bigint and name = ${name}`
        const [file] = yield* sql<{ readonly file_id: number }>`
          select file_id from files where owner_id = ${alice.userId}::bigint`
        record({ ...read, action: "One", owner: alice.username, name: "a" })
        yield* rename(alice, "a", alice, "b")
        const was = (name: string) => ({ owner: alice.username, name })
        record({ ...read, action: "Rename", owner: alice.username, name: "b", movedFrom: was("a") })
        record({ ...read, action: "Two", owner: alice.username.toUpperCase(), name: "b" })
        yield* newFile(alice, nameOf("a"))
        record({ ...read, action: "Other", owner: alice.username, name: "a" })
        yield* rename(alice, "b", bob, "c")
        record({ ...read, action: "Transfer", owner: bob.username, name: "c", movedFrom: was("b") })
        yield* sql`update files set deleted_at = now() where file_id = ${file?.file_id ?? 0}::bigint`
        record({ ...read, action: "Delete", code: "1:fdel", owner: bob.username, name: "c" })
        yield* newFile(bob, nameOf("c"))
        record({ ...read, action: "Other", owner: bob.username, name: "c" })
        const actions = (yield* log.ofFile(file?.file_id ?? 0, { limit: 10 })).map(({ action }) => action)
        assert.deepStrictEqual(actions, ["Delete", "Transfer", "Two", "Rename", "One"])
      }))

    test("makes one record of the same thing done again, and says how often", () =>
      Effect.gen(function*() {
        const { log, record } = yield* start()
        const username = somebody()
        for (let i = 0; i < 100; i++) record({ ...read, username })
        record({ ...read, username, name: "other", owner: username })
        const activities = yield* log.list({ ...everything, username })
        assert.deepStrictEqual(activities.map(({ times }) => times), [1, 100])
      }))

    test("is narrowed down by user, time and suspicion, and followed by number", () =>
      Effect.gen(function*() {
        const { log, record } = yield* start()
        const [mallory, other] = [somebody(), somebody()]
        record({ ...read, username: mallory, action: "First" })
        yield* TestClock.adjust("1 hour")
        record({ ...read, username: other, action: "Second", suspicious: true, says: "" })
        const newer = (yield* log.list(everything))[0]?.activity_id ?? 0
        yield* TestClock.adjust("1 hour")
        record({ ...read, username: mallory.toUpperCase(), action: "Third", suspicious: true, says: "" })
        const actions = (filter: Partial<Parameters<typeof log.list>[0]>) =>
          Effect.map(log.list({ ...everything, ...filter }), (found) =>
            found.flatMap(({ action, username }) =>
              [mallory, other].includes(username?.toLowerCase() ?? "") ? [action] : []
            ))
        assert.deepStrictEqual(yield* actions({}), ["Third", "Second", "First"])
        assert.deepStrictEqual(yield* actions({ username: mallory }), ["Third", "First"])
        assert.deepStrictEqual(yield* actions({ suspicious: true }), ["Third", "Second"])
        assert.deepStrictEqual(yield* actions({ since: new Date(90 * 60_000) }), ["Third"])
        assert.deepStrictEqual(yield* actions({ since: new Date(9e10) }), [])
        assert.deepStrictEqual(yield* actions({ after: newer }), ["Third"])
        assert.deepStrictEqual(yield* actions({ limit: 1 }), ["Third"])
      }))

    test("is given page by page, without gaps and repetitions", () =>
      Effect.gen(function*() {
        const { log, record } = yield* start()
        const alice = yield* newPerson()
        for (let i = 0; i < 25; i++) {
          record({ ...read, action: `Read${i}`, userId: alice.userId, owner: alice.username })
        }
        const seen: Array<string> = []
        let before: number | undefined
        for (let page = 0; page < 3; page++) {
          const activities = yield* log.ofUser(alice.userId, { limit: 10, before })
          seen.push(...activities.map(({ action }) => action))
          before = activities.at(-1)?.activity_id
        }
        assert.deepStrictEqual(seen, Array.from({ length: 25 }, (_, i) => `Read${24 - i}`))
      }))

    test("is kept for as long as it is said, and no longer", () =>
      Effect.gen(function*() {
        const { log, record } = yield* start({ activityKeptFor: Duration.days(3) })
        const username = somebody()
        const actions = Effect.map(log.list({ ...everything, username }), (all) => all.map(({ action }) => action))
        record({ ...read, username, action: "Old" })
        assert.deepStrictEqual(yield* actions, ["Old"])
        yield* TestClock.adjust("2 days")
        record({ ...read, username, action: "New" })
        assert.deepStrictEqual(yield* actions, ["New", "Old"])
        yield* TestClock.adjust("25 hours")
        // The next sweep begins an hour after the one before has ended.
        const sql = yield* SqlClient
        for (let left = 2, looks = 0; left > 1 && looks < 1000; looks++) {
          // A sweep takes real time, in which the test's clock must not run away.
          if (looks % 25 === 0) yield* TestClock.adjust("1 hour")
          left = (yield* sql`select 1 from activity where username = ${username}`).length
        }
        assert.deepStrictEqual(yield* actions, ["New"])
      }))

    test("has a record once although the answer to its writing was lost", () =>
      Effect.gen(function*() {
        const repo = yield* ActivityRepo
        const username = somebody()
        const recorded: Recorded = { ...read, username, sequence: 1, at: 0, times: 1 }
        const origin = "0193a7c2-4e6b-4c1d-9f0a-2b3c4d5e6f70"
        yield* repo.add(origin, [recorded, { ...recorded, sequence: 2 }])
        yield* repo.add(origin, [{ ...recorded, sequence: 2 }, { ...recorded, sequence: 3 }])
        assert.strictEqual((yield* repo.list({ ...everything, username })).length, 3)
      }).pipe(Effect.provide(ActivityRepo.layer)))

    test("has everything that waited when it is closed", () =>
      Effect.gen(function*() {
        const { close, record } = yield* start({ flushInterval: Duration.hours(1), flushCount: 300 })
        const username = somebody()
        for (let i = 0; i < 1000; i++) record({ ...read, username, action: `Read${i}` })
        yield* close
        const sql = yield* SqlClient
        assert.strictEqual((yield* sql`select 1 from activity where username = ${username}`).length, 1000)
      }))

    test("gives up a record that the database will never take, and no other", () =>
      Effect.gen(function*() {
        const { close, log, record } = yield* start()
        const username = somebody()
        record({ ...read, username, action: "Before" })
        // PostgreSQL has no place for this character.
        record({ ...read, username, action: "Bad\u0000" })
        record({ ...read, username, action: "Worse", userId: 0.5 })
        record({ ...read, username, action: "After" })
        yield* close
        const { poisoned, waiting } = log.flusher.figures()
        assert.deepStrictEqual({ poisoned, waiting }, { poisoned: 2, waiting: 0 })
        const sql = yield* SqlClient
        const rows = yield* sql<{ readonly action: string }>`
          select action from activity where username = ${username} order by activity_id`
        assert.deepStrictEqual(rows.map(({ action }) => action), ["Before", "After"])
      }))

    test("lists so many denials of a user in a minute, and counts those beyond, which is suspicious", () =>
      Effect.gen(function*() {
        const { log, record } = yield* start({ denialsPerMinute: 5 })
        const [mallory, other] = [yield* newPerson(), yield* newPerson()]
        const probe = (who: Caller, name: string) =>
          record({ ...read, code: "2:nf", userId: who.userId, username: who.username, owner: other.username, name })
        for (let i = 0; i < 1000; i++) probe(mallory, `file-${i}`)
        probe(other, "file")
        record({ ...read, userId: mallory.userId, username: mallory.username, name: "allowed" })
        const of = ({ username }: Caller) => log.list({ ...everything, username })
        assert.deepStrictEqual(
          (yield* of(mallory)).map(({ name, suspicious, times }) => [name, suspicious, times]),
          [
            ["allowed", false, 1],
            [undefined, true, 995],
            ...Array.from({ length: 5 }, (_, i) => [nameOf(`file-${4 - i}`), false, 1])
          ]
        )
        assert.strictEqual((yield* of(other)).length, 1)
        yield* TestClock.adjust("1 minute")
        probe(mallory, "again")
        assert.strictEqual((yield* of(mallory))[0]?.name, "again")
      }))

    test("counts reads of each file and remembers the last, and loses none of them when it is closed", () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient
        const { close, note } = yield* start()
        const alice = yield* newPerson()
        yield* newFile(alice, nameOf("a"))
        yield* newFile(alice, nameOf("b"))
        const [a, b] = yield* sql<{ readonly file_id: number }>`
          select file_id from files where owner_id = ${alice.userId}::bigint order by name`
        const id = a?.file_id ?? 0
        assert.strictEqual(yield* note.readsOf(id), undefined)
        for (let i = 0; i < 5; i++) note.read(id)
        assert.deepStrictEqual(yield* note.readsOf(id), { fileId: id, reads: 5, lastAt: 0 })
        yield* TestClock.adjust("1 minute")
        note.read(b?.file_id ?? 0)
        note.read(id)
        // A file that is gone meanwhile stops nothing.
        note.read(2 ** 40)
        yield* close
        const repo = yield* StatisticsRepo
        assert.deepStrictEqual(yield* repo.readsOf(id), { fileId: id, reads: 6, lastAt: 60_000 })
        assert.strictEqual((yield* repo.readsOf(b?.file_id ?? 0))?.reads, 1)
      }).pipe(Effect.provide(StatisticsRepo.layer)))

    test("moves the last sign of a session once a minute at most, and never back", () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient
        const { close, note } = yield* start()
        const alice = yield* newPerson()
        yield* sql`
          insert into sessions
            (session_id, user_id, device, address, digest_hash, rotated_at, created_at, last_seen_at, expires_at)
          values (${alice.sessionId}::uuid, ${alice.userId}::bigint, 'd', 'a',
            decode(md5(${alice.sessionId}) || md5(${alice.sessionId}), 'hex'), ${new Date(0)}, ${new Date(0)},
            ${new Date(30_000)}, ${new Date(9e10)})`
        const seenAt = Effect.map(
          sql<{ readonly last_seen_at: Date }>`
            select last_seen_at from sessions where session_id = ${alice.sessionId}::uuid`,
          ([row]) => row?.last_seen_at.getTime()
        )
        note.seen(alice.sessionId)
        yield* TestClock.adjust("59 seconds")
        note.seen(alice.sessionId)
        yield* TestClock.adjust("1 hour")
        note.seen(alice.sessionId)
        yield* close
        assert.strictEqual(yield* seenAt, 3_659_000)
      }))
  })
}

/** A log whose lines are kept. */
const saying = (level: "Debug" | "Info") =>
  Effect.gen(function*() {
    const said: Array<string> = []
    const capture = Logger.make((options) => {
      said.push(Logger.formatJson.log(options))
    })
    const { record } = yield* start().pipe(
      Effect.provide(Layer.mergeAll(
        Logger.layer([capture]),
        Layer.succeed(References.MinimumLogLevel, level)
      ))
    )
    return { said, record }
  })

describe("the activity log on standard error", () => {
  suite(TestDatabase.pglite, { timeout: Duration.seconds(60) })((it) => {
    it.effect("has what is notable at info, what is suspicious at warn, and the rest at debug", () =>
      Effect.gen(function*() {
        const { record, said } = yield* saying("Info")
        record({ ...read, says: "quiet" })
        record({ ...read, says: "notable", notable: true })
        record({ ...read, says: "suspicious", suspicious: true })
        yield* Effect.yieldNow
        const parsed = said.map((line): unknown => JSON.parse(line))
        assert.lengthOf(parsed, 2)
        assert.nestedInclude(parsed[0], { message: "notable", level: "INFO", "annotations.action": "Read" })
        assert.nestedInclude(parsed[1], { message: "suspicious", level: "WARN", "annotations.suspicious": true })
        const all = yield* saying("Debug")
        all.record({ ...read, says: "quiet" })
        yield* Effect.yieldNow
        assert.lengthOf(all.said, 1)
      }))

    it.effect("escapes what people typed: no name passes for a line, or steers a terminal", () =>
      Effect.gen(function*() {
        const { record, said } = yield* saying("Debug")
        const evil = "a\u001b[2J\n{\"level\":\"INFO\"}\u202etxt\u009b"
        record({ ...read, name: evil, detail: { reason: evil } })
        yield* Effect.yieldNow
        assert.lengthOf(said, 1)
        // oxlint-disable-next-line no-control-regex -- none of them may be there
        assert.notMatch(said[0] ?? "", /[\u0000-\u001f\u007f-\u009f\u202e]/)
        assert.include(said[0], "a\\\\x1b[2J\\\\n")
      }))
  })
})
