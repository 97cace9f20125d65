/** WriteMany and ReadMany: what a batch does is what its files would do one by one. */
import { assert, it } from "@effect/vitest"
import { Effect, Layer, Result } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import * as fc from "fast-check"
import { createHash, randomBytes } from "node:crypto"
import { open } from "node:fs/promises"
import { join } from "node:path"
import { Sha256 } from "../../../src/protocol/Identity.ts"
import { MAX_DATA_BYTES } from "../../../src/protocol/Limits.ts"
import type { Refusal } from "../../../src/protocol/Refusal.ts"
import type { Attributes, Written } from "../../../src/protocol/Request.ts"
import type { Caller } from "../../../src/server/Caller.ts"
import type { Withheld } from "../../../src/server/ContentSource.ts"
import { FileStore } from "../../../src/server/FileStore.ts"
import { ServerConfig } from "../../../src/server/ServerConfig.ts"
import { TestDatabase } from "../../support/TestDatabase.ts"
import * as Storage from "./Storage.ts"

const hashOf = (content: Uint8Array): Sha256 => Sha256.make(createHash("sha256").update(content).digest("hex"))

const NAMES = ["a", "b", "shared/x", "shared/y", "only read", "nobody's"]

/** One owner with little room, whose files somebody may edit in part, with a lock, and a stranger. */
interface World {
  readonly owner: Caller
  readonly editor: Caller
  readonly stranger: Caller
}

const makeWorld = Effect.gen(function*() {
  const sql = yield* SqlClient
  const files = yield* FileStore
  const owner = yield* Storage.newUser({ bytesLimit: 40_000, filesLimit: 6 })
  const editor = yield* Storage.newUser()
  const stranger = yield* Storage.newUser()
  for (const name of ["a", "shared/x", "only read"]) {
    yield* files.create(owner, { name: Storage.name(name) }, [Buffer.alloc(1000, name)])
  }
  yield* sql`
    insert into folder_grants (user_id, owner_id, folder, role, granted_by, granted_at)
    values (${editor.userId}::bigint, ${owner.userId}::bigint, 'shared/', 'EDIT', 'x', now())`
  yield* sql`
    insert into grants (file_id, user_id, role, granted_by, granted_at)
    select file_id, ${editor.userId}::bigint, 'READ', 'x', now() from files
    where owner_id = ${owner.userId}::bigint and name = 'only read'`
  yield* sql`
    insert into locks (file_id, user_id, locked_at, expires_at)
    select file_id, ${editor.userId}::bigint, now(), now() + interval '1 day' from files
    where owner_id = ${owner.userId}::bigint and name = 'shared/x'`
  return { owner, editor, stranger }
})

const step = fc.record({
  who: fc.constantFrom("owner", "owner", "editor", "stranger"),
  mode: fc.constantFrom("create", "write", "write", "replace"),
  files: fc.array(
    fc.record({
      name: fc.constantFrom(...NAMES),
      size: fc.oneof(fc.nat(9000), fc.constantFrom(0, 20_000)),
      expected: fc.constantFrom(undefined, undefined, undefined, 1, 2, 3),
      sum: fc.constantFrom("none", "right", "right", "wrong"),
      executable: fc.constantFrom(undefined, true, false)
    }),
    { minLength: 1, maxLength: 9 }
  )
})
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never

interface Prepared {
  readonly body: {
    readonly name: ReturnType<typeof Storage.name>
    readonly sha256?: Sha256
    readonly expected_version?: number
    readonly attributes?: Attributes
  }
  readonly content: Buffer
}

const prepare = ({ files }: Step): ReadonlyArray<Prepared> =>
  files.map(({ executable, expected, name, size, sum }) => {
    const content = randomBytes(size)
    return {
      body: {
        name: Storage.name(name),
        ...(sum === "none" ? {} : { sha256: sum === "right" ? hashOf(content) : hashOf(Buffer.from("another")) }),
        ...(expected === undefined ? {} : { expected_version: expected }),
        ...(executable === undefined ? {} : { attributes: { executable, modified_ms: size } })
      },
      content
    }
  })

/** What became of a file, without what two worlds differ in. */
const outcomeOf = ({ name, size, version, sha256 }: Omit<Written, "owner">) => ({ name, size, version, sha256 })

const oneByOne = Effect.fnUntraced(function*(world: World, { mode, who }: Step, prepared: ReadonlyArray<Prepared>) {
  const files = yield* FileStore
  const put = mode === "create" ? files.create : mode === "replace" ? files.replace : files.write
  return yield* Effect.forEach(prepared, ({ body, content }) =>
    Effect.map(
      Effect.result(put(world[who], { ...body, owner: world.owner.username }, [content])),
      Result.match({
        onSuccess: outcomeOf,
        onFailure: ({ code, field }: Refusal) => ({ name: body.name, code, field })
      })
    ))
})

const together = Effect.fnUntraced(function*(world: World, { mode, who }: Step, prepared: ReadonlyArray<Prepared>) {
  const store = yield* FileStore
  const { files, owner } = yield* store.writeMany(
    world[who],
    {
      owner: world.owner.username,
      mode,
      files: prepared.map(({ body, content }) => ({ ...body, size: content.length }))
    },
    Storage.inPieces(Buffer.concat(prepared.map(({ content }) => content)), 7001)
  )
  assert.strictEqual(owner, world.owner.username)
  return files.map((file) => "code" in file ? { name: file.name, code: file.code, field: file.field } : outcomeOf(file))
})

/** What the owner has, pays for, and was told. */
const stateOf = Effect.fnUntraced(function*({ owner }: World) {
  const sql = yield* SqlClient
  const store = yield* FileStore
  const { files } = yield* store.list(owner, { recursive: true })
  const changes = yield* sql`
    select sequence, kind, name, version, size from changes where user_id = ${owner.userId}::bigint order by sequence`
  return {
    usage: yield* Storage.usage(owner),
    files: files.map((
      { attributes, locked_by, name, sha256, size, version }
    ) => [name, size, version, sha256, attributes, locked_by !== undefined]),
    changes
  }
})

const readMany = Effect.fnUntraced(function*(caller: Caller, owner: Caller, names: ReadonlyArray<string>) {
  const store = yield* FileStore
  const source = yield* store.readMany(caller, {
    owner: owner.username,
    names: names.map((name) => Storage.name(name))
  })
  const found = new Map<string, Buffer | Withheld["refusal"]>()
  let messages = 0
  yield* Effect.promise(async () => {
    for (let last = false; !last;) {
      const batch = await source.next()
      last = batch.last
      messages++
      const data = Buffer.concat(batch.chunks)
      assert.isAtMost(data.length, MAX_DATA_BYTES)
      let at = 0
      for (const file of batch.files) {
        if ("refusal" in file) {
          found.set(file.name, file.refusal)
          continue
        }
        const content = data.subarray(at, at += file.size)
        assert.strictEqual(hashOf(content), file.sha256, file.name)
        found.set(file.name, content)
      }
      assert.strictEqual(at, data.length)
    }
    source.close()
  })
  return { found, messages }
})

const readOne = Effect.fnUntraced(function*(caller: Caller, owner: Caller, name: string) {
  const store = yield* FileStore
  const { content } = yield* store.read(caller, { owner: owner.username, name: Storage.name(name) })
  return yield* Effect.promise(() => Storage.drain(content))
})

for (const [database, provided] of [["PGlite", TestDatabase.pglite], ["PostgreSQL", TestDatabase.postgres]] as const) {
  it.layer(Storage.layer().pipe(Layer.provideMerge(provided)), { timeout: 60_000 })(`batches on ${database}`, (it) => {
    it.effect(
      "write and read what one request for each file would, whoever asks, and whatever is in the way",
      () =>
        Effect.gen(function*() {
          const runs = database === "PGlite" ? 6 : 4
          for (const steps of fc.sample(fc.array(step, { minLength: 1, maxLength: 4 }), runs)) {
            const [a, b] = [yield* makeWorld, yield* makeWorld]
            for (const one of steps) {
              const prepared = prepare(one)
              const where = JSON.stringify(steps)
              assert.deepStrictEqual(yield* together(a, one, prepared), yield* oneByOne(b, one, prepared), where)
              assert.deepStrictEqual(yield* stateOf(a), yield* stateOf(b), where)
            }
            for (const who of ["owner", "editor", "stranger"] as const) {
              const { found } = yield* readMany(a[who], a.owner, NAMES)
              for (const name of NAMES) {
                const single = yield* Effect.result(readOne(b[who], b.owner, name))
                const batched = found.get(name)
                if (Result.isSuccess(single)) assert.deepStrictEqual(batched, single.success, name)
                else if (batched === undefined || Buffer.isBuffer(batched)) assert.fail(name)
                else assert.strictEqual(batched.code, single.failure.code, name)
              }
            }
          }
        }),
      120_000
    )
  })
}

it.layer(Storage.layer().pipe(Layer.provideMerge(TestDatabase.pglite)), { timeout: 60_000 })("a batch", (it) => {
  const put = Effect.fnUntraced(function*(caller: Caller, contents: ReadonlyMap<string, Uint8Array>) {
    const store = yield* FileStore
    return yield* store.writeMany(
      caller,
      { files: [...contents].map(([name, content]) => ({ name: Storage.name(name), size: content.length })) },
      [...contents.values()]
    )
  })

  it.effect("whose sizes are not those of its data is refused as a whole", () =>
    Effect.gen(function*() {
      const store = yield* FileStore
      const caller = yield* Storage.newUser()
      const refusal = yield* Effect.flip(
        store.writeMany(caller, { files: [{ name: Storage.name("a"), size: 5 }] }, [Buffer.from("four")])
      )
      assert.strictEqual(refusal.code, "2:ibv")
      assert.deepStrictEqual(yield* Storage.usage(caller), { bytes: 0, files: 0 })
    }))

  it.effect("for somebody who does not exist is refused file by file", () =>
    Effect.gen(function*() {
      const store = yield* FileStore
      const caller = yield* Storage.newUser()
      const owner = (yield* Storage.newUser()).username
      const sql = yield* SqlClient
      yield* sql`delete from users where username = ${owner}`
      const { files } = yield* store.writeMany(caller, { owner, files: [{ name: Storage.name("a"), size: 0 }] }, [])
      assert.deepStrictEqual(files.map((file) => "code" in file ? file.code : ""), ["2:nf"])
    }))

  it.effect("is read in messages of at most a mebibyte, each with whole files, in the order of the names", () =>
    Effect.gen(function*() {
      const caller = yield* Storage.newUser()
      const contents = new Map(
        Array.from({ length: 20 }, (_, index) => [`f${index}`, randomBytes(150_000 * (index % 3))] as const)
      )
      for (const part of [0, 7, 14]) {
        const some = new Map([...contents].slice(part, part + 7))
        assert.isFalse((yield* put(caller, some)).files.some((file) => "code" in file))
      }
      const names = [...contents.keys()].toReversed()
      const { found, messages } = yield* readMany(caller, caller, names)
      assert.deepStrictEqual([...found.keys()], names)
      for (const [name, content] of contents) assert.deepStrictEqual(found.get(name), content, name)
      assert.isAtLeast(messages, 3)
    }))

  it.effect("leaves out what is too large for a message, and gives what was changed in places, with its hash", () =>
    Effect.gen(function*() {
      const store = yield* FileStore
      const caller = yield* Storage.newUser()
      const content = randomBytes(300_000)
      yield* put(caller, new Map([["patched", content], ["other", randomBytes(10)]]))
      for (const position of [0, 100_000, 299_990]) {
        const change = randomBytes(10)
        change.copy(content, position)
        yield* store.patch(caller, { name: Storage.name("patched"), position }, [change])
      }
      yield* store.write(caller, { name: Storage.name("large") }, [randomBytes(MAX_DATA_BYTES + 1)])
      const { found } = yield* readMany(caller, caller, ["large", "patched", "other", "large"])
      const large = found.get("large")
      assert.strictEqual(large === undefined || Buffer.isBuffer(large) ? "" : large.code, "2:big")
      assert.deepStrictEqual(found.get("patched"), content)
    }))

  it.effect("gives all but the file that is damaged", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient
      const caller = yield* Storage.newUser()
      const contents = new Map(
        Array.from({ length: 5 }, (_, index) => [`f${index}`, randomBytes(500)] as [string, Buffer])
      )
      yield* put(caller, contents)
      const [extent] = yield* sql<{ readonly segment_id: string; readonly segment_offset: number }>`
        select e.segment_id, e.segment_offset from extents e join files f on f.file_id = e.file_id
        where f.owner_id = ${caller.userId}::bigint and f.name = 'f2'`
      const { dataDir } = yield* ServerConfig
      const segment = extent?.segment_id ?? ""
      yield* Effect.promise(async () => {
        const file = await open(join(dataDir, "segments", segment.slice(0, 2), segment), "r+")
        await file.write(Buffer.from("damage"), 0, 6, (extent?.segment_offset ?? 0) + 100)
        await file.close()
      })
      const { found } = yield* readMany(caller, caller, [...contents.keys()])
      const damaged = found.get("f2")
      assert.strictEqual(damaged === undefined || Buffer.isBuffer(damaged) ? "" : damaged.code, "3:bad")
      for (const name of ["f0", "f1", "f3", "f4"]) assert.deepStrictEqual(found.get(name), contents.get(name))
    }))
})
