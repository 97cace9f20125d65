/** Content that is compressed on its way, to and from a real server: how much passes, and that it is the same. */
import { assert, describe, layer } from "@effect/vitest"
import { Duration, Effect, Layer, Redacted, Stream } from "effect"
import { createHash, randomBytes } from "node:crypto"
import { readFile, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { deflateRawSync, zstdCompressSync, zstdDecompressSync } from "node:zlib"
import type { ClientOptions } from "../../src/client/FipClient.ts"
import { Server } from "../../src/server/Server.ts"
import { PASSWORD, proxiedClient } from "../support/ProxiedClient.ts"
import { RawClient } from "../support/RawClient.ts"
import { connected, login } from "../support/ScriptedClient.ts"
import * as TestServer from "../support/TestServer.ts"

const MiB = 1024 * 1024
const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex")

/** Text of 6 MiB that shrinks to less than a tenth, and bytes of which nothing shrinks. */
const text = Buffer.from(
  Array.from({ length: 100_000 }, (_, line) => `line ${line}: the quick brown fox jumps over the lazy dog\n`).join("")
)
const noise = randomBytes(6 * MiB)

const secret = Redacted.make(PASSWORD)

const setUp = (username: string, compression: ClientOptions["compression"]) => proxiedClient(username, { compression })

/** What passes while a content is sent and fetched. */
const passes = Effect.fnUntraced(
  function*({ client, folder, proxy }: Effect.Success<ReturnType<typeof setUp>>, content: Buffer) {
    const [source, target] = [join(folder, "source"), join(folder, "target")]
    yield* Effect.promise(() => writeFile(source, content))
    const before = { up: proxy.up, down: proxy.down }
    assert.strictEqual((yield* client.upload(source, "f")).sha256, sha256(content))
    assert.strictEqual((yield* client.download("f", target)).sha256, sha256(content))
    assert.isTrue(content.equals(yield* Effect.promise(() => readFile(target))))
    return { up: (proxy.up - before.up) / content.length, down: (proxy.down - before.down) / content.length }
  }
)

describe("compression on the way", () => {
  layer(TestServer.layer(), { excludeTestServices: true, timeout: Duration.seconds(60) })((it) => {
    it.effect("saves most of what shrinks, either way", () =>
      Effect.gen(function*() {
        const { down, up } = yield* passes(yield* setUp("shrinks", "always"), text)
        assert.isBelow(up, 0.25)
        assert.isBelow(down, 0.25)
      }))

    it.effect("costs nothing where nothing shrinks", () =>
      Effect.gen(function*() {
        const { down, up } = yield* passes(yield* setUp("noise", "always"), noise)
        assert.isBelow(up, 1.02)
        assert.isBelow(down, 1.02)
      }))

    it.effect("is left out where nobody wants it", () =>
      Effect.gen(function*() {
        const { down, up } = yield* passes(yield* setUp("never", "never"), text)
        assert.isAbove(up, 1)
        assert.isAbove(down, 1)
      }))

    it.effect("takes small contents, too, and files in the midst of which others are read", () =>
      Effect.gen(function*() {
        const { client } = yield* setUp("small", "always")
        yield* client.write("a", text.subarray(0, 2000))
        yield* client.append("a", "")
        const read = (options: object) => Stream.mkString(Stream.decodeText(client.read("a", options)))
        assert.strictEqual(yield* read({}), text.toString("utf8", 0, 2000))
        assert.strictEqual(yield* read({ position: 10, limit: 1500 }), text.toString("utf8", 10, 1510))
      }))

    it.effect("takes the contents of many files as one", () =>
      Effect.gen(function*() {
        const { port } = yield* Server
        yield* Effect.promise(async () => {
          const client = await RawClient.open(port)
          const token = await client.login("many_files", "correct horse")
          const names = Array.from({ length: 20 }, (_, index) => `f${index}`)
          for (const [index, name] of names.entries()) {
            const data = text.subarray(index * 1000, index * 1000 + 1000)
            await client.ask("Write", { id: index + 1, auth: { token }, body: { name }, data })
          }
          const { data, header } = await client.ask("ReadMany", {
            id: 30,
            auth: { token },
            body: { names },
            zstd: true
          })
          assert.strictEqual(header.raw_size, 20_000)
          assert.isBelow(header.data_size, 5000)
          assert.isTrue(zstdDecompressSync(data).equals(text.subarray(0, 20_000)))
          client.close()
        })
      }))

    it.effect("refuses what is not what its header says, keeps nothing of it, and goes on", () =>
      Effect.gen(function*() {
        const { port } = yield* Server
        yield* Effect.promise(async () => {
          const client = await RawClient.open(port)
          const token = await client.login("raw_user", "correct horse")
          let id = 0
          const create = (data: Uint8Array, raw_size: number) =>
            client.ask("Create", { id: ++id, auth: { token }, body: { name: `f${id}` }, data, raw_size, zstd: true })
          const good = await create(zstdCompressSync(text.subarray(0, MiB)), MiB)
          assert.strictEqual(good.header.code, "1:fnew")
          assert.isTrue(good.header.zstd)
          assert.strictEqual(good.body["sha256"], sha256(text.subarray(0, MiB)))
          const bomb = zstdCompressSync(Buffer.alloc(64 * MiB))
          const wide = zstdCompressSync(Buffer.concat([noise, noise]), { params: { 101: 24 } })
          const wrong: ReadonlyArray<readonly [Uint8Array, number, string]> = [
            [bomb, MiB, "2:ihv"],
            [bomb, 64 * MiB, "2:big"],
            [zstdCompressSync(Buffer.alloc(5000)), 5001, "2:ihv"],
            [zstdCompressSync(Buffer.alloc(5000)), 4999, "2:ihv"],
            [wide.subarray(0, MiB), MiB, "2:ihv"],
            [deflateRawSync(Buffer.alloc(5000)), 5000, "2:ihv"],
            [Buffer.alloc(100), 99, "2:ihv"],
            [Buffer.alloc(0), 99, "2:ihv"]
          ]
          for (const [data, size, code] of wrong) {
            assert.strictEqual((await create(data, size)).header.code, code)
          }
          assert.strictEqual((await client.ask("Heartbeat", { id: ++id })).header.code, "1:hb")
          const { body } = await client.ask("QueryStorage", { id: ++id, auth: { token } })
          assert.strictEqual(body["files_used"], 1)
          client.close()
        })
      }))
  })

  layer(Layer.empty)((it) => {
    it.effect("is not tried with a server that does not know of it", () =>
      Effect.gen(function*() {
        const { client, server } = yield* connected({
          Login: login,
          Write: ({ data }) => ({ code: "1:fnew", body: { owner: "alice", name: "a", size: data.length, version: 1 } })
        }, { compression: "always" })
        yield* client.login("alice", secret)
        yield* client.write("a", text.subarray(0, 5000))
        assert.isTrue(server.requests.at(-1)?.data.equals(text.subarray(0, 5000)))
      }))

    it.effect("ends the connection with a server that compresses what was not to be, or what it says is none", () =>
      Effect.gen(function*() {
        const head = { owner: "alice", name: "a", size: 5000, version: 1, position: 0, length: 5000 }
        const reply = (data: Uint8Array) => ({ code: "1:read" as const, body: head, data, raw_size: 5000 })
        const outcome = Effect.fnUntraced(function*(data: Uint8Array, compression: "always" | "never") {
          const { client } = yield* connected({ Login: login, Read: () => reply(data) }, { compression })
          yield* client.login("alice", secret)
          return yield* Effect.flip(Stream.runDrain(client.read("a")))
        })
        const good = zstdCompressSync(text.subarray(0, 5000))
        assert.include((yield* outcome(good, "never")).message, "it compressed what it was not to")
        assert.include((yield* outcome(randomBytes(200), "always")).message, "it sent compressed data that is none")
        assert.include(
          (yield* outcome(zstdCompressSync(Buffer.alloc(MiB)), "always")).message,
          "it sent compressed data that is none"
        )
      }))
  })
})
