/** Many files at once, against the real server: what arrives, in how many requests, and what of a set that fails. */
import { assert, describe, layer } from "@effect/vitest"
import { Context, Duration, Effect, Layer, Redacted } from "effect"
import { createHash, randomBytes } from "node:crypto"
import { chmod, mkdir, readdir, readFile, stat, utimes, writeFile } from "node:fs/promises"
import { dirname, join } from "node:path"
import type { FileToFetch, MovedFile } from "../../src/client/fileSetTypes.ts"
import { type FileInput, FipClient } from "../../src/client/FipClient.ts"
import { FileName } from "../../src/protocol/FileName.ts"
import { Server } from "../../src/server/Server.ts"
import { CountingProxy } from "../support/CountingProxy.ts"
import * as TestServer from "../support/TestServer.ts"

const KiB = 1024
const secret = Redacted.make("correct horse")
const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex")

/** A client of the test's server, logged in as a new user, and a folder. */
const newUser = Effect.fnUntraced(function*(username: string, port?: number) {
  const server = yield* Server
  const folder = yield* TestServer.temporaryFolder
  const client = Context.get(
    yield* Layer.build(FipClient.layer({
      host: "127.0.0.1",
      port: port ?? server.port,
      knownHosts: join(folder, "known_hosts"),
      stateFolder: join(folder, "state")
    })),
    FipClient
  )
  yield* client.register(username, secret)
  yield* client.login(username, secret)
  return { client, folder }
})

const nameOf = (file: FileInput) => typeof file === "string" ? file : file.name
const refOf = (name: string) => ({ owner: undefined, name: FileName.make(name) })

/** Files of these contents below a folder, as they are sent. */
const put = (folder: string, contents: ReadonlyMap<string, Uint8Array>) =>
  Effect.promise(async () => {
    for (const [name, content] of contents) {
      await mkdir(dirname(join(folder, name)), { recursive: true })
      await writeFile(join(folder, name), content)
    }
    return [...contents.keys()].map((name) => ({ local: join(folder, name), file: refOf(name) }))
  })

/** The same files, to be fetched below another folder. */
const fetched = (files: ReadonlyArray<{ readonly local: string; readonly file: FileToFetch["file"] }>, to: string) =>
  Effect.promise(async () => {
    for (const { file } of files) await mkdir(dirname(join(to, file.name)), { recursive: true })
    return files.map(({ file }) => ({ file, local: join(to, file.name) }))
  })

const contentsOf = (folder: string) =>
  Effect.promise(async () => {
    const found = new Map<string, string>()
    for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
      const path = join(entry.parentPath, entry.name)
      if (entry.isFile()) found.set(path.slice(folder.length + 1), sha256(await readFile(path)))
    }
    return found
  })

const hashes = (contents: ReadonlyMap<string, Uint8Array>) =>
  new Map([...contents].map(([name, content]) => [name, sha256(content)]))

/** Many that are small, some that are not, one of nothing. */
const mixed = (count: number): ReadonlyMap<string, Buffer> =>
  new Map([
    ...Array.from({ length: count }, (_, index) => [`d${index % 7}/ü ${index}`, randomBytes(index % 5000)] as const),
    ["empty", Buffer.alloc(0)],
    ["middling", randomBytes(250 * KiB)],
    ["larger", randomBytes(300 * KiB)],
    ["large", randomBytes(3 * 1024 * KiB)]
  ])

describe("a set of files", () => {
  layer(TestServer.layer(), { timeout: Duration.seconds(60) })((it) => {
    it.effect("arrives as it was, in both directions, and each file is told of once, with its place in the list", () =>
      Effect.gen(function*() {
        const { client, folder } = yield* newUser("whole_set")
        const contents = mixed(300)
        const files = yield* put(join(folder, "a"), contents)
        const told: Array<MovedFile> = []
        let bytes = 0
        const options = {
          onMoved: (moved: ReadonlyArray<MovedFile>) => Effect.sync(() => void told.push(...moved)),
          onProgress: (progress: { readonly bytes: number }) => bytes = progress.bytes
        }
        const all = [...contents.values()].reduce((sum, { length }) => sum + length, 0)
        const check = (results: ReadonlyArray<{ readonly name: string; readonly sha256?: string }>) => {
          assert.deepStrictEqual(new Map(results.map((file) => [file.name, file.sha256 ?? ""])), hashes(contents))
          assert.deepStrictEqual(results.map(({ name }) => name), files.map(({ file }) => String(file.name)))
          const byIndex = told.toSorted((a, b) => a.index - b.index)
          assert.deepStrictEqual(byIndex.map(({ written }) => written), results)
          assert.strictEqual(bytes, all)
          told.length = bytes = 0
        }
        check(yield* client.uploadMany(files, options))
        assert.strictEqual((yield* client.queryStorage).files_used, files.length)
        const down = join(folder, "b")
        check(yield* client.downloadMany(yield* fetched(files, down), options))
        assert.deepStrictEqual(yield* contentsOf(down), hashes(contents))
        // Again over what is there.
        yield* Effect.promise(() => writeFile(join(down, "empty"), "not any more"))
        const again = (yield* fetched(files, down)).map(({ file, local }) => ({ file, local, size: 10 }))
        yield* client.downloadMany(again)
        assert.deepStrictEqual(yield* contentsOf(down), hashes(contents))
      }))

    it.effect("keeps the times and the executable bits, and makes files as the system makes new ones", () =>
      Effect.gen(function*() {
        const { client, folder } = yield* newUser("attributed_set")
        const files = yield* put(join(folder, "a"), new Map([["run", Buffer.from("x")], ["text", Buffer.from("y")]]))
        yield* Effect.promise(async () => {
          for (const { local } of files) await utimes(local, 1_000_000, 1_600_000_000.123)
          await chmod(join(folder, "a/run"), 0o755)
        })
        yield* client.uploadMany(files)
        yield* client.downloadMany(yield* fetched(files, join(folder, "b")))
        const [run, text] = yield* Effect.promise(() =>
          Promise.all(["run", "text"].map((name) => stat(join(folder, "b", name))))
        )
        assert.strictEqual(run?.mtimeMs, 1_600_000_000_123)
        const mode = 0o666 & ~process.umask()
        assert.strictEqual((text?.mode ?? 0) & 0o777, mode)
        assert.strictEqual((run?.mode ?? 0) & 0o100, 0o100)
      }))

    it.effect("goes in few requests, each answered before the next round trip is needed", () =>
      Effect.gen(function*() {
        const proxy = yield* Effect.acquireRelease(
          Effect.promise(() => CountingProxy.start()),
          (proxy) => Effect.promise(() => proxy.stop())
        )
        proxy.target = (yield* Server).port
        const { client, folder } = yield* newUser("few_requests", proxy.port)
        const contents = new Map(Array.from({ length: 1000 }, (_, index) => [`f${index}`, randomBytes(40)] as const))
        const files = yield* put(join(folder, "a"), contents)
        const before = proxy.up
        yield* client.uploadMany(files)
        // Of each its name, size, hash, time and bit, and its content; no token, header or record of its own.
        assert.isBelow((proxy.up - before) / files.length, 300)
        const asked = proxy.up
        yield* client.downloadMany(yield* fetched(files, join(folder, "b")))
        assert.isBelow((proxy.up - asked) / files.length, 30)
        assert.deepStrictEqual(yield* contentsOf(join(folder, "b")), hashes(contents))
      }))

    it.effect("fails for the first file that is refused and names it; what has arrived stays and was told of", () =>
      Effect.gen(function*() {
        const { client, folder } = yield* newUser("failing_set")
        const contents = new Map(Array.from({ length: 200 }, (_, index) => [`f${index}`, randomBytes(100)] as const))
        const files = yield* put(join(folder, "a"), contents)
        yield* client.write("f7", "is there")
        const told: Array<MovedFile> = []
        const onMoved = (moved: ReadonlyArray<MovedFile>) => Effect.sync(() => void told.push(...moved))
        const up = yield* Effect.flip(
          client.uploadMany(files.map((file) => ({ ...file, mode: "create" as const })), { onMoved })
        )
        assert.strictEqual(nameOf(up.file), "f7")
        assert.propertyVal(up.cause, "code", "2:cnf")
        assert.include(up.message, "f7")
        assert.strictEqual((yield* client.queryStorage).files_used, told.length + 1)
        yield* client.uploadMany(files)
        yield* client.delete("f9")
        told.length = 0
        const to = join(folder, "b")
        const down = yield* Effect.flip(client.downloadMany(yield* fetched(files, to), { onMoved }))
        assert.strictEqual(nameOf(down.file), "f9")
        assert.propertyVal(down.cause, "code", "2:nf")
        const here = yield* contentsOf(to)
        assert.deepStrictEqual([...here.keys()].toSorted(), told.map(({ written }) => String(written.name)).toSorted())
        assert.isFalse([...here.keys()].some((name) => name.startsWith(".fip-")))
      }))

    it.effect("names a local file that cannot be read, or a folder that cannot be written", () =>
      Effect.gen(function*() {
        const { client, folder } = yield* newUser("local_faults")
        const files = yield* put(join(folder, "a"), new Map([["x", Buffer.from("x")], ["y", Buffer.from("y")]]))
        const missing = yield* Effect.flip(
          client.uploadMany([...files, { local: join(folder, "a/none"), file: refOf("none") }])
        )
        assert.deepStrictEqual([nameOf(missing.file), missing.cause._tag], [FileName.make("none"), "LocalFileError"])
        yield* client.uploadMany(files)
        const nowhere = yield* Effect.flip(
          client.downloadMany(files.map(({ file }) => ({ file, local: join(folder, "nowhere", file.name) })))
        )
        assert.deepStrictEqual([nameOf(nowhere.file), nowhere.cause._tag], [FileName.make("x"), "LocalFileError"])
        // A folder in the way of one of them.
        yield* Effect.promise(() => mkdir(join(folder, "b/y"), { recursive: true }))
        const inTheWay = yield* Effect.flip(
          client.downloadMany(files.map(({ file }) => ({ file, local: join(folder, "b", file.name) })))
        )
        assert.strictEqual(nameOf(inTheWay.file), "y")
        assert.deepStrictEqual([...(yield* contentsOf(join(folder, "b"))).keys()], ["x"])
      }))
  })
})
