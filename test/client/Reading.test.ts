import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import * as fc from "fast-check"
import { createHash } from "node:crypto"
import { loggedIn } from "../support/ScriptedClient.ts"
import { bytesOf, type FileScript, serve } from "../support/ScriptedFile.ts"
import type { Received } from "../support/ScriptedServer.ts"

const MiB = 1024 * 1024
const hashOf = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex")
const heartbeat = () => ({ code: "1:hb", body: { server_version: "1.0.0" } }) as const
const notFound = { code: "2:nf", body: { message: "no such file" } } as const

/** In milliseconds. */
const REPLY_TIMEOUT = 500

const serving = (file: FileScript) => loggedIn({ Read: (request) => void serve(request, file), Heartbeat: heartbeat })

describe("Reading", () => {
  it.live("gives exactly the range that was asked for, whatever the messages' sizes, and when lanes break", () =>
    Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(
          fc.record({
            size: fc.oneof(fc.integer({ min: 0, max: 5 }), fc.integer({ min: MiB - 2, max: 3 * MiB })),
            position: fc.double({ min: 0, max: 1, noNaN: true }),
            limit: fc.option(fc.integer({ min: 0, max: 3 * MiB }), { nil: undefined }),
            whole: fc.boolean(),
            hash: fc.constantFrom("head", "tail"),
            messageBytes: fc.integer({ min: 50_000, max: MiB }),
            breaks: fc.array(fc.option(fc.integer({ min: 0, max: 3 * MiB }), { nil: undefined }), { maxLength: 3 })
          }),
          ({ breaks, hash, limit, messageBytes, position, size, whole }) => {
            const content = bytesOf(size)
            const from = whole ? 0 : Math.floor(size * position)
            return Effect.runPromise(Effect.scoped(Effect.gen(function*() {
              // The first reply comes whole: what breaks are lanes, as often as they are asked again.
              const { client } = yield* serving({
                content,
                hash,
                messageBytes,
                breaks: [undefined, ...breaks.slice(0, 2)]
              })
              const read = yield* Stream.mkUint8Array(
                client.read("f", { position: from, limit: whole ? undefined : limit })
              )
              const expected = whole || limit === undefined
                ? content.subarray(from)
                : content.subarray(from, from + limit)
              assert.isTrue(Buffer.compare(read, expected) === 0)
            })))
          }
        ),
        { numRuns: 20 }
      )
    ))

  for (const hash of ["head", "tail"] as const) {
    it.live(`goes on where a lane broke, when the hash comes in the ${hash}`, () =>
      Effect.gen(function*() {
        const content = bytesOf(3 * MiB)
        // The last lane gives everything that the ones before did not, or everything again.
        const { client, server } = yield* serving({ content, hash, breaks: [undefined, MiB, MiB / 2] })
        assert.isTrue(content.equals(yield* Stream.mkUint8Array(client.read("f"))))
        assert.strictEqual(server.peers.length, 4)
      }))
  }

  it.live("tells what is read before its bytes, and refuses to give them twice", () =>
    Effect.gen(function*() {
      const content = bytesOf(2 * MiB)
      const { client } = yield* serving({ content, version: 7 })
      const opened = yield* client.open("f", { position: 10, limit: 1.5 * MiB })
      const { length, position, size, version } = opened.head
      assert.deepStrictEqual([position, length, size, version], [10, 1.5 * MiB, 2 * MiB, 7])
      yield* Stream.runDrain(opened.content)
      assert.strictEqual((yield* Effect.flip(Stream.runDrain(opened.content)))._tag, "IntegrityError")
    }))

  it.live("reads one version when the file is replaced between its two requests", () =>
    Effect.gen(function*() {
      const contents = [bytesOf(2 * MiB), bytesOf(3 * MiB)]
      const versions: Array<number | undefined> = []
      const { client } = yield* loggedIn({
        Read: (request) => {
          versions.push(request.body.version)
          if (versions.length === 2) return notFound
          const version = versions.length === 1 ? 1 : 2
          return void serve(request, { content: contents[version - 1] ?? Buffer.alloc(0), version })
        }
      })
      const read = yield* Stream.mkUint8Array(client.read("f"))
      assert.isTrue(Buffer.compare(read, bytesOf(3 * MiB)) === 0)
      assert.deepStrictEqual(versions, [undefined, 1, undefined, 2])
    }))

  it.live("uses one lane again and again, and no lane for what is small", () =>
    Effect.gen(function*() {
      const { client, server } = yield* serving({ content: bytesOf(2 * MiB) })
      yield* Stream.runDrain(client.read("f", { limit: 1000 }))
      assert.strictEqual(server.peers.length, 1)
      for (const _ of [1, 2, 3]) yield* Stream.runDrain(client.read("f"))
      assert.strictEqual(server.peers.length, 2)
    }))

  it.live("closes the lane of a reader who has seen enough", () =>
    Effect.gen(function*() {
      const { client, server } = yield* serving({ content: bytesOf(24 * MiB) })
      yield* Stream.runDrain(client.read("f").pipe(Stream.take(1)))
      assert.strictEqual(server.peers.length, 2)
      yield* server.last?.closed ?? Effect.void
    }))

  it.live("holds little for a reader who takes nothing, and nobody else waits for them", () =>
    Effect.gen(function*() {
      const content = bytesOf(64 * MiB)
      let sent = 0
      const { client, server } = yield* loggedIn({
        Heartbeat: heartbeat,
        Read: (request) =>
          void serve(request, { content }, (bytes) => {
            sent += bytes
          })
      }, { replyTimeout: REPLY_TIMEOUT })
      const started = performance.now()
      const { content: stream } = yield* client.open("f")
      // Round trips enough to carry all of it, if it were taken. The kernel's buffers take 36 MiB at most.
      yield* Effect.forEach(Array(400), () => client.heartbeat, { discard: true })
      while (performance.now() - started < REPLY_TIMEOUT * 2.5) yield* client.heartbeat
      assert.isBelow(sent, 48 * MiB)
      assert.strictEqual((yield* Stream.mkUint8Array(stream)).length, content.length)
      // The silence was the reader's, not the server's: the lane is still the same.
      assert.strictEqual(server.peers.length, 2)
    }))

  const lies: ReadonlyArray<readonly [string, string, (request: Received<"Read">) => void]> = [
    ["with another hash", "IntegrityError", (request) => void serve(request, { content: bytesOf(10), hash: "wrong" })],
    ["without a hash", "ProtocolError", (request) => void serve(request, { content: bytesOf(10), hash: "never" })],
    [
      "without a hash, also when it is large",
      "ProtocolError",
      (request) => void serve(request, { content: bytesOf(2 * MiB), hash: "never" })
    ],
    ["that never stops", "ProtocolError", ({ peer, reply, body }) => {
      const head = { owner: "alice", name: body.name, size: 10, version: 1, position: 0, length: 10 }
      reply({ code: "0:read", more: true, body: head })
      const flood = () => {
        while (!peer.socket.destroyed && !peer.socket.writableNeedDrain) reply({ code: "0:read", more: true })
      }
      peer.socket.on("drain", flood)
      flood()
    }],
    ["with more bytes than it announced", "ProtocolError", ({ body, reply }) => {
      const head = { owner: "alice", name: body.name, size: 2, version: 1, position: 0, length: 2 }
      reply({ code: "1:read", body: { ...head, sha256: hashOf(bytesOf(10)) }, data: bytesOf(10) })
    }],
    ["of another place", "ProtocolError", ({ body, reply }) => {
      const head = { owner: "alice", name: body.name, size: 20, version: 1, position: 10, length: 10 }
      reply({ code: "1:read", body: head, data: bytesOf(10) })
    }],
    ["of fewer bytes than it announced", "ProtocolError", ({ body, reply }) => {
      const head = { owner: "alice", name: body.name, size: 20, version: 1, position: 0, length: 20 }
      reply({ code: "1:read", body: { ...head, sha256: hashOf(bytesOf(10)) }, data: bytesOf(10) })
    }]
  ]
  for (const [what, tag, answer] of lies) {
    it.live(`does not take an answer ${what} for the file`, () =>
      Effect.gen(function*() {
        const { client } = yield* loggedIn({ Read: answer })
        assert.strictEqual((yield* Effect.flip(Stream.runDrain(client.read("f"))))._tag, tag)
      }))
  }

  it.live("does not take the beginning of a range for the range", () =>
    Effect.gen(function*() {
      const content = bytesOf(2 * MiB)
      const { client } = yield* loggedIn({
        Read: (request) => {
          const { limit = 0, position = 0, name } = request.body
          if (position === 0) return void serve(request, { content })
          const head = { owner: "alice", name, size: content.length, version: 1, position, length: limit }
          request.reply({ code: "1:read", body: head, data: bytesOf(10) })
        }
      })
      const error = yield* Effect.flip(Stream.runDrain(client.read("f", { limit: 1.5 * MiB })))
      assert.match(error.message, /fewer bytes than it announced/)
    }))

  it.live("says what the server says when it fails in the middle", () =>
    Effect.gen(function*() {
      const { client } = yield* loggedIn({
        Read: ({ body, reply }) => {
          const head = { owner: "alice", name: body.name, size: 20, version: 1, position: 0, length: 20 }
          reply({ code: "0:read", more: true, body: head, data: bytesOf(10) })
          reply({ code: "3:bad", body: { message: "a block is damaged" } })
        }
      })
      assert.strictEqual((yield* Effect.flip(Stream.runDrain(client.read("f")))).message, "a block is damaged")
    }))
})
