/**
 * What a malicious server gets from a client that has not trusted it yet, or has and should not have. What it could do
 * with replies to requests is in the tests of those requests: Connection, Reading, Transfer, List.
 */
import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Effect, Fiber, Layer, Stream } from "effect"
import { TestClock } from "effect/testing"
import { readFile, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { FipClient } from "../../src/client/FipClient.ts"
import { MAX_CONTINUITY_RECORDS, MAX_REPLY_BODY_BYTES } from "../../src/protocol/Limits.ts"
import { connect, fileInfo, loggedIn, password } from "../support/ScriptedClient.ts"
import {
  makeIdentity,
  type Received,
  type Reply,
  type Script,
  ScriptedServer,
  temporaryFolder
} from "../support/ScriptedServer.ts"
import { makeServer } from "../support/TestIdentity.ts"

/** A server that is not the pinned one, and what a client that has a password for it does. */
const impostor = Effect.fnUntraced(function*(credentials: Script["Credentials"]) {
  const folder = yield* temporaryFolder
  const known = join(folder, "known_hosts")
  const pinned = (yield* makeIdentity).fingerprint
  const server = yield* ScriptedServer.make(
    yield* makeIdentity,
    credentials === undefined ? {} : { Credentials: credentials }
  )
  // It has met the server that it means, and heard all that there is to hear.
  const next = (yield* makeIdentity).fingerprint
  const before = `127.0.0.1:${server.port} ${pinned} server=${
    "0f".repeat(16)
  } generation=0 sequence=3 recovery=${next} next=${next}\n`
  yield* Effect.promise(() => writeFile(known, before, { mode: 0o600 }))
  const notices: Array<string> = []
  const options = {
    host: "127.0.0.1",
    port: server.port,
    knownHosts: known,
    onNotice: (text: string) => notices.push(text)
  }
  const attempt = Effect.scoped(Effect.gen(function*() {
    const client = Context.get(yield* Layer.build(FipClient.layer(options)), FipClient)
    yield* client.login("alice", password)
  }))
  /** Nothing came of it: no secret left this machine, the pin stands, and a person sees what happened. */
  const nothing = Effect.gen(function*() {
    assert.deepStrictEqual([...new Set(server.requests.map(({ name }) => name))], ["Credentials"])
    assert.deepStrictEqual(server.requests.map(({ auth, body }) => [auth, body]), [[{}, { pinned }]])
    assert.strictEqual(yield* Effect.promise(() => readFile(known, "utf8")), before)
    assert.deepStrictEqual(notices, [])
  })
  return { attempt, nothing, server }
})

const EVIL = "\u001b]0;owned\u0007\u202eevil"

describe("a server that is not the pinned one", () => {
  const other = makeServer()
  for (let round = 0; round < 3; round++) other.rotate()
  const honest = other.prove(other.at(0).pin().fingerprint)
  const [record = ""] = honest.records
  const answers: ReadonlyArray<readonly [string, (request: Received<"Credentials">) => Reply | void]> = [
    ["refuses to prove itself", () => ({ code: "2:unop", body: { message: EVIL } })],
    ["is none of the kind that answers so", () => ({ code: "1:hb", body: { server_version: EVIL } })],
    ["proves to be another", () => ({ code: "1:qa", body: honest })],
    ["shows nothing but texts", () => ({ code: "1:qa", body: { statement: EVIL, pinned_key: EVIL, records: [EVIL] } })],
    ["shows nothing", () => ({ code: "1:qa", body: { statement: "", records: [] } })],
    [
      "shows more records than there are",
      () => ({
        code: "1:qa",
        body: { ...honest, records: Array.from({ length: MAX_CONTINUITY_RECORDS + 1 }, () => record) }
      })
    ],
    [
      "shows as much as a reply can hold",
      () => ({ code: "1:qa", body: { ...honest, statement: "A".repeat(MAX_REPLY_BODY_BYTES - 10_000) } })
    ],
    [
      "announces more than a reply can hold",
      () => ({ code: "1:qa", body_size: MAX_REPLY_BODY_BYTES + 1, body: honest })
    ],
    ["hangs up", ({ peer }) => void peer.socket.destroy()],
    ["says that it is leaving, in colours", ({ id, peer }) => {
      peer.send({ id: 0, code: "3:s", body: { message: EVIL } })
      return { id, code: "2:unop", body: { message: EVIL } }
    }],
    ["sends bytes that are no reply", ({ peer }) => void peer.socket.write(Buffer.alloc(4096, 0x1b))]
  ]
  for (const [what, answer] of answers) {
    it.live(`gets no secret, changes no pin and writes to no terminal when it ${what}`, () =>
      Effect.gen(function*() {
        const { attempt, nothing } = yield* impostor(answer)
        const error = yield* Effect.flip(attempt)
        assert.strictEqual(error._tag, "TrustError")
        // oxlint-disable-next-line no-control-regex -- control characters are what it looks for
        assert.notMatch(error.message, /[\u0000-\u001f\u007f-\u009f\u202e]/)
        assert.match(error.message, /no name, password or file was sent/)
        yield* nothing
      }))
  }

  for (
    const [what, drip] of [
      ["never answers", () => {}],
      ["answers with a byte now and then", ({ peer }: Received<"Credentials">) => void peer.socket.write("{")]
    ] as const
  ) {
    it.effect(`does not keep anybody waiting when it ${what}`, () =>
      Effect.gen(function*() {
        const asked = yield* Deferred.make<Received<"Credentials">>()
        const { attempt, nothing } = yield* impostor((request) =>
          void Deferred.doneUnsafe(asked, Effect.succeed(request))
        )
        const waiting = yield* Effect.forkChild(Effect.flip(attempt))
        const request = yield* Deferred.await(asked)
        for (let second = 0; second < 15; second++) {
          drip(request)
          yield* TestClock.adjust("1 second")
        }
        const error = yield* Fiber.join(waiting)
        assert.match(error.message, /did not prove in time/)
        yield* nothing
      }))
  }
})

describe("a server that was trusted", () => {
  it.effect("does not keep anybody waiting who meets it for the first time, and pins no more than its key", () =>
    Effect.gen(function*() {
      const folder = yield* temporaryFolder
      const asked = yield* Deferred.make<void>()
      const server = yield* ScriptedServer.make(yield* makeIdentity, {
        Credentials: () => void Deferred.doneUnsafe(asked, Effect.void)
      })
      const knownHosts = join(folder, "known_hosts")
      const waiting = yield* Effect.forkChild(connect({ host: "127.0.0.1", port: server.port, knownHosts }))
      yield* Deferred.await(asked)
      yield* TestClock.adjust("15 seconds")
      yield* Fiber.join(waiting)
      const text = yield* Effect.promise(() => readFile(knownHosts, "utf8"))
      assert.match(text, /^127\.0\.0\.1:\d+ SHA256:\S+ pinned_at=\S+\n$/)
    }))

  it.live("reads no file that it was not sent, whatever it asks for or answers", () =>
    Effect.gen(function*() {
      const folder = yield* temporaryFolder
      yield* Effect.promise(() => writeFile(join(folder, "given"), "for the server"))
      yield* Effect.promise(() => writeFile(join(folder, "secret"), "for nobody"))
      const { client, server } = yield* loggedIn({
        // Names another file, another owner, and other bytes than those it was sent.
        Write: ({ id, peer }) => {
          peer.send({ id, code: "1:amnd", body: { owner: "mallory", name: "secret", size: 10, version: 1 } })
        },
        UploadBegin: () => ({
          code: "1:ubeg",
          body: {
            upload_id: "00000000-0000-4000-8000-00000000000a",
            size: 10,
            received: [[0, 10]],
            expires_at: "2026-11-22T08:00:00.000Z"
          }
        })
      })
      yield* Effect.ignore(client.upload(join(folder, "given"), "given"))
      yield* Effect.ignore(client.write("given", Stream.make(Buffer.from("a stream"))))
      const received = Buffer.concat(server.requests.map(({ data }) => data)).toString()
      assert.notInclude(received, "for nobody")
      for (const { body } of server.requests) assert.notInclude(JSON.stringify(body), folder)
    }))

  it.live("is not believed when it lists names that could lead out of a folder", () =>
    Effect.gen(function*() {
      const names = ["../evil", "/etc/evil", "a/../../evil", "..", ".", "a//b", "c\u0000d", EVIL, "x".repeat(2000)]
      for (const name of names) {
        const { client } = yield* loggedIn({
          List: () => ({ code: "1:qa", body: { folders: [], files: [fileInfo(name)] } })
        })
        const error = yield* Effect.flip(Stream.runCollect(client.list({ recursive: true })))
        assert.strictEqual(error._tag, "ProtocolError", name)
      }
    }))
})
