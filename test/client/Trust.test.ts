import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { once } from "node:events"
import { readFile } from "node:fs/promises"
import { createServer, type Server } from "node:net"
import { join } from "node:path"
import { createServer as createTlsServer } from "node:tls"
import type { ClientOptions } from "../../src/client/FipClient.ts"
import type { Fingerprint } from "../../src/protocol/Identity.ts"
import { requestBytes } from "../support/RawClient.ts"
import { connect, connected, password } from "../support/ScriptedClient.ts"
import { makeIdentity, type Script, ScriptedServer, temporaryFolder } from "../support/ScriptedServer.ts"

const heartbeat: Script = { Heartbeat: () => ({ code: "1:hb", body: { server_version: "1.0.0" } }) }

/** The one thing that is sent to a server whose key is not the pinned one. */
const question = (pinned: Fingerprint): number => requestBytes("Credentials", { id: 1, body: { pinned } }).length

const pinsIn = (path: string) => Effect.promise(() => readFile(path, "utf8").catch(() => ""))

/** A server, and connecting to it with the pins of one folder. */
const scene = Effect.gen(function*() {
  const known = join(yield* temporaryFolder, "known_hosts")
  const identity = yield* makeIdentity
  const server = yield* ScriptedServer.make(identity, heartbeat)
  const notices: Array<string> = []
  const join_ = (options: Partial<ClientOptions> = {}) =>
    connect({
      host: "127.0.0.1",
      port: server.port,
      knownHosts: known,
      onNotice: (notice) => notices.push(notice),
      ...options
    })
  return { identity, join: join_, known, notices, server }
})

/** How many bytes came out of the connections from `first` on, when all of them are gone. */
const bytesSince = (server: ScriptedServer, first: number) =>
  Effect.map(server.deserted, () => server.peers.slice(first).reduce((sum, { bytes }) => sum + bytes, 0))

describe("Trust", () => {
  it.live("pins the key of a new server, and says so", () =>
    Effect.gen(function*() {
      const { identity, join, known, notices, server } = yield* scene
      const client = yield* join()
      assert.strictEqual(yield* client.fingerprint, identity.fingerprint)
      assert.include(yield* pinsIn(known), `127.0.0.1:${server.port} ${identity.fingerprint}`)
      assert.include(notices[0], identity.fingerprint)
      yield* join()
      assert.strictEqual(notices.length, 1)
    }))

  it.live("asks before it pins, and sends nothing when the answer is no", () =>
    Effect.gen(function*() {
      const { identity, join, known, server } = yield* scene
      const asked: Array<string> = []
      const answer = (trusted: boolean) => ({
        confirmTrust: ({ fingerprint }: { readonly fingerprint: string }) => {
          asked.push(fingerprint)
          return Effect.succeed(trusted)
        }
      })
      const error = yield* Effect.flip(join(answer(false)))
      assert.strictEqual(error._tag, "TrustError")
      assert.strictEqual(yield* bytesSince(server, 0), 0)
      assert.strictEqual(yield* pinsIn(known), "")
      yield* join(answer(true))
      yield* join(answer(false))
      assert.deepStrictEqual(asked, [identity.fingerprint, identity.fingerprint])
    }))

  it.live("refuses another key that has no proof, sends it nothing but the question, and says what to do", () =>
    Effect.gen(function*() {
      const { identity, join, known, server } = yield* scene
      yield* Effect.scoped(join())
      const other = yield* makeIdentity
      server.useIdentity(other)
      const error = yield* Effect.flip(join())
      if (error._tag !== "TrustError") return assert.fail(error._tag)
      assert.deepStrictEqual([error.pinned, error.presented], [identity.fingerprint, other.fingerprint])
      for (const part of [identity.fingerprint, other.fingerprint, known, "administrator", "known-hosts replace"]) {
        assert.include(error.message, part)
      }
      assert.strictEqual(yield* bytesSince(server, 1), question(identity.fingerprint))
    }))

  it.live("goes on blindly when told to, and leaves the pin alone", () =>
    Effect.gen(function*() {
      const { join, known, notices, server } = yield* scene
      yield* join()
      const before = yield* pinsIn(known)
      const other = yield* makeIdentity
      server.useIdentity(other)
      const client = yield* join({ blindTrust: true })
      yield* client.heartbeat
      assert.match(notices.at(-1) ?? "", /blindly, although .* is pinned/)
      assert.strictEqual(yield* pinsIn(known), before)
    }))

  for (const blindTrust of [false, true]) {
    it.live(`sends nothing but the question to another key after a reconnect${blindTrust ? ", also when trusting blindly" : ""}`, () =>
      Effect.gen(function*() {
        const { identity, join, server } = yield* scene
        const client = yield* join({ blindTrust })
        yield* client.heartbeat
        server.useIdentity(yield* makeIdentity)
        server.last?.socket.destroy()
        yield* server.deserted
        const error = yield* Effect.flip(client.login("alice", password))
        assert.strictEqual(error._tag, "TrustError")
        assert.strictEqual(yield* bytesSince(server, 1), question(identity.fingerprint))
      }))
  }

  it.live("does not send a password to a server that is not the one that was pinned", () =>
    Effect.gen(function*() {
      const { client, server } = yield* connected({})
      const pinned = yield* client.fingerprint
      yield* Effect.forkChild(client.login("alice", password))
      yield* Effect.promise(() => once(server.last?.socket ?? process, "data"))
      server.useIdentity(yield* makeIdentity)
      server.last?.socket.destroy()
      const error = yield* Effect.flip(client.login("alice", password))
      assert.strictEqual(error._tag, "TrustError")
      assert.strictEqual(yield* bytesSince(server, 1), question(pinned))
    }))
})

const listening = <S extends Server>(server: S) =>
  Effect.acquireRelease(
    Effect.callback<number>((resume) => {
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0))
      })
    }),
    () => Effect.sync(() => server.close())
  )

describe("Dial", () => {
  const failure = Effect.fnUntraced(function*(port: number, host = "127.0.0.1") {
    const knownHosts = join(yield* temporaryFolder, "known_hosts")
    const error = yield* Effect.flip(connect({ host, port, knownHosts }))
    assert.strictEqual(error._tag, "ConnectError")
    return error.message
  })

  it.live("says that nothing listens there", () =>
    Effect.gen(function*() {
      const port = yield* Effect.scoped(listening(createServer()))
      assert.match(yield* failure(port), /nothing listens on 127.0.0.1/)
    }))

  it.live("says that it is no FIP server when it does not speak TLS", () =>
    Effect.gen(function*() {
      const port = yield* listening(createServer((socket) => socket.end("220 welcome\r\n")))
      assert.match(yield* failure(port), /does not speak fip\/1/)
    }))

  it.live("says that it is no FIP server when it does not know the protocol's name", () =>
    Effect.gen(function*() {
      const port = yield* listening(createTlsServer(yield* makeIdentity))
      assert.match(yield* failure(port), /does not speak fip\/1/)
    }))

  it.live("refuses TLS 1.2", () =>
    Effect.gen(function*() {
      const port = yield* listening(
        createTlsServer({ ...(yield* makeIdentity), maxVersion: "TLSv1.2", ALPNProtocols: ["fip/1"] })
      )
      assert.match(yield* failure(port), /TLS 1\.3/)
    }))

  it.live("refuses hosts and ports that are none", () =>
    Effect.gen(function*() {
      assert.match(yield* failure(65_536), /ports are whole numbers/)
      assert.match(yield* failure(6090, "no host"), /not a host name/)
    }))
})
