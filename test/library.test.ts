/** The library as programs have it: a test server in their process (src/testing.ts), promises instead of Effects. */
import { assert, describe, it, layer } from "@effect/vitest"
import { Duration, Effect, Stream } from "effect"
import { existsSync } from "node:fs"
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { FipClient } from "../src/index.ts"
import { connect, ConnectError, FileFailed, type Fip, LocalFileError, NotLoggedIn, Refusal } from "../src/promise.ts"
import { UploadId } from "../src/protocol/Identity.ts"
import { clientMethodOf, requestNames } from "../src/protocol/Request.ts"
import { layerTest, TEST_PASSWORD, TestServer } from "../src/testing.ts"

const bytes = (text: string) => new TextEncoder().encode(text)

/** A connection of a program without Effect, logged in as a new user. */
const connected = Effect.fnUntraced(function*(username: string) {
  const { clientOptions, newUser } = yield* TestServer
  yield* newUser(username)
  return yield* Effect.acquireRelease(
    Effect.promise(() => connect({ ...clientOptions, username, password: TEST_PASSWORD })),
    (fip) => Effect.promise(fip.close)
  )
})

const use = <A>(username: string, program: (fip: Fip) => Promise<A>) =>
  Effect.flatMap(connected(username), (fip) => Effect.promise(() => program(fip)))

/** What a promise is rejected with. */
const failure = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(() => assert.fail("it did not fail"), (error: unknown) => error)

const collect = async <A>(items: AsyncIterable<A>): Promise<ReadonlyArray<A>> => {
  const all: Array<A> = []
  for await (const item of items) all.push(item)
  return all
}

describe("the library", () => {
  let folder = ""

  layer(layerTest, { timeout: Duration.seconds(120) })("with a test server", (it) => {
    it.effect("brings a server of its own to a test, with a client that is logged in and as many users as it takes", () =>
      Effect.gen(function*() {
        const fip = yield* FipClient
        const server = yield* TestServer
        folder = dirname(server.clientOptions.stateFolder)
        assert.isTrue(existsSync(folder))
        const bob = yield* server.newUser("bob_jones")
        yield* fip.write("notes.txt", "hello")
        assert.strictEqual((yield* Effect.flip(bob.queryFile("~test_user/notes.txt")))._tag, "Refusal")
        yield* fip.grant("bob_jones", "notes.txt", "READ")
        const read = yield* bob.read("~test_user/notes.txt").pipe(Stream.decodeText, Stream.mkString)
        assert.strictEqual(read, "hello")
      }))

    it.effect("gives promises for what gives Effects", () =>
      use("promise_user", async (fip) => {
        assert.strictEqual((await fip.session())?.username, "promise_user")
        assert.strictEqual((await fip.create("a.txt")).version, 1)
        await fip.write("a.txt", "hello")
        await fip.append("a.txt", bytes(" world"))
        await fip.patch("a.txt", 0, "J")
        await fip.replace("b.txt", "x").catch((error: unknown) => assert.instanceOf(error, Refusal))
        assert.strictEqual(await fip.read("a.txt").text(), "Jello world")
        const { content, head } = await fip.open("a.txt", { position: 6, limit: 3 })
        assert.deepStrictEqual([head.size, new TextDecoder().decode(await content.bytes())], [11, "wor"])
        await fip.copy("a.txt", "docs/b.txt")
        await fip.rename("docs/b.txt", "docs/c.txt")
        await fip.restore("a.txt", 2)
        assert.strictEqual(await fip.read("a.txt").text(), "hello")
        const names = (await collect(fip.list({ recursive: true }))).map((entry) =>
          entry._tag === "File" ? String(entry.file.name) : entry.name
        )
        assert.deepStrictEqual(names, ["a.txt", "docs/c.txt"])
        await fip.publicise("docs/")
        await fip.hide("docs/")
        await fip.lock("a.txt")
        await fip.unlock("a.txt")
        await fip.grant("test_user", "a.txt", "EDIT", { durationMs: 60_000 })
        assert.lengthOf((await fip.queryPermission("a.txt")).grants, 1)
        await fip.revoke("test_user", "a.txt")
        await fip.delete("a.txt")
        assert.strictEqual((await fip.queryStorage()).files_used, 1)
        assert.strictEqual((await fip.queryUser()).username, "promise_user")
        assert.lengthOf((await fip.queryVersions("docs/c.txt")).versions, 1)
        assert.isDefined((await fip.queryFile("docs/c.txt", { hash: true })).sha256)
        await fip.changePassword(TEST_PASSWORD, "another password")
        await fip.deleteUser("promise_user", "another password")
      }))

    it.effect("has with promises all that there is with Effects, and closing besides", () =>
      Effect.gen(function*() {
        const client = yield* FipClient
        const fip = yield* connected("same_user")
        assert.sameMembers(Object.keys(fip), [...Object.keys(client), "close", "until"])
        assert.includeMembers(Object.keys(fip), requestNames.flatMap((name) => clientMethodOf(name)?.name ?? []))
      }))

    it.effect("moves many files, keeps notes, and gives up what was not finished", () =>
      use("many_user", async (fip) => {
        const folder = await mkdtemp(join(tmpdir(), "fip-test-"))
        try {
          const names = ["a", "b"]
          for (const name of names) await writeFile(join(folder, name), name.repeat(10))
          const moved: Array<number> = []
          const up = await fip.uploadMany(
            names.map((name) => ({ local: join(folder, name), file: name })),
            { onMoved: async (files) => void moved.push(...files.map(({ index }) => index)) }
          )
          assert.deepStrictEqual([up.map(({ size }) => size), moved.toSorted()], [[10, 10], [0, 1]])
          await fip.downloadMany(names.map((name) => ({ local: join(folder, `${name}.copy`), file: name })))
          assert.strictEqual(await readFile(join(folder, "b.copy"), "utf8"), "bbbbbbbbbb")
          const lost = await failure(fip.downloadMany([{ local: join(folder, "c"), file: "c" }]))
          if (!(lost instanceof FileFailed && lost.cause instanceof Refusal)) return assert.fail(String(lost))
          assert.strictEqual(lost.cause.code, "2:nf")
          const unnamed = await failure(fip.uploadMany([{ local: join(folder, "a"), file: "../a" }]))
          assert.match(String(unnamed), /\.\.\/a: /)

          const notes = await fip.transferNotes(["mine"])
          await notes?.begin({ done: 0 })
          notes?.add({ done: 1 })
          assert.isUndefined(await fip.transferNotes(["mine"]), "somebody has them")
          await notes?.close()
          await using again = await fip.transferNotes(["mine"])
          assert.deepStrictEqual(again?.found, [{ done: 0 }, { done: 1 }])
          await again?.remove()

          assert.deepStrictEqual(await fip.queryUploads(), { uploads: [] })
          const refused = await failure(fip.abortUpload(UploadId.make("4f9d2c1e-8a70-4b6c-9f3d-1c2b3a4d5e6f")))
          assert.instanceOf(refused, Refusal)
          assert.deepStrictEqual(await fip.logoutOthers(), { sessions_ended: 1 }, "that of newUser")
        } finally {
          await rm(folder, { recursive: true })
        }
      }))

    it.effect("takes and gives content as it comes, and stops when nobody takes it", () =>
      use("stream_user", async (fip) => {
        let produced = 0
        const chunk = new Uint8Array(1024 * 1024).fill(7)
        await fip.write(
          "large",
          (async function*() {
            for (; produced < 12; produced += 1) yield chunk
          })()
        )
        let taken = 0
        for await (const piece of fip.read("large")) {
          taken += piece.length
          if (taken > 2 * chunk.length) break
        }
        assert.isBelow(taken, 12 * chunk.length)
        const all = await fip.read("large").bytes()
        assert.strictEqual(all.length, 12 * chunk.length)
        await fip.copy("large", "copy")
        await fip.write("again", fip.read("copy"))
        assert.strictEqual((await fip.queryFile("again")).size, all.length)
      }))

    it.effect("throws errors that a program can tell apart", () =>
      use("error_user", async (fip) => {
        const missing = await failure(fip.read("none").text())
        if (!(missing instanceof Refusal)) return assert.fail(String(missing))
        assert.strictEqual(missing.code, "2:nf")
        assert.instanceOf(missing, Error)
        assert.match(missing.message, /none/)
        const cause = new Error("the disk of this program")
        const own = await failure(fip.write(
          "a",
          (async function*() {
            yield bytes("half")
            throw cause
          })()
        ))
        assert.instanceOf(own, LocalFileError)
        assert.strictEqual(own.cause, cause)
        assert.strictEqual((await failure(fip.write("a", fip.read("none")))) instanceof Refusal, true)
        assert.deepStrictEqual(await collect(fip.list()), [])
        await fip.logout()
        assert.instanceOf(await failure(fip.queryUser()), NotLoggedIn)
      }))

    it.effect("watches until the loop is left, and ends all that runs when its signal is aborted", () =>
      Effect.gen(function*() {
        const { clientOptions } = yield* TestServer
        yield* use("watch_user", async (fip) => {
          const kinds: Array<string> = []
          const watching = fip.watch({ onReady: () => void fip.write("a", "1").then(() => fip.delete("a")) })
          for await (const { kind } of watching) {
            kinds.push(kind)
            if (kinds.length === 2) break
          }
          assert.deepStrictEqual(kinds, ["created", "deleted"])

          const controller = new AbortController()
          const { signal } = controller
          const reason = new Error("enough")
          await using other = await connect({
            ...clientOptions,
            username: "watch_user",
            password: TEST_PASSWORD,
            signal
          })
          const ended = failure((async () => {
            for await (const _ of other.watch({ onReady: () => controller.abort(reason) })) {
              assert.fail("nothing happens")
            }
          })())
          assert.strictEqual(await ended, reason)
          assert.strictEqual(await failure(other.queryUser()), reason)
        })
      }))

    it.effect("ends an upload and a download in the middle when their own signal is aborted, and nothing else", () =>
      use("until_user", async (fip) => {
        const chunk = new Uint8Array(1024 * 1024).fill(7)
        const controller = new AbortController()
        let produced = 0
        const endless = (async function*() {
          for (;; produced += 1) {
            if (produced === 8) controller.abort()
            yield chunk
          }
        })()
        const ended = failure(fip.until(controller.signal).write("endless", endless))
        assert.strictEqual(await ended, controller.signal.reason)
        // What had arrived is given back, and nobody asks for more.
        const seen = produced
        assert.deepStrictEqual(await fip.queryUploads(), { uploads: [] })
        assert.strictEqual(produced, seen)
        assert.deepStrictEqual(await collect(fip.list()), [])

        await fip.write("large", Buffer.alloc(12 * chunk.length))
        const second = new AbortController()
        const read = failure((async () => {
          for await (const _ of fip.until(second.signal).read("large")) second.abort("enough")
        })())
        assert.strictEqual(await read, "enough")
        assert.strictEqual((await fip.queryFile("large")).size, 12 * chunk.length)
      }))

    it.effect("connects to the server of a profile, with the session that is kept for it", () =>
      Effect.gen(function*() {
        const { clientOptions: { knownHosts, port, stateFolder }, newUser } = yield* TestServer
        const settings = yield* Effect.acquireRelease(
          Effect.promise(() => mkdtemp(join(tmpdir(), "fip-test-"))),
          (folder) => Effect.promise(() => rm(folder, { recursive: true }))
        )
        yield* Effect.promise(async () => {
          await mkdir(join(settings, "fip"))
          await writeFile(
            join(settings, "fip/config.toml"),
            `default = "work"\n[profile.work]\nhost = "127.0.0.1"\nport = ${port}\nknown_hosts = "${knownHosts}"\n`
          )
        })
        yield* Effect.acquireRelease(
          Effect.sync(() => {
            const before = process.env["XDG_CONFIG_HOME"]
            process.env["XDG_CONFIG_HOME"] = settings
            return before
          }),
          (before) =>
            Effect.sync(() => {
              if (before === undefined) delete process.env["XDG_CONFIG_HOME"]
              else process.env["XDG_CONFIG_HOME"] = before
            })
        )
        yield* (yield* newUser("profile_user")).keepSession
        const asked = Effect.flatMap(FipClient, ({ queryUser }) => queryUser)
        for (const name of ["work", undefined]) {
          const user = yield* Effect.provide(asked, FipClient.layerProfile(name, { stateFolder }))
          assert.strictEqual(user.username, "profile_user")
        }
        const wrong = yield* Effect.flip(Effect.provide(asked, FipClient.layerProfile("wrok")))
        assert.match(wrong.message, /there is no profile "wrok" in .*config\.toml.*work/)
        yield* Effect.promise(async () => {
          await using fip = await connect({ profile: "work", stateFolder })
          assert.strictEqual((await fip.queryUser()).username, "profile_user")
        })
      }))

    it.effect("is closed once, also twice, and lets nothing be asked of it then", () =>
      use("close_user", async (fip) => {
        await fip.close()
        await fip.close()
        assert.instanceOf(await failure(fip.heartbeat()), ConnectError)
      }))
  })

  it("leaves nothing of a test server behind", () => {
    assert.include(folder, "fip-testing-")
    assert.isFalse(existsSync(folder))
  })
})
