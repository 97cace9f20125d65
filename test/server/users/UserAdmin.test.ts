/** What an administrator does to accounts, on the real database: bans, codes, sessions, limits. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { TestClock } from "effect/testing"
import { DeviceId, InviteCode, Password } from "../../../src/protocol/Identity.ts"
import type { Refusal } from "../../../src/protocol/Refusal.ts"
import { type AdminHandlers } from "../../../src/server/admin/Handler.ts"
import { inviteCommands } from "../../../src/server/admin/handlers/invites.ts"
import { userCommands } from "../../../src/server/admin/handlers/users.ts"
import { defaults, ServerConfig, type ServerSettings } from "../../../src/server/ServerConfig.ts"
import { UserManager } from "../../../src/server/UserManager.ts"
import { InviteRepo } from "../../../src/server/users/InviteRepo.ts"
import { PasswordParameters } from "../../../src/server/users/PasswordHasher.ts"
import { UserAdmin } from "../../../src/server/users/UserAdmin.ts"
import { TestDatabase } from "../../support/TestDatabase.ts"
import {
  authOf,
  callerOf,
  cheap,
  device,
  digestOf,
  newName,
  newUser,
  otherDevice,
  otherPassword,
  password,
  peer,
  worth
} from "./accounts.ts"

type Admin = Pick<AdminHandlers, "ban" | "unban" | "bans" | "users show" | "users reset-password" | "users delete">

/** A server's users and their administrator. */
const start = (settings: Partial<ServerSettings> = {}) =>
  Effect.gen(function*() {
    const context = yield* Layer.build(Layer.fresh(
      Layer.mergeAll(UserManager.layer, UserAdmin.layer, InviteRepo.layer).pipe(
        Layer.provide(Layer.mergeAll(
          Layer.succeed(ServerConfig, { ...defaults, dataDir: "", addressRegistrations: 1_000_000, ...settings }),
          Layer.succeed(PasswordParameters, cheap)
        ))
      )
    ))
    const admin = yield* Effect.provide(userCommands, context)
    const invites = yield* Effect.provide(inviteCommands, context)
    return { users: Context.get(context, UserManager), admin, invites }
  })

const outcome = (effect: Effect.Effect<unknown, Refusal>): Effect.Effect<string> =>
  Effect.match(effect, { onSuccess: () => "ok", onFailure: ({ code }) => code })

const banned = (admin: Admin, username: ReturnType<typeof newName>, lasts_ms: number | null = null) =>
  admin.ban({ username, reason: "spam", lasts_ms })

it.layer(TestDatabase.pglite)("an administrator", (it) => {
  describe("who bans a user", () => {
    it.effect("ends its sessions at once, and keeps it from logging in, refreshing, and all that needs a password", () =>
      Effect.gen(function*() {
        const { admin, users } = yield* start()
        const auth = yield* newUser(users)
        const grant = yield* users.login(auth, device, peer)
        yield* users.login(auth, otherDevice, peer)
        const result = yield* banned(admin, auth.identity)
        assert.deepStrictEqual(result, { username: auth.identity, expires_at: null, sessions_ended: 2 })
        assert.strictEqual(worth(users, grant), "2:auth")
        for (
          const attempt of [
            users.refresh(digestOf(grant), peer),
            users.login(auth, device, peer),
            users.login(auth, DeviceId.make("another-device"), peer),
            users.changePassword(auth, otherPassword, peer),
            users.deleteUser(auth, peer)
          ]
        ) assert.strictEqual(yield* outcome(attempt), "2:auth")
        assert.strictEqual((yield* admin["users show"]({ username: auth.identity })).banned_until, null)
      }))

    it.effect("for a time lets it in when that is over, by the server's clock, without anybody's doing", () =>
      Effect.gen(function*() {
        const { admin, users } = yield* start()
        const auth = yield* newUser(users)
        yield* users.login(auth, device, peer)
        yield* banned(admin, auth.identity, 3_600_000)
        yield* TestClock.adjust(3_599_999)
        assert.strictEqual(yield* outcome(users.login(auth, device, peer)), "2:auth")
        yield* TestClock.adjust(1)
        assert.strictEqual(yield* outcome(users.login(auth, device, peer)), "ok")
        assert.deepStrictEqual(yield* admin.bans({ username: auth.identity, all: false }), { bans: [] })
        assert.isUndefined((yield* admin["users show"]({ username: auth.identity })).banned_until)
        assert.strictEqual(
          yield* outcome(admin.unban({ username: auth.identity })),
          "2:opcf",
          "there is nothing to lift"
        )
      }))

    it.effect("may lift it, or replace it, and finds all of it in the history, of a deleted user too", () =>
      Effect.gen(function*() {
        const { admin, users } = yield* start()
        const auth = yield* newUser(users)
        const username = auth.identity
        yield* banned(admin, username, 1000)
        yield* admin.ban({ username, reason: "more spam", lasts_ms: null })
        assert.deepStrictEqual((yield* admin.bans({ username, all: false })).bans.map(({ reason }) => reason), [
          "more spam"
        ])
        yield* admin.unban({ username })
        assert.strictEqual(yield* outcome(users.login(auth, device, peer)), "ok")
        const deleted = yield* users.deleteUser(auth, peer)
        assert.strictEqual(deleted.username, username, "a history of bans does not hinder the deletion")
        const { bans } = yield* admin.bans({ username, all: true })
        assert.deepStrictEqual(bans.map(({ active, reason }) => ({ active, reason })), [
          { active: false, reason: "more spam" },
          { active: false, reason: "spam" }
        ])
      }))

    it.effect("can still delete it, and leaves the name to whoever comes next, unbanned", () =>
      Effect.gen(function*() {
        const { admin, users } = yield* start()
        const auth = yield* newUser(users)
        yield* banned(admin, auth.identity)
        yield* admin["users delete"]({ username: auth.identity })
        assert.deepStrictEqual(yield* admin.bans({ username: auth.identity, all: false }), { bans: [] })
        yield* users.register(auth, peer)
        assert.strictEqual(yield* outcome(users.login(auth, device, peer)), "ok")
      }))

    it.effect("during many logins leaves none of them alive", () =>
      Effect.gen(function*() {
        const { admin, users } = yield* start()
        const auth = yield* newUser(users)
        yield* users.login(auth, device, peer)
        const [, ...logins] = yield* Effect.all([
          Effect.andThen(Effect.yieldNow, banned(admin, auth.identity)),
          ...Array.from({ length: 12 }, () => Effect.result(users.login(auth, device, peer)))
        ], { concurrency: "unbounded" })
        for (const login of logins) {
          if (login._tag === "Success") assert.strictEqual(worth(users, login.success), "2:auth")
        }
      }))
  })

  describe("who resets a password", () => {
    it.effect("hands out a code that sets a new one, once, in any case of its letters, and ends all sessions", () =>
      Effect.gen(function*() {
        const { admin, users } = yield* start()
        const auth = yield* newUser(users)
        const before = yield* users.login(auth, device, peer)
        const { code } = yield* admin["users reset-password"]({ username: auth.identity, lasts_ms: 60_000 })
        assert.match(code, /^([0-9A-Z]{5}-){3}[0-9A-Z]{5}$/)
        assert.strictEqual(worth(users, before), "ok", "a code that nobody used changes nothing")
        const byCode = authOf(auth.identity, Password.make(code.toLowerCase().replaceAll("-", " ")))
        assert.strictEqual(yield* outcome(users.login(byCode, device, peer)), "2:auth", "it is no password")
        assert.deepStrictEqual(yield* users.changePassword(byCode, otherPassword, peer), {
          username: auth.identity,
          sessions_ended: 1
        })
        assert.strictEqual(worth(users, before), "2:auth")
        assert.strictEqual(yield* outcome(users.login(authOf(auth.identity, otherPassword), device, peer)), "ok")
        assert.strictEqual(yield* outcome(users.changePassword(byCode, password, peer)), "2:auth", "once")
      }))

    it.effect("replaces the code before, and neither outlives its time, a change of the password, nor serves another", () =>
      Effect.gen(function*() {
        const { admin, users } = yield* start()
        const [auth, other] = [yield* newUser(users), yield* newUser(users)]
        const reset = (lasts_ms = 60_000) =>
          Effect.map(
            admin["users reset-password"]({ username: auth.identity, lasts_ms }),
            ({ code }) => authOf(auth.identity, Password.make(code))
          )
        const first = yield* reset()
        const second = yield* reset()
        assert.strictEqual(yield* outcome(users.changePassword(first, otherPassword, peer)), "2:auth")
        const elsewhere = authOf(other.identity, second.password)
        assert.strictEqual(yield* outcome(users.changePassword(elsewhere, otherPassword, peer)), "2:auth")
        yield* TestClock.adjust("1 minute")
        assert.strictEqual(yield* outcome(users.changePassword(second, otherPassword, peer)), "2:auth")
        const third = yield* reset()
        yield* users.changePassword(auth, otherPassword, peer)
        assert.strictEqual(yield* outcome(users.changePassword(third, password, peer)), "2:auth")
      }))

    it.effect("lets in an owner whom strangers have locked out", () =>
      Effect.gen(function*() {
        const { admin, users } = yield* start({ accountGuesses: 2 })
        const auth = yield* newUser(users)
        const wrong = authOf(auth.identity, otherPassword)
        for (let i = 0; i < 3; i++) yield* outcome(users.login(wrong, device, peer))
        assert.strictEqual(yield* outcome(users.login(auth, device, peer)), "2:auth")
        const { code } = yield* admin["users reset-password"]({ username: auth.identity, lasts_ms: 60_000 })
        yield* users.changePassword(authOf(auth.identity, Password.make(code)), otherPassword, peer)
        assert.strictEqual(yield* outcome(users.login(authOf(auth.identity, otherPassword), device, peer)), "ok")
      }))

    it.effect("of a banned user does not let it in", () =>
      Effect.gen(function*() {
        const { admin, users } = yield* start()
        const auth = yield* newUser(users)
        const { code } = yield* admin["users reset-password"]({ username: auth.identity, lasts_ms: 60_000 })
        yield* banned(admin, auth.identity)
        const byCode = authOf(auth.identity, Password.make(code))
        assert.strictEqual(yield* outcome(users.changePassword(byCode, otherPassword, peer)), "2:auth")
      }))
  })

  describe("who invites", () => {
    it.effect("gives as many registrations as it says, also when many try at once, and none is lost to a taken name", () =>
      Effect.gen(function*() {
        const { invites, users } = yield* start({ registration: "invite" })
        const { code } = yield* invites["invites create"]({ uses: 3, lasts_ms: null })
        const invite = InviteCode.make(code.toLowerCase())
        const taken = authOf(newName())
        yield* users.register(taken, peer, invite)
        assert.strictEqual(yield* outcome(users.register(taken, peer, invite)), "2:dup")
        const codes = yield* Effect.forEach(
          Array.from({ length: 6 }, () => authOf(newName())),
          (auth) => outcome(users.register(auth, peer, invite)),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(codes.toSorted(), ["2:reg", "2:reg", "2:reg", "2:reg", "ok", "ok"])
        const refusal = yield* Effect.flip(users.register(authOf(newName()), peer, invite))
        assert.strictEqual(refusal.field, "invite")
      }))

    it.effect("can revoke it; it ends by itself; and without one nobody registers", () =>
      Effect.gen(function*() {
        const { invites, users } = yield* start({ registration: "invite" })
        const create = Effect.map(invites["invites create"]({ uses: 1, lasts_ms: 1000 }), ({ code, invite_id }) => ({
          invite: InviteCode.make(code),
          invite_id
        }))
        const register = (invite?: InviteCode) => outcome(users.register(authOf(newName()), peer, invite))
        const [one, two] = [yield* create, yield* create]
        assert.deepStrictEqual(
          (yield* invites["invites list"]({})).invites.slice(-2).map(({ invite_id }) => invite_id),
          [
            one.invite_id,
            two.invite_id
          ]
        )
        yield* invites["invites revoke"]({ invite_id: one.invite_id })
        assert.strictEqual(yield* register(one.invite), "2:reg")
        yield* TestClock.adjust(1000)
        assert.strictEqual(yield* register(two.invite), "2:reg")
        assert.strictEqual(yield* register(), "2:reg")
        assert.strictEqual(yield* register(InviteCode.make("no-such-invitation")), "2:reg")
        assert.strictEqual(yield* outcome(invites["invites revoke"]({ invite_id: one.invite_id })), "2:opcf")
      }))
  })

  it.effect("keeps no code where it could be read again", () =>
    Effect.gen(function*() {
      const { admin, invites, users } = yield* start()
      const sql = yield* SqlClient
      const auth = yield* newUser(users)
      const reset = yield* admin["users reset-password"]({ username: auth.identity, lasts_ms: 60_000 })
      const invite = yield* invites["invites create"]({ uses: 1, lasts_ms: null })
      const rows = yield* sql`select to_jsonb(i)::text as row from invites i union all
        select to_jsonb(r)::text from password_resets r`
      const text = JSON.stringify(rows)
      for (const code of [reset.code, invite.code]) {
        assert.notInclude(text, code)
        assert.notInclude(text, code.replaceAll("-", ""))
      }
      yield* callerOf(users, yield* users.login(auth, device, peer))
    }))
})
