import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber } from "effect"
import { createHash } from "node:crypto"
import { chmod, mkdir, readdir, readFile, stat, symlink, truncate, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { arrivals, loggedIn } from "../support/ScriptedClient.ts"
import { bytesOf, type FileScript, serve } from "../support/ScriptedFile.ts"
import { type Received, type Script, temporaryFolder } from "../support/ScriptedServer.ts"

const MiB = 1024 * 1024
const upload_id = "00000000-0000-4000-8000-00000000000a"
const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex")

const make = (path: string, content: string | Uint8Array) => Effect.promise(() => writeFile(path, content))
const listing = (path: string) => Effect.promise(() => readdir(path))
const content = (path: string) => Effect.promise(() => readFile(path))

const serving = (file: FileScript) => loggedIn({ Read: (request) => void serve(request, file) })

const written = (size: number) => ({ code: "1:amnd", body: { owner: "alice", name: "f", size, version: 1 } }) as const

describe("download", () => {
  for (const size of [0, 1, MiB, 5 * MiB + 3]) {
    it.live(`writes ${size} bytes whole, and nothing else`, () =>
      Effect.gen(function*() {
        const folder = yield* temporaryFolder
        const bytes = bytesOf(size)
        const { client } = yield* serving({ content: bytes, hash: "tail" })
        const progress: Array<number> = []
        const onProgress = ({ bytes }: { readonly bytes: number }) => progress.push(bytes)
        const done = yield* client.download("docs/f", join(folder, "here"), { onProgress })
        assert.deepStrictEqual([done.size, String(done.sha256)], [size, sha256(bytes)])
        assert.isTrue((yield* content(join(folder, "here"))).equals(bytes))
        assert.deepStrictEqual(yield* listing(folder), ["here"])
        assert.strictEqual(progress.at(-1) ?? 0, size)
      }))
  }

  it.live("goes into a folder under the last part of the name that was asked for, whatever the server calls it", () =>
    Effect.gen(function*() {
      const folder = yield* temporaryFolder
      const { client } = yield* loggedIn({
        Read: ({ reply }) => {
          const head = { owner: "alice", name: "evil/else", size: 1, version: 1, position: 0, length: 1 }
          reply({ code: "1:read", body: { ...head, sha256: sha256(bytesOf(1)) }, data: bytesOf(1) })
        }
      })
      yield* client.download("docs/f", folder)
      assert.deepStrictEqual(yield* listing(folder), ["f"])
      const error = yield* Effect.flip(client.download("docs/f", join(folder, "none/")))
      assert.match(error.message, /no such folder/)
    }))

  it.live("takes no name from a server that could leave the folder", () =>
    Effect.gen(function*() {
      const folder = yield* temporaryFolder
      const { client } = yield* loggedIn({
        Read: ({ reply }) => {
          const head = { owner: "alice", name: "../../evil", size: 0, version: 1, position: 0, length: 0 }
          reply({ code: "1:read", body: { ...head, sha256: sha256(bytesOf(0)) } })
        }
      })
      assert.strictEqual((yield* Effect.flip(client.download("f", folder)))._tag, "ProtocolError")
      assert.deepStrictEqual(yield* listing(folder), [])
    }))

  it.live("leaves no file when the hash is another, and the old one where there was one", () =>
    Effect.gen(function*() {
      const folder = yield* temporaryFolder
      for (const size of [10, 3 * MiB]) {
        const { client } = yield* serving({ content: bytesOf(size), hash: "wrong" })
        assert.strictEqual((yield* Effect.flip(client.download("f", join(folder, "new"))))._tag, "IntegrityError")
        assert.deepStrictEqual(yield* listing(folder), [])
      }
      yield* make(join(folder, "old"), "before")
      const { client } = yield* serving({ content: bytesOf(10), hash: "wrong" })
      yield* Effect.flip(client.download("f", join(folder, "old")))
      assert.strictEqual(String(yield* content(join(folder, "old"))), "before")
      assert.deepStrictEqual(yield* listing(folder), ["old"])
    }))

  it.live("shows the old content until the end, and leaves only a hidden part when it is interrupted", () =>
    Effect.gen(function*() {
      const folder = yield* temporaryFolder
      const path = join(folder, "f")
      yield* make(path, "before")
      const reads = arrivals<"Read">()
      const { client } = yield* loggedIn({ Read: reads.script })
      const bytes = bytesOf(3 * MiB)
      const begun = yield* Deferred.make<void>()
      const download = yield* Effect.forkChild(client.download("f", path, {
        onProgress: () => Deferred.doneUnsafe(begun, Effect.void)
      }))
      void serve(yield* reads.next, { content: bytes })
      const { reply } = yield* reads.next
      const head = { owner: "alice", name: "f", size: bytes.length, version: 1, position: MiB, length: 2 * MiB }
      reply({ code: "0:read", more: true, body: head, data: bytes.subarray(MiB, MiB + 1000) })
      yield* Deferred.await(begun)
      assert.strictEqual(String(yield* content(path)), "before")
      yield* Fiber.interrupt(download)
      assert.strictEqual(String(yield* content(path)), "before")
      const [part = "", ...others] = (yield* listing(folder)).toSorted()
      assert.match(part, /^\.fip-[0-9a-f]{16}\.part$/)
      assert.strictEqual((yield* Effect.promise(() => stat(join(folder, part)))).mode & 0o777, 0o600)
      assert.deepStrictEqual(others, ["f"])
    }))

  it.live("keeps the mode of the file that it replaces, and replaces a link instead of following it", () =>
    Effect.gen(function*() {
      const folder = yield* temporaryFolder
      yield* make(join(folder, "script"), "old")
      yield* Effect.promise(() => chmod(join(folder, "script"), 0o750))
      yield* make(join(folder, "elsewhere"), "untouched")
      yield* Effect.promise(() => symlink("elsewhere", join(folder, "link")))
      const { client } = yield* serving({ content: bytesOf(10) })
      yield* client.download("f", join(folder, "script"))
      assert.strictEqual((yield* Effect.promise(() => stat(join(folder, "script")))).mode & 0o777, 0o750)
      yield* client.download("f", join(folder, "link"))
      assert.strictEqual(String(yield* content(join(folder, "elsewhere"))), "untouched")
    }))

  it.live("says what is wrong with the place before it asks the server", () =>
    Effect.gen(function*() {
      const folder = yield* temporaryFolder
      yield* make(join(folder, "file"), "")
      const { client, server } = yield* serving({ content: bytesOf(10) })
      for (const path of ["none/f", "file/f"]) {
        const error = yield* Effect.flip(client.download("f", join(folder, path)))
        assert.strictEqual(error._tag, "LocalFileError")
        assert.include(error.message, join(folder, path))
      }
      assert.strictEqual(server.count("Read"), 0)
    }))
})

/** Takes everything, and keeps the parts. */
const taking = () => {
  const parts: Array<Received<"UploadPart">> = []
  const script: Script = {
    Write: ({ data }) => written(data.length),
    UploadBegin: () => ({
      code: "1:ubeg",
      body: { upload_id, received: [], expires_at: "2026-11-29T08:00:00.000Z" }
    }),
    UploadPart: (request) => {
      parts.push(request)
      return { code: "1:upart", body: { upload_id, offset: request.body.offset, length: request.data.length } }
    },
    UploadCommit: () => written(0),
    UploadAbort: () => ({ code: "1:uabt", body: { upload_id } })
  }
  return { parts, script }
}

describe("upload", () => {
  it.live("sends a file as it is, in blocks that are not overwritten while they are on their way", () =>
    Effect.gen(function*() {
      const path = join(yield* temporaryFolder, "f")
      const bytes = bytesOf(40 * MiB + 5)
      yield* make(path, bytes)
      const { parts, script } = taking()
      const { client, server } = yield* loggedIn(script)
      const progress: Array<number> = []
      const done = yield* client.upload(path, "f", { onProgress: ({ bytes }) => progress.push(bytes) })
      assert.strictEqual(String(done.sha256), sha256(bytes))
      const sent = Buffer.concat(parts.toSorted((a, b) => a.body.offset - b.body.offset).map(({ data }) => data))
      assert.isTrue(sent.equals(bytes))
      assert.deepStrictEqual(progress, progress.toSorted((a, b) => a - b))
      assert.strictEqual(progress.at(-1), bytes.length)
      assert.strictEqual(server.peers.length, 1)
    }))

  it.live("sends small and empty files in one message", () =>
    Effect.gen(function*() {
      const path = join(yield* temporaryFolder, "f")
      const { script } = taking()
      const { client, server } = yield* loggedIn(script)
      for (const size of [0, 1, MiB]) {
        yield* make(path, bytesOf(size))
        yield* client.upload(path, "f")
        assert.isTrue(server.requests.at(-1)?.data.equals(bytesOf(size)))
      }
      assert.strictEqual(server.count("Write"), 3)
    }))

  it.live("notices that the file became another while it was sent", () =>
    Effect.gen(function*() {
      const path = join(yield* temporaryFolder, "f")
      const changes = [
        () => truncate(path, 30 * MiB),
        () => writeFile(path, "more", { flag: "a" })
      ]
      for (const change of changes) {
        yield* make(path, bytesOf(40 * MiB))
        const { script } = taking()
        const begins = arrivals<"UploadBegin">()
        const { client, server } = yield* loggedIn({ ...script, UploadBegin: begins.script })
        const upload = yield* Effect.forkChild(Effect.flip(client.upload(path, "f")))
        const { reply } = yield* begins.next
        yield* Effect.promise(change)
        reply({ code: "1:ubeg", body: { upload_id, received: [], expires_at: "2026-11-29T08:00:00.000Z" } })
        const error = yield* Fiber.join(upload)
        assert.match(error.message, /changed while it was being sent/)
        assert.strictEqual(server.count("UploadCommit"), 0)
        assert.strictEqual(server.count("UploadAbort"), 1)
      }
    }))

  it.live("says what is wrong with the file, and sends nothing", () =>
    Effect.gen(function*() {
      const folder = yield* temporaryFolder
      yield* Effect.promise(() => mkdir(join(folder, "folder")))
      const { client, server } = yield* loggedIn({})
      const expected: ReadonlyArray<readonly [string, RegExp]> = [
        [join(folder, "none"), /no such file/],
        [join(folder, "folder"), /is a folder/],
        ["/dev/null", /not a regular file/]
      ]
      for (const [path, message] of expected) {
        const error = yield* Effect.flip(client.upload(path, "f"))
        assert.strictEqual(error._tag, "LocalFileError")
        assert.match(error.message, message)
      }
      assert.strictEqual(server.requests.length, 1)
    }))
})
