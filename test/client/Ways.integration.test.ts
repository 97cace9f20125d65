/** One large file by several connections, to and from a real server, with a line that is cut in its midst. */
import { assert, describe, layer } from "@effect/vitest"
import { Duration, Effect, Fiber } from "effect"
import { createHash, randomBytes } from "node:crypto"
import { readFile, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { windowFor } from "../../src/client/Ways.ts"
import type { CountingProxy } from "../support/CountingProxy.ts"
import { proxiedClient } from "../support/ProxiedClient.ts"
import * as TestServer from "../support/TestServer.ts"

const MiB = 1024 * 1024
const SIZE = 24 * MiB + 12_345
const content = randomBytes(SIZE)
const sha256 = createHash("sha256").update(content).digest("hex")

/** A client whose every connection passes a proxy, and a file to send. */
const setUp = Effect.fnUntraced(function*(username: string) {
  const { client, folder, proxy } = yield* proxiedClient(username)
  const source = join(folder, "source")
  yield* Effect.promise(() => writeFile(source, content))
  return { client, proxy, source, target: join(folder, "target") }
})

const carried = (proxy: CountingProxy, way: "up" | "down") => proxy.lines.filter((line) => line[way] > MiB).length

describe("one large file by several connections", () => {
  layer(TestServer.layer(), { excludeTestServices: true, timeout: Duration.seconds(60) })((it) => {
    it.effect("is spread over all of them, either way, and is the same", () =>
      Effect.gen(function*() {
        const { client, proxy, source, target } = yield* setUp("several")
        const sent = yield* client.upload(source, "f", { connections: 3 })
        assert.strictEqual(sent.sha256, sha256)
        assert.strictEqual(carried(proxy, "up"), 3)
        const fetched = yield* client.download("f", target, { connections: 3 })
        assert.strictEqual(fetched.sha256, sha256)
        assert.isAtLeast(carried(proxy, "down"), 3)
        // Lanes are used again: none was opened for the way back besides those of the way there, but one.
        assert.isAtMost(proxy.lines.length, 4)
        assert.isTrue(content.equals(yield* Effect.promise(() => readFile(target))))
      }))

    it.effect("uses one next door", () =>
      Effect.gen(function*() {
        const { client, proxy, source } = yield* setUp("next_door")
        yield* client.upload(source, "f")
        assert.strictEqual(proxy.lines.length, 1)
      }))

    it.effect("arrives although a line is cut while it is on its way", () =>
      Effect.gen(function*() {
        const { client, proxy, source, target } = yield* setUp("cut_line")
        const cut = (way: "up" | "down", from: number) =>
          Effect.promise(async () => {
            const isBusy = () => proxy.lines.slice(from).some((line) => line[way] > 2 * MiB)
            await proxy.when(isBusy)
            proxy.lines.slice(from).find((line) => line[way] > 2 * MiB)?.cut()
          })
        const up = yield* Effect.forkChild(cut("up", 1))
        assert.strictEqual((yield* client.upload(source, "f", { connections: 3 })).sha256, sha256)
        yield* Fiber.join(up)
        const down = yield* Effect.forkChild(cut("down", proxy.lines.length))
        yield* Effect.sync(() => proxy.lines.slice(1).forEach((line) => line.cut()))
        assert.strictEqual((yield* client.download("f", target, { connections: 3 })).sha256, sha256)
        yield* Fiber.join(down)
        assert.isTrue(content.equals(yield* Effect.promise(() => readFile(target))))
      }))

    it.effect("has more parts on their way the longer that is, and never more than a connection may have", () =>
      Effect.sync(() => {
        assert.deepStrictEqual([0, 1, 100, 1000].map(windowFor), [16, 16, 56, 60])
      }))
  })
})
