import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Option } from "effect"
import { TestClock } from "effect/testing"
import * as fc from "fast-check"
import { arrivals, connected, fileInfo, grant, loggedIn, login, password } from "../support/ScriptedClient.ts"
import type { Received, Reply, Script } from "../support/ScriptedServer.ts"

const expired: Reply = { code: "2:exp", body: { message: "the token has expired" } }
const storage: Reply = {
  code: "1:qa",
  body: { bytes_used: 1, bytes_limit: 2, files_used: 3, files_limit: 4 }
}

/** Takes tokens of `grant(number)` only. */
const forToken = (number: () => number, reply: Reply) => (request: Received): Reply =>
  request.auth["token"] === `token-${number()}` ? reply : expired

describe("Session", () => {
  it.live("asks nothing of a server that needs a session while there is none", () =>
    Effect.gen(function*() {
      const { client, server } = yield* connected({})
      assert.strictEqual((yield* Effect.flip(client.queryStorage))._tag, "NotLoggedIn")
      assert.strictEqual((yield* Effect.flip(client.refresh))._tag, "NotLoggedIn")
      assert.isTrue(Option.isNone(yield* client.session))
      assert.strictEqual(server.requests.length, 0)
    }))

  it.live("logs in, and proves every request with the token", () =>
    Effect.gen(function*() {
      const { client, server } = yield* connected({ Login: login, QueryStorage: forToken(() => 1, storage) })
      const session = yield* client.login("alice", password)
      assert.deepStrictEqual(yield* client.session, Option.some(session))
      assert.deepStrictEqual(server.requests[0]?.auth, { identity: "alice", password: "correct horse" })
      assert.strictEqual((yield* client.queryStorage).bytes_used, 1)
    }))

  it.live("refuses a user name or password that cannot be one, before it is sent", () =>
    Effect.gen(function*() {
      const { client, server } = yield* connected({})
      const error = yield* Effect.flip(client.login("a b", password))
      assert.match(error.message, /^identity: .*user name/)
      assert.strictEqual(server.requests.length, 0)
    }))

  it.live("refreshes once for all requests that meet an expired token", () =>
    Effect.gen(function*() {
      const { client, server } = yield* loggedIn({
        QueryStorage: forToken(() => 2, storage),
        Refresh: () => ({ code: "1:ref", body: grant(2) })
      })
      yield* Effect.forEach(Array(20), () => client.queryStorage, { concurrency: "unbounded" })
      assert.strictEqual(server.count("Refresh"), 1)
    }))

  it.effect("refreshes before the token ends", () =>
    Effect.gen(function*() {
      const { client, server } = yield* loggedIn({
        QueryStorage: () => storage,
        Refresh: () => ({ code: "1:ref", body: grant(2) })
      })
      yield* TestClock.adjust("569 seconds")
      yield* client.queryStorage
      assert.strictEqual(server.count("Refresh"), 0)
      yield* TestClock.adjust("2 seconds")
      yield* client.queryStorage
      yield* client.queryStorage
      assert.strictEqual(server.count("Refresh"), 1)
      assert.deepStrictEqual(server.requests.at(-1)?.auth, { token: "token-2" })
    }))

  it.live("asks again with the same digest when the reply to a refresh is lost", () =>
    Effect.gen(function*() {
      const { client, server } = yield* loggedIn({
        Refresh: ({ peer }) => {
          if (server.count("Refresh") === 1) return void peer.socket.destroy()
          return { code: "1:ref", body: grant(2) }
        }
      })
      yield* client.refresh
      const proofs = server.requests.filter(({ name }) => name === "Refresh").map(({ auth }) => auth)
      assert.strictEqual(proofs.length, 2)
      assert.deepStrictEqual(proofs[0], proofs[1])
    }))

  it.live("goes on refreshing for the others when one of them is interrupted", () =>
    Effect.gen(function*() {
      const refreshes = arrivals<"Refresh">()
      const { client, server } = yield* loggedIn({
        QueryStorage: forToken(() => 2, storage),
        Refresh: refreshes.script
      })
      const first = yield* Effect.forkChild(client.queryStorage)
      const refresh = yield* refreshes.next
      const second = yield* Effect.forkChild(client.queryStorage)
      yield* Fiber.interrupt(first)
      refresh.reply({ code: "1:ref", body: grant(2) })
      assert.strictEqual((yield* Fiber.join(second)).files_used, 3)
      assert.strictEqual(server.count("Refresh"), 1)
    }))

  it.live("ends when the server does not know it any more", () =>
    Effect.gen(function*() {
      const gone: Reply = { code: "2:auth", body: { message: "the session has ended: log in again" } }
      for (const script of [{ QueryStorage: () => gone }, { QueryStorage: () => expired, Refresh: () => gone }]) {
        const { client } = yield* loggedIn(script)
        const error = yield* Effect.flip(client.queryStorage)
        assert.strictEqual(error.message, "the session has ended: log in again")
        assert.strictEqual((yield* Effect.flip(client.queryStorage))._tag, "NotLoggedIn")
      }
    }))

  it.live("lives on when a refresh fails for the server's reasons", () =>
    Effect.gen(function*() {
      let busy = true
      const { client } = yield* loggedIn({
        QueryStorage: forToken(() => 2, storage),
        Refresh: () => busy ? { code: "3:db", body: { message: "no database" } } : { code: "1:ref", body: grant(2) }
      })
      assert.strictEqual((yield* Effect.flip(client.queryStorage)).message, "no database")
      busy = false
      yield* client.queryStorage
    }))

  it.live("ends with a logout of its own, not with that of another", () =>
    Effect.gen(function*() {
      const other = "00000000-0000-4000-8000-000000000002"
      const { client } = yield* loggedIn({
        Logout: ({ body }) => ({ code: "1:bye", body: { session_id: body.session_id ?? grant(1).session_id } }),
        QuerySessions: () => ({
          code: "1:qa",
          body: {
            sessions: [{
              session_id: other,
              device: "device-2",
              address: "127.0.0.1",
              created_at: fileInfo("a").created_at,
              last_seen_at: fileInfo("a").created_at,
              expires_at: fileInfo("a").created_at,
              current: false
            }]
          }
        })
      })
      const { sessions: [session] } = yield* client.querySessions
      yield* client.logout(session?.session_id)
      assert.isTrue(Option.isSome(yield* client.session))
      yield* client.logout()
      assert.isTrue(Option.isNone(yield* client.session))
    }))

  it.live("names itself when it changes the password, and lives on", () =>
    Effect.gen(function*() {
      const { client, server } = yield* loggedIn({
        ChangePassword: () => ({ code: "1:pw", body: { username: "alice", sessions_ended: 2 } })
      })
      yield* client.changePassword(password, password)
      assert.deepStrictEqual(server.requests.at(-1)?.auth, {
        identity: "alice",
        password: "correct horse",
        token: "token-1"
      })
      assert.isTrue(Option.isSome(yield* client.session))
    }))

  it.live("survives any order of expiry and loss without ever using a digest twice too often", () =>
    Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(
          fc.array(
            fc.record({
              expires: fc.boolean(),
              losesRefresh: fc.boolean(),
              losesRequest: fc.boolean(),
              requests: fc.integer({ min: 1, max: 5 })
            }),
            { minLength: 1, maxLength: 6 }
          ),
          (steps) => Effect.runPromise(Effect.scoped(survives(steps)))
        ),
        { numRuns: 15 }
      )
    ))
})

interface Step {
  readonly expires: boolean
  readonly losesRefresh: boolean
  readonly losesRequest: boolean
  readonly requests: number
}

/** A server that rotates for real: the current digest has one successor, the one before gives the same again. */
const survives = Effect.fnUntraced(function*(steps: ReadonlyArray<Step>) {
  let generation = 1
  let alive = 1
  let rotations = 0
  let loseRefresh = false
  let loseRequest = false
  const replays: Array<unknown> = []
  const script: Script = {
    QueryStorage: (request) => {
      if (loseRequest) {
        loseRequest = false
        return void request.peer.socket.destroy()
      }
      return forToken(() => alive, storage)(request)
    },
    Refresh: ({ auth, peer }) => {
      if (auth["refresh_digest"] === grant(generation).refresh_digest) {
        generation += 1
        rotations += 1
      } else if (auth["refresh_digest"] !== grant(generation - 1).refresh_digest) {
        replays.push(auth)
      }
      alive = generation
      if (loseRefresh) {
        loseRefresh = false
        return void peer.socket.destroy()
      }
      return { code: "1:ref", body: grant(generation) }
    }
  }
  const { client } = yield* loggedIn(script)
  let expiries = 0
  for (const step of steps) {
    if (step.expires) {
      alive = 0
      expiries += 1
    }
    loseRefresh = step.expires && step.losesRefresh
    loseRequest = step.losesRequest
    yield* Effect.forEach(Array(step.requests), () => client.queryStorage, { concurrency: "unbounded" })
  }
  assert.deepStrictEqual(replays, [])
  assert.strictEqual(rotations, expiries)
})
