/** Two servers on one PostgreSQL, each with caches of its own: what one has acknowledged, the other does not contradict. */
import { assert, it } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Layer, References, Scope } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import * as fc from "fast-check"
import { createHash, randomBytes } from "node:crypto"
import { Sha256 } from "../../../src/protocol/Identity.ts"
import type { GrantRole } from "../../../src/protocol/Permission.ts"
import { Coherence } from "../../../src/server/caches/Coherence.ts"
import { FileLookup } from "../../../src/server/caches/FileLookup.ts"
import type { Caller } from "../../../src/server/Caller.ts"
import { Database } from "../../../src/server/Database.ts"
import { FileRepo } from "../../../src/server/files/FileRepo.ts"
import { FileStore } from "../../../src/server/FileStore.ts"
import { Notifications } from "../../../src/server/Notifications.ts"
import { Permissions } from "../../../src/server/Permissions.ts"
import { UserAdmin } from "../../../src/server/users/UserAdmin.ts"
import * as PostgresProxy from "../../support/PostgresProxy.ts"
import { TestDatabase } from "../../support/TestDatabase.ts"
import * as Storage from "../files/Storage.ts"

const logs = Layer.succeed(References.MinimumLogLevel, "Error")

class Cluster extends Context.Service<Cluster, { readonly dataDir: string; readonly databaseUrl: string }>()(
  "test/Cluster"
) {
  static readonly layer = Layer.effect(
    Cluster,
    Effect.gen(function*() {
      return { dataDir: yield* Storage.folder, databaseUrl: yield* TestDatabase.postgresUrl }
    })
  )
}

/** What a server consists of below its connections. */
const layerOf = (dataDir: string, databaseUrl: string) =>
  Layer.mergeAll(
    Permissions.layer,
    UserAdmin.layer,
    FileLookup.layer,
    Coherence.layer,
    FileRepo.layer,
    Notifications.layer
  ).pipe(
    Layer.provideMerge(Storage.layerIn(dataDir, { databaseUrl })),
    Layer.provideMerge(Database.layer),
    Layer.provideMerge(Storage.config(dataDir, { databaseUrl })),
    Layer.provideMerge(logs)
  )

/** Waits until a server uses what it remembers. */
const trusted = (coherence: Coherence["Service"]) =>
  Effect.repeat(Effect.sleep("20 millis"), { until: () => coherence.isTrusted() }).pipe(Effect.timeout("10 seconds"))

const begin = Effect.fnUntraced(function*(databaseUrl: string) {
  const { dataDir } = yield* Cluster
  const context = yield* Layer.build(Layer.fresh(layerOf(dataDir, databaseUrl)))
  const coherence = Context.get(context, Coherence)
  // As Cluster does.
  const { node } = Context.get(context, Notifications)
  const sql = Context.get(context, SqlClient)
  yield* sql`
    insert into nodes (node_id, name, started_at, seen_at) values (${node}::uuid, 'test', now(), now())`
  const files = Context.get(context, FileStore)
  return {
    files,
    coherence,
    context,
    permissions: Context.get(context, Permissions),
    admin: Context.get(context, UserAdmin),
    lookup: Context.get(context, FileLookup),
    repo: Context.get(context, FileRepo),
    person: Effect.provideContext(Storage.newUser(), context),
    read: Effect.fnUntraced(function*(caller: Caller, owner: Caller, name: string) {
      const { content } = yield* files.read(caller, { name: Storage.name(name), owner: owner.username })
      return (yield* Effect.promise(() => Storage.drain(content))).toString()
    })
  }
})

const startOn = (databaseUrl: string) => Effect.tap(begin(databaseUrl), ({ coherence }) => trusted(coherence))

const start = Effect.flatMap(Cluster, ({ databaseUrl }) => startOn(databaseUrl))

/** Two that run for all tests. */
class Servers extends Context.Service<Servers, {
  readonly here: Effect.Success<typeof start>
  readonly there: Effect.Success<typeof start>
}>()("test/Servers") {
  static readonly layer = Layer.effect(
    Servers,
    Effect.map(
      Effect.all([start, start], { concurrency: "unbounded" }),
      ([here, there]) => ({ here, there })
    )
  ).pipe(Layer.provideMerge(Cluster.layer))
}

const code = <A, R>(effect: Effect.Effect<A, { readonly code: string }, R>) =>
  Effect.map(Effect.flip(effect), ({ code }) => code)

it.layer(Servers.layer, { excludeTestServices: true, timeout: "90 seconds" })("two servers", (it) => {
  it.effect("use no right after the other has acknowledged that it was revoked, however hot it is", () =>
    Effect.gen(function*() {
      const { here, there } = yield* Servers
      const [owner, friend] = [yield* here.person, yield* here.person]
      const name = Storage.name("shared")
      yield* here.files.write(owner, { name }, [Buffer.from("content")])
      const shared = { name, username: friend.username, role: "READ" as const }
      // Odd while the right is there, even while it is not; changed before and after each change.
      let epoch = 0
      let reads = 0
      const reader = Effect.forever(Effect.gen(function*() {
        const before = epoch
        const exit = yield* Effect.exit(there.read(friend, owner, "shared"))
        reads++
        yield* Effect.sleep("1 millis")
        if (before !== epoch || before % 2 !== 0) return
        assert.strictEqual(Exit.isSuccess(exit), before % 4 === 2, `${before}: ${exit}`)
      }))
      const readers = yield* Effect.forEach([1, 2, 3], () => Effect.forkChild(reader))
      for (let round = 0; round < 40; round++) {
        epoch++
        yield* here.permissions.grant(owner, shared)
        epoch++
        assert.strictEqual(yield* there.read(friend, owner, "shared"), "content")
        epoch++
        yield* here.permissions.revoke(owner, shared)
        epoch++
        assert.strictEqual(yield* code(there.read(friend, owner, "shared")), "2:nf")
      }
      for (const fiber of readers) {
        assert.isTrue(Exit.hasInterrupts(yield* Effect.andThen(Fiber.interrupt(fiber), Fiber.await(fiber))))
      }
      assert.isAbove(reads, 100)
      assert.isAbove(there.lookup.counters().rights.hits, 50, "the caches are at work")
    }))

  it.effect("see what the other does to a file, an account and a quota as soon as it is acknowledged", () =>
    Effect.gen(function*() {
      const { here, there } = yield* Servers
      const [owner, friend] = [yield* here.person, yield* here.person]
      const name = Storage.name("file")
      const body = { name, owner: owner.username }
      yield* here.files.write(owner, { name }, [Buffer.from("0")])
      yield* here.permissions.grant(owner, { name, username: friend.username, role: "EDIT" })
      for (let round = 1; round <= 20; round++) {
        const [writer, reader] = round % 2 === 0 ? [here, there] : [there, here]
        yield* reader.read(owner, owner, "file")
        yield* writer.files.write(friend, body, [Buffer.from(String(round))])
        assert.strictEqual(yield* reader.read(owner, owner, "file"), String(round))
        assert.strictEqual(yield* reader.read(friend, owner, "file"), String(round))
      }
      yield* here.files.rename(owner, { name, new_name: Storage.name("other") })
      assert.strictEqual(yield* code(there.read(owner, owner, "file")), "2:nf")
      yield* there.read(friend, owner, "other")
      yield* here.permissions.transfer(owner, { name: Storage.name("other"), username: friend.username })
      assert.strictEqual(yield* code(there.read(owner, owner, "other")), "2:nf")
      assert.strictEqual(yield* there.read(owner, friend, "other"), "20", "the owner before has become a manager")
      yield* there.read(friend, friend, "other")
      yield* here.files.delete(friend, { name: Storage.name("other") })
      assert.strictEqual(yield* code(there.read(friend, friend, "other")), "2:nf")
      yield* here.admin.setQuota({ username: owner.username, bytes_limit: 3 })
      assert.strictEqual(yield* code(there.files.write(owner, { name }, [Buffer.from("four")])), "2:quota")
      yield* there.files.write(owner, { name }, [Buffer.from("two")])
      yield* here.permissions.publicise(owner, { name })
      assert.strictEqual(yield* there.read(friend, owner, "file"), "two")
      yield* here.admin.delete(owner.username)
      assert.strictEqual(yield* code(there.read(friend, owner, "file")), "2:nf")
    }))

  it.effect("trust nothing when they hear nothing, so that the other does not wait for them for ever", () =>
    Effect.gen(function*() {
      const { databaseUrl } = yield* Cluster
      const proxy = yield* PostgresProxy.make(databaseUrl)
      const { here } = yield* Servers
      const there = yield* startOn(proxy.url)
      const [owner, friend] = [yield* here.person, yield* here.person]
      const name = Storage.name("file")
      yield* here.files.write(owner, { name }, [Buffer.from("content")])
      const shared = { name, username: friend.username, role: "READ" as const }
      yield* here.permissions.grant(owner, shared)
      yield* there.read(friend, owner, "file")
      proxy.silenceListeners()
      yield* there.read(friend, owner, "file")
      const before = performance.now()
      yield* here.permissions.revoke(owner, shared)
      assert.strictEqual(yield* code(there.read(friend, owner, "file")), "2:nf")
      assert.isFalse(there.coherence.isTrusted())
      const waited = performance.now() - before
      assert.isBelow(waited, 4000)
      yield* trusted(there.coherence)
      yield* there.read(owner, owner, "file")
      yield* here.files.write(owner, { name }, [Buffer.from("again")])
      assert.strictEqual(yield* there.read(owner, owner, "file"), "again")
    }))

  it.effect("go on with each other's uploads without losing a byte, and write nothing after the commit", () =>
    Effect.gen(function*() {
      const { here, there } = yield* Servers
      const owner = yield* here.person
      const content = randomBytes(2_000_000)
      const sha256 = Sha256.make(createHash("sha256").update(content).digest("hex"))
      const { upload_id } = yield* here.files.uploadBegin(owner, {
        name: Storage.name("uploaded"),
        mode: "create",
        size: content.length
      })
      const part = (server: typeof here, offset: number) =>
        server.files.uploadPart(owner, { upload_id, offset }, [content.subarray(offset, offset + 100_000)])
      yield* Effect.forEach(
        Array.from({ length: 20 }, (_, index) => index * 100_000),
        (offset) => part(offset % 300_000 === 0 ? here : there, offset),
        { concurrency: 4 }
      )
      yield* there.files.uploadCommit(owner, { upload_id, sha256 })
      assert.strictEqual(yield* code(part(here, 0)), "2:opcf")
      const { content: stored } = yield* here.files.read(owner, { name: Storage.name("uploaded") })
      assert.isTrue((yield* Effect.promise(() => Storage.drain(stored))).equals(content))
    }))

  it.effect("wait for nobody who has left", () =>
    Effect.gen(function*() {
      const { here } = yield* Servers
      const scope = yield* Scope.make()
      yield* Scope.provide(start, scope)
      yield* Scope.close(scope, Exit.void)
      const owner = yield* here.person
      const before = performance.now()
      for (let round = 0; round < 5; round++) {
        yield* here.files.write(owner, { name: Storage.name("file") }, [Buffer.from("content")])
      }
      assert.isBelow(performance.now() - before, 2000)
    }))

  it.effect("answer as the database does, whatever either of them has done before", () =>
    Effect.gen(function*() {
      const { here, there } = yield* Servers
      const people = [yield* here.person, yield* here.person, yield* here.person]
      const names = ["a", "b/c", "b/d"].map(Storage.name)
      const index = fc.nat(2)
      const role = fc.constantFrom<GrantRole>("READ", "EDIT", "MANAGE")
      const kind = fc.constantFrom(
        "write",
        "delete",
        "rename",
        "grant",
        "revoke",
        "folder",
        "unfolder",
        "publicise",
        "hide"
      )
      const step = fc.record({ kind, role, owner: index, user: index, file: index, on: fc.boolean() })
      const histories = fc.sample(fc.array(step, { minLength: 20, maxLength: 20 }), { numRuns: 5, seed: 6 })
      for (const step of histories.flat()) {
        const server = step.on ? here : there
        const [owner, user, name] = [people[step.owner], people[step.user], names[step.file]]
        if (owner === undefined || user === undefined || name === undefined) continue
        const folder = Storage.folderName("b/")
        const one = { name, username: user.username }
        const everything = { name: folder, username: user.username }
        const { files, permissions } = server
        const change: Effect.Effect<unknown, unknown> = {
          write: files.write(owner, { name }, [Buffer.from(step.role)]),
          delete: files.delete(owner, { name }),
          rename: files.rename(owner, { name, new_name: names[(step.file + 1) % 3] ?? name }),
          grant: permissions.grant(owner, { ...one, role: step.role }),
          revoke: permissions.revoke(owner, one),
          folder: permissions.grant(owner, { ...everything, role: step.role }),
          unfolder: permissions.revoke(owner, everything),
          publicise: permissions.publicise(owner, { name: step.user === 0 ? folder : name }),
          hide: permissions.hide(owner, { name: step.user === 0 ? folder : name })
        }[step.kind]
        yield* Effect.ignore(change)
        const requests = people.flatMap((caller) =>
          names.map((name) => ({ callerId: caller.userId, owner: owner.username, name, from: 0, to: 100 }))
        )
        const all = { concurrency: "unbounded" } as const
        const [found, ...remembered] = yield* Effect.all([
          Effect.forEach(requests, here.repo.locate, all),
          Effect.forEach(requests, here.lookup.locate, all),
          Effect.forEach(requests, there.lookup.locate, all)
        ], all)
        const shown = (places: typeof found) => places.map((place) => [place?.role, place?.file, place?.extents])
        for (const places of remembered) assert.deepStrictEqual(shown(places), shown(found))
      }
      assert.isAbove(here.lookup.counters().files.hits, 100)
    }))

  it.effect("forget all when their connection is cut, and find out what they missed", () =>
    Effect.gen(function*() {
      const { here } = yield* Servers
      const there = yield* start
      const owner = yield* here.person
      const name = Storage.name("file")
      yield* here.files.write(owner, { name }, [Buffer.from("old")])
      yield* there.read(owner, owner, "file")
      assert.isAbove(there.lookup.counters().files.size, 0)
      const sql = Context.get(here.context, SqlClient)
      yield* sql`
        select pg_terminate_backend(pid, 1000) from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid() and query like 'LISTEN%'`
      yield* Effect.repeat(Effect.sleep("5 millis"), { until: () => there.lookup.counters().files.size === 0 })
      assert.isFalse(there.coherence.isTrusted())
      yield* here.files.write(owner, { name }, [Buffer.from("new")])
      assert.strictEqual(yield* there.read(owner, owner, "file"), "new")
    }))
})
