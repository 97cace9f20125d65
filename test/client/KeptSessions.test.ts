/** Sessions that outlive the client: taken up by the next one, renewed by one of several, and never used twice. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Option, Scope } from "effect"
import { readFile, rm, stat, writeFile } from "node:fs/promises"
import { join } from "node:path"
import type { ClientOptions } from "../../src/client/FipClient.ts"
import { connect, connected, grant, password } from "../support/ScriptedClient.ts"
import type { Received, Reply, Script } from "../support/ScriptedServer.ts"

const storage: Reply = { code: "1:qa", body: { bytes_used: 1, bytes_limit: 2, files_used: 3, files_limit: 4 } }
const over: Reply = { code: "2:auth", body: { message: "the session has ended: log in again" } }

/** A server with one session: its digests are good once, and the second use of one ends the session. */
const oneSession = (tokenLifetimeMillis = 600_000) => {
  let number = 1
  let ended = false
  const script: Script = {
    Login: () => ({ code: "1:auth", body: grant(number, tokenLifetimeMillis) }),
    Refresh: ({ auth }: Received) => {
      if (ended || auth["refresh_digest"] !== grant(number).refresh_digest) {
        ended = true
        return over
      }
      number++
      return { code: "1:ref", body: grant(number, tokenLifetimeMillis) }
    },
    QueryStorage: () => ended ? over : storage,
    Logout: () => {
      ended = true
      return { code: "1:bye", body: { session_id: grant(1).session_id } }
    }
  }
  return { script, isOver: () => ended, end: () => void (ended = true) }
}

/** A client that has logged in and keeps its session; and the way to others like it. */
const keeping = Effect.fnUntraced(function*(script: Script) {
  const first = yield* connected(script)
  const options: ClientOptions = {
    host: "127.0.0.1",
    port: first.server.port,
    knownHosts: join(first.folder, "known_hosts"),
    stateFolder: join(first.folder, "state"),
    takeUpSession: {}
  }
  const sessions = join(first.folder, "state", "sessions")
  const file = join(sessions, `alice@127.0.0.1:${first.server.port}.json`)
  yield* first.client.login("alice", password)
  yield* first.client.keepSession
  const another = (more: Partial<ClientOptions> = {}) => connect({ ...options, ...more })
  return { ...first, another, file, sessions }
})

const change = (file: string, values: Readonly<Record<string, unknown>>) =>
  Effect.promise(async () => {
    await writeFile(file, JSON.stringify({ ...JSON.parse(await readFile(file, "utf8")), ...values }))
  })

const isKept = (file: string) => Effect.promise(() => stat(file).then(() => true, () => false))

describe("a session that is kept", () => {
  it.live("serves the next client without a login and without a refresh", () =>
    Effect.gen(function*() {
      const { another, client, server } = yield* keeping(oneSession().script)
      assert.isTrue(Option.exists(yield* client.session, ({ kept, username }) => kept && username === "alice"))
      const next = yield* another()
      assert.deepStrictEqual(yield* next.session, yield* client.session)
      yield* next.queryStorage
      assert.strictEqual(server.count("Login"), 1)
      assert.strictEqual(server.count("Refresh"), 0)
    }))

  it.live("is for its owner's eyes only, and holds no password", () =>
    Effect.gen(function*() {
      const { file, sessions } = yield* keeping(oneSession().script)
      assert.strictEqual((yield* Effect.promise(() => stat(file))).mode & 0o777, 0o600)
      assert.strictEqual((yield* Effect.promise(() => stat(sessions))).mode & 0o777, 0o700)
      assert.notInclude(yield* Effect.promise(() => readFile(file, "utf8")), "correct horse")
    }))

  it.live("is renewed once by many clients that find its token ended", () =>
    Effect.gen(function*() {
      const { script, isOver } = oneSession(0)
      const { another, server } = yield* keeping(script)
      // Every token has ended when it arrives: each client renews before each request, at the same moment as others.
      yield* Effect.forEach(
        Array(8),
        () => Effect.scoped(Effect.flatMap(another(), (client) => client.queryStorage)),
        { concurrency: "unbounded" }
      )
      assert.isFalse(isOver(), "a digest was used twice")
      assert.isAtLeast(server.count("Refresh"), 8)
      assert.strictEqual(server.count("Login"), 1)
    }))

  it.live("of which another process has new tokens goes on with those", () =>
    Effect.gen(function*() {
      const { script, isOver } = oneSession()
      const { another, client, server } = yield* keeping(script)
      const next = yield* another()
      yield* client.refresh
      // The next one's digest has been used by now; its refresh finds what came of it.
      yield* next.refresh
      assert.strictEqual(server.count("Refresh"), 1)
      yield* next.refresh
      assert.strictEqual(server.count("Refresh"), 2)
      yield* client.refresh
      assert.strictEqual(server.count("Refresh"), 2)
      assert.isFalse(isOver())
    }))

  it.live("is forgotten when it is ended, and when the server says that it has ended", () =>
    Effect.gen(function*() {
      const first = yield* keeping(oneSession().script)
      yield* first.client.logout()
      assert.isFalse(yield* isKept(first.file))
      const { end, script } = oneSession()
      const second = yield* keeping(script)
      const next = yield* second.another()
      end()
      assert.strictEqual((yield* Effect.flip(next.queryStorage))._tag, "Refusal")
      assert.isFalse(yield* isKept(second.file))
      assert.isTrue(Option.isNone(yield* next.session))
    }))

  it.live("that another process has ended is not renewed", () =>
    Effect.gen(function*() {
      const { another, client, server } = yield* keeping(oneSession().script)
      const next = yield* another()
      yield* client.logout()
      assert.include((yield* Effect.flip(next.refresh)).message, "log in again")
      assert.strictEqual(server.count("Refresh"), 0)
      assert.isTrue(Option.isNone(yield* next.session))
    }))

  it.live("that has ended meanwhile is said, and nobody is logged in then", () =>
    Effect.gen(function*() {
      const { end, script } = oneSession(0)
      const { another, file } = yield* keeping(script)
      end()
      const notices: Array<string> = []
      const next = yield* another({ onNotice: (notice) => notices.push(notice) })
      assert.isTrue(Option.isNone(yield* next.session))
      assert.match(notices.join(), /session of alice .* has ended: log in again/)
      assert.isFalse(yield* isKept(file))
    }))

  it.live("is told to no server that is met for the first time, or trusted blindly", () =>
    Effect.gen(function*() {
      const { another, folder } = yield* keeping(oneSession().script)
      const blind = yield* another({ blindTrust: true })
      assert.isTrue(Option.isNone(yield* blind.session))
      yield* Effect.promise(() => rm(join(folder, "known_hosts")))
      const met = yield* another()
      assert.isTrue(Option.isNone(yield* met.session))
      // From now on it is known.
      assert.isTrue(Option.isSome(yield* (yield* another()).session))
    }))

  it.live("is left alone by another device, whose use of it would end it", () =>
    Effect.gen(function*() {
      const { script, isOver } = oneSession(0)
      const { another, folder } = yield* keeping(script)
      yield* Effect.promise(() => rm(join(folder, "device")))
      assert.isTrue(Option.isNone(yield* (yield* another()).session))
      assert.isFalse(isOver())
    }))

  it.live("is not renewed with the digest of another device, which has taken its place", () =>
    Effect.gen(function*() {
      const { client, file, server } = yield* keeping(oneSession().script)
      yield* change(file, { device: "of another one" })
      assert.include((yield* Effect.flip(client.refresh)).message, "log in again")
      assert.strictEqual(server.count("Refresh"), 0)
      assert.isTrue(yield* isKept(file))
    }))

  it.live("stays when a session is ended whose place it has taken", () =>
    Effect.gen(function*() {
      const { client, file } = yield* keeping(oneSession().script)
      yield* change(file, { session_id: "00000000-0000-4000-8000-000000000002" })
      yield* client.logout()
      assert.isTrue(yield* isKept(file))
    }))

  it.live("from the future is renewed: the clock was set, and nobody knows how old it is", () =>
    Effect.gen(function*() {
      const { another, file, server } = yield* keeping(oneSession().script)
      const later = Date.now() + 3_600_000
      yield* change(file, { received_at: later, token_expires_at: later + 600_000 })
      assert.isTrue(Option.isSome(yield* (yield* another()).session))
      assert.strictEqual(server.count("Refresh"), 1)
    }))

  it.live("is of the user who is named, or of whoever logged in last", () =>
    Effect.gen(function*() {
      const { another } = yield* keeping(oneSession().script)
      assert.isTrue(Option.isNone(yield* (yield* another({ takeUpSession: { username: "bob_jones" } })).session))
      assert.isTrue(Option.isSome(yield* (yield* another({ takeUpSession: { username: "ALICE" } })).session))
    }))

  it.live("that cannot be read is an error that names the file, and a login replaces it", () =>
    Effect.gen(function*() {
      const { another, client, file } = yield* keeping(oneSession().script)
      yield* Effect.promise(() => writeFile(file, "{"))
      const error = yield* Effect.flip(Effect.scoped(another()))
      assert.include(error.message, file)
      yield* client.keepSession
      assert.isTrue(Option.isSome(yield* (yield* another()).session))
    }))

  it.live("outlives the client that began it", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const { another, server } = yield* Effect.provideService(keeping(oneSession().script), Scope.Scope, scope)
      const next = yield* another()
      assert.isTrue(Option.isSome(yield* next.session))
      assert.strictEqual(server.count("Logout"), 0)
      yield* Scope.close(scope, Exit.void)
    }))
})
