/** What reads cost the database, and that what they remember is never older than what was acknowledged. */
import { assert, it } from "@effect/vitest"
import type { PGlite } from "@electric-sql/pglite"
import { Context, Effect, Layer } from "effect"
import { TestClock } from "effect/testing"
import { randomBytes } from "node:crypto"
import { FolderPrefix } from "../../../src/protocol/FileName.ts"
import { Database } from "../../../src/server/Database.ts"
import { FileStore } from "../../../src/server/FileStore.ts"
import { Permissions } from "../../../src/server/Permissions.ts"
import { TestDatabase } from "../../support/TestDatabase.ts"
import * as Storage from "../files/Storage.ts"

class Engine extends Context.Service<Engine, { readonly database: PGlite; statements: number }>()("test/Engine") {}

/** An engine that counts what it is asked. */
const engine = Layer.effect(
  Engine,
  Effect.map(TestDatabase.engine, (database) => {
    const counted = { database, statements: 0 }
    const ask = database.execProtocolRawStream.bind(database)
    database.execProtocolRawStream = (...parameters) => {
      counted.statements++
      return ask(...parameters)
    }
    return counted
  })
)

const layer = Layer.unwrap(Effect.map(Storage.folder, (dataDir) =>
  Permissions.layer.pipe(
    Layer.provideMerge(Storage.layerIn(dataDir)),
    Layer.provideMerge(Layer.unwrap(Effect.map(Engine, ({ database }) => Database.layerEngine(database)))),
    Layer.provideMerge(engine)
  )))

const read = Effect.fnUntraced(function*(
  caller: Effect.Success<ReturnType<typeof Storage.newUser>>,
  owner: typeof caller,
  name: string,
  range: { readonly position?: number; readonly limit?: number } = {}
) {
  const files = yield* FileStore
  const { content, head } = yield* files.read(caller, { name: Storage.name(name), owner: owner.username, ...range })
  return { version: head.version, text: (yield* Effect.promise(() => Storage.drain(content))).toString("latin1") }
})

it.layer(layer, { timeout: "60 seconds" })("a read that was made before", (it) => {
  const asked = Effect.fnUntraced(function*<A, E, R>(work: Effect.Effect<A, E, R>) {
    const counted = yield* Engine
    const before = counted.statements
    yield* work
    return counted.statements - before
  })

  it.effect("needs no statement, for the owner and for whom it is shared with", () =>
    Effect.gen(function*() {
      const files = yield* FileStore
      const { grant, publicise } = yield* Permissions
      const [owner, friend, stranger] = [yield* Storage.newUser(), yield* Storage.newUser(), yield* Storage.newUser()]
      const content = randomBytes(4096)
      yield* files.write(owner, { name: Storage.name("hot") }, [content])
      yield* grant(owner, { name: Storage.name("hot"), username: friend.username, role: "READ" })
      for (const caller of [owner, friend]) {
        const cold = yield* asked(read(caller, owner, "hot"))
        assert.isAbove(cold, 0)
        assert.strictEqual(yield* asked(read(caller, owner, "hot")), 0)
        assert.strictEqual(yield* asked(read(caller, owner, "hot", { position: 100, limit: 10 })), 0)
      }
      assert.isAbove(yield* asked(Effect.flip(read(stranger, owner, "hot"))), 0)
      yield* publicise(owner, { name: Storage.name("hot") })
      yield* read(stranger, owner, "hot")
      assert.strictEqual(yield* asked(read(stranger, owner, "hot")), 0)
      assert.strictEqual((yield* read(stranger, owner, "hot")).text, content.toString("latin1"))
    }))

  it.effect("asks again for a range that nobody has asked for", () =>
    Effect.gen(function*() {
      const files = yield* FileStore
      const owner = yield* Storage.newUser()
      // Seventy extents.
      yield* files.write(owner, { name: Storage.name("long") }, [Buffer.from("-")])
      for (let index = 0; index < 69; index++) {
        yield* files.append(owner, { name: Storage.name("long") }, [Buffer.from(String.fromCharCode(48 + index))])
      }
      yield* files.queryFile(owner, { name: Storage.name("long") })
      const late = { position: 60, limit: 10 }
      assert.isAbove(yield* asked(read(owner, owner, "long", late)), 0)
      const text = (yield* read(owner, owner, "long", late)).text
      assert.strictEqual(text, Array.from({ length: 10 }, (_, index) => String.fromCharCode(107 + index)).join(""))
      assert.strictEqual(yield* asked(read(owner, owner, "long", late)), 0)
      assert.isAbove(yield* asked(read(owner, owner, "long", { position: 0, limit: 10 })), 0)
      assert.strictEqual((yield* read(owner, owner, "long", { position: 55, limit: 15 })).text.slice(5), text)
    }))

  it.effect("is of what was acknowledged last: content, name, right and owner", () =>
    Effect.gen(function*() {
      const files = yield* FileStore
      const permissions = yield* Permissions
      const [owner, friend] = [yield* Storage.newUser(), yield* Storage.newUser()]
      const name = Storage.name("file")
      const other = Storage.name("other")
      const everything = FolderPrefix.make("")
      const shared = { name, username: friend.username, role: "READ" as const }
      const code = (name: string, of = owner) => Effect.map(Effect.flip(read(friend, of, name)), ({ code }) => code)
      yield* files.write(owner, { name }, [Buffer.from("one")])
      yield* permissions.grant(owner, shared)
      for (let round = 0; round < 5; round++) {
        assert.strictEqual((yield* read(friend, owner, "file")).text, round === 0 ? "one" : `${round - 1}`)
        yield* files.write(owner, { name }, [Buffer.from(String(round))])
        assert.strictEqual((yield* read(friend, owner, "file")).text, String(round))
        yield* permissions.revoke(owner, shared)
        assert.strictEqual(yield* code("file"), "2:nf")
        yield* permissions.grant(owner, { ...shared, duration_ms: 1000 })
        yield* read(friend, owner, "file")
        yield* TestClock.adjust("1 second")
        assert.strictEqual(yield* code("file"), "2:nf", "a grant that has expired")
        yield* permissions.grant(owner, shared)
        yield* read(friend, owner, "file")
        yield* files.rename(owner, { name, new_name: other })
        assert.strictEqual(yield* code("file"), "2:nf")
        yield* read(friend, owner, "other")
        yield* files.rename(owner, { name: other, new_name: name })
        yield* permissions.publicise(owner, { name })
        yield* permissions.revoke(owner, shared)
        yield* read(friend, owner, "file")
        yield* permissions.hide(owner, { name })
        assert.strictEqual(yield* code("file"), "2:nf")
        yield* permissions.grant(owner, { ...shared, name: everything })
        yield* read(friend, owner, "file")
        yield* permissions.revoke(owner, { ...shared, name: everything })
        assert.strictEqual(yield* code("file"), "2:nf", "a folder that is not shared any more")
        yield* permissions.publicise(owner, { name: everything })
        yield* read(friend, owner, "file")
        yield* permissions.hide(owner, { name: everything })
        assert.strictEqual(yield* code("file"), "2:nf")
        yield* permissions.grant(owner, { ...shared, name: everything, duration_ms: 1000 })
        yield* read(friend, owner, "file")
        yield* TestClock.adjust("1 second")
        assert.strictEqual(yield* code("file"), "2:nf", "a grant on a folder that has expired")
        yield* permissions.grant(owner, shared)
        yield* read(friend, owner, "file")
        yield* files.delete(owner, { name })
        assert.strictEqual(yield* code("file"), "2:nf")
        yield* files.restore(owner, { name })
        assert.strictEqual(yield* code("file"), "2:nf", "what was deleted is shared with nobody")
        yield* permissions.grant(owner, shared)
      }
      yield* read(friend, owner, "file")
      yield* permissions.transfer(owner, { name, username: friend.username })
      assert.strictEqual(yield* code("file"), "2:nf")
      yield* read(friend, friend, "file")
    }))
})
