/** A client of the library that is connected to a scripted server. */
import { Context, Deferred, Effect, Layer, Redacted } from "effect"
import { join } from "node:path"
import { type ClientOptions, FipClient } from "../../src/client/FipClient.ts"
import {
  makeIdentity,
  type Peer,
  type Received,
  type Reply,
  type Script,
  ScriptedServer,
  temporaryFolder
} from "./ScriptedServer.ts"

/** The client's service, in the current scope. */
export const connect = (options: ClientOptions) =>
  Effect.map(Layer.build(FipClient.layer(options)), (context) => Context.get(context, FipClient))

export const connected = Effect.fnUntraced(function*(
  script: Script,
  options: Partial<ClientOptions> = {},
  onConnection?: (peer: Peer) => void
) {
  const folder = yield* temporaryFolder
  const identity = yield* makeIdentity
  const server = yield* ScriptedServer.make(identity, script, onConnection)
  const notices: Array<string> = []
  const client = yield* connect({
    host: "127.0.0.1",
    port: server.port,
    knownHosts: join(folder, "known_hosts"),
    stateFolder: join(folder, "state"),
    onNotice: (notice) => notices.push(notice),
    ...options
  })
  return { client, folder, identity, notices, server }
})

export const password = Redacted.make("correct horse")

const SESSION = "00000000-0000-4000-8000-000000000001"

/** A grant with a token and a digest that carry a number. */
export const grant = (number: number, tokenLifetimeMillis = 600_000) => ({
  username: "alice",
  session_id: SESSION,
  token: `token-${number}`,
  token_expires_in_ms: tokenLifetimeMillis,
  refresh_digest: String(number).padStart(43, "D"),
  refresh_expires_in_ms: 86_400_000
})

/** Lets everybody in. */
export const login = (): Reply => ({ code: "1:auth", body: grant(1) })

/** A client that has logged in. */
export const loggedIn = Effect.fnUntraced(function*(
  script: Script,
  options?: Partial<ClientOptions>,
  onConnection?: (peer: Peer) => void
) {
  const connection = yield* connected({ Login: login, ...script }, options, onConnection)
  yield* connection.client.login("alice", password)
  return connection
})

export const fileInfo = (name: string, size = 0) => ({
  owner: "alice",
  name,
  size,
  version: 1,
  created_at: "2026-11-22T08:00:00.000Z",
  modified_at: "2026-11-22T08:00:00.000Z",
  role: "OWNER",
  public: false
})

/** What arrives for a request, one by one. */
export const arrivals = <K extends Received["name"]>() => {
  const waiting: Array<Deferred.Deferred<Received<K>>> = []
  let given = 0
  let arrived = 0
  const slot = (index: number) => waiting[index] ??= Deferred.makeUnsafe<Received<K>>()
  return {
    script: (request: Received<K>): void => {
      Deferred.doneUnsafe(slot(arrived++), Effect.succeed(request))
    },
    /** The next request that has not been taken. */
    next: Effect.suspend(() => Deferred.await(slot(given++)))
  }
}
