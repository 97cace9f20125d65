/** The admin socket of a real server, and what an administrator's doing means for who is connected. */
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { lstat, readdir } from "node:fs/promises"
import { connect } from "node:net"
import { ask } from "../../src/cli/admin/AdminClient.ts"
import { Username } from "../../src/protocol/Identity.ts"
import { type AdminProgress, socketPath } from "../../src/server/admin/Wire.ts"
import { Server } from "../../src/server/Server.ts"
import { ServerConfig } from "../../src/server/ServerConfig.ts"
import { RawClient } from "../support/RawClient.ts"
import * as TestServer from "../support/TestServer.ts"

/** Sends bytes and takes what comes back. */
const raw = (dataDir: string, bytes: string | Uint8Array): Promise<string> =>
  new Promise((resolve, reject) => {
    let text = ""
    const socket = connect(socketPath(dataDir), () => socket.write(bytes))
    socket.on("data", (chunk) => text += chunk)
    socket.on("end", () => resolve(text))
    socket.on("error", reject)
  })

const client = Effect.acquireRelease(
  Effect.flatMap(Server, ({ port }) => Effect.promise(() => RawClient.open(port))),
  (client) => Effect.sync(() => client.close())
)

it.layer(TestServer.layer(), { excludeTestServices: true })("the admin socket", (it) => {
  it.effect("is open to the server's own user alone, and leaves nothing else behind", () =>
    Effect.gen(function*() {
      const { dataDir } = yield* ServerConfig
      const stat = yield* Effect.promise(() => lstat(socketPath(dataDir)))
      assert.isTrue(stat.isSocket())
      assert.strictEqual(stat.mode & 0o777, 0o600)
      const names = yield* Effect.promise(() => readdir(dataDir))
      assert.deepStrictEqual(names.filter((name) => name.startsWith(".")), [])
    }))

  it.effect("answers in one line, and refuses what is no request with a sentence", () =>
    Effect.gen(function*() {
      const { dataDir } = yield* ServerConfig
      for (
        const [line, code] of [
          ["{\"command\":\"users list\",\"input\":{}}\n", undefined],
          ["{\"command\":\"users list\",\"input\":{}}\n{\"command\":\"bans\"}\n", undefined],
          ["not json\n", "2:njs"],
          ["[1]\n", "2:ibv"],
          ["{\"command\":\"no such\",\"input\":{}}\n", "2:unop"],
          ["{\"command\":\"toString\",\"input\":{}}\n", "2:unop"],
          ["{\"command\":\"ban\",\"input\":{\"username\":\"x\"}}\n", "2:ibv"],
          ["x".repeat(70_000), "2:big"]
        ] as const
      ) {
        const reply: unknown = JSON.parse(yield* Effect.promise(() => raw(dataDir, line)))
        assert.containSubset(
          reply,
          code === undefined ? { ok: true, more: false } : { ok: false, code },
          line.slice(0, 50)
        )
      }
    }))

  it.effect("says how far a long command has got", () =>
    Effect.gen(function*() {
      const { dataDir } = yield* ServerConfig
      const seen: Array<AdminProgress> = []
      const result = yield* ask(dataDir, "fsck", { repair: false }, (progress) => seen.push(progress))
      assert.strictEqual(result.problems, 0)
      assert.deepStrictEqual(seen[0], { doing: "checking files", done: 0 })
    }))

  it.effect("refuses unknown users and sessions by name", () =>
    Effect.gen(function*() {
      const { dataDir } = yield* ServerConfig
      const username = Username.make("nobody_here")
      for (
        const attempt of [
          Effect.asVoid(ask(dataDir, "users show", { username })),
          Effect.asVoid(ask(dataDir, "users delete", { username })),
          Effect.asVoid(ask(dataDir, "ban", { username, reason: "", lasts_ms: null })),
          Effect.asVoid(ask(dataDir, "unban", { username })),
          Effect.asVoid(ask(dataDir, "sessions end", { username }))
        ]
      ) {
        const error = yield* Effect.flip(attempt)
        assert.containSubset(error, { _tag: "Refusal", code: "2:unf", field: "username" })
        assert.include(error.message, "nobody_here")
      }
    }))

  it.effect("bans who is connected: the very next request of that connection is refused", () =>
    Effect.gen(function*() {
      const { dataDir } = yield* ServerConfig
      const connection = yield* client
      const token = yield* Effect.promise(() => connection.login("mallory_m", "mallory's password"))
      const before = yield* Effect.promise(() => connection.ask("QueryStorage", { id: 1, auth: { token } }))
      assert.strictEqual(before.header.code, "1:qa")
      const username = Username.make("mallory_m")
      const result = yield* ask(dataDir, "ban", { username, reason: "", lasts_ms: null })
      assert.strictEqual(result.sessions_ended, 1)
      const after = yield* Effect.promise(() => connection.ask("QueryStorage", { id: 2, auth: { token } }))
      assert.strictEqual(after.header.code, "2:auth")
    }))

  it.effect("bans who is reading: what is on its way ends with a refusal, and the connection lives on", () =>
    Effect.gen(function*() {
      const { dataDir } = yield* ServerConfig
      const connection = yield* client
      const token = yield* Effect.promise(() => connection.login("reader_r", "reader's password"))
      const name = "big"
      const data = new Uint8Array(1024 * 1024)
      yield* Effect.promise(async () => {
        await connection.ask("Create", { id: 1, auth: { token }, body: { name }, data })
        for (let i = 0; i < 40; i++) await connection.ask("Append", { id: 2, auth: { token }, body: { name }, data })
        connection.socket.pause()
        connection.send("Read", { id: 3, auth: { token }, body: { name } })
      })
      yield* ask(dataDir, "ban", { username: Username.make("reader_r"), reason: "", lasts_ms: null })
      yield* Effect.promise(async () => {
        connection.socket.resume()
        let reply = await connection.next()
        while (reply?.header.more === true) reply = await connection.next()
        assert.strictEqual(reply?.header.code, "2:auth")
        assert.strictEqual((await connection.ask("Heartbeat", { id: 4 })).header.code, "1:hb")
      })
    }))

  it.effect("sets limits that hold at once, and back", () =>
    Effect.gen(function*() {
      const { dataDir } = yield* ServerConfig
      const connection = yield* client
      const token = yield* Effect.promise(() => connection.login("limited_l", "limited password"))
      const username = Username.make("limited_l")
      const storage = Effect.map(
        Effect.promise(() => connection.ask("QueryStorage", { id: 1, auth: { token } })),
        ({ body }) => [body["bytes_limit"], body["files_limit"]]
      )
      const [bytes, files] = yield* storage
      yield* ask(dataDir, "users quota", { username, bytes_limit: 1000 })
      assert.deepStrictEqual(yield* storage, [1000, files])
      yield* ask(dataDir, "users quota", { username, bytes_limit: "default", files_limit: 7 })
      assert.deepStrictEqual(yield* storage, [bytes, 7])
    }))
})
