import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { once } from "node:events"
import { setImmediate } from "node:timers/promises"
import { MAX_DATA_BYTES, MAX_IN_FLIGHT, MAX_REPLY_BODY_BYTES } from "../../src/protocol/Limits.ts"
import { arrivals, connected, fileInfo, loggedIn } from "../support/ScriptedClient.ts"
import { type Peer, type Received, replyBytes } from "../support/ScriptedServer.ts"

const heartbeat = { code: "1:hb", body: { server_version: "1.0.0" } } as const

const files = (count: number) => Array.from({ length: count }, (_, index) => `file-${index}`)

/** Answers when `count` requests are there, in the order that `order` puts them in. */
const answerTogether = (
  count: number,
  order: (requests: Array<Received<"QueryFile">>) => Array<Received<"QueryFile">>
) => {
  const held: Array<Received<"QueryFile">> = []
  return (request: Received<"QueryFile">) => {
    held.push(request)
    if (held.length === count) {
      for (const { body, reply } of order(held)) reply({ code: "1:qa", body: fileInfo(body.name) })
    }
  }
}

describe("Connection", () => {
  it.live("gives every request its own reply when they come out of order", () =>
    Effect.gen(function*() {
      const names = files(8)
      const { client } = yield* loggedIn({ QueryFile: answerTogether(8, (requests) => requests.toReversed()) })
      const found = yield* Effect.forEach(names, (name) => client.queryFile(name), { concurrency: "unbounded" })
      assert.deepStrictEqual(found.map(({ name }) => String(name)), names)
    }))

  it.live("reads replies that arrive in one piece, and in pieces of one byte", () =>
    Effect.gen(function*() {
      const { client, server } = yield* loggedIn({})
      for (const cut of ["one", "many"]) {
        const before = server.requests.length
        const both = yield* Effect.forkChild(
          Effect.all([client.queryFile("a"), client.queryFile("b")], { concurrency: 2 })
        )
        const peer = server.last
        while (server.requests.length < before + 2) yield* Effect.promise(() => once(peer?.socket ?? process, "data"))
        const bytes = Buffer.concat(
          server.requests.slice(before).map(({ id }, index) =>
            replyBytes({ id, code: "1:qa", body: fileInfo(index === 0 ? "a" : "b") })
          )
        )
        if (cut === "one") peer?.socket.write(bytes)
        else for (const byte of bytes) peer?.socket.write(Buffer.of(byte))
        const [a, b] = yield* Fiber.join(both)
        assert.deepStrictEqual([String(a.name), String(b.name)], ["a", "b"])
      }
    }))

  it.live("keeps no more requests in flight than the protocol allows, and sends the rest in order", () =>
    Effect.gen(function*() {
      const queue = arrivals<"QueryFile">()
      const { client, server } = yield* loggedIn({ QueryFile: queue.script })
      const names = files(MAX_IN_FLIGHT + 10)
      const all = yield* Effect.forkChild(
        Effect.forEach(names, (name) => client.queryFile(name), { concurrency: "unbounded" })
      )
      const arrived: Array<Received<"QueryFile">> = []
      while (arrived.length < MAX_IN_FLIGHT) arrived.push(yield* queue.next)
      // Turns of the event loop, in which one too many would arrive.
      yield* Effect.promise(() => setImmediate()).pipe(Effect.repeat({ times: 50 }))
      assert.strictEqual(server.count("QueryFile"), MAX_IN_FLIGHT)
      for (const [index] of names.entries()) {
        const { body, reply } = arrived[index] ?? assert.fail()
        reply({ code: "1:qa", body: fileInfo(body.name) })
        if (arrived.length < names.length) arrived.push(yield* queue.next)
      }
      assert.deepStrictEqual(arrived.map(({ body }) => String(body.name)), names)
      yield* Fiber.join(all)
    }))

  it.live("lets small requests pass large ones, and forgets those that were interrupted before their turn", () =>
    Effect.gen(function*() {
      const writes = arrivals<"Write">()
      const { client, server } = yield* loggedIn({ Heartbeat: () => heartbeat, Write: writes.script })
      const large = yield* Effect.forkChild(
        Effect.forEach(Array(40), () => client.write("f", new Uint8Array(MAX_DATA_BYTES)), { concurrency: "unbounded" })
      )
      yield* writes.next
      yield* client.heartbeat
      assert.isBelow(server.requests.findIndex(({ name }) => name === "Heartbeat"), 20)
      yield* Fiber.interrupt(large)
      // Each of these lets one of the large ones pass in turn.
      yield* Effect.forEach(Array(40), () => client.heartbeat)
      assert.isBelow(server.count("Write"), 30)
    }))

  const breaches: ReadonlyArray<readonly [string, (request: Received<"Heartbeat">) => void]> = [
    ["bytes that are no header", ({ peer }) => peer.socket.write(Buffer.alloc(256, 0xff))],
    [
      "a body that is larger than any",
      ({ id, peer }) => peer.send({ id, ...heartbeat, body_size: MAX_REPLY_BODY_BYTES + 1 })
    ],
    ["more data than a message has", ({ id, peer }) => peer.send({ id, ...heartbeat, data_size: MAX_DATA_BYTES + 1 })],
    ["data that nobody asked for", ({ id, peer }) => peer.send({ id, ...heartbeat, data: Buffer.of(1) })],
    ["a stream where one answer was due", ({ id, peer }) => peer.send({ id, ...heartbeat, more: true })],
    ["an answer to a request that was not sent", ({ id, peer }) => peer.send({ id: id + 1, ...heartbeat })],
    ["an answer of the wrong shape", ({ id, peer }) => peer.send({ id, code: "1:hb", body: { server_version: 1 } })],
    ["a version that is not spoken here", ({ peer, id }) => {
      const bytes = replyBytes({ id, ...heartbeat })
      bytes.write("2.0.0", bytes.indexOf("1.0.0"))
      peer.socket.write(bytes)
    }]
  ]
  for (const [what, answer] of breaches) {
    it.live(`fails, and does not ask again, when a server sends ${what}`, () =>
      Effect.gen(function*() {
        const { client, server } = yield* connected({ Heartbeat: answer })
        const error = yield* Effect.flip(client.heartbeat)
        assert.strictEqual(error._tag, "ProtocolError")
        assert.strictEqual(server.count("Heartbeat"), 1)
      }))
  }

  it.live("gives up on a server that never answers", () =>
    Effect.gen(function*() {
      const { client } = yield* loggedIn({}, { replyTimeout: "50 millis" })
      const error = yield* Effect.flip(client.create("a", "text"))
      assert.strictEqual(error._tag, "ConnectionLost")
      assert.match(error.message, /has not answered.*may or may not/)
    }))

  for (
    const [what, drip] of [
      [
        "announces again and again that it is leaving",
        ({ peer }: Received<"Create">) => peer.send({ id: 0, code: "3:s", body: { message: "soon" } })
      ],
      ["sends its answer byte by byte", ({ peer }: Received<"Create">) => peer.socket.write("{")]
    ] as const
  ) {
    it.live(`gives up on a server that ${what}, and never answers`, () =>
      Effect.gen(function*() {
        const timers: Array<NodeJS.Timeout> = []
        const { client } = yield* loggedIn(
          { Create: (request) => void timers.push(setInterval(() => drip(request), 10)) },
          { replyTimeout: "100 millis" }
        )
        const error = yield* Effect.flip(client.create("a", "text"))
        for (const timer of timers) clearInterval(timer)
        assert.strictEqual(error._tag, "ConnectionLost")
        assert.match(error.message, /does not get on/)
      }))
  }

  it.live("asks again after a reply that broke off, when that is safe", () =>
    Effect.gen(function*() {
      const { client, notices, server } = yield* loggedIn({
        QueryFile: ({ id, peer, body }) => {
          const bytes = replyBytes({ id, code: "1:qa", body: fileInfo(body.name) })
          if (server.peers.length === 1) peer.socket.end(bytes.subarray(0, bytes.length - 1))
          else peer.socket.write(bytes)
        }
      })
      assert.strictEqual((yield* client.queryFile("a")).name, "a")
      assert.strictEqual(server.count("QueryFile"), 2)
      assert.match(notices.at(-1) ?? "", /connected to .* again/)
    }))

  it.live("never sends a request again that might be done twice", () =>
    Effect.gen(function*() {
      const { client, server } = yield* loggedIn({ Create: ({ peer }) => void peer.socket.destroy() })
      const error = yield* Effect.flip(client.create("a", "text"))
      assert.strictEqual(error._tag, "ConnectionLost")
      assert.strictEqual(server.count("Create"), 1)
    }))

  it.live("connects again by itself when the connection was lost before a request", () =>
    Effect.gen(function*() {
      const { client, server } = yield* connected({ Heartbeat: () => heartbeat })
      server.last?.socket.destroy()
      yield* server.deserted
      assert.strictEqual((yield* client.heartbeat).server_version, "1.0.0")
      assert.strictEqual(server.peers.length, 2)
    }))

  it.live("lets a leaving server finish what it has, and asks the next one", () =>
    Effect.gen(function*() {
      const queue = arrivals<"QueryFile">()
      const { client, notices, server } = yield* loggedIn({ QueryFile: queue.script })
      const asked = yield* Effect.forkChild(client.queryFile("a"))
      const request = yield* queue.next
      request.peer.send({ code: "3:s", body: { message: "the server is shutting down" } })
      request.reply({ code: "1:qa", body: fileInfo("a") })
      assert.strictEqual((yield* Fiber.join(asked)).name, "a")
      assert.match(notices.at(-1) ?? "", /shutting down/)
      yield* Effect.forkChild(client.queryFile("b"))
      assert.strictEqual((yield* queue.next).peer, server.peers[1])
    }))

  it.live("drops the reply to a request that was interrupted, and goes on", () =>
    Effect.gen(function*() {
      const queue = arrivals<"QueryFile">()
      const { client, server } = yield* loggedIn({ QueryFile: queue.script, Heartbeat: () => heartbeat })
      const asked = yield* Effect.forkChild(client.queryFile("a"))
      const request = yield* queue.next
      yield* Fiber.interrupt(asked)
      request.reply({ code: "1:qa", body: fileInfo("a") })
      yield* client.heartbeat
      assert.strictEqual(server.peers.length, 1)
    }))

  it.live("tells every request why the server ended the connection", () =>
    Effect.gen(function*() {
      const { client } = yield* connected({}, {}, (peer: Peer) =>
        peer.send({ code: "2:rlex", body: { message: "too many connections" }, ended_connection: true }))
      const error = yield* Effect.flip(client.heartbeat)
      assert.strictEqual(error._tag, "Refusal")
      assert.strictEqual(error.message, "too many connections")
    }))

  it.live("lets nothing that a server says steer a terminal", () =>
    Effect.gen(function*() {
      const { client } = yield* connected({
        Heartbeat: () => ({ code: "2:rlex", body: { message: "wait\u001b]0;owned\u0007\n\u202eevil" } })
      })
      const error = yield* Effect.flip(client.heartbeat)
      // oxlint-disable-next-line no-control-regex -- control characters are what it looks for
      assert.notMatch(error.message, /[\u0000-\u001f\u202e]/)
      assert.match(error.message, /^wait/)
    }))

  it.live("fails what is asked of a client whose scope has closed", () =>
    Effect.gen(function*() {
      const client = yield* Effect.scoped(Effect.map(connected({ Heartbeat: () => heartbeat }), ({ client }) => client))
      assert.match((yield* Effect.flip(client.heartbeat)).message, /the client is closed/)
    }))
})
