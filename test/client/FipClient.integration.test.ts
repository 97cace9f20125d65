/** Every method of the client against the real server: TLS, database and disk as users have them. */
import { assert, describe, layer } from "@effect/vitest"
import { Context, Duration, Effect, Layer, Option, Redacted, Stream } from "effect"
import { TestClock } from "effect/testing"
import { createHash } from "node:crypto"
import { chmod, readFile, stat, utimes, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { FipClient, type FipClientShape, type ListOptions } from "../../src/client/FipClient.ts"
import { attributesOf } from "../../src/client/LocalFile.ts"
import { Server } from "../../src/server/Server.ts"
import { bytesOf } from "../support/ScriptedFile.ts"
import * as TestServer from "../support/TestServer.ts"

const MiB = 1024 * 1024
const secret = Redacted.make("correct horse")
const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex")

/** A client of the test's server, logged in as a new user. */
const newUser = Effect.fnUntraced(function*(username: string) {
  const { port } = yield* Server
  const folder = yield* TestServer.temporaryFolder
  const knownHosts = join(folder, "known_hosts")
  const client = Context.get(
    yield* Layer.build(FipClient.layer({ host: "127.0.0.1", port, knownHosts, stateFolder: folder })),
    FipClient
  )
  yield* client.register(username, secret)
  yield* client.login(username, secret)
  return client
})

const text = (client: FipClientShape, file: string) => Stream.mkString(Stream.decodeText(client.read(file)))

const names = (client: FipClientShape, options: ListOptions) =>
  Effect.map(
    Stream.runCollect(client.list(options)),
    (entries) => entries.map((entry) => entry._tag === "Folder" ? entry.name : entry.file.name).map(String)
  )

const refusalOf = <A, E>(effect: Effect.Effect<A, E>) =>
  Effect.map(
    Effect.flip(effect),
    (error) => typeof error === "object" && error !== null && "code" in error ? error.code : error
  )

describe("FipClient", () => {
  layer(TestServer.layer(), { timeout: Duration.seconds(60) })((it) => {
    it.effect("has a session from login to logout", () =>
      Effect.gen(function*() {
        const client = yield* newUser("session_user")
        const session = Option.getOrThrow(yield* client.session)
        assert.strictEqual(session.username, "session_user")
        assert.deepStrictEqual(yield* client.refresh, session)
        const { sessions } = yield* client.querySessions
        assert.deepStrictEqual(sessions.map(({ current, session_id }) => [current, session_id]), [
          [true, session.sessionId]
        ])
        assert.isTrue((yield* client.heartbeat).server_version.length > 0)
        assert.strictEqual(yield* client.fingerprint, (yield* Server).fingerprint)
        yield* client.logout()
        assert.isTrue(Option.isNone(yield* client.session))
        assert.strictEqual((yield* Effect.flip(client.queryUser))._tag, "NotLoggedIn")
      }))

    it.effect("changes a password, ends other sessions, and deletes the account", () =>
      Effect.gen(function*() {
        const client = yield* newUser("account_user")
        const next = Redacted.make("another horse")
        yield* client.changePassword(secret, next)
        assert.strictEqual((yield* client.queryUser).username, "account_user")
        assert.strictEqual(yield* refusalOf(client.login("account_user", secret)), "2:auth")
        yield* client.login("account_user", next)
        yield* client.write("a", "text")
        const deleted = yield* client.deleteUser("account_user", next)
        assert.deepStrictEqual([deleted.files_deleted, deleted.bytes_deleted], [1, 4])
        assert.isTrue(Option.isNone(yield* client.session))
      }))

    it.effect("makes, changes, names, copies and deletes files", () =>
      Effect.gen(function*() {
        const client = yield* newUser("files_user")
        assert.strictEqual((yield* client.create("a.txt")).size, 0)
        assert.strictEqual(yield* refusalOf(client.create("a.txt")), "2:cnf")
        assert.strictEqual((yield* client.write("a.txt", "hello world")).version, 2)
        yield* client.append("a.txt", "!")
        const patched = yield* client.patch("a.txt", 6, "there")
        assert.strictEqual(yield* text(client, "a.txt"), "hello there!")
        assert.strictEqual(
          yield* refusalOf(client.append("a.txt", "?", { expectedVersion: patched.version - 1 })),
          "2:vcf"
        )
        yield* client.replace("a.txt", "new", { expectedVersion: patched.version })
        assert.strictEqual(yield* refusalOf(client.replace("none", "x")), "2:nf")
        assert.strictEqual((yield* client.queryVersions("a.txt")).versions[0]?.version, patched.version + 1)

        yield* client.copy("a.txt", "docs/copy.txt")
        yield* client.rename("a.txt", "docs/żółć.txt")
        assert.strictEqual(yield* text(client, "~files_user/docs/żółć.txt"), "new")
        assert.strictEqual((yield* client.queryFile("docs/copy.txt")).size, 3)
        yield* client.delete("docs/copy.txt")
        assert.strictEqual(yield* refusalOf(text(client, "docs/copy.txt")), "2:nf")
        assert.strictEqual((yield* client.queryStorage).files_used, 1)
      }))

    it.effect("changes no file of another version than the one expected, and says which it has", () =>
      Effect.gen(function*() {
        const client = yield* newUser("expecting_user")
        const here = join(yield* TestServer.temporaryFolder, "here")
        yield* client.write("f", "one")
        yield* client.write("f", "two")
        const stale = { expectedVersion: 1 }
        const large = bytesOf(2 * MiB)
        const uploads = (["write", "replace", "append", "patch"] as const).flatMap((mode) =>
          [large, bytesOf(3)].map((content) =>
            Effect.andThen(
              Effect.promise(() => writeFile(here, content)),
              client.upload(here, "f", { mode, ...stale })
            )
          )
        )
        const changes: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
          client.write("f", "x", stale),
          client.write("f", large, stale),
          client.replace("f", "x", stale),
          client.append("f", "x", stale),
          client.patch("f", 0, "x", stale),
          client.rename("f", "g", stale),
          client.copy("f", "g", stale),
          client.restore("f", 1, stale),
          client.delete("f", stale),
          ...uploads
        ]
        for (const [index, change] of changes.entries()) {
          assert.deepInclude(yield* Effect.flip(change), { code: "2:vcf", current_version: 2 }, String(index))
        }
        assert.deepStrictEqual(yield* names(client, {}), ["f"])
        assert.strictEqual(yield* text(client, "f"), "two")
        const fresh = { expectedVersion: 2 }
        yield* client.copy("f", "copy", fresh)
        yield* client.rename("f", "g", fresh)
        assert.strictEqual((yield* client.restore("g", 1, fresh)).version, 3)
      }))

    it.effect("reads ranges and versions", () =>
      Effect.gen(function*() {
        const client = yield* newUser("range_user")
        const content = bytesOf(3 * MiB + 7)
        yield* client.write("f", content)
        const ranges = [[0, 10], [MiB - 5, 10], [100, 2 * MiB], [content.length - 3, 100], [content.length, 5]] as const
        for (const [position, limit] of ranges) {
          const read = yield* Stream.mkUint8Array(client.read("f", { position, limit }))
          assert.isTrue(Buffer.compare(read, content.subarray(position, position + limit)) === 0)
        }
        const { content: bytes, head } = yield* client.open("f")
        assert.deepStrictEqual([head.size, head.length, head.version], [content.length, content.length, 1])
        assert.strictEqual(sha256(yield* Stream.mkUint8Array(bytes)), sha256(content))
      }))

    it.effect("checks whole files by hash, also after they were patched", () =>
      Effect.gen(function*() {
        const client = yield* newUser("hash_user")
        for (const size of [10, 3 * MiB]) {
          const content = bytesOf(size)
          yield* client.write("f", content)
          yield* client.patch("f", 1, "xyz")
          yield* client.append("f", "end")
          content.write("xyz", 1)
          const read = yield* Stream.mkUint8Array(client.read("f"))
          assert.isTrue(Buffer.concat([content, Buffer.from("end")]).equals(read))
        }
      }))

    it.effect("copies one file into another while it reads it", () =>
      Effect.gen(function*() {
        const client = yield* newUser("pipe_user")
        const content = bytesOf(40 * MiB)
        yield* client.write("from", content)
        const { size } = yield* client.write("to", client.read("from"))
        assert.strictEqual(size, content.length)
        assert.strictEqual((yield* client.queryFile("to")).sha256, sha256(content))
      }))

    it.effect("sends and fetches local files in every mode", () =>
      Effect.gen(function*() {
        const client = yield* newUser("local_user")
        const folder = yield* TestServer.temporaryFolder
        const here = join(folder, "here")
        for (const size of [0, 1, MiB, 5 * MiB + 1]) {
          const content = bytesOf(size)
          yield* Effect.promise(() => writeFile(here, content))
          const sent = yield* client.upload(here, "f")
          assert.deepStrictEqual([sent.size, String(sent.sha256)], [size, sha256(content)])
          const fetched = yield* client.download("f", join(folder, "there"))
          assert.deepStrictEqual(fetched, sent)
          assert.isTrue((yield* Effect.promise(() => readFile(join(folder, "there")))).equals(content))
        }
        yield* Effect.promise(() => writeFile(here, bytesOf(2 * MiB)))
        yield* client.upload(here, "f", { mode: "patch", position: 10 })
        yield* client.upload(here, "f", { mode: "append" })
        const expected = bytesOf(5 * MiB + 1)
        bytesOf(2 * MiB).copy(expected, 10)
        yield* client.download("f", here)
        assert.isTrue(
          (yield* Effect.promise(() => readFile(here))).equals(Buffer.concat([expected, bytesOf(2 * MiB)]))
        )
        assert.strictEqual(yield* refusalOf(client.upload(here, "f", { mode: "create" })), "2:cnf")
      }))

    it.effect("keeps the time and the executable bit of local files, of small and of large ones", () =>
      Effect.gen(function*() {
        const client = yield* newUser("attributes_user")
        const folder = yield* TestServer.temporaryFolder
        const time = new Date("2001-02-03T04:05:06.789Z")
        for (const [index, size] of [0, 10, 3 * MiB].entries()) {
          const local = join(folder, `in-${index}`)
          const back = join(folder, `out-${index}`)
          yield* Effect.promise(async () => {
            await writeFile(local, bytesOf(size))
            await chmod(local, index === 0 ? 0o644 : 0o755)
            await utimes(local, time, time)
          })
          yield* client.upload(local, `f${index}`)
          const { attributes } = yield* client.queryFile(`f${index}`)
          assert.deepStrictEqual(attributes, { modified_ms: time.getTime(), executable: index > 0 })
          // What is replaced keeps who may read it.
          yield* Effect.promise(async () => {
            if (index === 1) await writeFile(back, "", { mode: 0o600 })
            if (index === 0) await writeFile(back, "", { mode: 0o755 })
          })
          yield* client.download(`f${index}`, back)
          const found = yield* Effect.promise(() => stat(back, { bigint: true }))
          assert.deepStrictEqual(attributesOf(found), attributes)
          assert.strictEqual(Number(found.mode) & 0o777, [0o644, 0o700, 0o777 & ~process.umask()][index])
        }
      }))

    it.effect("reads one version while the file is replaced and deleted", () =>
      Effect.gen(function*() {
        const client = yield* newUser("snapshot_user")
        const content = bytesOf(30 * MiB)
        yield* client.write("f", content)
        const opened = yield* client.open("f")
        for (const number of [1, 2, 3]) yield* client.write("f", `version ${number}`)
        yield* client.delete("f")
        assert.strictEqual(sha256(yield* Stream.mkUint8Array(opened.content)), sha256(content))
      }))

    it.effect("lists folders and files", () =>
      Effect.gen(function*() {
        const client = yield* newUser("list_user")
        yield* Effect.forEach(["a", "docs/b", "docs/c", "docs/old/d"], (name) => client.create(name))
        assert.deepStrictEqual(yield* names(client, {}), ["docs/", "a"])
        assert.deepStrictEqual(yield* names(client, { prefix: "docs/" }), ["docs/old/", "docs/b", "docs/c"])
        assert.deepStrictEqual(yield* names(client, { recursive: true }), ["a", "docs/b", "docs/c", "docs/old/d"])
      }))

    it.effect("shares files, and takes them back", () =>
      Effect.gen(function*() {
        const alice = yield* newUser("alice")
        const robert = yield* newUser("robert")
        yield* alice.write("f", "shared")
        assert.strictEqual(yield* refusalOf(text(robert, "~alice/f")), "2:nf")
        const granted = yield* alice.grant("robert", "f", "READ", { durationMs: 60_000 })
        assert.isDefined(granted.expires_at)
        assert.strictEqual(yield* text(robert, "~alice/f"), "shared")
        assert.deepStrictEqual(yield* names(robert, { scope: "shared" }), ["f"])
        assert.strictEqual(yield* refusalOf(robert.append("~alice/f", "x")), "2:perm")
        assert.strictEqual((yield* alice.queryPermission("f")).grants[0]?.username, "robert")
        yield* alice.revoke("robert", "f")
        assert.strictEqual(yield* refusalOf(text(robert, "~alice/f")), "2:nf")

        assert.isTrue((yield* alice.publicise("f")).public)
        assert.strictEqual(yield* text(robert, "~alice/f"), "shared")
        assert.isFalse((yield* alice.hide("f")).public)
        const { owner, name } = yield* alice.transfer("robert", "f", { newName: "mine" })
        assert.deepStrictEqual([String(owner), String(name)], ["robert", "mine"])
        assert.strictEqual(yield* text(robert, "mine"), "shared")
      }))

    it.effect("goes on while tokens expire and idle connections are closed", () =>
      Effect.gen(function*() {
        const client = yield* newUser("patient_user")
        // Longer than a token lives, and than a connection may be idle.
        const slowly = Stream.make(bytesOf(MiB), bytesOf(MiB), bytesOf(MiB)).pipe(
          Stream.rechunk(1),
          Stream.tap(() => TestClock.adjust("20 minutes"))
        )
        const { size } = yield* client.write("f", slowly)
        assert.strictEqual(size, 3 * MiB)
        assert.strictEqual((yield* client.querySessions).sessions.length, 1)
      }))
  })
})
