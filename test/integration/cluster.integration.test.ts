/**
 * Two servers on one PostgreSQL and one folder of segments, as processes: what is done on one holds on the other, and a
 * server that is killed leaves nothing that its neighbour stumbles over. Every step relies on what those before it left.
 */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Redacted, Scope, Stream } from "effect"
import { randomBytes } from "node:crypto"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { FipClient, type FipClientShape } from "../../src/client/FipClient.ts"
import { run, serve, type ServerProcess } from "../support/Program.ts"
import { TestDatabase } from "../support/TestDatabase.ts"

const secret = Redacted.make("correct horse")

const read = (client: FipClientShape, file: string) =>
  Effect.runPromise(Stream.mkString(Stream.decodeText(client.read(file))))
const refusal = async (effect: Effect.Effect<unknown, unknown>) => {
  const error = await Effect.runPromise(Effect.flip(effect))
  return typeof error === "object" && error !== null && "code" in error ? error.code : error
}
const write = (client: FipClientShape, file: string, content: string) =>
  Effect.runPromise(client.write(file, Buffer.from(content)))

describe("two servers on one store", { timeout: 60_000 }, () => {
  const scope = Scope.makeUnsafe()
  const once = <A, E>(effect: Effect.Effect<A, E, Scope.Scope>) => Effect.runPromise(Scope.provide(effect, scope))
  let folder = ""
  let env: NodeJS.ProcessEnv = {}
  let [one, two]: Array<ServerProcess | undefined> = []

  const dataDir = (number: number) => join(folder, `data-${number}`)
  const start = (number: number) =>
    serve(["0", "--data-dir", dataDir(number), "--log-level", "warn"], {
      env: { ...env, FIP_SEGMENTS_DIR: join(folder, "segments"), FIP_IDENTITY_DIR: join(folder, "identity") }
    })
  const servers = () => {
    if (one === undefined || two === undefined) return assert.fail("two servers run")
    return { one, two }
  }
  /** A client of a server. All that it trusts is one key: that both have. */
  const client = (server: ServerProcess, username: string, isNew = false): Promise<FipClientShape> =>
    once(Effect.gen(function*() {
      const knownHosts = join(folder, `known-${server.port}-${username}`)
      const context = yield* Layer.build(FipClient.layer({ host: "127.0.0.1", port: server.port, knownHosts }))
      const client = Context.get(context, FipClient)
      if (isNew) yield* client.register(username, secret)
      yield* client.login(username, secret)
      return client
    }))
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "fip-cluster-"))
    env = { FIP_DATABASE_URL: await once(TestDatabase.postgresUrl), FIP_SWEEP_EVERY: "1 second" }
    ;[one, two] = [await start(1), await start(2)]
  }, 60_000)

  afterAll(async () => {
    await Promise.all([one?.stop(), two?.stop()])
    await Effect.runPromise(Scope.close(scope, Exit.void))
    await rm(folder, { recursive: true, force: true })
  }, 60_000)

  it("shows one identity, and the new one on both when it is rotated on one", async () => {
    const { one, two } = servers()
    assert.strictEqual(one.fingerprint, two.fingerprint)
    const alice = await client(one, "alice", true)
    const rotated = await run(["admin", "certificate", "rotate", "--data-dir", dataDir(1)])
    assert.strictEqual(rotated.status, 0, rotated.stderr)
    // The second server may hear of it a moment later.
    const fingerprint = await Effect.runPromise(
      Effect.promise(() => client(two, "alice")).pipe(
        Effect.flatMap((client) => client.fingerprint),
        Effect.repeat({ until: (fingerprint) => fingerprint !== one.fingerprint }),
        Effect.timeout("10 seconds")
      )
    )
    assert.notStrictEqual(fingerprint, one.fingerprint)
    await Effect.runPromise(alice.heartbeat)
  })

  it("grants on one, reads on the other at once; revokes, and it is refused at once", async () => {
    const { one, two } = servers()
    const alice = await client(one, "alice")
    const robert = await client(two, "robert", true)
    await write(alice, "plan.txt", "version 0")
    for (let round = 0; round < 20; round++) {
      await Effect.runPromise(alice.grant("robert", "plan.txt", "READ"))
      assert.strictEqual(await read(robert, "~alice/plan.txt"), `version ${round}`)
      await write(alice, "plan.txt", `version ${round + 1}`)
      assert.strictEqual(await read(robert, "~alice/plan.txt"), `version ${round + 1}`)
      await Effect.runPromise(alice.revoke("robert", "plan.txt"))
      assert.strictEqual(await refusal(Stream.runDrain(robert.read("~alice/plan.txt"))), "2:nf")
    }
  })

  it("tells who watches on one what is done on the other", async () => {
    const { one, two } = servers()
    const [here, there] = [await client(one, "alice"), await client(two, "alice")]
    const ready = Promise.withResolvers<number>()
    const told = Effect.runPromise(
      there.watch({ prefix: "watched/", onReady: ready.resolve }).pipe(Stream.take(3), Stream.runCollect)
    )
    await ready.promise
    await write(here, "watched/a", "1")
    await Effect.runPromise(here.rename("watched/a", "watched/b"))
    await Effect.runPromise(here.delete("watched/b"))
    assert.deepStrictEqual((await told).map(({ kind, name }) => `${kind} ${name}`), [
      "created watched/a",
      "renamed watched/a",
      "deleted watched/b"
    ])
  })

  it("goes on by one when the other is killed, with all that it had acknowledged", async () => {
    const { one, two } = servers()
    const [alice, robert] = [await client(one, "alice"), await client(two, "robert")]
    const content = randomBytes(1000).toString("hex")
    await write(robert, "left.txt", content)
    await Effect.runPromise(robert.grant("alice", "left.txt", "READ"))
    await two.stop("SIGKILL")
    const before = performance.now()
    await write(alice, "after.txt", "one goes on")
    assert.isBelow(performance.now() - before, 5000)
    assert.strictEqual(await read(alice, "~robert/left.txt"), content)
    // What it was writing to is given up by the one that lives; nothing that was acknowledged is.
    const checked = await run(["admin", "fsck", "--repair", "--data-dir", dataDir(1)])
    assert.strictEqual(checked.status, 0, checked.stderr)
    assert.strictEqual(await read(alice, "~robert/left.txt"), content)
  })

  it("takes a new one in, on the folder of the one that was killed", async () => {
    const { one } = servers()
    const third = two = await start(2)
    const [alice, robert] = [await client(one, "alice"), await client(third, "robert")]
    await write(alice, "shared.txt", "from one")
    await Effect.runPromise(alice.publicise("shared.txt"))
    assert.strictEqual(await read(robert, "~alice/shared.txt"), "from one")
    const banned = await run(["admin", "ban", "robert", "--data-dir", dataDir(1)])
    assert.strictEqual(banned.status, 0, banned.stderr)
    assert.strictEqual(await refusal(robert.queryUser), "2:auth")
  })

  it("refuses to start on a folder that is another store's", async () => {
    const lost = await run(["serve", "0", "--data-dir", join(folder, "data-3")], { env })
    assert.strictEqual(lost.status, 1)
    assert.include(lost.stderr, "is not where the content of this database is")
  })
})
