import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect, Exit, Fiber, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { TestClock } from "effect/testing"
import { randomBytes } from "node:crypto"
import { setImmediate } from "node:timers/promises"
import { AccessToken, SessionId, Username } from "../../../src/protocol/Identity.ts"
import { UserManager } from "../../../src/server/UserManager.ts"
import { PasswordParameters } from "../../../src/server/users/PasswordHasher.ts"
import { TestDatabase } from "../../support/TestDatabase.ts"
import {
  authOf,
  callerOf,
  cheap,
  device,
  digestOf,
  layer,
  newName,
  newUser,
  otherDevice,
  otherPassword,
  password,
  peer,
  start,
  worth
} from "./accounts.ts"

const accounts = layer().pipe(Layer.provideMerge(TestDatabase.pglite))

it.layer(accounts)("UserManager", (it) => {
  describe("registration", () => {
    it.effect("takes a name once, whatever the case of its letters", () =>
      Effect.gen(function*() {
        const users = yield* UserManager
        const name = newName()
        assert.deepStrictEqual(yield* users.register(authOf(name), peer), { username: name })
        for (const taken of [name, Username.make(name.toLowerCase()), Username.make(name.toUpperCase())]) {
          const refusal = yield* Effect.flip(users.register(authOf(taken, otherPassword), peer))
          assert.strictEqual(refusal.code, "2:dup")
          assert.strictEqual(refusal.field, "identity")
          assert.include(refusal.message, taken)
        }
        const grant = yield* users.login(authOf(Username.make(name.toUpperCase())), device, peer)
        assert.strictEqual(grant.username, name)
      }))

    it.effect("gives a name to one of many who ask for it at once", () =>
      Effect.gen(function*() {
        const users = yield* UserManager
        const name = newName()
        const exits = yield* Effect.forEach(
          [name, name.toLowerCase(), name.toUpperCase(), name, name],
          (spelling) => Effect.exit(users.register(authOf(Username.make(spelling)), peer)),
          { concurrency: "unbounded" }
        )
        assert.strictEqual(exits.filter(Exit.isSuccess).length, 1)
      }))

    it.effect("is refused by name when it is closed, and leaves nothing", () =>
      Effect.gen(function*() {
        const users = yield* start({ registration: "closed" })
        const auth = authOf(newName())
        assert.strictEqual((yield* Effect.flip(users.register(auth, peer))).code, "2:reg")
        const sql = yield* SqlClient
        const rows = yield* sql`select from users where username = ${auth.identity}`
        assert.lengthOf(rows, 0)
      }))

    it.effect("defect 27: a name that was deleted can be had again, and nothing of before is left", () =>
      Effect.gen(function*() {
        const users = yield* UserManager
        const sql = yield* SqlClient
        const auth = yield* newUser(users)
        const before = yield* users.login(auth, device, peer)
        yield* sql`update users set bytes_used = 77, files_used = 3, bytes_limit = 100 where username = ${auth.identity}`
        yield* users.deleteUser(auth, peer)
        yield* users.register(authOf(auth.identity, otherPassword), peer)

        assert.strictEqual(worth(users, before), "2:auth")
        assert.strictEqual((yield* Effect.flip(users.login(auth, device, peer))).code, "2:auth")
        const after = yield* users.login(authOf(auth.identity, otherPassword), device, peer)
        const caller = yield* callerOf(users, after)
        const { bytes_limit, bytes_used, files_used, sessions } = yield* users.queryUser(caller)
        assert.deepStrictEqual({ bytes_limit, bytes_used, files_used, sessions }, {
          bytes_limit: 10 * 1024 ** 3,
          bytes_used: 0,
          files_used: 0,
          sessions: 1
        })
      }))
  })

  describe("login", () => {
    it.effect("begins a session of its own each time", () =>
      Effect.gen(function*() {
        const users = yield* UserManager
        const auth = yield* newUser(users)
        const one = yield* users.login(auth, device, peer)
        const two = yield* users.login(auth, device, { address: "2001:db8::1" })
        assert.notStrictEqual(one.session_id, two.session_id)
        assert.strictEqual(one.token_expires_in_ms, 15 * 60_000)
        assert.strictEqual(one.refresh_expires_in_ms, 30 * 24 * 3600_000)

        const caller = yield* callerOf(users, two)
        assert.deepStrictEqual(caller, {
          userId: caller.userId,
          username: auth.identity,
          sessionId: two.session_id,
          expiresAt: (yield* Clock.currentTimeMillis) + 15 * 60_000,
          address: peer.address
        })
        const { sessions } = yield* users.querySessions(caller)
        assert.sameDeepMembers(
          sessions.map(({ address, current, device, session_id }) => ({ address, current, device, session_id })),
          [
            { address: peer.address, current: false, device, session_id: one.session_id },
            { address: "2001:db8::1", current: true, device, session_id: two.session_id }
          ]
        )
      }))

    it.effect("defect 26: an unknown user and a wrong password are refused with the very same answer", () =>
      Effect.gen(function*() {
        const users = yield* UserManager
        const known = yield* newUser(users)
        const wrong = authOf(known.identity, otherPassword)
        const unknown = authOf(newName(), otherPassword)
        const attempts = (auth: typeof wrong) => [
          users.login(auth, device, peer),
          users.changePassword(auth, password, peer),
          users.deleteUser(auth, peer)
        ]
        const answers = yield* Effect.forEach(
          [...attempts(wrong), ...attempts(unknown)],
          (attempt) =>
            Effect.map(
              Effect.flip<unknown, { readonly code: string; readonly body: object }, never>(attempt),
              ({ body, code }) => ({ body, code })
            )
        )
        const message = "wrong user name or password (after several wrong ones, wait before you try again)"
        for (const answer of answers) assert.deepStrictEqual(answer, { code: "2:auth", body: { message } })
      }))

    it.effect("defect 26: an unknown user costs as much time as a wrong password", () =>
      Effect.gen(function*() {
        const users = yield* start({ accountGuesses: 1000 }, PasswordParameters.defaultValue())
        const known = yield* newUser(users)
        const time = Effect.fnUntraced(function*(auth: typeof known) {
          const started = performance.now()
          yield* Effect.flip(users.login(auth, device, peer))
          return performance.now() - started
        })
        const wrong: Array<number> = []
        const unknown: Array<number> = []
        // In turns, and the fastest of each: what else the machine does falls on both.
        for (let round = 0; round < 12; round++) {
          wrong.push(yield* time(authOf(known.identity, otherPassword)))
          unknown.push(yield* time(authOf(newName(), otherPassword)))
        }
        const ratio = Math.min(...unknown) / Math.min(...wrong)
        assert.isTrue(ratio > 0.6 && ratio < 1.67, `unknown users take ${ratio.toFixed(2)} times as long`)
      }))

    it.effect("refuses honestly when too many passwords are being checked", () =>
      Effect.gen(function*() {
        const users = yield* start({ passwordConcurrency: 1, passwordQueue: 3 }, { ...cheap, memory: 2048 })
        const refusals = yield* Effect.forEach(
          Array.from({ length: 20 }, newName),
          (name, index) => Effect.flip(users.login(authOf(name), device, { address: `192.0.2.${index}` })),
          { concurrency: "unbounded" }
        )
        const early = refusals.filter(({ code }) => code === "2:rlex")
        assert.isAtLeast(early.length, 1)
        assert.isBelow(early.length, 20)
        for (const refusal of early) assert.isAbove(refusal.retry_after_ms ?? 0, 0)
        for (const { code } of refusals) assert.include(["2:auth", "2:rlex"], code)
      }))

    it.effect("renews a hash that was made with other parameters, once, whoever logs in meanwhile", () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient
        const auth = yield* newUser(yield* start({}, { ...cheap, passes: 2 }))
        const stored = Effect.map(
          sql<{ readonly password_hash: string }>`select password_hash from users where username = ${auth.identity}`,
          (rows) => rows[0]?.password_hash ?? ""
        )
        assert.match(yield* stored, /m=8,t=2,p=1/)
        const users = yield* start()
        yield* Effect.forEach(Array.from({ length: 10 }, () => auth), (auth) => users.login(auth, device, peer), {
          concurrency: "unbounded",
          discard: true
        })
        const renewed = yield* stored
        assert.match(renewed, /m=8,t=1,p=1/)
        yield* users.login(auth, device, peer)
        assert.strictEqual(yield* stored, renewed)
      }))

    it.effect("ends the session that was not seen for longest when a user has a thousand", () =>
      Effect.gen(function*() {
        const users = yield* UserManager
        const sql = yield* SqlClient
        const auth = yield* newUser(users)
        const oldest = yield* users.login(auth, device, peer)
        yield* TestClock.adjust("1 second")
        const next = yield* users.login(auth, device, peer)
        yield* TestClock.adjust("1 second")
        const now = new Date(yield* Clock.currentTimeMillis)
        yield* sql`
          insert into sessions
            (session_id, user_id, device, address, digest_hash, rotated_at, created_at, last_seen_at, expires_at)
          select gen_random_uuid(), user_id, 'device-many', '', sha256(convert_to('many' || n, 'UTF8')),
            ${now}, ${now}, ${now}, ${now}::timestamptz + interval '1 day'
          from users, generate_series(1, 998) as n where username = ${auth.identity}`
        assert.strictEqual(worth(users, oldest), "ok")
        const last = yield* users.login(auth, device, peer)
        assert.deepStrictEqual([oldest, next, last].map((grant) => worth(users, grant)), ["2:auth", "ok", "ok"])
        const { sessions } = yield* users.queryUser(yield* callerOf(users, last))
        assert.strictEqual(sessions, 1000)
      }))
  })

  describe("tokens", () => {
    it.effect("expire by the server's clock, to the millisecond", () =>
      Effect.gen(function*() {
        const users = yield* UserManager
        const grant = yield* users.login(yield* newUser(users), device, peer)
        yield* TestClock.adjust(grant.token_expires_in_ms - 1)
        assert.strictEqual(worth(users, grant), "ok")
        yield* TestClock.adjust(1)
        assert.strictEqual(worth(users, grant), "2:exp")
        const next = yield* users.refresh(digestOf(grant), peer)
        assert.strictEqual(worth(users, next), "ok")
        assert.strictEqual(worth(users, grant), "2:exp")
      }))

    it.effect("do not outlive their session, nor a lifetime that was made shorter", () =>
      Effect.gen(function*() {
        const brief = yield* start({ refreshLifetime: Duration.minutes(1) })
        const auth = yield* newUser(brief)
        assert.strictEqual((yield* brief.login(auth, device, peer)).token_expires_in_ms, 60_000)

        const grant = yield* (yield* start({ accessTokenLifetime: Duration.hours(2) })).login(auth, device, peer)
        const users = yield* UserManager
        assert.strictEqual(worth(users, grant), "ok")
        yield* TestClock.adjust("15 minutes")
        assert.strictEqual(worth(users, grant), "2:exp")
      }))

    it.effect("defect 2: no token is accepted without a live session, however it was made", () =>
      Effect.gen(function*() {
        const users = yield* UserManager
        const auth = yield* newUser(users)
        const forged = randomBytes(64).toString("hex")
        const refused = (token: string) => worth(users, { ...grant, token: AccessToken.make(token) })
        const grant = yield* users.login(auth, device, peer)
        const other = yield* users.login(yield* newUser(users), device, peer)
        for (
          const token of [
            "",
            "x",
            forged,
            auth.identity,
            grant.refresh_digest,
            grant.token.slice(0, -1),
            `${grant.token}A`,
            grant.token.slice(0, 60) + other.token.slice(60),
            grant.token.toLowerCase(),
            ` ${grant.token}`
          ]
        ) {
          assert.strictEqual(refused(token), "2:auth", token)
          // Not even the second time: the original dropped the session and then let everybody in.
          assert.strictEqual(refused(token), "2:auth", token)
        }
        yield* users.logout(yield* callerOf(users, grant))
        assert.strictEqual(worth(users, grant), "2:auth")
        assert.strictEqual(refused(forged), "2:auth")
        const restarted = yield* start()
        assert.strictEqual(worth(restarted, grant), "2:auth")
        assert.strictEqual(worth(restarted, other), "ok")
        yield* TestClock.adjust("1 hour")
        assert.strictEqual(worth(restarted, other), "2:exp")
        assert.strictEqual(worth(restarted, other), "2:exp")
      }))

    it.effect("stay dead after a restart, in whatever way their session ended", () =>
      Effect.gen(function*() {
        const users = yield* UserManager
        const [loggedOut, changed, deleted] = [yield* newUser(users), yield* newUser(users), yield* newUser(users)]
        const grants = yield* Effect.forEach([loggedOut, changed, deleted], (auth) => users.login(auth, device, peer))
        const [first] = grants
        if (first === undefined) return assert.fail("three grants")
        yield* users.logout(yield* callerOf(users, first))
        yield* users.changePassword(changed, otherPassword, peer)
        yield* users.deleteUser(deleted, peer)
        const restarted = yield* start()
        for (const manager of [users, restarted]) {
          assert.deepStrictEqual(grants.map((grant) => worth(manager, grant)), ["2:auth", "2:auth", "2:auth"])
        }
      }))
  })

  describe("logout", () => {
    it.effect("kills the tokens of one session and of no other", () =>
      Effect.gen(function*() {
        const users = yield* UserManager
        const auth = yield* newUser(users)
        const one = yield* users.login(auth, device, peer)
        const renewed = yield* users.refresh(digestOf(one), peer)
        const two = yield* users.login(auth, device, peer)
        const caller = yield* callerOf(users, one)
        assert.deepStrictEqual(yield* users.logout(caller), { session_id: one.session_id })
        assert.deepStrictEqual([one, renewed, two].map((grant) => worth(users, grant)), ["2:auth", "2:auth", "ok"])
        assert.strictEqual((yield* Effect.flip(users.refresh(digestOf(renewed), peer))).code, "2:auth")
        assert.lengthOf((yield* users.querySessions(yield* callerOf(users, two))).sessions, 1)
      }))

    it.effect("ends another session of the same user, as often as it is asked, and nobody else's", () =>
      Effect.gen(function*() {
        const users = yield* UserManager
        const auth = yield* newUser(users)
        const mine = yield* users.login(auth, device, peer)
        const other = yield* users.login(auth, otherDevice, peer)
        const strangers = yield* users.login(yield* newUser(users), device, peer)
        const caller = yield* callerOf(users, mine)
        for (let time = 0; time < 2; time++) {
          assert.deepStrictEqual(yield* users.logout(caller, other.session_id), { session_id: other.session_id })
        }
        for (const id of [strangers.session_id, SessionId.make("00000000-0000-4000-8000-000000000000")]) {
          const refusal = yield* Effect.flip(users.logout(caller, id))
          assert.strictEqual(refusal.code, "2:opcf")
          assert.strictEqual(refusal.field, "session_id")
        }
        assert.deepStrictEqual([mine, other, strangers].map((grant) => worth(users, grant)), ["ok", "2:auth", "ok"])
      }))

    it.effect("of all others leaves the one that asks, and nobody else's", () =>
      Effect.gen(function*() {
        const users = yield* UserManager
        const auth = yield* newUser(users)
        const mine = yield* users.login(auth, device, peer)
        const others = [yield* users.login(auth, otherDevice, peer), yield* users.login(auth, device, peer)]
        const strangers = yield* users.login(yield* newUser(users), device, peer)
        const caller = yield* callerOf(users, mine)
        for (const sessions_ended of [2, 0]) {
          assert.deepStrictEqual(yield* users.logoutOthers(caller), { sessions_ended })
        }
        const all = [mine, ...others, strangers]
        assert.deepStrictEqual(all.map((grant) => worth(users, grant)), ["ok", "2:auth", "2:auth", "ok"])
      }))
  })

  describe("an interrupted request", () => {
    it.effect("has ended a session for good or not at all: memory and database agree", () =>
      Effect.gen(function*() {
        const users = yield* UserManager
        const auth = yield* newUser(users)
        const seen = new Set<string>()
        for (let turns = 0; turns < 12; turns++) {
          const grant = yield* users.login(auth, device, peer)
          const fiber = yield* Effect.forkChild(users.logout(yield* callerOf(users, grant)))
          for (let turn = 0; turn < turns; turn++) yield* Effect.promise(() => setImmediate())
          yield* Fiber.interrupt(fiber)
          assert.strictEqual(worth(users, grant), worth(yield* start(), grant))
          seen.add(worth(users, grant))
        }
        assert.isTrue(seen.has("2:auth"))
      }))
  })

  describe("change of password", () => {
    it.effect("defect 8: works, ends all other sessions, and leaves the one that asks as it is", () =>
      Effect.gen(function*() {
        const users = yield* UserManager
        const auth = yield* newUser(users)
        const kept = yield* users.login(auth, device, peer)
        const ended = yield* Effect.forEach([device, otherDevice], (device) => users.login(auth, device, peer))
        const answer = yield* users.changePassword({ ...auth, token: kept.token }, otherPassword, peer)
        assert.deepStrictEqual(answer, { username: auth.identity, sessions_ended: 2 })
        assert.deepStrictEqual([kept, ...ended].map((grant) => worth(users, grant)), ["ok", "2:auth", "2:auth"])
        assert.strictEqual(worth(users, yield* users.refresh(digestOf(kept), peer)), "ok")

        assert.strictEqual((yield* Effect.flip(users.login(auth, device, peer))).code, "2:auth")
        yield* users.login(authOf(auth.identity, otherPassword), device, peer)
      }))

    it.effect("keeps no session for a token that is forged, somebody else's, or dead", () =>
      Effect.gen(function*() {
        const users = yield* UserManager
        const auth = yield* newUser(users)
        const dead = yield* users.login(auth, device, peer)
        yield* users.logout(yield* callerOf(users, dead))
        const strangers = yield* users.login(yield* newUser(users), device, peer)
        const tokens = [undefined, AccessToken.make("forged"), strangers.token, dead.token]
        for (const token of tokens) {
          const grant = yield* users.login(auth, device, peer)
          const { sessions_ended } = yield* users.changePassword(
            token === undefined ? auth : { ...auth, token },
            auth.password,
            peer
          )
          assert.strictEqual(sessions_ended, 1)
          assert.strictEqual(worth(users, grant), "2:auth")
        }
        assert.strictEqual(worth(users, strangers), "ok")
      }))

    it.effect("keeps the session of a token that has only expired", () =>
      Effect.gen(function*() {
        const users = yield* UserManager
        const auth = yield* newUser(users)
        const grant = yield* users.login(auth, device, peer)
        yield* TestClock.adjust("20 minutes")
        const answer = yield* users.changePassword({ ...auth, token: grant.token }, otherPassword, peer)
        assert.strictEqual(answer.sessions_ended, 0)
        assert.strictEqual(worth(users, yield* users.refresh(digestOf(grant), peer)), "ok")
      }))

    it.effect("changes nothing without the right password", () =>
      Effect.gen(function*() {
        const users = yield* UserManager
        const auth = yield* newUser(users)
        const grant = yield* users.login(auth, device, peer)
        const wrong = { ...authOf(auth.identity, otherPassword), token: grant.token }
        assert.strictEqual((yield* Effect.flip(users.changePassword(wrong, otherPassword, peer))).code, "2:auth")
        assert.strictEqual(worth(users, grant), "ok")
        yield* users.login(auth, device, peer)
      }))
  })

  describe("deletion", () => {
    it.effect("takes the user and its sessions, and says what it took", () =>
      Effect.gen(function*() {
        const users = yield* UserManager
        const sql = yield* SqlClient
        const auth = yield* newUser(users)
        const grants = yield* Effect.forEach([device, otherDevice], (device) => users.login(auth, device, peer))
        yield* Effect.forEach(grants, (grant) => users.refresh(digestOf(grant, device), peer), { discard: true }).pipe(
          Effect.ignore
        )
        yield* sql`update users set bytes_used = 4096, files_used = 2 where username = ${auth.identity}`
        assert.deepStrictEqual(yield* users.deleteUser(auth, peer), {
          username: auth.identity,
          files_deleted: 2,
          bytes_deleted: 4096
        })
        assert.deepStrictEqual(grants.map((grant) => worth(users, grant)), ["2:auth", "2:auth"])
        for (const grant of grants) {
          assert.strictEqual((yield* Effect.flip(users.refresh(digestOf(grant), peer))).code, "2:auth")
        }
        assert.strictEqual((yield* Effect.flip(users.login(auth, device, peer))).code, "2:auth")
        assert.lengthOf(yield* sql`select from users where username = ${auth.identity}`, 0)
      }))

    it.effect("defect 36: with a wrong password, changes nothing", () =>
      Effect.gen(function*() {
        const users = yield* UserManager
        const auth = yield* newUser(users)
        const grant = yield* users.login(auth, device, peer)
        const wrong = authOf(auth.identity, otherPassword)
        assert.strictEqual((yield* Effect.flip(users.deleteUser(wrong, peer))).code, "2:auth")
        assert.strictEqual(worth(users, grant), "ok")
        assert.strictEqual(worth(users, yield* users.refresh(digestOf(grant), peer)), "ok")
      }))

    it.effect("defect 36: when it fails in the middle, changes nothing and leaves the sessions alive", () =>
      Effect.gen(function*() {
        const users = yield* UserManager
        const sql = yield* SqlClient
        const auth = yield* newUser(users)
        const grant = yield* users.login(auth, device, peer)
        yield* sql`create table obstacle (user_id bigint references users)`
        yield* sql`insert into obstacle select user_id from users where username = ${auth.identity}`
        assert.strictEqual((yield* Effect.flip(users.deleteUser(auth, peer))).code, "3:db")
        assert.strictEqual(worth(users, grant), "ok")
        assert.strictEqual(worth(yield* start(), grant), "ok")
        assert.strictEqual(worth(users, yield* users.refresh(digestOf(grant), peer)), "ok")
        yield* users.login(auth, device, peer)

        yield* sql`drop table obstacle`
        yield* users.deleteUser(auth, peer)
        assert.strictEqual(worth(users, grant), "2:auth")
      }))
  })

  describe("queries", () => {
    it.effect("tell a user what it has, with its own limits before the server's", () =>
      Effect.gen(function*() {
        const users = yield* start({ bytesPerUser: 1000, filesPerUser: 10 })
        const sql = yield* SqlClient
        const auth = yield* newUser(users)
        const caller = yield* callerOf(users, yield* users.login(auth, device, peer))
        const usual = { bytes_used: 0, bytes_limit: 1000, files_used: 0, files_limit: 10 }
        assert.deepStrictEqual(yield* users.queryStorage(caller), usual)
        const { created_at, ...rest } = yield* users.queryUser(caller)
        assert.deepStrictEqual(rest, { username: auth.identity, sessions: 1, ...usual })
        assert.strictEqual(created_at, new Date(yield* Clock.currentTimeMillis).toISOString())
        yield* sql`
          update users set bytes_limit = 0, files_limit = 5000000000, bytes_used = 5000000000, files_used = 4
          where username = ${auth.identity}`
        assert.deepStrictEqual(yield* users.queryStorage(caller), {
          bytes_used: 5000000000,
          bytes_limit: 0,
          files_used: 4,
          files_limit: 5000000000
        })
      }))

    it.effect("show only sessions that live", () =>
      Effect.gen(function*() {
        const users = yield* start({ refreshLifetime: Duration.hours(1) })
        const auth = yield* newUser(users)
        yield* users.login(auth, device, peer)
        const ended = yield* users.login(auth, device, peer)
        yield* users.logout(yield* callerOf(users, ended))
        yield* TestClock.adjust("1 hour")
        const current = yield* users.login(auth, device, peer)
        const caller = yield* callerOf(users, current)
        const { sessions } = yield* users.querySessions(caller)
        assert.deepStrictEqual(sessions.map((session) => session.session_id), [current.session_id])
        assert.strictEqual((yield* users.queryUser(caller)).sessions, 1)
      }))

    it.effect("refuse a user that another server has just deleted", () =>
      Effect.gen(function*() {
        const users = yield* UserManager
        const auth = yield* newUser(users)
        const caller = yield* callerOf(users, yield* users.login(auth, device, peer))
        yield* (yield* start()).deleteUser(auth, peer)
        assert.strictEqual((yield* Effect.flip(users.queryUser(caller))).code, "2:auth")
        assert.strictEqual((yield* Effect.flip(users.queryStorage(caller))).code, "2:auth")
      }))
  })
})
