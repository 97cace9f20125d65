/**
 * A FIP server of its own for each test, in the test's process.
 *
 * **When to use**
 *
 * In the tests of programs that use `fip`: what they do is done by a real server, over TLS, with a real database and real
 * files, so that quotas, rights and refusals are those of production.
 *
 * **Details**
 *
 * The server listens on a free port of 127.0.0.1. All it keeps, and all that its clients pin and note, is in a temporary
 * folder that is removed with the layer's scope. Nothing of the user's own configuration is read or written.
 *
 * **Gotchas**
 *
 * A server takes some seconds to start, most of them for a new database: share one among the tests of a file, with a
 * user or a folder for each (`it.layer` of `@effect/vitest`).
 *
 * **Example** (Testing what a program keeps)
 *
 * ```ts
 * import { assert, layer } from "@effect/vitest"
 * import { Effect, Stream } from "effect"
 * import { FipClient } from "fip"
 * import { layerTest, TestServer } from "fip/testing"
 *
 * layer(layerTest)((it) => {
 *   it.effect("shares a note", () =>
 *     Effect.gen(function*() {
 *       const fip = yield* FipClient
 *       const bob = yield* (yield* TestServer).newUser("bob_jones")
 *       yield* fip.write("notes.txt", "hello")
 *       yield* fip.grant("bob_jones", "notes.txt", "READ")
 *       const read = yield* bob.read("~test_user/notes.txt").pipe(Stream.decodeText, Stream.mkString)
 *       assert.strictEqual(read, "hello")
 *     }))
 * })
 * ```
 */
import { Context, Data, Duration, Effect, Layer, Redacted, References, type Scope } from "effect"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { ClientError } from "./client/ClientError.ts"
import { FipClient, type FipClientShape } from "./client/FipClient.ts"
import { makeClient } from "./client/makeClient.ts"
import type { Fingerprint } from "./protocol/Identity.ts"
import { Server } from "./server/Server.ts"
import { defaults, ServerConfig } from "./server/ServerConfig.ts"

/** Every user of a test server has this password. */
export const TEST_PASSWORD = "test password"

/** No server could be started; the sentence says why. */
export class TestServerError extends Data.TaggedError("TestServerError")<{ readonly message: string }> {}

/** The server of a test. */
export class TestServer extends Context.Service<TestServer, {
  readonly host: string
  readonly port: number
  readonly fingerprint: Fingerprint
  /** What a client of one's own needs to connect to it: pins and notes are kept in the server's folder. */
  readonly clientOptions: {
    readonly host: string
    readonly port: number
    readonly knownHosts: string
    readonly stateFolder: string
  }
  /** Registers a user and gives a client that is logged in as that, until the scope closes. */
  readonly newUser: (username: string) => Effect.Effect<FipClientShape, ClientError, Scope.Scope>
}>()("fip/testing/TestServer") {
  /** A server without users. */
  static readonly layer: Layer.Layer<TestServer, TestServerError> = Layer.effect(
    TestServer,
    Effect.gen(function*() {
      const folder = yield* Effect.acquireRelease(
        Effect.promise(() => mkdtemp(join(tmpdir(), "fip-testing-"))),
        (folder) => Effect.promise(() => rm(folder, { recursive: true, force: true, maxRetries: 3 }))
      )
      const settings = {
        ...defaults,
        port: 0,
        dataDir: join(folder, "data"),
        // Tests register more users than people do.
        addressRegistrations: Number.MAX_SAFE_INTEGER,
        shutdownDeadline: Duration.seconds(1)
      }
      const built = yield* Layer.build(
        Server.layer.pipe(
          Layer.provide(Layer.succeed(ServerConfig, settings)),
          Layer.provide(Layer.succeed(References.MinimumLogLevel, "Warn"))
        )
      ).pipe(
        Effect.mapError(({ message }) => new TestServerError({ message: `no test server: ${message}` }))
      )
      const { fingerprint, host, port } = Context.get(built, Server)
      const clientOptions = { host, port, knownHosts: join(folder, "known_hosts"), stateFolder: join(folder, "state") }
      return TestServer.of({
        host,
        port,
        fingerprint,
        clientOptions,
        newUser: Effect.fnUntraced(function*(username) {
          const client = yield* makeClient(clientOptions)
          yield* client.register(username, Redacted.make(TEST_PASSWORD))
          yield* client.login(username, Redacted.make(TEST_PASSWORD))
          return client
        })
      })
    })
  )
}

/** A server, and a client of it that is logged in as `test_user`. */
export const layerTest: Layer.Layer<FipClient | TestServer, TestServerError | ClientError> = Layer.effect(
  FipClient,
  Effect.flatMap(TestServer, ({ newUser }) => newUser("test_user"))
).pipe(Layer.provideMerge(TestServer.layer))
