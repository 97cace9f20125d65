/** A client of the library that reaches a real server through a proxy, which counts what passes and can cut lines. */
import { Context, Effect, Layer, Redacted } from "effect"
import { join } from "node:path"
import { type ClientOptions, FipClient } from "../../src/client/FipClient.ts"
import { Server } from "../../src/server/Server.ts"
import { CountingProxy } from "./CountingProxy.ts"
import * as TestServer from "./TestServer.ts"

export const PASSWORD = "correct horse"

/** One that is logged in as a new user, with a folder of its own; all of it is gone when the scope closes. */
export const proxiedClient = Effect.fnUntraced(function*(username: string, options: Partial<ClientOptions> = {}) {
  const folder = yield* TestServer.temporaryFolder
  const proxy = yield* Effect.acquireRelease(
    Effect.promise(CountingProxy.start),
    (proxy) => Effect.promise(() => proxy.stop())
  )
  proxy.target = (yield* Server).port
  const client = Context.get(
    yield* Layer.build(FipClient.layer({
      host: "127.0.0.1",
      port: proxy.port,
      knownHosts: join(folder, "known_hosts"),
      stateFolder: folder,
      ...options
    })),
    FipClient
  )
  yield* client.register(username, Redacted.make(PASSWORD))
  yield* client.login(username, Redacted.make(PASSWORD))
  return { client, folder, proxy }
})
