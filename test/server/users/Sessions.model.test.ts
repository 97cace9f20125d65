/**
 * Random histories of logins, refreshes, lost replies, replays, logouts, changes of password, deletions, bans, restarts
 * and clock steps, against a model that is too simple to be wrong. After every step, every token ever given is tried.
 */
import { assert, it } from "@effect/vitest"
import { Clock, Effect, Layer, Result } from "effect"
import { TestClock } from "effect/testing"
import * as fc from "fast-check"
import type {
  AccessToken,
  DeviceId,
  Password,
  RefreshDigest,
  SessionId,
  Username
} from "../../../src/protocol/Identity.ts"
import type { Refusal } from "../../../src/protocol/Refusal.ts"
import type { SessionGrant } from "../../../src/protocol/Request.ts"
import type { UserManager } from "../../../src/server/UserManager.ts"
import type { UserAdmin } from "../../../src/server/users/UserAdmin.ts"
import { TestDatabase } from "../../support/TestDatabase.ts"
import { authOf, device, newName, otherDevice, otherPassword, password, peer, startWithAdmin } from "./accounts.ts"

const SECOND = 1000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR
const TOKEN_LIFETIME = 15 * MINUTE
const REFRESH_LIFETIME = 30 * DAY
const GRACE = 60 * SECOND

type Step =
  | { readonly _tag: "Login"; readonly user: number; readonly right: boolean; readonly device: DeviceId }
  | { readonly _tag: "Refresh"; readonly session: number; readonly back: number; readonly stolen: boolean }
  | { readonly _tag: "Logout"; readonly session: number; readonly target: number }
  | {
    readonly _tag: "ChangePassword"
    readonly user: number
    readonly right: boolean
    readonly keep: number | undefined
  }
  | { readonly _tag: "Delete"; readonly user: number; readonly right: boolean }
  | { readonly _tag: "Ban"; readonly user: number; readonly lasts: number | null }
  | { readonly _tag: "Unban"; readonly user: number }
  | { readonly _tag: "Tick"; readonly millis: number }
  | { readonly _tag: "Restart" }

const mostly = fc.integer({ min: 0, max: 7 }).map((n) => n > 0)
const rarely = mostly.map((value) => !value)
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      _tag: fc.constant("Login" as const),
      user: fc.nat(1),
      right: mostly,
      device: fc.constantFrom(device, otherDevice)
    })
  },
  {
    weight: 10,
    arbitrary: fc.record({
      _tag: fc.constant("Refresh" as const),
      session: fc.nat(20),
      back: fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, { weight: 3, arbitrary: fc.nat(3) }),
      stolen: rarely
    })
  },
  {
    weight: 2,
    arbitrary: fc.record({ _tag: fc.constant("Logout" as const), session: fc.nat(20), target: fc.nat(20) })
  },
  {
    weight: 1,
    arbitrary: fc.record({
      _tag: fc.constant("ChangePassword" as const),
      user: fc.nat(1),
      right: mostly,
      keep: fc.option(fc.nat(20), { nil: undefined })
    })
  },
  { weight: 1, arbitrary: fc.record({ _tag: fc.constant("Delete" as const), user: fc.nat(1), right: mostly }) },
  {
    weight: 1,
    arbitrary: fc.record({
      _tag: fc.constant("Ban" as const),
      user: fc.nat(1),
      lasts: fc.constantFrom(null, MINUTE, 20 * MINUTE, DAY)
    })
  },
  { weight: 1, arbitrary: fc.record({ _tag: fc.constant("Unban" as const), user: fc.nat(1) }) },
  {
    weight: 5,
    arbitrary: fc.record({
      _tag: fc.constant("Tick" as const),
      millis: fc.constantFrom(
        SECOND,
        GRACE - SECOND,
        GRACE,
        GRACE + SECOND,
        10 * MINUTE,
        20 * MINUTE,
        DAY,
        29 * DAY,
        -HOUR
      )
    })
  },
  { weight: 1, arbitrary: fc.record({ _tag: fc.constant("Restart" as const) }) }
)

interface ModelUser {
  /** Changes with a deletion: whoever comes after it is somebody else, and has nothing of what was there before. */
  name: Username
  password: Password
  /** An instant, in milliseconds; a clock that was set back may stand before the year 1970. */
  bannedUntil: number
}

const server = startWithAdmin({ accountGuesses: 1_000_000, deviceGuesses: 1_000_000 })

interface ModelSession {
  readonly user: ModelUser
  /** The user's name when it began. */
  readonly username: Username
  readonly device: DeviceId
  readonly id: SessionId
  /** In order of generation; all but the last are retired. */
  readonly digests: Array<{ readonly text: RefreshDigest; retiredAt: number | undefined }>
  readonly tokens: Array<{ readonly text: AccessToken; readonly expiresAt: number }>
  expiresAt: number
  endedAt: number | undefined
}

const at = <A>(list: ReadonlyArray<A>, index: number): A | undefined =>
  list.length === 0 ? undefined : list[index % list.length]

class History {
  private readonly people: ReadonlyArray<ModelUser>
  private readonly sessions: Array<ModelSession> = []
  private server: UserManager["Service"]
  private admin: UserAdmin["Service"]
  private latest = 0

  constructor({ admin, users }: Effect.Success<typeof server>, people: ReadonlyArray<ModelUser>) {
    this.server = users
    this.admin = admin
    this.people = people
  }

  readonly run = Effect.fnUntraced({ self: this }, function*(step: Step) {
    const now = yield* Clock.currentTimeMillis
    this.latest = Math.max(this.latest, now)
    switch (step._tag) {
      case "Login":
        yield* this.login(step, now)
        break
      case "Refresh":
        yield* this.refresh(step, now)
        break
      case "Logout":
        yield* this.logout(step, now)
        break
      case "ChangePassword":
        yield* this.changePassword(step, now)
        break
      case "Delete":
        yield* this.deleteUser(step, now)
        break
      case "Ban":
        yield* this.ban(step, now)
        break
      case "Unban":
        yield* this.unban(step, now)
        break
      case "Tick":
        // A clock may be set back, but not for a day and more.
        if (now + step.millis > this.latest - DAY / 2) yield* TestClock.setTime(now + step.millis)
        break
      case "Restart": {
        const { admin, users } = yield* server
        this.server = users
        this.admin = admin
        break
      }
    }
    this.check(yield* Clock.currentTimeMillis)
  })

  private check(now: number): void {
    for (const session of this.sessions) {
      for (const token of session.tokens) {
        const result = this.server.authenticate(token.text, peer.address)
        if (session.endedAt !== undefined) assert.isTrue(Result.isFailure(result), "a token of a session that ended")
        else if (now >= token.expiresAt) {
          assert.strictEqual(Result.isFailure(result) ? result.failure.code : "ok", "2:exp")
        } else {
          assert.isTrue(Result.isSuccess(result), "a token of a session that lives")
          if (Result.isSuccess(result)) {
            assert.strictEqual(result.success.username, session.user.name)
            assert.strictEqual(result.success.sessionId, session.id)
          }
        }
      }
    }
  }

  private refused(result: Result.Result<unknown, Refusal>, code: string): void {
    assert.strictEqual(Result.isFailure(result) ? result.failure.code : "granted", code)
  }

  private granted(result: Result.Result<SessionGrant, Refusal>): SessionGrant {
    if (Result.isFailure(result)) return assert.fail(`refused: ${result.failure.message}`)
    return result.success
  }

  private remember(session: ModelSession, grant: SessionGrant, now: number): void {
    assert.strictEqual(grant.session_id, session.id)
    assert.strictEqual(grant.refresh_expires_in_ms, session.expiresAt - now)
    session.tokens.push({ text: grant.token, expiresAt: Math.min(now + TOKEN_LIFETIME, session.expiresAt) })
  }

  private wrong(user: ModelUser): Password {
    return user.password === password ? otherPassword : password
  }

  private readonly login = Effect.fnUntraced(
    { self: this },
    function*(step: Extract<Step, { _tag: "Login" }>, now: number) {
      const user = at(this.people, step.user)
      if (user === undefined) return
      const secret = step.right ? user.password : this.wrong(user)
      const result = yield* Effect.result(this.server.login(authOf(user.name, secret), step.device, peer))
      if (!step.right || now < user.bannedUntil) return this.refused(result, "2:auth")
      const grant = this.granted(result)
      const session: ModelSession = {
        user,
        username: user.name,
        device: step.device,
        id: grant.session_id,
        digests: [{ text: grant.refresh_digest, retiredAt: undefined }],
        tokens: [],
        expiresAt: now + REFRESH_LIFETIME,
        endedAt: undefined
      }
      this.remember(session, grant, now)
      this.sessions.push(session)
    }
  )

  private readonly refresh = Effect.fnUntraced(
    { self: this },
    function*(step: Extract<Step, { _tag: "Refresh" }>, now: number) {
      const session = at(this.sessions, step.session)
      if (session === undefined) return
      const index = Math.max(0, session.digests.length - 1 - step.back)
      const digest = session.digests[index]
      // A digest that was used longer ago than it was good for may be forgotten already.
      if (digest === undefined || (digest.retiredAt !== undefined && now - digest.retiredAt >= REFRESH_LIFETIME)) return
      const from = step.stolen ? (session.device === device ? otherDevice : device) : session.device
      const result = yield* Effect.result(
        this.server.refresh({ refresh_digest: digest.text, device: from }, peer)
      )
      if (session.endedAt !== undefined || now >= session.expiresAt) return this.refused(result, "2:auth")
      if (step.stolen || (digest.retiredAt !== undefined && now - digest.retiredAt > GRACE)) {
        session.endedAt = now
        return this.refused(result, "2:auth")
      }
      const grant = this.granted(result)
      const successor = session.digests[index + 1]
      if (successor === undefined) {
        digest.retiredAt = now
        session.expiresAt = now + REFRESH_LIFETIME
        assert.isFalse(session.digests.some((other) => other.text === grant.refresh_digest))
        session.digests.push({ text: grant.refresh_digest, retiredAt: undefined })
      } else {
        assert.strictEqual(grant.refresh_digest, successor.text)
      }
      this.remember(session, grant, now)
    }
  )

  private readonly logout = Effect.fnUntraced(
    { self: this },
    function*(step: Extract<Step, { _tag: "Logout" }>, now: number) {
      const session = at(this.sessions, step.session)
      const target = at(this.sessions, step.target)
      const token = session?.tokens.at(-1)
      if (session === undefined || target === undefined || token === undefined) return
      const caller = this.server.authenticate(token.text, peer.address)
      // What is over for long may be forgotten already.
      if (Result.isFailure(caller) || (target.endedAt ?? target.expiresAt) < now - DAY) return
      const result = yield* Effect.result(this.server.logout(caller.success, target.id))
      if (target.username !== session.username) return this.refused(result, "2:opcf")
      assert.isTrue(Result.isSuccess(result))
      target.endedAt ??= now
    }
  )

  private readonly changePassword = Effect.fnUntraced(
    { self: this },
    function*(step: Extract<Step, { _tag: "ChangePassword" }>, now: number) {
      const user = at(this.people, step.user)
      if (user === undefined) return
      const kept = step.keep === undefined ? undefined : at(this.sessions, step.keep)
      const token = kept?.tokens[0]?.text
      const next = this.wrong(user)
      const auth = authOf(user.name, step.right ? user.password : next)
      const result = yield* Effect.result(
        this.server.changePassword(token === undefined ? auth : { ...auth, token }, next, peer)
      )
      if (!step.right || now < user.bannedUntil) return this.refused(result, "2:auth")
      user.password = next
      const ended = this.end((session) => session.user === user && session !== kept, now)
      assert.deepStrictEqual(result, Result.succeed({ username: user.name, sessions_ended: ended }))
    }
  )

  private readonly deleteUser = Effect.fnUntraced(
    { self: this },
    function*(step: Extract<Step, { _tag: "Delete" }>, now: number) {
      const user = at(this.people, step.user)
      if (user === undefined) return
      const auth = authOf(user.name, step.right ? user.password : this.wrong(user))
      const result = yield* Effect.result(this.server.deleteUser(auth, peer))
      if (!step.right || now < user.bannedUntil) return this.refused(result, "2:auth")
      assert.deepStrictEqual(result, Result.succeed({ username: user.name, files_deleted: 0, bytes_deleted: 0 }))
      this.end((session) => session.user === user, now)
      user.name = newName()
      user.bannedUntil = Number.NEGATIVE_INFINITY
      yield* this.server.register(authOf(user.name, user.password), peer)
    }
  )

  private readonly ban = Effect.fnUntraced(
    { self: this },
    function*(step: Extract<Step, { _tag: "Ban" }>, now: number) {
      const user = at(this.people, step.user)
      if (user === undefined) return
      yield* this.admin.ban({ username: user.name, reason: "a reason", lasts_ms: step.lasts })
      user.bannedUntil = step.lasts === null ? Number.POSITIVE_INFINITY : now + step.lasts
      this.end((session) => session.user === user, now)
    }
  )

  private readonly unban = Effect.fnUntraced(
    { self: this },
    function*(step: Extract<Step, { _tag: "Unban" }>, now: number) {
      const user = at(this.people, step.user)
      if (user === undefined) return
      const result = yield* Effect.result(this.admin.unban(user.name))
      if (now >= user.bannedUntil) return this.refused(result, "2:opcf")
      assert.isTrue(Result.isSuccess(result))
      user.bannedUntil = Number.NEGATIVE_INFINITY
    }
  )

  /** Ends sessions; how many of them lived. */
  private end(which: (session: ModelSession) => boolean, now: number): number {
    let lived = 0
    for (const session of this.sessions) {
      if (!which(session) || session.endedAt !== undefined) continue
      if (now < session.expiresAt) lived++
      session.endedAt = now
    }
    return lived
  }
}

const history = (steps: ReadonlyArray<Step>) =>
  Effect.scoped(Effect.gen(function*() {
    const started = yield* server
    const people = [newName(), newName()].map((name) => ({ name, password, bannedUntil: Number.NEGATIVE_INFINITY }))
    for (const person of people) yield* started.users.register(authOf(person.name), peer)
    const history = new History(started, people)
    for (const step of steps) yield* history.run(step)
  }))

it.layer(TestDatabase.pglite)("Sessions, against a model", (it) => {
  it.effect("no history lets a dead token live, a live one die, or a digest work twice", () =>
    Effect.gen(function*() {
      const run = Effect.runPromiseWith(yield* Effect.context<Layer.Success<typeof TestDatabase.pglite>>())
      yield* Effect.promise(() =>
        fc.assert(
          fc.asyncProperty(
            fc.array(step, { minLength: 5, maxLength: 30, size: "max" }),
            (steps) => run(history(steps))
          ),
          { numRuns: 30 }
        )
      )
    }), 300_000)
})
