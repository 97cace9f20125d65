import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { createHash, randomBytes } from "node:crypto"
import { open } from "node:fs/promises"
import { join } from "node:path"
import type { FileName } from "../../../src/protocol/FileName.ts"
import { Sha256, Username } from "../../../src/protocol/Identity.ts"
import type { GrantRole } from "../../../src/protocol/Permission.ts"
import type { Refusal } from "../../../src/protocol/Refusal.ts"
import type { Caller } from "../../../src/server/Caller.ts"
import { FileStore } from "../../../src/server/FileStore.ts"
import { ServerConfig } from "../../../src/server/ServerConfig.ts"
import { TestDatabase } from "../../support/TestDatabase.ts"
import * as Storage from "./Storage.ts"

const KiB = 1024
const MiB = 1024 * KiB
const sha256 = (content: Uint8Array): Sha256 => Sha256.make(createHash("sha256").update(content).digest("hex"))
const bytes = (text: string): ReadonlyArray<Uint8Array> => text === "" ? [] : [Buffer.from(text)]

const read = Effect.fnUntraced(function*(
  caller: Caller,
  name: string,
  options: {
    readonly owner?: Username
    readonly position?: number
    readonly limit?: number
    readonly version?: number
  } = {}
) {
  const files = yield* FileStore
  const { content, head } = yield* files.read(caller, { name: Storage.name(name), ...options })
  const bytes = yield* Effect.promise(() => Storage.drain(content))
  return { head, bytes, text: bytes.toString(), sha256: content.sha256() }
})

const refusals = (effects: ReadonlyArray<Effect.Effect<unknown, Refusal>>) =>
  Effect.forEach(effects, (effect) => Effect.flip(effect))

const codeOf = <A, R>(effect: Effect.Effect<A, Refusal, R>) => Effect.map(Effect.flip(effect), ({ code }) => code)

/** Gives somebody a role on a file, behind the back of whatever does that in the server. */
const grant = Effect.fnUntraced(function*(owner: Caller, name: string, to: Caller, role: GrantRole, expiresAt?: Date) {
  const sql = yield* SqlClient
  yield* sql`
    insert into grants (file_id, user_id, role, granted_by, granted_at, expires_at)
    select file_id, ${to.userId}::bigint, ${role}, ${owner.username}, '-infinity', ${expiresAt ?? null}::timestamptz
    from files where owner_id = ${owner.userId}::bigint and name = ${name} and deleted_at is null`.pipe(Effect.orDie)
})

const layer = Storage.layer().pipe(Layer.provideMerge(TestDatabase.pglite))

it.layer(layer, { timeout: 60_000 })("FileStore", (it) => {
  describe("content", () => {
    it.effect("is any bytes, none included, and its hash is known without reading", () =>
      Effect.gen(function*() {
        const files = yield* FileStore
        const caller = yield* Storage.newUser()
        for (const content of [Buffer.alloc(0), Buffer.from([0, 255, 10, 13, 0xc3]), randomBytes(200 * KiB)]) {
          const name = Storage.name(`binary ${content.length}`)
          const written = yield* files.create(caller, { name, sha256: sha256(content) }, Storage.inPieces(content))
          assert.deepStrictEqual(written, {
            owner: caller.username,
            name,
            size: content.length,
            version: 1,
            sha256: sha256(content)
          })
          const { bytes, head } = yield* read(caller, name)
          assert.deepStrictEqual(bytes, content)
          assert.deepStrictEqual(head, { ...written, position: 0, length: content.length })
        }
      }))

    it.effect("is refused when it is not what its hash says, and nothing has changed", () =>
      Effect.gen(function*() {
        const files = yield* FileStore
        const caller = yield* Storage.newUser()
        const name = Storage.name("a")
        const wrong = { name, sha256: sha256(Buffer.from("something else")) }
        assert.strictEqual(yield* codeOf(files.create(caller, wrong, bytes("content"))), "2:sum")
        assert.strictEqual(yield* codeOf(read(caller, "a")), "2:nf")
        yield* files.create(caller, { name }, bytes("content"))
        assert.strictEqual(yield* codeOf(files.append(caller, wrong, bytes("more"))), "2:sum")
        assert.strictEqual((yield* read(caller, "a")).text, "content")
      }))

    it.effect("is hashed by the first who reads it whole, after it was patched, and remembered", () =>
      Effect.gen(function*() {
        const files = yield* FileStore
        const caller = yield* Storage.newUser()
        const name = Storage.name("a")
        yield* files.create(caller, { name }, bytes("content"))
        const patched = yield* files.patch(caller, { name, position: 3 }, bytes("VENT"))
        assert.isUndefined(patched.sha256)
        const expected = sha256(Buffer.from("conVENT"))
        assert.isUndefined((yield* read(caller, "a", { limit: 3 })).sha256)
        const whole = yield* read(caller, "a")
        assert.isUndefined(whole.head.sha256)
        assert.strictEqual(whole.sha256, expected)
        // It is noted beside the answer: an own change comes after it.
        yield* files.copy(caller, { name, new_name: Storage.name("copy") })
        assert.strictEqual((yield* files.queryFile(caller, { name })).sha256, expected)
        assert.strictEqual((yield* read(caller, "a")).head.sha256, expected)
      }))

    it.effect("is read from any position, up to any limit, also beyond the end", () =>
      Effect.gen(function*() {
        const files = yield* FileStore
        const caller = yield* Storage.newUser()
        yield* files.create(caller, { name: Storage.name("a") }, bytes("0123456789"))
        assert.strictEqual((yield* read(caller, "a", { position: 3 })).text, "3456789")
        assert.strictEqual((yield* read(caller, "a", { position: 3, limit: 4 })).text, "3456")
        assert.strictEqual((yield* read(caller, "a", { limit: 0 })).text, "")
        const beyond = yield* read(caller, "a", { position: 20, limit: 5 })
        assert.strictEqual(beyond.text, "")
        assert.deepInclude(beyond.head, { size: 10, position: 20, length: 0 })
        assert.strictEqual(
          (yield* read(caller, "a", { position: Number.MAX_SAFE_INTEGER, limit: Number.MAX_SAFE_INTEGER })).text,
          ""
        )
      }))

    it.effect("is patched at both ends, across many extents, and never beyond its end", () =>
      Effect.gen(function*() {
        const files = yield* FileStore
        const caller = yield* Storage.newUser()
        const name = Storage.name("a")
        const expected = Buffer.alloc(150 * KiB, "abcdefghij")
        yield* files.create(caller, { name }, [expected])
        for (let index = 0; index < 40; index++) {
          const position = (index * 7919) % expected.length
          const content = Buffer.from(`patch ${index}`)
          yield* files.patch(caller, { name, position }, [content])
          content.copy(expected, position)
        }
        const wide = Buffer.alloc(100 * KiB, "WIDE")
        yield* files.patch(caller, { name, position: 20 * KiB }, [wide])
        wide.copy(expected, 20 * KiB)
        yield* files.patch(caller, { name, position: 0 }, bytes("first"))
        expected.write("first")
        const { size } = yield* files.patch(caller, { name, position: expected.length }, bytes("and the end"))
        const whole = Buffer.concat([expected, Buffer.from("and the end")])
        assert.strictEqual(size, whole.length)
        assert.deepStrictEqual((yield* read(caller, "a")).bytes, whole)
        const hole = yield* Effect.flip(files.patch(caller, { name, position: size + 1 }, bytes("x")))
        assert.deepInclude(hole, { code: "2:ibv", field: "position" })
      }))

    it.effect("of no bytes is appended and patched as any other", () =>
      Effect.gen(function*() {
        const files = yield* FileStore
        const caller = yield* Storage.newUser()
        const name = Storage.name("a")
        yield* files.create(caller, { name }, [])
        assert.deepInclude(yield* files.append(caller, { name }, []), { size: 0, version: 2 })
        assert.deepInclude(yield* files.patch(caller, { name, position: 0 }, []), { size: 0, version: 3 })
        yield* files.append(caller, { name }, bytes("content"))
        assert.deepInclude(yield* files.append(caller, { name }, []), { size: 7, version: 5 })
        assert.strictEqual((yield* read(caller, "a")).text, "content")
        assert.deepInclude(yield* files.replace(caller, { name }, []), { size: 0, version: 6 })
        assert.strictEqual((yield* read(caller, "a")).text, "")
      }))
  })

  describe("a reader", () => {
    it.effect("sees one version, whole, while the file is replaced ten times and deleted", () =>
      Effect.gen(function*() {
        const files = yield* FileStore
        const caller = yield* Storage.newUser()
        const name = Storage.name("big")
        const content = randomBytes(12 * MiB)
        yield* files.create(caller, { name }, [content])
        const { content: source, head } = yield* files.read(caller, { name })
        const chunks: Array<Uint8Array> = []
        const next = Effect.promise(async () => source.next())
        for (let round = 0;; round++) {
          const chunk = yield* next
          if (chunk === undefined) break
          chunks.push(chunk)
          if (round < 10) yield* files.replace(caller, { name }, [randomBytes(1000)])
          if (round === 10) yield* files.delete(caller, { name })
        }
        source.close()
        assert.isAbove(chunks.length, 10)
        assert.strictEqual(sha256(Buffer.concat(chunks)), head.sha256)
      }))

    it.effect("sees one version of a file in many pieces, while each of them is changed", () =>
      Effect.gen(function*() {
        const files = yield* FileStore
        const caller = yield* Storage.newUser()
        const name = Storage.name("log")
        yield* files.create(caller, { name }, [])
        const lines = Array.from({ length: 80 }, (_, index) => `line ${index}\n`.padEnd(2000, "."))
        for (const line of lines) yield* files.append(caller, { name }, bytes(line))
        const { content } = yield* files.read(caller, { name })
        for (let at = 0; at < 80; at += 10) yield* files.patch(caller, { name, position: at * 2000 }, bytes("changed"))
        const text = (yield* Effect.promise(() => Storage.drain(content))).toString()
        assert.strictEqual(text, lines.join(""))
        assert.strictEqual((yield* read(caller, "log", { version: 81 })).text, lines.join(""))
        assert.include((yield* read(caller, "log", { position: 10 * 2000, limit: 20 })).text, "changed")
      }))

    it.effect("is told which bytes are damaged on the disk, and can have the rest", () =>
      Effect.gen(function*() {
        const files = yield* FileStore
        const sql = yield* SqlClient
        const { dataDir } = yield* ServerConfig
        const caller = yield* Storage.newUser()
        const name = Storage.name("damaged")
        const content = randomBytes(300 * KiB)
        yield* files.create(caller, { name }, [content])
        const rows = yield* sql<{ readonly segment_id: string; readonly segment_offset: number }>`
          select e.segment_id, e.segment_offset from extents e join files f on f.file_id = e.file_id
          where f.owner_id = ${caller.userId}::bigint`.pipe(Effect.orDie)
        const [row] = rows
        if (row === undefined) return assert.fail("no extent")
        const at = 130 * KiB
        yield* Effect.promise(async () => {
          const file = await open(join(dataDir, "segments", row.segment_id.slice(0, 2), row.segment_id), "r+")
          await file.write(Buffer.from([(content[at] ?? 0) ^ 4]), 0, 1, row.segment_offset + at)
          await file.close()
        })
        const drained = (options: { readonly position?: number; readonly limit?: number }) =>
          Effect.flatMap(files.read(caller, { name, ...options }), (reading) =>
            Effect.tryPromise({
              try: () => Storage.drain(reading.content),
              catch: (error) => error as Refusal
            }))
        const refusal = yield* Effect.flip(drained({}))
        assert.strictEqual(refusal.code, "3:bad")
        assert.include(refusal.message, "damaged: bytes 131072 to 196607")
        const small = yield* Effect.flip(drained({ position: at - 5, limit: 10 }))
        assert.include(small.message, `bytes ${at - 5} to ${at + 4}`)
        assert.deepStrictEqual(yield* drained({ limit: 128 * KiB }), content.subarray(0, 128 * KiB))
        assert.deepStrictEqual(yield* drained({ position: 192 * KiB }), content.subarray(192 * KiB))
      }))
  })

  describe("versions", () => {
    it.effect("keep what their content was where it came from, and take it along", () =>
      Effect.gen(function*() {
        const files = yield* FileStore
        const caller = yield* Storage.newUser()
        const name = Storage.name("run.sh")
        const attributes = { modified_ms: -1234, executable: true }
        const of = (name: FileName) => Effect.map(files.queryFile(caller, { name }), (info) => info.attributes)
        yield* files.create(caller, { name, attributes }, bytes("one"))
        assert.deepStrictEqual(yield* of(name), attributes)
        assert.deepStrictEqual((yield* read(caller, "run.sh")).head.attributes, attributes)
        // Other content is of another time; a program stays one.
        yield* files.append(caller, { name }, bytes("two"))
        assert.deepStrictEqual(yield* of(name), { executable: true })
        yield* files.write(caller, { name, attributes: { modified_ms: 5 } }, bytes("three"))
        assert.deepStrictEqual(yield* of(name), { modified_ms: 5, executable: true })
        yield* files.write(caller, { name, attributes: { executable: false } }, bytes("four"))
        assert.deepStrictEqual(yield* of(name), { executable: false })
        const { upload_id } = yield* files.uploadBegin(caller, {
          name,
          mode: "replace",
          attributes: { modified_ms: 7 }
        })
        yield* files.uploadPart(caller, { upload_id, offset: 0 }, bytes("five"))
        yield* files.uploadCommit(caller, { upload_id, sha256: sha256(Buffer.from("five")) })
        const { versions } = yield* files.queryVersions(caller, { name })
        assert.deepStrictEqual(versions.map((one) => one.attributes), [
          { modified_ms: 7, executable: false },
          { executable: false },
          { modified_ms: 5, executable: true },
          { executable: true },
          attributes
        ])
        assert.deepStrictEqual((yield* read(caller, "run.sh", { version: 1 })).head.attributes, attributes)
        yield* files.restore(caller, { name, version: 1 })
        assert.deepStrictEqual(yield* of(name), attributes)
        const copy = Storage.name("copy")
        const renamed = Storage.name("renamed")
        yield* files.copy(caller, { name, new_name: copy })
        yield* files.rename(caller, { name, new_name: renamed })
        yield* files.delete(caller, { name: renamed })
        yield* files.restore(caller, { name: renamed })
        assert.deepStrictEqual([yield* of(copy), yield* of(renamed)], [attributes, attributes])
        yield* files.create(caller, { name }, bytes("none"))
        assert.isUndefined(yield* of(name))
        const sql = yield* SqlClient
        const strays = yield* sql`
          select f.name from files f join versions v on v.file_id = f.file_id and v.version = f.version
          where (v.modified_ms, v.executable) is distinct from (f.modified_ms, f.executable)`
        assert.deepStrictEqual(strays, [])
      }))

    it.effect("stay readable, can be listed and restored", () =>
      Effect.gen(function*() {
        const files = yield* FileStore
        const caller = yield* Storage.newUser()
        const name = Storage.name("a")
        yield* files.create(caller, { name }, bytes("one"))
        yield* files.write(caller, { name }, bytes("second"))
        yield* files.append(caller, { name }, bytes(" and third"))
        const restored = yield* files.restore(caller, { name, version: 1 })
        assert.deepInclude(restored, { version: 4, size: 3, sha256: sha256(Buffer.from("one")) })
        yield* files.rename(caller, { name, new_name: Storage.name("b") })
        const texts = yield* Effect.forEach([1, 2, 3, 4], (version) => read(caller, "b", { version }))
        assert.deepStrictEqual(texts.map(({ text }) => text), ["one", "second", "second and third", "one"])
        const { versions } = yield* files.queryVersions(caller, { name: Storage.name("b") })
        assert.deepStrictEqual(versions.map(({ current, size, version }) => [version, size, current]), [
          [4, 3, true],
          [3, 16, false],
          [2, 6, false],
          [1, 3, false]
        ])
        assert.isTrue(versions.every(({ author }) => author === caller.username))
        assert.strictEqual(yield* codeOf(read(caller, "b", { version: 5 })), "2:nf")
        assert.strictEqual(
          yield* codeOf(files.restore(caller, { name: Storage.name("b"), version: 9 })),
          "2:nf"
        )
      }))

    it.effect("say which one is current to who expected another, whatever was asked for", () =>
      Effect.gen(function*() {
        const files = yield* FileStore
        const caller = yield* Storage.newUser()
        const name = Storage.name("a")
        yield* files.create(caller, { name }, bytes("one"))
        yield* files.write(caller, { name }, bytes("two"))
        const stale = { name, expected_version: 1 }
        const refused = yield* refusals([
          files.write(caller, stale, bytes("x")),
          files.replace(caller, stale, bytes("x")),
          files.append(caller, stale, bytes("x")),
          files.patch(caller, { ...stale, position: 0 }, bytes("x")),
          files.delete(caller, stale),
          files.rename(caller, { ...stale, new_name: Storage.name("b") }),
          files.copy(caller, { ...stale, new_name: Storage.name("b") }),
          files.restore(caller, { ...stale, version: 1 })
        ])
        for (const refusal of refused) assert.deepInclude(refusal, { code: "2:vcf", current_version: 2 })
        assert.strictEqual((yield* read(caller, "a")).text, "two")
        const missing = { name: Storage.name("none"), expected_version: 1 }
        assert.strictEqual(yield* codeOf(files.write(caller, missing, bytes("x"))), "2:nf")
      }))

    it.effect("begin at 1 again for a name that was deleted", () =>
      Effect.gen(function*() {
        const files = yield* FileStore
        const caller = yield* Storage.newUser()
        const name = Storage.name("a")
        yield* files.create(caller, { name }, bytes("old"))
        yield* files.write(caller, { name }, bytes("older"))
        yield* files.delete(caller, { name })
        assert.strictEqual(yield* codeOf(files.delete(caller, { name })), "2:nf")
        assert.deepInclude(yield* files.write(caller, { name }, bytes("new")), { version: 1 })
        assert.strictEqual(yield* codeOf(read(caller, "a", { version: 2 })), "2:nf")
      }))
  })

  describe("names", () => {
    it.effect("are of any script, and are what they are: nothing stands for anything", () =>
      Effect.gen(function*() {
        const files = yield* FileStore
        const caller = yield* Storage.newUser()
        const names = [
          "naïve.txt",
          "日本語/ファイル",
          "🦀/🦀.rs",
          "a b",
          "100%_off",
          "it's \"quoted\"",
          "\\back",
          "~tilde",
          "A",
          "a"
        ]
        for (const name of names) yield* files.create(caller, { name: Storage.name(name) }, bytes(name))
        for (const name of names) assert.strictEqual((yield* read(caller, name)).text, name)
        const { files: listed } = yield* files.list(caller, { recursive: true })
        assert.sameMembers(listed.map(({ name }) => String(name)), names)
      }))

    it.effect("of what is taken are refused, also for copies and new names", () =>
      Effect.gen(function*() {
        const files = yield* FileStore
        const caller = yield* Storage.newUser()
        const [a, b] = [Storage.name("a"), Storage.name("b")]
        yield* files.create(caller, { name: a }, bytes("a"))
        yield* files.create(caller, { name: b }, bytes("b"))
        assert.strictEqual(yield* codeOf(files.create(caller, { name: a }, bytes("x"))), "2:cnf")
        const conflict = { code: "2:cnf", field: "new_name" } as const
        assert.deepInclude(yield* Effect.flip(files.rename(caller, { name: a, new_name: b })), conflict)
        assert.deepInclude(yield* Effect.flip(files.copy(caller, { name: a, new_name: b })), conflict)
        assert.deepInclude(yield* Effect.flip(files.rename(caller, { name: a, new_name: a })), conflict)
        assert.strictEqual((yield* read(caller, "b")).text, "b")
      }))
  })

  describe("others", () => {
    it.effect("are told that what they may not see does not exist, whether or not it does", () =>
      Effect.gen(function*() {
        const files = yield* FileStore
        const [alice, bob] = [yield* Storage.newUser(), yield* Storage.newUser()]
        yield* files.create(alice, { name: Storage.name("secret") }, bytes("secret"))
        const at = (owner: Username, text: string) => {
          const body = { owner, name: Storage.name(text) }
          return refusals([
            files.create(bob, body, bytes("x")),
            files.write(bob, body, bytes("x")),
            files.append(bob, body, bytes("x")),
            files.patch(bob, { ...body, position: 0 }, bytes("x")),
            files.read(bob, body),
            files.delete(bob, body),
            files.rename(bob, { ...body, new_name: Storage.name("y") }),
            files.copy(bob, { ...body, new_name: Storage.name("y") }),
            files.restore(bob, { ...body, version: 1 }),
            files.queryFile(bob, body),
            files.queryVersions(bob, body),
            files.uploadBegin(bob, { ...body, mode: "write" })
          ])
        }
        const hidden = yield* at(alice.username, "secret")
        const missing = yield* at(alice.username, "nothing")
        const nobody = yield* at(Username.make("nobody_here"), "secret")
        for (const [index, refusal] of hidden.entries()) {
          assert.strictEqual(refusal.code, "2:nf")
          assert.strictEqual(refusal.message.replace("secret", "nothing"), missing[index]?.message)
          assert.strictEqual(refusal.message.replace(alice.username, "nobody_here"), nobody[index]?.message)
        }
        assert.strictEqual((yield* read(alice, "secret")).text, "secret")
        assert.deepStrictEqual(yield* Storage.usage(bob), { bytes: 0, files: 0 })
      }))

    it.effect("may do what their role says, until it expires, and the owner pays", () =>
      Effect.gen(function*() {
        const files = yield* FileStore
        const alice = yield* Storage.newUser({ bytesLimit: 1000 })
        const [bob, eve] = [yield* Storage.newUser(), yield* Storage.newUser()]
        const body = { owner: alice.username, name: Storage.name("shared") }
        yield* files.create(alice, { name: body.name }, bytes("shared"))
        yield* grant(alice, "shared", bob, "READ")
        yield* grant(alice, "shared", eve, "EDIT", new Date(-1))

        assert.strictEqual((yield* read(bob, "shared", { owner: alice.username })).text, "shared")
        assert.strictEqual((yield* files.queryFile(bob, body)).role, "READ")
        assert.strictEqual(yield* codeOf(files.append(bob, body, bytes("x"))), "2:perm")
        assert.strictEqual(yield* codeOf(files.create(bob, body, bytes("x"))), "2:cnf")
        assert.strictEqual(yield* codeOf(read(eve, "shared", { owner: alice.username })), "2:nf")

        const sql = yield* SqlClient
        yield* sql`update grants set role = 'EDIT' where user_id = ${bob.userId}::bigint`.pipe(Effect.orDie)
        yield* files.append(bob, body, bytes(" by bob"))
        assert.deepStrictEqual(yield* Storage.usage(alice), { bytes: 13, files: 1 })
        assert.deepStrictEqual(yield* Storage.usage(bob), { bytes: 0, files: 0 })
        const { versions } = yield* files.queryVersions(alice, { name: body.name })
        assert.deepStrictEqual(versions.map(({ author }) => author), [bob.username, alice.username])
        const over = yield* Effect.flip(files.append(bob, body, [Buffer.alloc(1000)]))
        assert.strictEqual(over.code, "2:quota")
        assert.include(over.message, `${alice.username} has 987 of 1000 left`)
        assert.strictEqual(yield* codeOf(files.delete(bob, body)), "2:perm")
        assert.strictEqual(yield* codeOf(files.rename(bob, { ...body, new_name: Storage.name("mine") })), "2:perm")

        const copy = yield* files.copy(bob, { ...body, new_name: Storage.name("mine") })
        assert.deepInclude(copy, { owner: bob.username, name: Storage.name("mine"), version: 1 })
        assert.deepStrictEqual(yield* Storage.usage(bob), { bytes: 13, files: 1 })
        yield* files.delete(alice, { name: body.name })
        assert.strictEqual((yield* read(bob, "mine")).text, "shared by bob")
        yield* files.create(alice, { name: body.name }, bytes("another"))
        assert.strictEqual(yield* codeOf(read(bob, "shared", { owner: alice.username })), "2:nf")
      }))
  })

  describe("where the original failed", () => {
    it.effect("16: usage goes down as well as up", () =>
      Effect.gen(function*() {
        const files = yield* FileStore
        const caller = yield* Storage.newUser()
        const name = Storage.name("a")
        const used = Effect.map(Storage.usage(caller), ({ bytes }) => bytes)
        yield* files.create(caller, { name }, [Buffer.alloc(1000)])
        yield* files.write(caller, { name }, [Buffer.alloc(100)])
        assert.strictEqual(yield* used, 100)
        yield* files.patch(caller, { name, position: 50 }, [Buffer.alloc(20)])
        assert.strictEqual(yield* used, 100)
        yield* files.patch(caller, { name, position: 90 }, [Buffer.alloc(20)])
        assert.strictEqual(yield* used, 110)
        yield* files.restore(caller, { name, version: 1 })
        assert.strictEqual(yield* used, 1000)
        assert.strictEqual((yield* files.queryFile(caller, { name })).size, 1000)
        yield* files.delete(caller, { name })
        assert.deepStrictEqual(yield* Storage.usage(caller), { bytes: 0, files: 0 })
      }))

    it.effect("16: nothing is stored beyond the quota, also not by who is over it already", () =>
      Effect.gen(function*() {
        const files = yield* FileStore
        const sql = yield* SqlClient
        const caller = yield* Storage.newUser({ bytesLimit: 100 })
        const name = Storage.name("a")
        yield* files.create(caller, { name }, [Buffer.alloc(90)])
        const over = yield* Effect.flip(files.append(caller, { name }, [Buffer.alloc(11)]))
        assert.strictEqual(over.code, "2:quota")
        assert.include(over.message, "11 more bytes, and you have 10 of 100 left")
        yield* sql`update users set bytes_limit = 50 where user_id = ${caller.userId}::bigint`.pipe(Effect.orDie)
        assert.strictEqual(yield* codeOf(files.append(caller, { name }, bytes("x"))), "2:quota")
        yield* files.patch(caller, { name, position: 0 }, bytes("same length"))
        yield* files.write(caller, { name }, [Buffer.alloc(80)])
        assert.deepStrictEqual(yield* Storage.usage(caller), { bytes: 80, files: 1 })
      }))

    it.effect("18: writes take effect in the order in which they were acknowledged, and a shorter one leaves no rest", () =>
      Effect.gen(function*() {
        const files = yield* FileStore
        const caller = yield* Storage.newUser()
        const name = Storage.name("a")
        yield* files.create(caller, { name }, bytes("A"))
        for (const letter of "CDE") yield* files.append(caller, { name }, bytes(letter))
        assert.strictEqual((yield* read(caller, "a")).text, "ACDE")
        yield* files.replace(caller, { name }, bytes("xy"))
        assert.strictEqual((yield* read(caller, "a")).text, "xy")
      }))

    it.effect("20: a name can be used again at once after its file was deleted", () =>
      Effect.gen(function*() {
        const files = yield* FileStore
        const caller = yield* Storage.newUser()
        const name = Storage.name("a")
        for (let round = 0; round < 3; round++) {
          yield* files.create(caller, { name }, bytes(`round ${round}`))
          yield* files.append(caller, { name }, bytes("!"))
          assert.strictEqual((yield* read(caller, "a")).text, `round ${round}!`)
          yield* files.delete(caller, { name })
        }
      }))

    it.effect("21: an owner is found in whatever case its name is written", () =>
      Effect.gen(function*() {
        const files = yield* FileStore
        const caller = yield* Storage.newUser({ name: "MixedCase_User" })
        const name = Storage.name("a")
        const owner = Username.make("mixedcase_USER")
        yield* files.create(caller, { name, owner }, bytes("content"))
        assert.strictEqual((yield* read(caller, "a")).text, "content")
        const { head } = yield* read(caller, "a", { owner })
        assert.strictEqual(head.owner, "MixedCase_User")
        assert.strictEqual((yield* files.list(caller, { owner })).files.length, 1)
      }))

    it.effect("22: what does not exist is not found, whatever is asked of it", () =>
      Effect.gen(function*() {
        const files = yield* FileStore
        const caller = yield* Storage.newUser()
        const body = { name: Storage.name("none") }
        const refused = yield* refusals([
          files.replace(caller, body, bytes("x")),
          files.append(caller, body, bytes("x")),
          files.patch(caller, { ...body, position: 0 }, bytes("x")),
          files.read(caller, body),
          files.delete(caller, body),
          files.rename(caller, { ...body, new_name: Storage.name("y") }),
          files.copy(caller, { ...body, new_name: Storage.name("y") }),
          files.restore(caller, { ...body, version: 1 }),
          files.queryFile(caller, body),
          files.queryVersions(caller, body),
          files.uploadBegin(caller, { ...body, mode: "append" })
        ])
        for (const refusal of refused) {
          assert.deepInclude(refusal, { code: "2:nf", message: "no such file: none" })
        }
      }))
  })
})
