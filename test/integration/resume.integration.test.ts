/**
 * Transfers whose client or server is killed with SIGKILL in their midst, as real processes: the next run goes on, sends
 * again at most a part of what had passed, and what is published is right.
 */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Cause, Context, Effect, Exit, Layer, Redacted, Scope } from "effect"
import { createHash } from "node:crypto"
import { mkdir, mkdtemp, readdir, readFile, stat, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { FipClient } from "../../src/client/FipClient.ts"
import type { CountingProxy } from "../support/CountingProxy.ts"
import { PASSWORD, ProxiedProgram, USER } from "../support/ProxiedProgram.ts"
import { Random } from "../support/Random.ts"

const MiB = 1024 * 1024
const SIZE = 32 * MiB + 1234

/** Headers, TLS records, and logging in: what passes besides content. */
const overhead = (bytes: number) => 64 * 1024 + bytes / 50

const seed = Number(process.env["FIP_TEST_SEED"] ?? Date.now() % 1_000_000)
const random = new Random(seed)
const said = (what: string) => `${what} (FIP_TEST_SEED=${seed})`

let program: ProxiedProgram
let folder = ""
let proxy: CountingProxy
let content: Buffer
let source = ""

const finish = (...words: ReadonlyArray<string>) => program.finish(...words)

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex")

/** What there is of a download beside its target. */
const partial = async (target: string): Promise<number> => {
  for (const name of await readdir(join(target, ".."))) {
    if (name.endsWith(".part")) return (await stat(join(target, "..", name))).size
  }
  return 0
}

beforeAll(async () => {
  program = await ProxiedProgram.start()
  ;({ folder, proxy } = program)
  source = join(folder, "source")
  content = random.bytes(SIZE)
  await writeFile(source, content)
}, 60_000)

afterAll(() => program.stop())

describe("a transfer whose process is killed", { timeout: 120_000 }, () => {
  it("is an upload that goes on when its client was killed, and repeats at most a part each time", async () => {
    let passed = 0
    const kills = 2
    for (let kill = 0; kill < kills; kill++) {
      proxy.up = 0
      const running = program.begin("UPLOAD", source, "client-killed")
      const at = (1 + random.next()) * 6 * MiB
      await proxy.when(() => proxy.up >= at)
      running.child.kill("SIGKILL")
      assert.strictEqual((await running.end).signal, "SIGKILL")
      passed += proxy.up
    }
    proxy.up = 0
    const result = await finish("UPLOAD", source, "client-killed")
    passed += proxy.up
    assert.deepInclude(result, { size: SIZE, version: 1, sha256: sha256(content) })
    assert.isAtMost(passed, SIZE + kills * MiB + overhead(SIZE) + kills * overhead(0), said("sent again"))
    assert.strictEqual((await finish("READ", "client-killed", "--limit", "0"))["size"], SIZE)
  })

  it("is an upload that goes on behind what was acknowledged when the server was killed", async () => {
    const connect = Effect.gen(function*() {
      const client = Context.get(
        yield* Layer.build(FipClient.layer({
          host: "127.0.0.1",
          port: proxy.port,
          knownHosts: join(folder, "known_hosts"),
          stateFolder: join(folder, "state", "fip")
        })),
        FipClient
      )
      yield* client.login(USER, Redacted.make(PASSWORD))
      return client
    })
    let acknowledged = 0
    {
      const scope = Scope.makeUnsafe()
      const upload = connect.pipe(
        Effect.flatMap((client) =>
          client.upload(source, "server-killed", {
            onProgress: ({ bytes }) => {
              // It begins where it was.
              assert.isAtLeast(bytes, acknowledged)
              acknowledged = bytes
            }
          })
        ),
        Scope.provide(scope)
      )
      const ended = Effect.runPromiseExit(upload)
      const at = (1 + random.next()) * 10 * MiB
      await proxy.when(() => proxy.up >= at)
      await program.killServer()
      const exit = await ended
      assert.isTrue(Exit.isFailure(exit) && !Cause.hasDies(exit.cause), said(String(exit)))
      await Effect.runPromise(Scope.close(scope, Exit.void))
      await program.startServer()
    }
    proxy.up = 0
    const result = await finish("UPLOAD", source, "server-killed")
    assert.deepInclude(result, { size: SIZE, version: 1, sha256: sha256(content) })
    assert.isAtMost(proxy.up, SIZE - acknowledged + MiB + overhead(SIZE), said("sent again"))
  })

  it("is a download that goes on behind what is here, whichever side was killed, or both", async () => {
    const target = join(await mkdtemp(join(folder, "target-")), "fetched")
    for (const victims of [["client"], ["server"]]) {
      const here = await partial(target)
      proxy.down = 0
      const running = program.begin("DOWNLOAD", "client-killed", target)
      // More than what the network and the client hold before it is on disk.
      const at = Math.min((11 + random.below(3)) * MiB, (SIZE - here) * 0.8)
      await proxy.when(() => proxy.down >= at)
      if (victims.includes("client")) running.child.kill("SIGKILL")
      if (victims.includes("server")) await program.killServer()
      const { signal, status } = await running.end
      if (victims.includes("client")) assert.strictEqual(signal, "SIGKILL")
      else assert.strictEqual(status, 6)
      assert.isAtLeast(await partial(target), here, said("what was here"))
      if (victims.includes("server")) await program.startServer()
    }
    const here = await partial(target)
    assert.isAbove(here, 0)
    proxy.down = 0
    const result = await finish("DOWNLOAD", "client-killed", target)
    assert.deepInclude(result, { size: SIZE, sha256: sha256(content) })
    assert.isTrue((await readFile(target)).equals(content))
    assert.isAtMost(proxy.down, SIZE - here + overhead(SIZE), said("sent again"))
    assert.deepStrictEqual(await readdir(join(target, "..")), ["fetched"])
  })

  it("is an upload that was killed on both sides at once", async () => {
    proxy.up = proxy.down = 0
    const running = program.begin("UPLOAD", source, "both-killed")
    const at = (1 + random.next()) * 8 * MiB
    // Not before the server has answered to some of it: a dozen parts, besides logging in.
    await proxy.when(() => proxy.up >= at && proxy.down >= 8 * 1024)
    running.child.kill("SIGKILL")
    await program.killServer()
    await running.end
    await program.startServer()
    proxy.up = 0
    const result = await finish("UPLOAD", source, "both-killed")
    assert.deepInclude(result, { size: SIZE, version: 1, sha256: sha256(content) })
    assert.isBelow(proxy.up, SIZE - 4 * MiB, said("sent again"))
    const target = join(folder, "both-killed")
    await finish("DOWNLOAD", "both-killed", target)
    assert.isTrue((await readFile(target)).equals(content))
  })

  it("is a tree of small files, up when the server was killed and down when the client was: whole in the end", async () => {
    const files = new Map(Array.from({ length: 1200 }, (_, index) => [`d${index % 5}/f${index}`, random.bytes(3000)]))
    const tree = join(folder, "tree")
    for (let part = 0; part < 5; part++) await mkdir(join(tree, `d${part}`), { recursive: true })
    for (const [name, bytes] of files) await writeFile(join(tree, name), bytes)

    proxy.up = 0
    const sending = program.begin("UPLOAD", "--recursive", tree, "tree/")
    await proxy.when(() => proxy.up >= 1.5 * MiB)
    await program.killServer()
    assert.strictEqual((await sending.end).status, 6, said("the interrupted upload"))
    await program.startServer()
    assert.deepInclude(await finish("UPLOAD", "--recursive", tree, "tree/"), {
      totals: { files: files.size, bytes: files.size * 3000 }
    })

    const target = join(folder, "tree-fetched")
    proxy.down = 0
    const fetching = program.begin("DOWNLOAD", "--recursive", "tree/", target)
    await proxy.when(() => proxy.down >= 1.5 * MiB)
    fetching.child.kill("SIGKILL")
    assert.strictEqual((await fetching.end).signal, "SIGKILL")
    await finish("DOWNLOAD", "--recursive", "tree/", target)
    const here = (await readdir(target, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile())
    assert.strictEqual(here.length, files.size, said("nothing else is left"))
    for (const [name, bytes] of files) assert.isTrue((await readFile(join(target, name))).equals(bytes), said(name))
  })
})
