/** CHECKSUM against a real server, over a line that counts what passes. */
import { assert, describe, layer } from "@effect/vitest"
import { Duration, Effect, Redacted } from "effect"
import { createHash } from "node:crypto"
import { join } from "node:path"
import { FipClient } from "../../src/client/FipClient.ts"
import { Server } from "../../src/server/Server.ts"
import { CountingProxy } from "../support/CountingProxy.ts"
import { bytesOf } from "../support/ScriptedFile.ts"
import { runLines } from "../support/ShellHarness.ts"
import * as TestServer from "../support/TestServer.ts"

const MiB = 1024 * 1024
const [username, password] = ["hash_user", "correct horse"]

const hash = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex")

describe("CHECKSUM", () => {
  layer(TestServer.layer(), { timeout: Duration.seconds(60) })((it) => {
    it.effect("tells the hash of a file that nobody has computed, and leaves its content where it is", () =>
      Effect.gen(function*() {
        const folder = yield* TestServer.temporaryFolder
        const proxy = yield* Effect.acquireRelease(
          Effect.promise(CountingProxy.start),
          (proxy) => Effect.promise(() => proxy.stop())
        )
        proxy.target = (yield* Server).port
        const client = { host: "127.0.0.1", port: proxy.port, knownHosts: join(folder, "known"), stateFolder: folder }
        const shell = (lines: ReadonlyArray<string>) =>
          runLines(lines, { client, username, password: Redacted.make(password), clientLayer: FipClient.layer })

        const content = bytesOf(9 * MiB + 5)
        yield* Effect.gen(function*() {
          const fip = yield* FipClient
          yield* fip.register(username, Redacted.make(password))
          yield* fip.login(username, Redacted.make(password))
          yield* fip.write("grown", content.subarray(0, 5 * MiB))
          yield* fip.append("grown", content.subarray(5 * MiB))
          yield* fip.write("empty", "")
          assert.isUndefined((yield* fip.queryFile("grown")).sha256)
        }).pipe(Effect.provide(FipClient.layer(client)))

        const before = proxy.down
        const { status, stderr, stdout } = yield* shell([
          "CHECKSUM grown",
          "CHECKSUM grown",
          "CHECKSUM empty",
          "CHECKSUM missing"
        ])
        const grown = `${hash(content)}  grown\n`
        assert.strictEqual(stdout, `${grown}${grown}${hash(new Uint8Array(0))}  empty\n`, stderr)
        assert.isBelow(proxy.down - before, 64 * 1024)
        assert.strictEqual(status, 1)
      }))
  })
})
