/** Trust between the real server and the real client, while keys change and while somebody stands in the middle. */
import { assert, describe, layer } from "@effect/vitest"
import { Duration, Effect, Redacted, Stream } from "effect"
import { createPrivateKey } from "node:crypto"
import { once } from "node:events"
import { readFile, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { connect as connectTls, createServer, type TLSSocket } from "node:tls"
import { ask } from "../../src/cli/admin/AdminClient.ts"
import type { ClientOptions } from "../../src/client/FipClient.ts"
import { sign } from "../../src/platform/Signature.ts"
import {
  concat,
  decodeStatement,
  encodeStatement,
  EXPORTER_BYTES,
  EXPORTER_LABEL,
  fromText,
  splitSigned,
  statementMessage,
  toText
} from "../../src/protocol/Continuity.ts"
import type { ContinuityProof } from "../../src/protocol/ContinuityProof.ts"
import { ALPN } from "../../src/protocol/Limits.ts"
import { Server } from "../../src/server/Server.ts"
import { ServerConfig } from "../../src/server/ServerConfig.ts"
import { RawClient } from "../support/RawClient.ts"
import { connect } from "../support/ScriptedClient.ts"
import { bytesOf } from "../support/ScriptedFile.ts"
import { makeIdentity, ScriptedServer } from "../support/ScriptedServer.ts"
import * as TestServer from "../support/TestServer.ts"

const MiB = 1024 * 1024
const secret = Redacted.make("correct horse")

const admin = Effect.gen(function*() {
  const { dataDir } = yield* ServerConfig
  return {
    show: ask(dataDir, "certificate show", {}),
    rotate: ask(dataDir, "certificate rotate", { reason: "requested" })
  }
})

/** A client's pins in a folder of their own, and connecting with them. */
const pinned = Effect.gen(function*() {
  const path = join(yield* TestServer.temporaryFolder, "known_hosts")
  const { port } = yield* Server
  const notices: Array<string> = []
  return {
    notices,
    read: Effect.promise(() => readFile(path, "utf8")),
    write: (text: string) => Effect.promise(() => writeFile(path, text, { mode: 0o600 })),
    join: (options: Partial<ClientOptions> = {}) =>
      connect({ host: "127.0.0.1", port, knownHosts: path, onNotice: (notice) => notices.push(notice), ...options })
  }
})

describe("trust", () => {
  layer(TestServer.layer(), { timeout: Duration.seconds(60) })((it) => {
    it.effect("is silent when the key changes to the one that was announced, also for one short connection", () =>
      Effect.gen(function*() {
        const { rotate } = yield* admin
        const { join, notices, read } = yield* pinned
        for (let round = 0; round < 3; round++) {
          yield* Effect.scoped(Effect.flatMap(join(), ({ heartbeat }) => heartbeat))
          const { live } = yield* rotate
          yield* Effect.scoped(Effect.gen(function*() {
            assert.strictEqual(yield* (yield* join()).fingerprint, live.fingerprint)
          }))
          assert.include(yield* read, live.fingerprint)
        }
        assert.lengthOf(notices, 1, notices.join("\n"))
      }))

    it.effect("is proven to a client that was away for long, by one question more, and said", () =>
      Effect.gen(function*() {
        const { rotate } = yield* admin
        const { join, notices, read } = yield* pinned
        yield* Effect.scoped(join())
        for (let round = 0; round < 5; round++) yield* rotate
        const { live } = yield* rotate
        const client = yield* join()
        assert.strictEqual(yield* client.fingerprint, live.fingerprint)
        assert.match(notices.at(-1) ?? "", /has proven that it is the same/)
        assert.include(yield* read, `${live.fingerprint} pinned_at=`)
      }))

    it.effect("leaves transfers alone that run while the key changes, and the client that runs them", () =>
      Effect.gen(function*() {
        const { rotate } = yield* admin
        const { join } = yield* pinned
        const client = yield* join()
        yield* client.register("runner", secret)
        yield* client.login("runner", secret)
        const content = bytesOf(8 * MiB)
        yield* client.write("there", content)
        // The upload changes the key three times on its way, and the download runs beside it.
        const blocks = Array.from({ length: 8 }, (_, index) => content.subarray(index * MiB, (index + 1) * MiB))
        const upload = client.write(
          "here",
          Stream.mapEffect(
            Stream.fromIterable(blocks),
            (block, index) => index % 3 === 1 ? Effect.as(Effect.orDie(rotate), block) : Effect.succeed(block)
          )
        )
        const download = Stream.runFold(
          Stream.mapEffect(client.read("there"), (chunk) => Effect.as(Effect.yieldNow, chunk)),
          () => 0,
          (sum, chunk) => sum + chunk.length
        )
        const [written, read] = yield* Effect.all([upload, download], { concurrency: 2 })
        assert.deepStrictEqual([written.size, read], [content.length, content.length])
        const lane = yield* Stream.runCollect(client.read("here"))
        assert.isTrue(Buffer.concat([...lane]).equals(content))
      }))

    it.effect("is not given to a man in the middle who passes on the server's own records (the original's flaw)", () =>
      Effect.gen(function*() {
        const { port } = yield* Server
        const { rotate, show } = yield* admin
        const { live } = yield* show
        yield* rotate
        yield* rotate
        const { join, read, write } = yield* pinned
        const sent: Array<Buffer> = []
        const certificate = yield* makeIdentity
        const middle = yield* Effect.acquireRelease(
          Effect.promise(async () => {
            const open = new Set<TLSSocket>()
            const listener = createServer(
              { ...certificate, minVersion: "TLSv1.3", ALPNProtocols: [ALPN] },
              (victim) => {
                const server = connectTls({ port, host: "127.0.0.1", rejectUnauthorized: false, ALPNProtocols: [ALPN] })
                for (const socket of [victim, server]) open.add(socket.on("error", () => {}))
                victim.on("data", (chunk: Buffer) => sent.push(chunk))
                victim.pipe(server).pipe(victim)
              }
            )
            await once(listener.listen(0, "127.0.0.1"), "listening")
            return { listener, open }
          }),
          ({ listener, open }) =>
            Effect.sync(() => {
              for (const socket of open) socket.destroy()
              listener.close()
            })
        )
        const address = middle.listener.address()
        const there = typeof address === "object" && address !== null ? address.port : 0
        const before = `127.0.0.1:${there} ${live.fingerprint}\n`
        yield* write(before)
        const error = yield* Effect.flip(join({ port: there }))
        if (error._tag !== "TrustError") return assert.fail(error.message)
        assert.strictEqual(error.presented, certificate.fingerprint)
        assert.match(error.message, /its statement is about another key/)
        assert.strictEqual(yield* read, before)
        // All that he has seen is the question for the proof.
        const question = Buffer.concat(sent).toString().replaceAll(" ", "")
        assert.isTrue(question.endsWith(`{"pinned":"${live.fingerprint}"}`))
        assert.strictEqual(question.match(/"version"/g)?.length, 1)
      }))

    it.effect("is proven four times on a connection, and not for ever to whoever asks", () =>
      Effect.gen(function*() {
        const { port } = yield* Server
        const raw = yield* Effect.promise(() => RawClient.open(port))
        const codes: Array<string> = []
        for (let id = 1; id <= 6; id++) {
          codes.push((yield* Effect.promise(() => raw.ask("Credentials", { id }))).header.code)
        }
        raw.close()
        assert.deepStrictEqual(codes, ["1:qa", "1:qa", "1:qa", "1:qa", "2:rlex", "2:rlex"])
      }))

    it.effect("is not given to one who adds a statement of his own, signed for this very connection", () =>
      Effect.gen(function*() {
        const { port } = yield* Server
        const { rotate, show } = yield* admin
        const { live } = yield* show
        yield* rotate
        yield* rotate
        // Anybody may ask the server for its records.
        const raw = yield* Effect.promise(() => RawClient.open(port))
        const { body } = yield* Effect.promise(() =>
          raw.ask("Credentials", { id: 1, body: { pinned: live.fingerprint } })
        )
        raw.close()
        const proof: ContinuityProof = {
          statement: String(body["statement"]),
          pinned_key: String(body["pinned_key"]),
          records: Array.isArray(body["records"]) ? body["records"] : []
        }
        assert.lengthOf(proof.records, 2)
        const identity = yield* makeIdentity
        const key = createPrivateKey(identity.key)
        const honest = decodeStatement(splitSigned(fromText(proof.statement) ?? assert.fail()).content) ?? assert.fail()
        const server = yield* ScriptedServer.make(identity, {
          Credentials: ({ peer }) => {
            const exporter = peer.socket.exportKeyingMaterial(EXPORTER_BYTES, EXPORTER_LABEL, Buffer.alloc(0))
            const bytes = encodeStatement({ ...honest, key: identity.fingerprint })
            const statement = toText(concat(bytes, sign(key, statementMessage(bytes, exporter))))
            return { code: "1:qa", body: { ...proof, statement } }
          }
        })
        const { join, read, write } = yield* pinned
        const before = `127.0.0.1:${server.port} ${live.fingerprint}\n`
        yield* write(before)
        const error = yield* Effect.flip(join({ port: server.port }))
        assert.strictEqual(error._tag, "TrustError")
        assert.match(error.message, /chain of keys does not lead to its key/)
        assert.strictEqual(yield* read, before)
        assert.deepStrictEqual(server.requests.map(({ name }) => name), ["Credentials"])
      }))

    it.effect("goes to a new key from the old one without a moment in which a client is refused", () =>
      Effect.gen(function*() {
        const { rotate } = yield* admin
        const { join } = yield* pinned
        yield* Effect.scoped(join())
        const visit = Effect.scoped(Effect.flatMap(join(), ({ heartbeat }) => heartbeat))
        for (let round = 0; round < 30; round++) yield* Effect.all([visit, rotate], { concurrency: 2 })
      }))
  })
})
