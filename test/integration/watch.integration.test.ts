/** WATCH over real connections: what a user's clients are told of what happens to files. */
import { assert, describe, layer } from "@effect/vitest"
import { Context, Deferred, Duration, Effect, Fiber, Layer, Option, Redacted, Stream } from "effect"
import { join } from "node:path"
import { FipClient, type FipClientShape, type WatchOptions } from "../../src/client/FipClient.ts"
import type { ChangeInfo } from "../../src/protocol/Request.ts"
import { Server } from "../../src/server/Server.ts"
import * as TestServer from "../support/TestServer.ts"

const secret = Redacted.make("correct horse")

const newUser = Effect.fnUntraced(function*(username: string) {
  const { port } = yield* Server
  const knownHosts = join(yield* TestServer.temporaryFolder, "known_hosts")
  const client = Context.get(
    yield* Layer.build(FipClient.layer({ host: "127.0.0.1", port, knownHosts })),
    FipClient
  )
  yield* client.register(username, secret)
  yield* client.login(username, secret)
  return client
})

/** Begins to watch; gives the first `count` changes when they have come. */
const watching = Effect.fnUntraced(function*(client: FipClientShape, count: number, options: WatchOptions = {}) {
  const ready = yield* Deferred.make<number>()
  const fiber = yield* client.watch({
    ...options,
    onReady: (since) => Deferred.doneUnsafe(ready, Effect.succeed(since))
  }).pipe(Stream.take(count), Stream.runCollect, Effect.forkScoped)
  if (options.since === undefined) yield* Deferred.await(ready)
  return Effect.map(Fiber.join(fiber), (changes) => [...changes])
})

const told = ({ kind, name, new_name }: ChangeInfo): string =>
  new_name === undefined ? `${kind} ${name}` : `${kind} ${name} ${new_name}`

describe("WATCH", () => {
  layer(TestServer.layer(), { timeout: Duration.seconds(60) })((it) => {
    it.effect("tells of every change of one's own files, in order, with its number", () =>
      Effect.gen(function*() {
        const client = yield* newUser("feed_user")
        const changes = yield* watching(client, 8)
        yield* client.write("a.txt", "one")
        yield* client.append("a.txt", "two")
        yield* client.rename("a.txt", "b.txt")
        yield* client.copy("b.txt", "docs/c.txt")
        yield* client.delete("b.txt")
        yield* client.restore("b.txt")
        yield* client.restore("b.txt", 1)
        yield* client.delete("docs/c.txt")
        const seen = yield* changes
        assert.deepStrictEqual(seen.map(told), [
          "created a.txt",
          "written a.txt",
          "renamed a.txt b.txt",
          "created docs/c.txt",
          "deleted b.txt",
          "restored b.txt",
          "written b.txt",
          "deleted docs/c.txt"
        ])
        const [first] = seen
        assert.deepStrictEqual(seen.map(({ sequence }) => sequence - (first?.sequence ?? 0)), [0, 1, 2, 3, 4, 5, 6, 7])
        assert.deepStrictEqual([first?.size, first?.version, first?.by], [3, 1, "feed_user"])
      }))

    it.effect("goes on after any number, so that whoever was away misses nothing and sees nothing twice", () =>
      Effect.gen(function*() {
        const client = yield* newUser("resume_user")
        const changes = yield* watching(client, 1)
        yield* client.write("a", "1")
        const [first] = yield* changes
        for (const name of ["b", "c", "d"]) yield* client.write(name, name)
        const rest = yield* yield* watching(client, 3, { since: first?.sequence })
        assert.deepStrictEqual(rest.map(told), ["created b", "created c", "created d"])
      }))

    it.effect("tells of one folder or one file only, also when something is renamed into it", () =>
      Effect.gen(function*() {
        const client = yield* newUser("folder_user")
        const folder = yield* watching(client, 2, { prefix: "docs/" })
        const file = yield* watching(client, 1, { name: "docs/b" })
        yield* client.write("a", "")
        yield* client.write("docs2/x", "")
        yield* client.write("docs/x", "")
        yield* client.rename("a", "docs/b")
        assert.deepStrictEqual((yield* folder).map(told), ["created docs/x", "renamed a docs/b"])
        assert.deepStrictEqual((yield* file).map(told), ["renamed a docs/b"])
      }))

    it.effect("tells of grants to the user, and of files that are given away and received", () =>
      Effect.gen(function*() {
        const alice = yield* newUser("alice_watch")
        const bob = yield* newUser("bob_watch")
        const given = yield* watching(alice, 2)
        const received = yield* watching(bob, 3)
        yield* alice.write("plan", "x")
        yield* alice.grant("bob_watch", "plan", "EDIT")
        yield* alice.revoke("bob_watch", "plan")
        yield* alice.transfer("bob_watch", "plan", { newName: "hers" })
        const forBob = yield* received
        assert.deepStrictEqual(forBob.map(told), ["shared plan", "unshared plan", "received plan hers"])
        assert.deepStrictEqual(forBob.map(({ by, owner, role }) => [by, owner, role]), [
          ["alice_watch", "alice_watch", "EDIT"],
          ["alice_watch", "alice_watch", "EDIT"],
          ["alice_watch", "alice_watch", undefined]
        ])
        assert.deepStrictEqual((yield* given).map(told), ["created plan", "given plan hers"])
      }))

    it.effect("tells a stranger of what they may read, of its end too, and of nothing else", () =>
      Effect.gen(function*() {
        const owner = yield* newUser("owner_watch")
        const guest = yield* newUser("guest_watch")
        yield* owner.write("shared", "1")
        yield* owner.grant("guest_watch", "shared", "READ")
        const changes = yield* watching(guest, 3, { owner: "owner_watch" })
        yield* owner.write("secret", "1")
        yield* owner.write("shared", "2")
        yield* owner.delete("secret")
        yield* owner.delete("shared")
        yield* owner.write("public", "1")
        yield* owner.publicise("public")
        yield* owner.write("public", "2")
        const seen = yield* changes
        assert.strictEqual(seen.filter(({ name }) => name === "secret").length, 0)
        assert.deepStrictEqual(seen.slice(0, 2).map(told), ["written shared", "deleted shared"])
        assert.strictEqual(seen[2]?.name, "public")
      }))

    it.effect("tells who may read a folder of all that happens in it, and of nothing outside; of the grant itself, too", () =>
      Effect.gen(function*() {
        const [alice, bob] = [yield* newUser("folder_alice"), yield* newUser("folder_bobby")]
        const shared = yield* watching(bob, 2)
        yield* alice.grant("folder_bobby", "docs/", "READ")
        const owner = Option.getOrThrow(yield* alice.session).username
        const changes = yield* watching(bob, 4, { owner })
        yield* alice.write("docs/a.txt", "one")
        yield* alice.write("secret.txt", "two")
        yield* alice.rename("secret.txt", "other.txt")
        yield* alice.rename("docs/a.txt", "docs/b.txt")
        yield* alice.delete("docs/b.txt")
        yield* alice.write("docs/last.txt", "three")
        const seen = (yield* changes).map(told)
        assert.strictEqual(seen.at(-1), "created docs/last.txt")
        assert.include(seen, "deleted docs/b.txt")
        assert.notInclude(seen.join(), "secret")
        yield* alice.revoke("folder_bobby", "docs/")
        assert.deepStrictEqual((yield* shared).map(told), ["shared docs/", "unshared docs/"])
      }))

    it.effect("refuses to go on from where changes are not kept any more, and from a number that never was", () =>
      Effect.gen(function*() {
        const client = yield* newUser("gone_user")
        for (const name of ["a", "b", "c"]) yield* client.write(name, name)
        const refused = Effect.flip(Stream.runDrain(client.watch({ since: 99 })))
        const error = yield* refused
        assert.deepStrictEqual([error._tag, "code" in error && error.code], ["Refusal", "2:gone"])
        assert.strictEqual(
          (yield* Effect.flip(Stream.runDrain(client.watch({ owner: "nobody_here" }))))._tag,
          "Refusal"
        )
      }))
  })
})
