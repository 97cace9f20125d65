/** Access tokens that end many times while one transfer lasts: the client renews them, and nobody notices. */
import { assert, it } from "@effect/vitest"
import { Duration, Effect, Redacted, Stream } from "effect"
import { TestClock } from "effect/testing"
import { createHash } from "node:crypto"
import { join } from "node:path"
import { FipClient } from "../../src/client/FipClient.ts"
import { Server } from "../../src/server/Server.ts"
import * as TestServer from "../support/TestServer.ts"

const PIECE = new Uint8Array(256 * 1024).fill(7)
const PIECES = 30

it.layer(TestServer.layer({ accessTokenLifetime: Duration.minutes(15) }))(
  "a transfer that outlives its tokens",
  (it) => {
    it.effect("is refreshed on the way, up and down", () =>
      Effect.gen(function*() {
        const { port } = yield* Server
        const folder = yield* TestServer.temporaryFolder
        yield* Effect.gen(function*() {
          const client = yield* FipClient
          const password = Redacted.make("alice's secret")
          yield* client.register("alice", password)
          const { sessionId } = yield* client.login("alice", password)

          // A source that takes its time, and so does who reads it: five hours.
          const slow = Stream.range(1, PIECES).pipe(
            Stream.rechunk(1),
            Stream.tap(() => TestClock.adjust("10 minutes")),
            Stream.map(() => PIECE)
          )
          const written = yield* client.write("slow.bin", slow)
          assert.strictEqual(written.size, PIECES * PIECE.length)

          const hash = createHash("sha256")
          yield* client.read("slow.bin").pipe(
            Stream.tap(() => TestClock.adjust("10 minutes")),
            Stream.runForEach((chunk) => Effect.sync(() => hash.update(chunk)))
          )
          assert.strictEqual(hash.digest("hex"), written.sha256)

          const { sessions } = yield* client.querySessions
          assert.deepStrictEqual(sessions.map(({ session_id }) => session_id), [sessionId])
        }).pipe(
          Effect.provide(FipClient.layer({ host: "127.0.0.1", port, knownHosts: join(folder, "known_hosts") }))
        )
      }))
  }
)
