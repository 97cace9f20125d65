import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Stream } from "effect"
import * as fc from "fast-check"
import { createHash } from "node:crypto"
import { ofBytes, ofStream } from "../../src/client/Blocks.ts"
import { MAX_DATA_BYTES } from "../../src/protocol/Limits.ts"
import { arrivals, grant, loggedIn } from "../support/ScriptedClient.ts"
import { bytesOf } from "../support/ScriptedFile.ts"
import type { Received, Reply, Script } from "../support/ScriptedServer.ts"

const MiB = 1024 * 1024
const upload_id = "00000000-0000-4000-8000-00000000000a"
const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex")

const begun: Reply = {
  code: "1:ubeg",
  body: { upload_id, received: [], expires_at: "2026-11-29T08:00:00.000Z" }
}
const stored = ({ body, data }: Received<"UploadPart">): Reply => ({
  code: "1:upart",
  body: { upload_id, offset: body.offset, length: data.length }
})
const written = (size: number, hash?: string): Reply => ({
  code: "1:amnd",
  body: { owner: "alice", name: "f", size, version: 1, ...(hash === undefined ? {} : { sha256: hash }) }
})

/** Takes uploads as a server does, and keeps their bytes. */
const keeper = () => {
  const content = new Map<number, Buffer>()
  const whole = () => Buffer.concat([...content].sort(([a], [b]) => a - b).map(([, bytes]) => bytes))
  const script: Script = {
    Write: ({ body, data }) => {
      content.set(0, data)
      return written(data.length, body.sha256)
    },
    UploadBegin: () => begun,
    UploadPart: (request) => {
      content.set(request.body.offset, request.data)
      return stored(request)
    },
    UploadCommit: ({ body }) =>
      body.sha256 === sha256(whole())
        ? written(whole().length, body.sha256)
        : { code: "2:sum", body: { message: "the content does not match" } },
    UploadAbort: () => ({ code: "1:uabt", body: { upload_id } })
  }
  return { script, whole }
}

describe("Blocks", () => {
  it("cuts a stream of any chunks into full blocks and a last one", () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(fc.oneof(fc.integer({ min: 0, max: 10 }), fc.integer({ min: 0, max: 2 * MiB })), { maxLength: 6 }),
        fc.boolean(),
        (sizes, asStream) =>
          Effect.runPromise(Effect.scoped(Effect.gen(function*() {
            const chunks = sizes.map(bytesOf)
            const all = Buffer.concat(chunks)
            const blocks = asStream ? yield* ofStream(Stream.fromIterable(chunks)) : ofBytes(all)
            const taken: Array<Buffer> = []
            for (;;) {
              const block = yield* blocks.next
              if (block === undefined) break
              taken.push(Buffer.from(block))
              // Whoever has sent a block gives it back, and the source may use its memory again.
              blocks.release(block)
            }
            for (const block of taken.slice(0, -1)) assert.strictEqual(block.length, MAX_DATA_BYTES)
            assert.isFalse(taken.some(({ length }) => length === 0))
            assert.isTrue(Buffer.concat(taken).equals(all))
          })))
      ),
      { numRuns: 30 }
    ))
})

describe("Upload", () => {
  it.live("sends what is small in one message, with its hash", () =>
    Effect.gen(function*() {
      const { script, whole } = keeper()
      const { client, server } = yield* loggedIn(script)
      for (const content of ["grüße", new Uint8Array(0), bytesOf(MiB), Stream.make(bytesOf(MiB))]) {
        yield* client.write("f", content)
        const { body, name } = server.requests.at(-1) ?? assert.fail()
        assert.strictEqual(name, "Write")
        assert.deepStrictEqual(body, { name: "f", sha256: sha256(whole()) })
      }
    }))

  it.live("sends what is large in parts with offsets, and proves it at the end", () =>
    Effect.gen(function*() {
      const { script, whole } = keeper()
      const { client, server } = yield* loggedIn(script)
      const content = bytesOf(5 * MiB + 1)
      for (const input of [content, Stream.make(content.subarray(0, 3), content.subarray(3))]) {
        const { size } = yield* client.write("f", input)
        assert.strictEqual(size, content.length)
        assert.isTrue(whole().equals(content))
      }
      const begins = server.requests.filter(({ name }) => name === "UploadBegin").map(({ body }) => body)
      assert.deepStrictEqual(begins, [
        { name: "f", mode: "write", size: content.length },
        { name: "f", mode: "write" }
      ])
    }))

  it.live("names the mode, the place and the expected version", () =>
    Effect.gen(function*() {
      const { script } = keeper()
      const small: Script = Object.fromEntries(
        (["Create", "Replace", "Append", "Patch"] as const).map((name) => [name, () => written(1)])
      )
      const { client, server } = yield* loggedIn({ ...script, ...small })
      yield* client.create("~bobby/f", "x")
      yield* client.replace("f", "x", { expectedVersion: 3 })
      yield* client.append("f", "x", { expectedVersion: 4 })
      yield* client.patch("f", 7, "x", { expectedVersion: 5 })
      yield* client.patch("f", 7, bytesOf(2 * MiB), { expectedVersion: 5 })
      const bodies = server.requests.map(({ body }): object => body)
      const hash = { sha256: sha256(Buffer.from("x")) }
      assert.deepStrictEqual(bodies.slice(1, 6), [
        { owner: "bobby", name: "f", ...hash },
        { name: "f", expected_version: 3, ...hash },
        { name: "f", expected_version: 4, ...hash },
        { name: "f", expected_version: 5, ...hash, position: 7 },
        { name: "f", expected_version: 5, mode: "patch", position: 7, size: 2 * MiB }
      ])
    }))

  it.live("has several parts on their way, but not all of them", () =>
    Effect.gen(function*() {
      const parts = arrivals<"UploadPart">()
      const { script } = keeper()
      const { client, server } = yield* loggedIn({
        ...script,
        UploadPart: parts.script,
        Heartbeat: () => ({ code: "1:hb", body: { server_version: "1.0.0" } })
      })
      const upload = yield* Effect.forkChild(client.write("f", bytesOf(40 * MiB)))
      const window: Array<Received<"UploadPart">> = []
      for (let index = 0; index < 16; index++) window.push(yield* parts.next)
      // The answer to this comes after whatever else was sent before it.
      yield* client.heartbeat
      assert.strictEqual(server.count("UploadPart"), 16)
      for (const request of window) request.reply(stored(request))
      yield* parts.next
      yield* Fiber.interrupt(upload)
    }), 10_000)

  it.live("tells the server when it gives up", () =>
    Effect.gen(function*() {
      const { script } = keeper()
      const refused = yield* loggedIn({
        ...script,
        UploadPart: (request) =>
          request.body.offset === 3 * MiB
            ? { code: "2:quota", body: { message: "over the quota" } }
            : stored(request)
      })
      const error = yield* Effect.flip(refused.client.write("f", bytesOf(6 * MiB)))
      assert.strictEqual(error.message, "over the quota")
      assert.strictEqual(refused.server.count("UploadAbort"), 1)

      const failed = yield* loggedIn(script)
      const source = Stream.concat(Stream.make(bytesOf(3 * MiB)), Stream.fail(error))
      assert.strictEqual(yield* Effect.flip(failed.client.write("f", source)), error)
      assert.strictEqual(failed.server.count("UploadAbort"), 1)

      const parts = arrivals<"UploadPart">()
      const interrupted = yield* loggedIn({ ...script, UploadPart: parts.script })
      const upload = yield* Effect.forkChild(interrupted.client.write("f", bytesOf(6 * MiB)))
      yield* parts.next
      yield* Fiber.interrupt(upload)
      assert.strictEqual(interrupted.server.count("UploadAbort"), 1)
    }))

  it.live("goes on over a lost connection and an expired token", () =>
    Effect.gen(function*() {
      const { script, whole } = keeper()
      let cut = false
      let renewed = false
      const { client } = yield* loggedIn({
        ...script,
        Refresh: () => {
          renewed = true
          return { code: "1:ref", body: grant(2) }
        },
        UploadPart: (request) => {
          if (request.body.offset === 2 * MiB && !cut) {
            cut = true
            return void request.peer.socket.destroy()
          }
          if (request.body.offset === 4 * MiB && !renewed) return { code: "2:exp", body: { message: "expired" } }
          return script.UploadPart?.(request)
        }
      })
      const content = bytesOf(6 * MiB)
      yield* client.write("f", content)
      assert.isTrue(whole().equals(content))
      assert.isTrue(cut && renewed)
    }))

  it.live("does not believe a server that acknowledges something else", () =>
    Effect.gen(function*() {
      const { script } = keeper()
      const part = yield* loggedIn({
        ...script,
        UploadPart: ({ body }) => ({ code: "1:upart", body: { upload_id, offset: body.offset, length: 1 } })
      })
      assert.strictEqual((yield* Effect.flip(part.client.write("f", bytesOf(2 * MiB))))._tag, "ProtocolError")
      const hash = yield* loggedIn({ Write: ({ data }) => written(data.length, sha256(Buffer.from("else"))) })
      assert.strictEqual((yield* Effect.flip(hash.client.write("f", "text")))._tag, "IntegrityError")
    }))
})
