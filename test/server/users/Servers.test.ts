/** Several servers on one PostgreSQL: what is decided on one holds on all, whatever happens at the same time. */
import { assert, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, References, Result, Schedule } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { randomBytes } from "node:crypto"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { SessionGrant } from "../../../src/protocol/Request.ts"
import { Database } from "../../../src/server/Database.ts"
import { defaults, ServerConfig } from "../../../src/server/ServerConfig.ts"
import type { UserManager } from "../../../src/server/UserManager.ts"
import { TestDatabase } from "../../support/TestDatabase.ts"
import {
  callerOf,
  device,
  digestOf,
  newUser,
  otherDevice,
  otherPassword,
  peer,
  start,
  startAdmin,
  worth
} from "./accounts.ts"

const postgres = Layer.unwrap(Effect.map(
  TestDatabase.postgresUrl,
  (databaseUrl) =>
    Database.layer.pipe(Layer.provideMerge(Layer.mergeAll(
      Layer.succeed(ServerConfig, { ...defaults, dataDir: join(tmpdir(), "fip-unused"), databaseUrl }),
      Layer.succeed(References.MinimumLogLevel, "Error")
    )))
))

/** A server that listens to the others. */
const server = Effect.flatMap(ServerConfig, ({ databaseUrl }) => start({ databaseUrl }))

/** One that nobody logs in to. */
const administrator = Effect.flatMap(ServerConfig, ({ databaseUrl }) => startAdmin({ databaseUrl }))
const byAdmin = new Set(["ban", "administrator's end of it"])

/** Ends when a server has heard of the end of a session; fails after five seconds, which is a thousand times what it takes. */
const heard = (users: UserManager["Service"], grant: SessionGrant) =>
  Effect.sync(() => worth(users, grant)).pipe(
    Effect.repeat({ until: (code) => code === "2:auth", schedule: Schedule.spaced("2 millis") }),
    Effect.timeout("5 seconds")
  )

const rounds = Array.from({ length: 10 }, (_, index) => index)

it.layer(postgres, { excludeTestServices: true, timeout: "60 seconds" })("servers on one PostgreSQL", (it) => {
  it.effect("accept each other's tokens, and none of a session that ended on another", () =>
    Effect.gen(function*() {
      const [here, there] = [yield* server, yield* server]
      const admin = yield* administrator
      const endings = {
        logout: (grant: SessionGrant) => Effect.flatMap(callerOf(here, grant), (caller) => here.logout(caller)),
        "change of password": (_: SessionGrant, auth: Effect.Success<ReturnType<typeof newUser>>) =>
          here.changePassword(auth, otherPassword, peer),
        deletion: (_: SessionGrant, auth: Effect.Success<ReturnType<typeof newUser>>) => here.deleteUser(auth, peer),
        ban: (_: SessionGrant, { identity }: Effect.Success<ReturnType<typeof newUser>>) =>
          admin.ban({ username: identity, reason: "", lasts_ms: null }),
        "administrator's end of it": (grant: SessionGrant) => admin.endSession(grant.session_id),
        replay: (grant: SessionGrant) => Effect.flip(here.refresh(digestOf(grant, otherDevice), peer))
      }
      for (const [name, end] of Object.entries(endings)) {
        const auth = yield* newUser(here)
        const grant = yield* here.login(auth, device, peer)
        assert.strictEqual(worth(there, grant), "ok", name)
        yield* end(grant, auth)
        if (!byAdmin.has(name)) {
          assert.strictEqual(worth(here, grant), "2:auth", `${name}: dead at once where it was ended`)
        }
        yield* heard(here, grant)
        yield* heard(there, grant)
      }
    }))

  it.effect("hear of a session that something else than a server revokes", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient
      const users = yield* server
      const grant = yield* users.login(yield* newUser(users), device, peer)
      yield* sql`insert into revoked_sessions (session_id, revoked_at) values (${grant.session_id}::uuid, now())`
      yield* heard(users, grant)
    }))

  it.effect("catch up with what they missed while they could not listen", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient
      const users = yield* server
      const [first, second] = [yield* newUser(users), yield* newUser(users)]
      const [missed, later] = [yield* users.login(first, device, peer), yield* users.login(second, device, peer)]
      // One transaction revokes and cuts all listeners off: its notification reaches nobody.
      yield* sql`
        with cut as (
          select pg_terminate_backend(pid, 1000) from pg_stat_activity
          where datname = current_database() and pid <> pg_backend_pid() and query like 'LISTEN%'
        )
        insert into revoked_sessions (session_id, revoked_at)
        select ${missed.session_id}::uuid, now() from (select count(*) from cut) as done`
      yield* Effect.sync(() => worth(users, missed)).pipe(
        Effect.repeat({ until: (code) => code === "2:auth", schedule: Schedule.spaced("10 millis") }),
        Effect.timeout("10 seconds")
      )
      yield* sql`insert into revoked_sessions (session_id, revoked_at) values (${later.session_id}::uuid, now())`
      yield* heard(users, later)
    }))

  it.effect("that start at once on an empty database agree on one signing key", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient
      yield* sql`delete from signing_keys`
      const inserted = yield* Deferred.make<void>()
      const commit = yield* Deferred.make<void>()
      const first = yield* Effect.forkChild(sql.withTransaction(Effect.gen(function*() {
        yield* sql`insert into signing_keys (key_id, secret, created_at) values (1, ${randomBytes(32)}, now())`
        yield* Deferred.succeed(inserted, undefined)
        yield* Deferred.await(commit)
      })))
      yield* Deferred.await(inserted)
      const starting = yield* Effect.forkChild(Effect.all([server, server], { concurrency: "unbounded" }))
      yield* Effect.repeat(
        sql`select from pg_stat_activity where wait_event_type = 'Lock' and query like '%insert into signing_keys%'`,
        { until: (waiting) => waiting.length === 2 }
      )
      yield* Deferred.succeed(commit, undefined)
      yield* Fiber.join(first)
      const [here, there] = yield* Fiber.join(starting)
      const grant = yield* here.login(yield* newUser(here), device, peer)
      assert.strictEqual(worth(there, grant), "ok")
      assert.lengthOf(yield* sql`select from signing_keys`, 1)
    }))

  it.effect("give one successor to two hundred refreshes of one digest, and log nobody out", () =>
    Effect.gen(function*() {
      const servers = [yield* server, yield* server] as const
      const auth = yield* newUser(servers[0])
      for (const round of rounds.slice(0, 3)) {
        const one = yield* servers[0].login(auth, device, peer)
        const grants = yield* Effect.forEach(
          Array.from({ length: 200 }, (_, index) => servers[(index + round) % 2 === 0 ? 0 : 1]),
          (users) => users.refresh(digestOf(one), peer),
          { concurrency: "unbounded" }
        )
        const digests = new Set(grants.map((grant) => grant.refresh_digest))
        assert.strictEqual(digests.size, 1)
        const [last] = grants
        if (last === undefined) return assert.fail("two hundred grants")
        assert.strictEqual(worth(servers[1], yield* servers[1].refresh(digestOf(last), peer)), "ok")
      }
    }))

  it.effect("leave no session of the old password when it is changed during logins and refreshes", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient
      const [here, there] = [yield* server, yield* server]
      for (const round of rounds) {
        const auth = yield* newUser(here)
        const before = yield* here.login(auth, device, peer)
        const [changed, ...others] = yield* Effect.all([
          Effect.delay(Effect.result(here.changePassword(auth, otherPassword, peer)), round),
          ...rounds.map((index) => Effect.delay(Effect.result(here.login(auth, device, peer)), index * 2)),
          ...rounds.map((index) => Effect.delay(Effect.result(there.login(auth, device, peer)), index * 2)),
          Effect.delay(Effect.result(there.refresh(digestOf(before), peer)), round)
        ], { concurrency: "unbounded" })
        assert.isTrue(Result.isSuccess(changed))
        const live = yield* sql`
          select from sessions join users using (user_id) where username = ${auth.identity} and ended_at is null`
        assert.lengthOf(live, 0)
        for (const other of others) {
          if (Result.isSuccess(other) && "token" in other.success) {
            assert.strictEqual(worth(here, other.success), "2:auth")
          }
        }
      }
    }))

  it.effect("leave nothing alive of a user that is deleted during logins and refreshes", () =>
    Effect.gen(function*() {
      const [here, there] = [yield* server, yield* server]
      for (const round of rounds) {
        const auth = yield* newUser(here)
        const before = yield* here.login(auth, device, peer)
        const [deleted, ...others] = yield* Effect.all([
          Effect.delay(Effect.result(here.deleteUser(auth, peer)), round),
          ...rounds.map((index) => Effect.delay(Effect.result(here.login(auth, device, peer)), index * 2)),
          Effect.delay(Effect.result(there.refresh(digestOf(before), peer)), round)
        ], { concurrency: "unbounded" })
        assert.isTrue(Result.isSuccess(deleted))
        for (const other of others) {
          if (Result.isFailure(other)) assert.strictEqual(other.failure.code, "2:auth")
          else if ("token" in other.success) assert.strictEqual(worth(here, other.success), "2:auth")
        }
      }
    }))
})
