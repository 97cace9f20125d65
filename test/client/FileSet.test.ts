/** Many files at once with servers that are old, lie, or vanish. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { createHash } from "node:crypto"
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { FileName } from "../../src/protocol/FileName.ts"
import type { BodyOf } from "../../src/protocol/Request.ts"
import { loggedIn } from "../support/ScriptedClient.ts"
import type { Received, Reply, Script } from "../support/ScriptedServer.ts"

const sha256 = (bytes: Uint8Array | string) => createHash("sha256").update(bytes).digest("hex")

const NAMES = ["a", "b", "c"]

/** Each file's content is its name. */
const read = (name: string) => ({ name, size: 1, version: 1, sha256: sha256(name) })
const written = ({ name, size }: BodyOf<"WriteMany">["files"][number], data: Buffer) => ({
  name,
  size,
  version: 1,
  sha256: sha256(data)
})

const allWritten = (body: BodyOf<"WriteMany">, data: Buffer) =>
  body.files.map((file, index) => written(file, data.subarray(index, index + 1)))

const unknown = (): Reply => ({ code: "2:unop", body: { message: "no such operation" } })

const setUp = Effect.fnUntraced(function*(script: Script) {
  const { client, folder, server } = yield* loggedIn(script)
  const [from, to] = [join(folder, "from"), join(folder, "to")]
  yield* Effect.promise(async () => {
    await mkdir(from)
    await mkdir(to)
    for (const name of NAMES) await writeFile(join(from, name), name)
  })
  const refs = NAMES.map((name) => ({ owner: undefined, name: FileName.make(name) }))
  return {
    server,
    up: client.uploadMany(refs.map((file) => ({ file, local: join(from, file.name) }))),
    down: client.downloadMany(refs.map((file) => ({ file, local: join(to, file.name) }))),
    here: Effect.promise(async () => {
      const found: Array<readonly [string, string]> = []
      for (const name of (await readdir(to)).toSorted()) found.push([name, await readFile(join(to, name), "utf8")])
      return found
    })
  }
})

const answer = (files: ReadonlyArray<object>, data: string): Reply => ({
  code: "1:read",
  body: { owner: "alice", files },
  data: Buffer.from(data)
})

const all = NAMES.map((name) => [name, name] as const)

/** What an upload comes to when the server says this of its files. */
const saying = (change: (files: ReadonlyArray<object>) => ReadonlyArray<object>) =>
  Effect.gen(function*() {
    const { up } = yield* setUp({
      WriteMany: ({ body, data }) => ({
        code: "1:many",
        body: { owner: "alice", files: change(allWritten(body, data)) }
      })
    })
    return yield* Effect.map(
      Effect.result(up),
      (result) => result._tag === "Success" ? "" : result.failure.cause._tag
    )
  })

describe("a set of files", () => {
  it.live("is sent to an older server, and fetched from one, file by file", () =>
    Effect.gen(function*() {
      const { down, here, server, up } = yield* setUp({
        WriteMany: unknown,
        ReadMany: unknown,
        Write: ({ body, data }) => ({
          code: "1:fnew",
          body: { owner: "alice", name: body.name, size: data.length, version: 1, sha256: sha256(data) }
        }),
        Read: ({ body }) => ({
          code: "1:read",
          body: { owner: "alice", ...read(body.name), position: 0, length: 1 },
          data: Buffer.from(body.name)
        })
      })
      assert.deepStrictEqual((yield* up).map(({ name }) => String(name)), NAMES)
      assert.deepStrictEqual((yield* down).map(({ name }) => String(name)), NAMES)
      assert.deepStrictEqual(yield* here, all)
      assert.deepStrictEqual([server.count("Write"), server.count("Read")], [3, 3])
    }))

  it.live("has several of its larger files on their way at once, and not too much of them", () =>
    Effect.gen(function*() {
      let running = 0
      let most = 0
      const { client, folder } = yield* loggedIn({
        Write: ({ body, data, reply }) => {
          most = Math.max(most, ++running)
          setImmediate(() => {
            running--
            reply({
              code: "1:fnew",
              body: { owner: "alice", name: body.name, size: data.length, version: 1, sha256: body.sha256 }
            })
          })
        }
      })
      const local = join(folder, "large")
      yield* Effect.promise(() => writeFile(local, Buffer.alloc(1024 * 1024)))
      const files = Array.from({ length: 30 }, (_, index) => ({
        local,
        file: { owner: undefined, name: FileName.make(`f${index}`) }
      }))
      assert.lengthOf(yield* client.uploadMany(files), files.length)
      assert.isAtLeast(most, 2)
      assert.isAtMost(most, 16)
    }))

  it.live("is fetched to its end when the connection breaks on the way; no file twice", () =>
    Effect.gen(function*() {
      let asked = 0
      const { down, here } = yield* setUp({
        ReadMany: ({ body, peer, reply }) => {
          reply({ code: "0:read", more: true, body: { owner: "alice", files: [read("a")] }, data: Buffer.from("a") })
          if (asked++ === 0) return void peer.socket.end()
          const rest = body.names.slice(1)
          return {
            code: "1:read",
            body: { owner: "alice", files: rest.map((name) => read(name)) },
            data: Buffer.from(rest.join(""))
          }
        }
      })
      assert.deepStrictEqual((yield* down).map(({ name }) => String(name)), NAMES)
      assert.deepStrictEqual(yield* here, all)
      assert.strictEqual(asked, 2)
    }))

  const lies: ReadonlyArray<readonly [what: string, reply: (request: Received<"ReadMany">) => Reply, tag: string]> = [
    ["other bytes than it announced", () => answer(NAMES.map(read), "abX"), "IntegrityError"],
    ["fewer bytes than it announced", () => answer(NAMES.map(read), "ab"), "IntegrityError"],
    ["other files than it was asked for", () => answer(["a", "x", "c"].map(read), "axc"), "ProtocolError"],
    ["fewer files than it was asked for", () => answer(["a", "b"].map(read), "ab"), "ProtocolError"],
    ["more files than it was asked for", () => answer([...NAMES, "d"].map(read), "abcd"), "ProtocolError"],
    ["no answer at all", () => ({ code: "1:read", body: { nothing: true } }), "ProtocolError"]
  ]
  it.live.each(lies)(
    "is not published as what it is not, by a server that gives %s",
    ([, reply, tag]) =>
      Effect.gen(function*() {
        const { down, here } = yield* setUp({ ReadMany: reply })
        const failure = yield* Effect.flip(down)
        assert.strictEqual(failure.cause._tag, tag)
        for (const [name, content] of yield* here) assert.strictEqual(content, name)
      })
  )

  it.live("is not taken for written by a server that says something else was", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* saying((files) => files), "")
      assert.strictEqual(yield* saying((files) => files.slice(1)), "ProtocolError")
      assert.strictEqual(
        yield* saying((files) => [{ ...files[0], sha256: sha256("X") }, ...files.slice(1)]),
        "IntegrityError"
      )
      assert.strictEqual(
        yield* saying((files) => [...files.slice(0, 2), { name: "c", code: "2:quota", message: "full" }]),
        "Refusal"
      )
    }))
})
