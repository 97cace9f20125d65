/** One connection over real TLS, with requests that only count: what a peer that does not read costs. */
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { once } from "node:events"
import { createServer, type TLSSocket } from "node:tls"
import { Connection } from "../../src/server/Connection.ts"
import type { Exchange } from "../../src/server/Exchange.ts"
import { RawClient, requestBytes } from "../support/RawClient.ts"
import { makeIdentity } from "../support/ScriptedServer.ts"

const REPLY_BYTES = 60_000
const SENT = 2000
/** What the kernel's buffers hold on both sides of a loopback connection, and more. */
const KERNEL_BYTES = 16 * 1024 * 1024

/** A server whose every request is answered at once, at length. */
const listen = async (userId: number | undefined) => {
  const { cert, key } = await Effect.runPromise(makeIdentity)
  const seen = { requests: 0 }
  const exchange = (): Exchange => ({
    name: "Heartbeat",
    userId,
    asked: () => ({ caller: undefined, identity: undefined, body: {} }),
    prove: () => undefined,
    run: () => {
      seen.requests++
      return Effect.succeed({ code: "1:hb", result: { server_version: "v".repeat(REPLY_BYTES) } })
    }
  })
  const server = createServer({ key, cert, ALPNProtocols: ["fip/1"] }, (socket: TLSSocket) => {
    const peer = { address: "", session: () => undefined }
    void new Connection(socket, {
      peer,
      open: exchange,
      run: Effect.runFork,
      now: Date.now,
      id: "",
      onFault: () => {},
      onAnswered: () => {},
      onRefused: () => {},
      trace: undefined,
      idleMillis: 60_000,
      messageMillis: 60_000,
      guest: {
        loginMillis: 60_000,
        messageMillis: 60_000,
        requests: 10 * SENT,
        load: { running: 0, unread: () => 0 },
        onLogin: () => {},
        onOffence: () => {}
      },
      spend: () => 0
    })
  })
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  const address = server.address()
  return { server, seen, port: typeof address === "object" && address !== null ? address.port : 0 }
}

for (const [who, userId, unread] of [["user", 1, 1024 * 1024], ["guest", undefined, 16 * 1024]] as const) {
  it.live(`a ${who} that does not read its replies is not read any more, and gets all of them later`, () =>
    Effect.promise(async () => {
      const { port, seen, server } = await listen(userId)
      const deaf = await RawClient.open(port)
      deaf.socket.pause()
      deaf.write(Buffer.concat(Array.from({ length: SENT }, (_, id) => requestBytes("Heartbeat", { id }))))
      // Whatever the server does of it by itself, it has done when others were answered so often.
      const other = await RawClient.open(port)
      for (let i = 0; i < 300; i++) await other.ask("Heartbeat", { id: i })
      const done = seen.requests - 300
      // One piece that was read may hold 255 requests.
      assert.isBelow(done, (KERNEL_BYTES + unread) / REPLY_BYTES + 300)
      deaf.socket.resume()
      for (let i = 0; i < SENT; i++) assert.strictEqual((await deaf.next())?.header.code, "1:hb")
      assert.strictEqual(seen.requests - 300, SENT)
      for (const client of [deaf, other]) client.close()
      server.close()
      await Promise.all([deaf.closed, other.closed])
    }))
}
