import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { TestClock } from "effect/testing"
import { randomBytes } from "node:crypto"
import { RefreshDigest } from "../../../src/protocol/Identity.ts"
import type { SessionGrant } from "../../../src/protocol/Request.ts"
import { UserManager } from "../../../src/server/UserManager.ts"
import { TestDatabase } from "../../support/TestDatabase.ts"
import { device, digestOf, layer, newUser, otherDevice, peer, start, worth } from "./accounts.ts"

const accounts = layer().pipe(Layer.provideMerge(TestDatabase.pglite))

/** A session that has just begun. */
const begin = Effect.fnUntraced(function*(users: UserManager["Service"]) {
  return yield* users.login(yield* newUser(users), device, peer)
})

const refused = (users: UserManager["Service"], grant: SessionGrant, from = device) =>
  Effect.map(Effect.flip(users.refresh(digestOf(grant, from), peer)), (refusal) => refusal.code)

/** A session and all that it gave are dead. */
const ended = (users: UserManager["Service"], grants: ReadonlyArray<SessionGrant>) =>
  Effect.gen(function*() {
    assert.deepStrictEqual(
      grants.map((grant) => worth(users, grant)),
      grants.map(() => "2:auth"),
      "every access token of the session is dead"
    )
    for (const grant of grants) assert.strictEqual(yield* refused(users, grant), "2:auth")
  })

it.layer(accounts)("Sessions", (it) => {
  describe("refresh", () => {
    it.effect("gives a new digest and a new token of the same session, and begins its time anew", () =>
      Effect.gen(function*() {
        const users = yield* UserManager
        const one = yield* begin(users)
        yield* TestClock.adjust("10 days")
        const two = yield* users.refresh(digestOf(one), peer)
        assert.strictEqual(two.session_id, one.session_id)
        assert.strictEqual(two.username, one.username)
        assert.notStrictEqual(two.refresh_digest, one.refresh_digest)
        assert.strictEqual(two.refresh_expires_in_ms, one.refresh_expires_in_ms)
        assert.deepStrictEqual([one, two].map((grant) => worth(users, grant)), ["2:exp", "ok"])
        yield* TestClock.adjust("29 days")
        assert.strictEqual(worth(users, yield* users.refresh(digestOf(two), peer)), "ok")
      }))

    it.effect("is refused when the digest was not used for too long, and no replay is suspected", () =>
      Effect.gen(function*() {
        const users = yield* UserManager
        const grant = yield* begin(users)
        yield* TestClock.adjust(grant.refresh_expires_in_ms)
        assert.strictEqual(yield* refused(users, grant), "2:auth")
        const sql = yield* SqlClient
        const rows = yield* sql`select ended_at from sessions where session_id = ${grant.session_id}`
        assert.deepStrictEqual(rows, [{ ended_at: null }])
      }))

    it.effect("is refused with a digest that nobody was ever given, and nobody suffers", () =>
      Effect.gen(function*() {
        const users = yield* UserManager
        const grant = yield* begin(users)
        const unknown = { ...grant, refresh_digest: RefreshDigest.make(randomBytes(32).toString("base64url")) }
        assert.strictEqual(yield* refused(users, unknown), "2:auth")
        assert.strictEqual(worth(users, yield* users.refresh(digestOf(grant), peer)), "ok")
      }))

    it.effect("stores neither digests nor tokens nor passwords, but hashes of what must be recognised", () =>
      Effect.gen(function*() {
        const users = yield* UserManager
        const sql = yield* SqlClient
        const auth = yield* newUser(users)
        const one = yield* users.login(auth, device, peer)
        const two = yield* users.refresh(digestOf(one), peer)
        const rows = yield* sql`
          select to_jsonb(users)::text as stored from users
          union all select to_jsonb(sessions)::text from sessions
          union all select to_jsonb(retired_digests)::text from retired_digests
          union all select to_jsonb(revoked_sessions)::text from revoked_sessions`
        const stored = JSON.stringify(rows)
        assert.include(stored, auth.identity)
        for (const secret of [one.refresh_digest, two.refresh_digest, one.token, two.token, auth.password]) {
          for (const encoding of ["utf8", "base64", "base64url"] as const) {
            assert.notInclude(stored, secret)
            assert.notInclude(stored, Buffer.from(secret, encoding).toString("hex"))
          }
        }
      }))
  })

  describe("a lost reply", () => {
    it.effect("is answered with the same successor, and the session lives on", () =>
      Effect.gen(function*() {
        const users = yield* UserManager
        const one = yield* begin(users)
        const lost = yield* users.refresh(digestOf(one), peer)
        yield* TestClock.adjust("59 seconds")
        const again = yield* users.refresh(digestOf(one), { address: "203.0.113.9" })
        assert.strictEqual(again.refresh_digest, lost.refresh_digest)
        assert.strictEqual(again.refresh_expires_in_ms, lost.refresh_expires_in_ms - 59_000)
        assert.strictEqual(worth(users, again), "ok")
        assert.strictEqual(worth(users, yield* users.refresh(digestOf(again), peer)), "ok")
      }))

    it.effect("is answered with the same successor after a restart of the server", () =>
      Effect.gen(function*() {
        const users = yield* UserManager
        const one = yield* begin(users)
        const lost = yield* users.refresh(digestOf(one), peer)
        const restarted = yield* start()
        assert.strictEqual((yield* restarted.refresh(digestOf(one), peer)).refresh_digest, lost.refresh_digest)
      }))

    it.effect("does no harm when it arrives late, after its successor was used too", () =>
      Effect.gen(function*() {
        const users = yield* UserManager
        const one = yield* begin(users)
        const two = yield* users.refresh(digestOf(one), peer)
        const three = yield* users.refresh(digestOf(two), peer)
        assert.strictEqual((yield* users.refresh(digestOf(one), peer)).refresh_digest, two.refresh_digest)
        assert.strictEqual((yield* users.refresh(digestOf(two), peer)).refresh_digest, three.refresh_digest)
        assert.strictEqual(worth(users, yield* users.refresh(digestOf(three), peer)), "ok")
      }))

    it.effect("two hundred times at once gives one successor and no false logout", () =>
      Effect.gen(function*() {
        const users = yield* UserManager
        const one = yield* begin(users)
        const grants = yield* Effect.forEach(
          Array.from({ length: 200 }, () => one),
          (grant) => users.refresh(digestOf(grant), peer),
          { concurrency: "unbounded" }
        )
        assert.strictEqual(new Set(grants.map((grant) => grant.refresh_digest)).size, 1)
        assert.isTrue(grants.every((grant) => worth(users, grant) === "ok"))
      }))
  })

  describe("a replay", () => {
    it.effect("after the grace ends the session with all its tokens", () =>
      Effect.gen(function*() {
        const users = yield* UserManager
        const one = yield* begin(users)
        const two = yield* users.refresh(digestOf(one), peer)
        yield* TestClock.adjust("61 seconds")
        assert.strictEqual(yield* refused(users, one), "2:auth")
        yield* ended(users, [one, two])
        assert.strictEqual(worth(yield* start(), two), "2:auth")
      }))

    it.effect("is recognised however many generations ago the digest was used", () =>
      Effect.gen(function*() {
        const users = yield* UserManager
        const first = yield* begin(users)
        let last = first
        for (let generation = 0; generation < 12; generation++) {
          last = yield* users.refresh(digestOf(last), peer)
          yield* TestClock.adjust("1 day")
        }
        last = yield* users.refresh(digestOf(last), peer)
        assert.strictEqual(worth(users, last), "ok")
        assert.strictEqual(yield* refused(users, first), "2:auth")
        yield* ended(users, [last])
      }))

    it.effect("from another device ends the session even within the grace", () =>
      Effect.gen(function*() {
        const users = yield* UserManager
        const one = yield* begin(users)
        const two = yield* users.refresh(digestOf(one), peer)
        assert.strictEqual(yield* refused(users, one, otherDevice), "2:auth")
        yield* ended(users, [one, two])
      }))

    it.effect("of the current digest by another device ends the session: it has been stolen", () =>
      Effect.gen(function*() {
        const users = yield* UserManager
        const one = yield* begin(users)
        assert.strictEqual(yield* refused(users, one, otherDevice), "2:auth")
        yield* ended(users, [one])
      }))

    it.effect("ends no other session of the user", () =>
      Effect.gen(function*() {
        const users = yield* UserManager
        const auth = yield* newUser(users)
        const bystander = yield* users.login(auth, device, peer)
        const one = yield* users.login(auth, device, peer)
        assert.strictEqual(yield* refused(users, one, otherDevice), "2:auth")
        yield* ended(users, [one])
        assert.strictEqual(worth(users, bystander), "ok")
        assert.strictEqual(worth(users, yield* users.refresh(digestOf(bystander), peer)), "ok")
      }))
  })

  describe("signing keys", () => {
    it.effect("can be rotated: nobody is logged out, and a lost reply still finds its successor", () =>
      Effect.gen(function*() {
        const users = yield* UserManager
        const sql = yield* SqlClient
        const one = yield* begin(users)
        const lost = yield* users.refresh(digestOf(one), peer)
        const now = new Date(yield* Clock.currentTimeMillis)
        const [newest] = yield* sql<{ readonly key_id: number }>`select max(key_id) as key_id from signing_keys`
        const keyId = (newest?.key_id ?? 0) + 1
        yield* sql`update signing_keys set retired_at = ${now}`
        yield* sql`insert into signing_keys (key_id, secret, created_at) values (${keyId}, ${randomBytes(32)}, ${now})`

        const rotated = yield* start()
        assert.strictEqual(worth(rotated, lost), "ok")
        const again = yield* rotated.refresh(digestOf(one), peer)
        assert.strictEqual(again.refresh_digest, lost.refresh_digest)
        const next = yield* rotated.refresh(digestOf(again), peer)
        assert.deepStrictEqual([lost, again, next].map((grant) => worth(rotated, grant)), ["ok", "ok", "ok"])
        assert.strictEqual(worth(users, next), "2:auth", "a server that does not know the key accepts nothing")

        // The retired key is trusted until the last token that it signed has expired, and not a moment longer.
        const long = yield* start({ accessTokenLifetime: Duration.minutes(15) })
        yield* TestClock.adjust("15 minutes")
        assert.strictEqual(worth(long, lost), "2:auth")
        assert.strictEqual(worth(rotated, again), "2:exp")
      }))
  })

  it.effect("forgets what no session needs any more, and nothing else", () =>
    Effect.gen(function*() {
      const users = yield* UserManager
      const sql = yield* SqlClient
      const ended = yield* begin(users)
      yield* refused(users, ended, otherDevice)
      const abandoned = yield* begin(users)
      const kept = yield* begin(users)
      const ids = [ended, abandoned, kept].map((grant) => grant.session_id)
      const present = Effect.gen(function*() {
        const rows = yield* sql<{ readonly session_id: string }>`
          select session_id from sessions where session_id in ${sql.in(ids)}`
        return ids.map((id) => rows.some((row) => row.session_id === id))
      })
      /** Starts a server and waits for the last thing that its sweep deletes. */
      const sweep = Effect.gen(function*() {
        yield* sql`
          insert into retired_digests (digest_hash, session_id, key_id, retired_at)
          values (${randomBytes(32)}, ${kept.session_id}, 0, 'epoch'::timestamptz - interval '1 year')`
        yield* start()
        yield* Effect.repeat(
          sql`select from retired_digests where session_id = ${kept.session_id} and key_id = 0`,
          { until: (rows) => rows.length === 0 }
        )
      })
      yield* TestClock.adjust("6 days")
      yield* sweep
      assert.deepStrictEqual(yield* present, [true, true, true])
      yield* TestClock.adjust("2 days")
      const last = yield* users.refresh(digestOf(kept), peer)
      yield* sweep
      assert.deepStrictEqual(yield* present, [false, true, true])
      yield* TestClock.adjust("29 days")
      yield* users.refresh(digestOf(last), peer)
      yield* sweep
      assert.deepStrictEqual(yield* present, [false, true, true], "it expired seven days ago")
      yield* TestClock.adjust("1 day")
      yield* sweep
      assert.deepStrictEqual(yield* present, [false, false, true])
    }))
})
