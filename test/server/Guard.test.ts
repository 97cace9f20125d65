/** The rules about guessing (docs/protocol.md, section 8.1), each as a test against the real user manager. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Result } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { TestClock } from "effect/testing"
import { DeviceId, Password } from "../../src/protocol/Identity.ts"
import type { Refusal } from "../../src/protocol/Refusal.ts"
import { addressKey } from "../../src/server/guard/addressKey.ts"
import type { UserManager } from "../../src/server/UserManager.ts"
import { TestDatabase } from "../support/TestDatabase.ts"
import { authOf, callerOf, device, newName, newUser, otherPassword, peer, start } from "./users/accounts.ts"

type Users = UserManager["Service"]

const bounds = { accountGuesses: 3, deviceGuesses: 3, addressGuesses: 5 }

const stranger = DeviceId.make("a-device-never-seen")
const from = (address: string) => ({ ...peer, address })
let nextAddress = 0
/** An address that no other test has. */
const newPeer = () => from(`198.51.${nextAddress >> 8}.${nextAddress++ & 255}`)

const wrongly = (auth: { readonly identity: ReturnType<typeof newName> }) => authOf(auth.identity, otherPassword)

/** Logs in as a stranger; `ok`, or the code of the refusal. */
const outcome = (login: Effect.Effect<unknown, Refusal>): Effect.Effect<string> =>
  Effect.match(login, { onSuccess: () => "ok", onFailure: ({ code }) => code })

const guess = (users: Users, auth: ReturnType<typeof authOf>, times: number, at = newPeer) =>
  Effect.forEach(
    Array.from({ length: times }, () => at()),
    (peer) => outcome(users.login(wrongly(auth), stranger, peer)),
    { concurrency: "unbounded" }
  )

it.layer(TestDatabase.pglite)("guessing", (it) => {
  describe("at one account", () => {
    it.effect("makes strangers wait, twice as long each time, and lets them in when it is over", () =>
      Effect.gen(function*() {
        const users = yield* start(bounds)
        const auth = yield* newUser(users)
        assert.deepStrictEqual(yield* guess(users, auth, 3), ["2:auth", "2:auth", "2:auth"])
        for (const wait of [1000, 2000, 4000]) {
          assert.strictEqual(yield* outcome(users.login(auth, stranger, newPeer())), "2:auth", "the right password")
          yield* TestClock.adjust(wait - 1)
          assert.strictEqual(yield* outcome(users.login(auth, stranger, newPeer())), "2:auth", `${wait} ms`)
          yield* TestClock.adjust("1 millis")
          yield* guess(users, auth, 1)
        }
        yield* TestClock.adjust("8 seconds")
        assert.strictEqual(yield* outcome(users.login(auth, stranger, newPeer())), "ok")
      }))

    it.effect("never makes anybody wait longer than the longest wait, and is forgotten after a day", () =>
      Effect.gen(function*() {
        const users = yield* start(bounds)
        const auth = yield* newUser(users)
        for (let i = 0; i < 20; i++) {
          yield* guess(users, auth, 1)
          yield* TestClock.adjust("15 minutes")
        }
        assert.strictEqual(yield* outcome(users.login(auth, DeviceId.make("yet-another-device"), newPeer())), "ok")

        const other = yield* newUser(users)
        yield* guess(users, other, 3)
        yield* TestClock.adjust(24 * 3_600_000 + 1)
        assert.deepStrictEqual(yield* guess(users, other, 2), ["2:auth", "2:auth"])
        assert.strictEqual(yield* outcome(users.login(other, stranger, newPeer())), "ok", "the third is free again")
      }))

    it.effect("is cleared by a success", () =>
      Effect.gen(function*() {
        const users = yield* start(bounds)
        const auth = yield* newUser(users)
        const devices = [1, 2, 3, 4].map((index) => DeviceId.make(`new-device-${index}`))
        for (const device of devices) {
          yield* guess(users, auth, 2)
          assert.strictEqual(yield* outcome(users.login(auth, device, newPeer())), "ok")
        }
      }))

    it.effect("is counted in the database: a restart changes nothing", () =>
      Effect.gen(function*() {
        const auth = yield* Effect.scoped(Effect.gen(function*() {
          const users = yield* start(bounds)
          const auth = yield* newUser(users)
          yield* guess(users, auth, 3)
          return auth
        }))
        const users = yield* start(bounds)
        assert.strictEqual(yield* outcome(users.login(auth, stranger, newPeer())), "2:auth")
        yield* TestClock.adjust("1 second")
        assert.strictEqual(yield* outcome(users.login(auth, stranger, newPeer())), "ok")
      }))

    it.effect("by a burst of many at once gets no more tries than one after the other", () =>
      Effect.gen(function*() {
        const users = yield* start(bounds)
        const sql = yield* SqlClient
        const auth = yield* newUser(users)
        yield* guess(users, auth, 30)
        const rows = yield* sql<{ readonly failures: number }>`
          select failures from guesses where bucket = ${`account ${auth.identity.toLowerCase()}`}`
        assert.deepStrictEqual(rows.map(({ failures }) => failures), [bounds.accountGuesses])
      }))

    it.effect("never keeps its owner out on a device that has logged in before", () =>
      Effect.gen(function*() {
        const users = yield* start(bounds)
        const auth = yield* newUser(users)
        const grant = yield* users.login(auth, device, peer)
        for (let round = 0; round < 5; round++) {
          const flood = yield* Effect.forkChild(guess(users, auth, 50))
          assert.strictEqual(yield* outcome(users.login(auth, device, newPeer())), "ok")
          yield* Fiber.join(flood)
          assert.strictEqual(yield* outcome(users.login(auth, device, newPeer())), "ok")
        }
        const next = Password.make("a third password")
        const withToken = { ...auth, token: grant.token }
        assert.strictEqual(yield* outcome(users.changePassword(withToken, next, newPeer())), "ok")
      }))

    it.effect("on a device that it knows is counted on its own, told honestly, and does not touch strangers", () =>
      Effect.gen(function*() {
        const users = yield* start(bounds)
        const auth = yield* newUser(users)
        yield* users.login(auth, device, peer)
        for (let i = 0; i < 3; i++) {
          assert.strictEqual(yield* outcome(users.login(wrongly(auth), device, peer)), "2:auth")
        }
        const refusal = yield* Effect.flip(users.login(auth, device, peer))
        assert.strictEqual(refusal.code, "2:rlex")
        assert.strictEqual(refusal.retry_after_ms, 1000)
        assert.strictEqual(yield* outcome(users.login(auth, stranger, newPeer())), "ok")
        yield* TestClock.adjust("1 second")
        assert.strictEqual(yield* outcome(users.login(auth, device, peer)), "ok")
      }))

    it.effect("is not made cheaper by the device of another account, nor by somebody else's token", () =>
      Effect.gen(function*() {
        const users = yield* start(bounds)
        const [victim, attacker] = [yield* newUser(users), yield* newUser(users)]
        yield* users.login(victim, device, peer)
        const own = yield* users.login(attacker, stranger, peer)
        yield* guess(users, victim, 3)
        assert.strictEqual(yield* outcome(users.login(victim, stranger, newPeer())), "2:auth")
        const borrowed = { ...victim, token: own.token }
        assert.strictEqual(yield* outcome(users.changePassword(borrowed, otherPassword, newPeer())), "2:auth")
        assert.strictEqual(yield* outcome(users.deleteUser(borrowed, newPeer())), "2:auth")
      }))
  })

  describe("from one address", () => {
    it.effect("makes the address wait for every account alike, known or not, and says how long", () =>
      Effect.gen(function*() {
        const users = yield* start(bounds)
        const at = newPeer()
        const auth = yield* newUser(users)
        for (let i = 0; i < 5; i++) yield* Effect.flip(users.login(authOf(newName()), stranger, at))
        for (const any of [auth, authOf(newName())]) {
          const refusal = yield* Effect.flip(users.login(any, stranger, at))
          assert.strictEqual(refusal.code, "2:rlex")
          assert.strictEqual(refusal.retry_after_ms, 1000)
          assert.match(refusal.message, /from your address: try again in 1 s/)
        }
        assert.strictEqual(yield* outcome(users.login(auth, stranger, newPeer())), "ok", "from elsewhere")
      }))

    it.effect("is not cleared by a login to an account of the guesser's own", () =>
      Effect.gen(function*() {
        const users = yield* start(bounds)
        const at = newPeer()
        const own = yield* newUser(users)
        for (let i = 0; i < 5; i++) {
          assert.strictEqual(yield* outcome(users.login(authOf(newName()), stranger, at)), "2:auth")
          yield* users.login(own, DeviceId.make(`own-device-${i}`), i < 4 ? at : newPeer())
        }
        assert.strictEqual(yield* outcome(users.login(authOf(newName()), stranger, at)), "2:rlex")
      }))

    it("means one IPv4 address, or one IPv6 network of 64 bits, however it is written", () => {
      for (
        const [address, key] of [
          ["192.0.2.7", "192.0.2.7"],
          ["::ffff:192.0.2.7", "192.0.2.7"],
          ["::FFFF:192.0.2.7", "192.0.2.7"],
          ["2001:db8:0:1:aaaa::1", "2001:db8:0:1::/64"],
          ["2001:0DB8:0000:0001::2", "2001:db8:0:1::/64"],
          ["2001:db8::1", "2001:db8:0:0::/64"],
          ["fe80::1%eth0", "fe80:0:0:0::/64"],
          ["::1", "0:0:0:0::/64"],
          ["", ""]
        ] as const
      ) assert.strictEqual(addressKey(address), key, address)
    })
  })

  describe("answers", () => {
    it.effect("are the same for an unknown user, a wrong password, a banned and a locked-out one", () =>
      Effect.gen(function*() {
        const users = yield* start({ ...bounds, addressGuesses: 1000 })
        const sql = yield* SqlClient
        const [known, banned, locked] = [yield* newUser(users), yield* newUser(users), yield* newUser(users)]
        yield* sql`update users set banned_until = now() + interval '1 day' where username = ${banned.identity}`
        yield* guess(users, locked, 3)
        const answers = yield* Effect.forEach(
          [authOf(newName()), wrongly(known), banned, locked],
          (auth) => Effect.map(Effect.flip(users.login(auth, stranger, peer)), ({ body, code }) => ({ body, code }))
        )
        for (const answer of answers) assert.deepStrictEqual(answer, answers[0])
      }))
  })

  describe("registration", () => {
    it.effect("is limited per address, whatever comes of it", () =>
      Effect.gen(function*() {
        const users = yield* start({ addressRegistrations: 4 })
        const at = newPeer()
        const auth = authOf(newName())
        const codes = yield* Effect.forEach(
          [auth, auth, authOf(newName()), authOf(newName()), authOf(newName())],
          (auth) => outcome(users.register(auth, at))
        )
        assert.deepStrictEqual(codes, ["ok", "2:dup", "ok", "ok", "2:rlex"])
        assert.strictEqual(yield* outcome(users.register(authOf(newName()), newPeer())), "ok")
        yield* TestClock.adjust("1 second")
        assert.strictEqual(yield* outcome(users.register(authOf(newName()), at)), "ok")
      }))
  })

  it.effect("many logins of one owner at the same time all succeed", () =>
    Effect.gen(function*() {
      const users = yield* start(bounds)
      const auth = yield* newUser(users)
      const grants = yield* Effect.forEach(
        Array.from({ length: 20 }, (_, index) => DeviceId.make(`parallel-${index}`)),
        (device) => Effect.result(users.login(auth, device, peer)),
        { concurrency: "unbounded" }
      )
      for (const grant of grants) {
        if (Result.isFailure(grant)) return assert.fail(grant.failure.message)
        yield* callerOf(users, grant.success)
      }
    }))
})
