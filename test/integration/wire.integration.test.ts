/** The wire as a peer sees it, valid or not: docs/protocol.md, sections 2, 3 and 5, on a real server. */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Layer, Scope } from "effect"
import { randomBytes } from "node:crypto"
import { encodeRequestHeader } from "../../src/protocol/Header.ts"
import { MAX_INLINE_BYTES } from "../../src/protocol/Limits.ts"
import { Server } from "../../src/server/Server.ts"
import { RawClient, requestBytes } from "../support/RawClient.ts"
import * as TestServer from "../support/TestServer.ts"

const PASSWORD = "correct horse"

/** Runs `use` with a connection of its own to the server in the context. */
const withClient = <A>(use: (client: RawClient, port: number) => Promise<A>) =>
  Effect.gen(function*() {
    const { port } = yield* Server
    return yield* Effect.promise(async () => {
      const client = await RawClient.open(port)
      try {
        return await use(client, port)
      } finally {
        client.close()
      }
    })
  })

const heartbeat = async (client: RawClient, id = 777): Promise<void> => {
  const reply = await client.ask("Heartbeat", { id })
  assert.strictEqual(reply.header.code, "1:hb")
}

const header = (fields: Partial<Parameters<typeof encodeRequestHeader>[0]>): Uint8Array =>
  encodeRequestHeader({
    id: 1,
    category: 1,
    subcategory: 0,
    auth_size: 0,
    body_size: 0,
    data_size: 0,
    more: false,
    finish: false,
    ...fields
  })

const rawHeader = (value: unknown): Buffer => Buffer.from(JSON.stringify(value).padEnd(256))

it.layer(TestServer.layer(), { excludeTestServices: true })("the wire", (it) => {
  describe("TLS", () => {
    it.effect("closes a peer that does not speak ALPN fip/1", () =>
      Effect.gen(function*() {
        const { port } = yield* Server
        yield* Effect.promise(async () => {
          const client = await RawClient.open(port, { ALPNProtocols: [] })
          await client.closed
        })
      }))

    it.effect("refuses TLS 1.2", () =>
      Effect.gen(function*() {
        const { port } = yield* Server
        const outcome = yield* Effect.promise(() =>
          RawClient.open(port, { maxVersion: "TLSv1.2" }).then(() => "connected", (error: Error) => error.message)
        )
        assert.match(outcome, /protocol version/)
      }))
  })

  describe("headers", () => {
    it.effect("answers a header that cannot be parsed with 2:ihs and closes", () =>
      withClient(async (client) => {
        client.write(Buffer.alloc(256, "x"))
        const reply = await client.next()
        assert.strictEqual(reply?.header.code, "2:ihs")
        assert.strictEqual(reply?.header.id, 0)
        assert.isTrue(reply?.header.ended_connection)
        await client.closed
      }))

    it.effect("takes a header that comes byte by byte", () =>
      withClient(async (client) => {
        for (const byte of requestBytes("Heartbeat", { id: 5 })) client.write(Uint8Array.of(byte))
        assert.strictEqual((await client.next())?.header.id, 5)
      }))

    it.effect("names the version that it speaks when the major number differs, and goes on", () =>
      withClient(async (client) => {
        client.write(rawHeader({ version: "2.0.0", id: 3, category: 1, subcategory: 0 }))
        const reply = await client.next()
        assert.strictEqual(reply?.header.code, "2:ver")
        assert.include(String(reply?.body["message"]), "1.0.0")
        await heartbeat(client)
      }))

    it.effect("ignores fields it does not know, and fills those that are absent", () =>
      withClient(async (client) => {
        client.write(rawHeader({ version: "1.9.3", id: 3, category: 1, subcategory: 0, colour: "blue" }))
        assert.strictEqual((await client.next())?.header.code, "1:hb")
      }))

    it.effect("refuses an unknown operation, skips what it brought, and goes on", () =>
      withClient(async (client) => {
        client.write(header({ category: 3, auth_size: 10, body_size: 20, data_size: 30 }))
        client.write(randomBytes(60))
        assert.strictEqual((await client.next())?.header.code, "2:unop")
        await heartbeat(client)
      }))

    it.effect("closes the connection with the reply when finish is set", () =>
      withClient(async (client) => {
        const reply = await client.ask("Heartbeat", { id: 1, finish: true })
        assert.isTrue(reply.header.ended_connection)
        await client.closed
      }))
  })

  describe("finish", () => {
    it.effect("with a request that is refused is answered last, after all that runs", () =>
      withClient(async (client) => {
        const token = await client.login("wire_finish", PASSWORD)
        client.write(Buffer.concat([
          requestBytes("QueryStorage", { id: 1, auth: { token } }),
          requestBytes("QueryStorage", { id: 2, auth: { token } }),
          requestBytes("QueryStorage", { id: 3, auth: { token: "forged" }, finish: true })
        ]))
        const replies = [await client.next(), await client.next(), await client.next()]
        assert.deepStrictEqual(
          replies.map((reply) => reply === undefined ? "closed" : [reply.header.code, reply.header.ended_connection]),
          [["1:qa", false], ["1:qa", false], ["2:auth", true]]
        )
        await client.closed
      }))

    // Found by the fuzzer: the refusal said that the connection ends, and it went on.
    it.effect("counts on the last message of a request, also when it is refused before", () =>
      withClient(async (client) => {
        client.write(header({ category: 2, subcategory: 16, data_size: 5, more: true, finish: true }))
        client.write(randomBytes(5))
        const reply = await client.next()
        assert.strictEqual(reply?.header.code, "2:ihv")
        assert.isFalse(reply?.header.ended_connection)
        await heartbeat(client)
      }))
  })

  describe("caps", () => {
    it.effect("refuses a body over the guest's cap before it came, and skips it", () =>
      withClient(async (client) => {
        client.write(header({ category: 2, subcategory: 2, auth_size: 2, body_size: 5000 }))
        client.write(Buffer.alloc(5002, "{"))
        assert.strictEqual((await client.next())?.header.code, "2:big")
        await heartbeat(client)
      }))

    it.effect("answers an absurd size and closes (original defect 23)", () =>
      withClient(async (client) => {
        client.write(header({ category: 2, subcategory: 2, auth_size: 10 ** 12 }))
        const reply = await client.next()
        assert.strictEqual(reply?.header.code, "2:big")
        assert.isTrue(reply?.header.ended_connection)
        await client.closed
      }))

    it.effect("refuses data where none belongs", () =>
      withClient(async (client) => {
        client.write(header({ data_size: 100 }))
        client.write(randomBytes(100))
        assert.strictEqual((await client.next())?.header.code, "2:ihv")
        await heartbeat(client)
      }))
  })

  describe("components", () => {
    it.effect("stays in step after a refused token, whatever body and data followed (original defect 12)", () =>
      withClient(async (client) => {
        for (const token of ["", "forged", "a.b", "x".repeat(1000)]) {
          const reply = await client.ask("Write", {
            id: 1,
            auth: { token },
            body: { name: "a.txt" },
            data: randomBytes(100_000)
          })
          assert.strictEqual(reply.header.code, "2:auth")
          await heartbeat(client)
        }
      }))

    it.effect("says which field is wrong", () =>
      withClient(async (client) => {
        const token = await client.login("wire_fields", PASSWORD)
        const cases: ReadonlyArray<readonly [unknown, string]> = [
          [{ name: "a/../b" }, "name"],
          [{ name: "nul\u0000" }, "name"],
          [{ name: "a", position: -1 }, "position"],
          [{ name: "a", owner: "no" }, "owner"],
          [{}, "name"]
        ]
        for (const [body, field] of cases) {
          const reply = await client.ask("Read", { id: 1, auth: { token }, body })
          assert.strictEqual(reply.header.code, "2:ibv")
          assert.strictEqual(reply.body["field"], field)
          assert.isAbove(String(reply.body["message"]).length, 10)
        }
      }))

    it.effect("refuses a body that is not JSON and goes on", () =>
      withClient(async (client) => {
        const token = await client.login("wire_json", PASSWORD)
        const auth = Buffer.from(JSON.stringify({ token }))
        client.write(header({ category: 4, subcategory: 2, auth_size: auth.length, body_size: 4 }))
        client.write(Buffer.concat([auth, Buffer.from("{{{{")]))
        assert.strictEqual((await client.next())?.header.code, "2:njs")
        await heartbeat(client)
      }))
  })

  describe("pipelining", () => {
    it.effect("answers many requests in flight, each under its id", () =>
      withClient(async (client) => {
        const bytes = Array.from({ length: 200 }, (_, id) => requestBytes("Heartbeat", { id }))
        client.write(Buffer.concat(bytes))
        const ids = new Set<number>()
        for (let count = 0; count < 200; count++) {
          const reply = await client.next()
          assert.strictEqual(reply?.header.code, "1:hb")
          ids.add(reply?.header.id ?? -1)
        }
        assert.strictEqual(ids.size, 200)
      }))

    it.effect("joins the data of a request that comes in several messages, interleaved with others", () =>
      withClient(async (client) => {
        const token = await client.login("wire_more", PASSWORD)
        const [first, second, third] = [randomBytes(70_000), randomBytes(1), randomBytes(1_000_000)]
        client.send("Write", { id: 1, auth: { token }, body: { name: "joined" }, data: first, more: true })
        client.send("Heartbeat", { id: 2 })
        client.send("Write", { id: 1, data: second, more: true })
        client.send("Write", { id: 1, data: third })
        const replies = [await client.next(), await client.next()]
        assert.sameMembers(replies.map((reply) => reply?.header.code), ["1:hb", "1:fnew"])
        const read = await client.ask("Read", { id: 3, auth: { token }, body: { name: "joined" } })
        const content = [read.data]
        for (let last = read; last.header.more;) {
          const reply = await client.next()
          if (reply === undefined) break
          content.push(reply.data)
          last = reply
        }
        assert.isTrue(Buffer.concat(content).equals(Buffer.concat([first, second, third])))
      }))

    it.effect("refuses once what grows too long, and skips the rest of it", () =>
      withClient(async (client) => {
        const token = await client.login("wire_long", PASSWORD)
        const piece = Buffer.alloc(1024 * 1024)
        const pieces = MAX_INLINE_BYTES / piece.length + 2
        for (let index = 0; index < pieces; index++) {
          const first = index === 0 ? { auth: { token }, body: { name: "long" } } : {}
          client.send("Write", { id: 1, ...first, data: piece, more: index < pieces - 1 })
        }
        assert.strictEqual((await client.next())?.header.code, "2:big")
        await heartbeat(client)
      }))
  })

  it.effect("lives on after thousands of bytes of noise on many connections", () =>
    withClient(async (client, port) => {
      await Promise.all(Array.from({ length: 50 }, async () => {
        const noisy = await RawClient.open(port)
        noisy.write(randomBytes(1 + Math.floor(Math.random() * 5000)))
        noisy.socket.end()
        await noisy.closed
      }))
      await heartbeat(client)
    }))
})

it.layer(TestServer.layer({ messageTimeout: Duration.millis(200), idleTimeout: Duration.millis(400) }), {
  excludeTestServices: true
})(
  "time limits",
  (it) => {
    it.effect("answers a message that stops half-way with 2:unsp and closes", () =>
      withClient(async (client) => {
        client.write(requestBytes("Heartbeat", { id: 4 }).subarray(0, 100))
        const reply = await client.next()
        assert.strictEqual(reply?.header.code, "2:unsp")
        await client.closed
      }))

    it.effect("closes an idle connection and says so", () =>
      withClient(async (client) => {
        const reply = await client.next()
        assert.strictEqual(reply?.header.code, "2:unsp")
        assert.isTrue(reply?.header.ended_connection)
        await client.closed
      }))

    it.effect("cuts off a peer that does not read, and serves the others meanwhile", () =>
      withClient(async (client, port) => {
        const token = await client.login("wire_slow", PASSWORD)
        const data = Buffer.alloc(1024 * 1024, "z")
        await client.ask("Write", { id: 1, auth: { token }, body: { name: "big" }, data })
        for (let index = 0; index < 7; index++) {
          await client.ask("Append", { id: 1, auth: { token }, body: { name: "big" }, data })
        }
        const deaf = await RawClient.open(port)
        deaf.socket.pause()
        for (let id = 0; id < 30; id++) deaf.send("Read", { id, auth: { token }, body: { name: "big" } })
        await heartbeat(client)
        // A paused socket learns that it was cut off when it writes.
        const knocking = setInterval(() => deaf.send("Heartbeat", { id: 99 }), 100)
        await deaf.closed
        clearInterval(knocking)
      }))
  }
)

describe("shutdown", () => {
  it.live("tells idle clients 3:s and closes at once", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(TestServer.layer(), scope)
      const { port } = yield* Effect.provide(Server, context)
      const client = yield* Effect.promise(() => RawClient.open(port))
      yield* Effect.promise(() => heartbeat(client))
      yield* Scope.close(scope, Exit.void)
      const reply = yield* Effect.promise(() => client.next())
      assert.strictEqual(reply?.header.code, "3:s")
      assert.isTrue(reply?.header.ended_connection)
      yield* Effect.promise(() => client.closed)
    }))
})
