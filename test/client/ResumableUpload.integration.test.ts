/** Uploads that are interrupted and taken up, against the real server. Killed processes are test/integration/resume. */
import { assert, describe, layer } from "@effect/vitest"
import { Context, Deferred, Duration, Effect, Layer, Redacted, Stream } from "effect"
import { createHash } from "node:crypto"
import { readdir, readFile, rename, stat, truncate, utimes, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { FipClient, type FipClientShape, type UploadOptions } from "../../src/client/FipClient.ts"
import { Server } from "../../src/server/Server.ts"
import { bytesOf } from "../support/ScriptedFile.ts"
import * as TestServer from "../support/TestServer.ts"

const MiB = 1024 * 1024
const secret = Redacted.make("correct horse")
const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex")

/** Clients of one user that share what they note, as runs of one program do. */
const newUser = Effect.fnUntraced(function*(username: string) {
  const { port } = yield* Server
  const folder = yield* TestServer.temporaryFolder
  const notices: Array<string> = []
  const connect = Effect.gen(function*() {
    const client = Context.get(
      yield* Layer.build(FipClient.layer({
        host: "127.0.0.1",
        port,
        knownHosts: join(folder, "known_hosts"),
        stateFolder: join(folder, "state"),
        onNotice: (notice) => notices.push(notice)
      })),
      FipClient
    )
    return client
  })
  const first = yield* connect
  yield* first.register(username, secret)
  const run = Effect.tap(connect, (client) => client.login(username, secret))
  const source = join(folder, "source")
  const journals = join(folder, "state", "transfers")
  return { folder, journals, notices, run, source }
})

const write = (path: string, content: Uint8Array) => Effect.promise(() => writeFile(path, content))

/** Uploads until so many bytes were acknowledged, and is then interrupted as by Ctrl-C. Gives what was acknowledged. */
const interruptedAt = Effect.fnUntraced(function*(
  client: FipClientShape,
  source: string,
  bytes: number,
  options: UploadOptions = {}
) {
  const reached = yield* Deferred.make<void>()
  let acknowledged = 0
  yield* Effect.raceFirst(
    client.upload(source, "f", {
      ...options,
      onProgress: (progress) => {
        acknowledged = progress.bytes
        if (acknowledged >= bytes) Deferred.doneUnsafe(reached, Effect.void)
      }
    }),
    Deferred.await(reached)
  )
  return acknowledged
})

/** Uploads to the end. Gives the result, and where it began. */
const finished = Effect.fnUntraced(function*(client: FipClientShape, source: string, options: UploadOptions = {}) {
  let began: number | undefined
  const written = yield* client.upload(source, "f", {
    ...options,
    onProgress: ({ bytes }) => began ??= bytes
  })
  return { began, written }
})

const content = (client: FipClientShape) => Effect.map(Stream.mkUint8Array(client.read("f")), (bytes) => sha256(bytes))

/** The notes that are kept, without locks. */
const notes = (folder: string) =>
  Effect.promise(async () => (await readdir(folder)).filter((name) => !name.endsWith(".lock")))

describe("an interrupted upload", () => {
  layer(TestServer.layer(), { timeout: Duration.seconds(60) })((it) => {
    it.effect("is taken up by the next client where it was, and proven without hashing it again", () =>
      Effect.gen(function*() {
        const { journals, notices, run, source } = yield* newUser("goes_on")
        const bytes = bytesOf(9 * MiB + 1234)
        yield* write(source, bytes)
        const acknowledged = yield* interruptedAt(yield* run, source, 4 * MiB)
        assert.strictEqual((yield* notes(journals)).length, 1)
        assert.strictEqual((yield* Effect.promise(() => stat(journals))).mode & 0o777, 0o700)
        const client = yield* run
        const { began = 0, written } = yield* finished(client, source)
        assert.isAtLeast(began, acknowledged)
        assert.match(notices.join("\n"), /going on with the upload of .*source: \d+ of 10 MiB are there/)
        // The server has hashed all of it.
        assert.strictEqual(written.sha256, sha256(bytes))
        assert.strictEqual(written.version, 1)
        assert.strictEqual(yield* content(client), sha256(bytes))
        assert.deepStrictEqual(yield* notes(journals), [])
        // The next one is a new one.
        assert.deepInclude(yield* finished(client, source), { began: 0 })
      }))

    it.effect("begins anew when the file is another, and never mixes the two", () =>
      Effect.gen(function*() {
        const { folder, notices, run, source } = yield* newUser("changed_source")
        const old = bytesOf(5 * MiB)
        // Times of which no part is lost when they are set again.
        const sameTime = () => utimes(source, 1_000_000_000, 1_000_000_000)
        const changes: ReadonlyArray<readonly [string, () => Promise<unknown>]> = [
          ["longer", () => writeFile(source, "more", { flag: "a" })],
          ["shorter", () => truncate(source, 4 * MiB)],
          ["as long and as old", () => writeFile(source, bytesOf(5 * MiB + 1).subarray(1)).then(sameTime)],
          ["another file", async () => {
            await writeFile(join(folder, "other"), bytesOf(5 * MiB + 2).subarray(2))
            await rename(join(folder, "other"), source)
          }]
        ]
        for (const [what, change] of changes) {
          yield* write(source, old)
          yield* Effect.promise(sameTime)
          yield* interruptedAt(yield* run, source, 2 * MiB)
          yield* Effect.promise(change)
          notices.length = 0
          const client = yield* run
          const { began, written } = yield* finished(client, source)
          assert.strictEqual(began, 0, what)
          assert.match(notices.join("\n"), /changed since its upload was interrupted/, what)
          const now = sha256(yield* Effect.promise(() => readFile(source)))
          assert.strictEqual(written.sha256, now, what)
          assert.strictEqual(yield* content(client), now, what)
        }
      }))

    it.effect("is published right or begun anew whatever has become of its notes", () =>
      Effect.gen(function*() {
        const { journals, run, source } = yield* newUser("damaged_notes")
        const bytes = bytesOf(6 * MiB)
        yield* write(source, bytes)
        const damages: ReadonlyArray<(note: Buffer) => Uint8Array> = [
          (note) => note.subarray(0, note.length - 7),
          (note) => note.subarray(0, 30),
          () => Buffer.alloc(0),
          (note) => Buffer.from(note).fill(0, note.length - 300, note.length - 200),
          (note) => Buffer.concat([note, Buffer.from("00000000 [1,2]\n{")]),
          // A line that is as it was written, of another upload.
          (note) => Buffer.concat([note, note])
        ]
        for (const [index, damage] of damages.entries()) {
          yield* interruptedAt(yield* run, source, 3 * MiB)
          const [name = ""] = yield* notes(journals)
          yield* Effect.promise(async () =>
            writeFile(join(journals, name), damage(await readFile(join(journals, name))))
          )
          const client = yield* run
          const { written } = yield* finished(client, source, { hash: true })
          assert.strictEqual(written.sha256, sha256(bytes), String(index))
          assert.strictEqual(yield* content(client), sha256(bytes), String(index))
          assert.deepStrictEqual(yield* notes(journals), [], String(index))
        }
      }))

    it.effect("begins anew when the file does not have what was noted of it", () =>
      Effect.gen(function*() {
        const { folder, journals, notices, run, source } = yield* newUser("wrong_notes")
        const bytes = bytesOf(4 * MiB + 5)
        yield* write(source, bytes)
        yield* interruptedAt(yield* run, source, 2 * MiB)
        const [mine = ""] = yield* notes(journals)
        const other = join(folder, "other")
        yield* write(other, bytesOf(4 * MiB + 6).subarray(1))
        yield* interruptedAt(yield* run, other, 2 * MiB)
        const theirs = (yield* notes(journals)).find((name) => name !== mine) ?? assert.fail()
        const linesOf = async (name: string) => (await readFile(join(journals, name), "utf8")).split("\n")
        yield* Effect.promise(async () => {
          const [head] = await linesOf(mine)
          const [, ...sums] = await linesOf(theirs)
          await writeFile(join(journals, mine), [head, ...sums].join("\n"))
        })
        const client = yield* run
        const { written } = yield* finished(client, source, { hash: true })
        assert.match(notices.join("\n"), /is not what it was when its upload was interrupted/)
        assert.strictEqual(written.sha256, sha256(bytes))
        assert.strictEqual(yield* content(client), sha256(bytes))
      }))

    it.effect("can be run twice at the same time", () =>
      Effect.gen(function*() {
        const { run, source } = yield* newUser("at_once")
        const bytes = bytesOf(5 * MiB)
        yield* write(source, bytes)
        yield* interruptedAt(yield* run, source, 2 * MiB)
        const clients = [yield* run, yield* run, yield* run]
        const all = yield* Effect.forEach(clients, (client) => finished(client, source, { hash: true }), {
          concurrency: "unbounded"
        })
        for (const { written } of all) assert.strictEqual(written.sha256, sha256(bytes))
        assert.deepStrictEqual(all.map(({ written }) => written.version).sort(), [1, 2, 3])
        assert.strictEqual(yield* content(clients[0] ?? assert.fail()), sha256(bytes))
      }))

    it.effect("changes what is there at its end, and not what another version was expected of", () =>
      Effect.gen(function*() {
        const { journals, run, source } = yield* newUser("meanwhile_user")
        const bytes = bytesOf(3 * MiB)
        yield* write(source, bytes)
        const client = yield* run
        yield* client.write("f", "one")
        const options = { mode: "append", expectedVersion: 1 } as const
        yield* interruptedAt(client, source, MiB, options)
        yield* interruptedAt(client, source, MiB, { mode: "append" })
        yield* client.write("f", "another")
        assert.deepInclude(yield* Effect.flip(client.upload(source, "f", options)), {
          code: "2:vcf",
          current_version: 2
        })
        const { began = 0, written } = yield* finished(client, source, { mode: "append" })
        assert.isAtLeast(began, MiB)
        assert.deepInclude(written, { size: 3 * MiB + 7, version: 3 })
        assert.strictEqual(yield* content(client), sha256(Buffer.concat([Buffer.from("another"), bytes])))
        assert.deepStrictEqual(yield* notes(journals), [])
      }))
  })
})
