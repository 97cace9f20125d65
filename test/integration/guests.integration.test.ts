/**
 * What a peer that has not logged in can do to a real server: little. And what many connections of one user, or one
 * address, can take from the others.
 */
import { assert, it } from "@effect/vitest"
import { Duration, Effect } from "effect"
import { once } from "node:events"
import { mkdir } from "node:fs/promises"
import { connect, type Socket } from "node:net"
import { join } from "node:path"
import { setTimeout } from "node:timers/promises"
import { Server } from "../../src/server/Server.ts"
import { serve } from "../support/Program.ts"
import { RawClient, requestBytes } from "../support/RawClient.ts"
import { TestDatabase } from "../support/TestDatabase.ts"
import * as TestServer from "../support/TestServer.ts"

const PASSWORD = "correct horse"

/** Runs `use` with the port of the server in the context. */
const withPort = (use: (port: number) => Promise<void>) =>
  Effect.gen(function*() {
    const { port } = yield* Server
    yield* Effect.promise(() => use(port))
  })

const localAddress = (n: number): { readonly localAddress: string } => ({ localAddress: `127.0.9.${n}` })

/** A TCP connection that says nothing; resolves when it is there. */
const silent = (port: number, from: number): Promise<Socket> =>
  new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1", ...localAddress(from) }, () => resolve(socket))
    socket.on("error", reject)
  })

/** Resolves when the server has closed the connection, however. */
const closed = (socket: Socket): Promise<unknown> => {
  socket.resume()
  socket.removeAllListeners("error")
  socket.on("error", () => {})
  return socket.closed ? Promise.resolve() : once(socket, "close")
}

const heartbeat = async (client: RawClient): Promise<void> => {
  assert.strictEqual((await client.ask("Heartbeat", { id: 1 })).header.code, "1:hb")
}

const short = {
  loginTimeout: Duration.seconds(5),
  guestTimeout: Duration.seconds(1),
  handshakeTimeout: Duration.seconds(1),
  guestRequests: 20,
  guestsPerAddress: 5,
  connectionsPerAddress: 8
}

it.layer(TestServer.layer(short), { excludeTestServices: true })("a guest", (it) => {
  it.effect("is closed when nobody logs in on its connection in time, and a user is not", () =>
    withPort(async (port) => {
      const user = await RawClient.open(port, localAddress(1))
      await user.login("guest_timed", PASSWORD)
      const guest = await RawClient.open(port, localAddress(1))
      await heartbeat(guest)
      const last = await guest.next()
      assert.strictEqual(last?.header.code, "2:unsp")
      assert.include(String(last?.body["message"]), "nobody has logged in")
      await guest.closed
      await heartbeat(user)
      user.close()
    }))

  it.effect("may not ask for more than so much, and then is told so and closed", () =>
    withPort(async (port) => {
      const guest = await RawClient.open(port, localAddress(2))
      for (let i = 0; i < short.guestRequests; i++) await heartbeat(guest)
      guest.send("Heartbeat", { id: 9 })
      const last = await guest.next()
      assert.strictEqual(last?.header.code, "2:rlex")
      assert.isTrue(last?.header.ended_connection)
      await guest.closed
    }))

  it.effect("may have so many logins under way, however many it sends at once", () =>
    withPort(async (port) => {
      const guest = await RawClient.open(port, localAddress(9))
      const auth = { refresh_digest: "A".repeat(43), device: "guest-device" }
      const ids = Array.from({ length: 19 }, (_, id) => id)
      guest.write(Buffer.concat(ids.map((id) => requestBytes("Refresh", { id, auth }))))
      const codes: Array<string | undefined> = []
      for (const _ of ids) codes.push((await guest.next())?.header.code)
      assert.deepStrictEqual(codes.toSorted(), [...ids.slice(3).map(() => "2:auth"), "2:rlex", "2:rlex", "2:rlex"])
      guest.close()
    }))

  it.effect("has less time for a message than a user", () =>
    withPort(async (port) => {
      const user = await RawClient.open(port, localAddress(3))
      const token = await user.login("guest_slow", PASSWORD)
      const slowly = requestBytes("QueryStorage", { id: 5, auth: { token } })
      user.write(slowly.subarray(0, 300))
      const guest = await RawClient.open(port, localAddress(3))
      guest.write(requestBytes("Heartbeat", { id: 4 }).subarray(0, 100))
      assert.strictEqual((await guest.next())?.header.code, "2:unsp")
      await guest.closed
      user.write(slowly.subarray(300))
      assert.strictEqual((await user.next())?.header.code, "1:qa")
      user.close()
    }))

  it.effect("that says nothing in its handshake is closed", () =>
    withPort(async (port) => {
      await closed(await silent(port, 4))
    }))

  it.effect("shares its address's few places with the others there, and a user does not need one", () =>
    withPort(async (port) => {
      const user = await RawClient.open(port, localAddress(5))
      await user.login("guest_place", PASSWORD)
      const guests = await Promise.all(Array.from({ length: short.guestsPerAddress }, () => silent(port, 5)))
      await closed(await silent(port, 5))
      await heartbeat(user)
      const elsewhere = await RawClient.open(port, localAddress(6))
      await heartbeat(elsewhere)
      for (const one of [user, elsewhere]) one.close()
      await Promise.all(guests.map(closed))
    }))

  it.effect("leaves its place when it goes, so that an address is never locked out for good", () =>
    withPort(async (port) => {
      for (let i = 0; i < 30; i++) {
        const client = await RawClient.open(port, localAddress(7))
        if (i % 3 === 0) client.write(Buffer.alloc(256, "x"))
        else await heartbeat(client)
        client.socket.end()
        await client.closed
      }
    }))

  it.effect("is one connection of its address, logged in or not", () =>
    withPort(async (port) => {
      const users: Array<RawClient> = []
      let token = ""
      for (let i = 0; i < short.connectionsPerAddress; i++) {
        const client = await RawClient.open(port, localAddress(8))
        if (i === 0) token = await client.login("guest_many", PASSWORD)
        assert.strictEqual((await client.ask("QueryStorage", { id: 1, auth: { token } })).header.code, "1:qa")
        users.push(client)
      }
      await closed(await silent(port, 8))
      for (const user of users) user.close()
      await Promise.all(users.map((user) => user.closed))
    }))
})

/** Logs in; once in a hundred times chance pushes out who has just come, and whoever is serious comes again. */
const comeIn = async (port: number, name: string, tries = 4): Promise<string> => {
  try {
    const client = await RawClient.open(port, localAddress(2))
    const token = await client.login(name, PASSWORD)
    client.close()
    return token
  } catch (error) {
    if (tries === 1) throw error
    return comeIn(port, name, tries - 1)
  }
}

const few = { maxGuests: 12, guestsPerAddress: 100, handshakeTimeout: Duration.seconds(30) }

it.layer(TestServer.layer(few), { excludeTestServices: true })("a server full of guests", (it) => {
  it.effect("pushes them out for those who come to log in", () =>
    withPort(async (port) => {
      const halfOpen = await Promise.all(Array.from({ length: 40 }, () => silent(port, 1)))
      const gone = halfOpen.map(closed)
      for (let i = 0; i < 3; i++) {
        const token = await comeIn(port, `crowded_${i}`)
        assert.isAbove(token.length, 20)
      }
      for (const socket of halfOpen) socket.destroy()
      await Promise.all(gone)
    }))

  it.effect("says so to guests that are pushed out after their handshake", () =>
    withPort(async (port) => {
      // Some are pushed out before they are through, by the others.
      const opened = await Promise.allSettled(
        Array.from({ length: 12 }, async () => {
          const client = await RawClient.open(port, localAddress(3))
          await heartbeat(client)
          return client
        })
      )
      const guests = opened.flatMap((one) => one.status === "fulfilled" ? [one.value] : [])
      assert.isAtLeast(guests.length, 2)
      const more = await Promise.all(Array.from({ length: 24 }, (_, i) => silent(port, 10 + i)))
      const told = await Promise.any(guests.map(async (guest) => await guest.next() ?? Promise.reject(guest)))
      assert.strictEqual(told.header.code, "2:rlex")
      assert.strictEqual(told.body["retry_after_ms"], 1000)
      for (const guest of guests) guest.close()
      for (const socket of more) socket.destroy()
    }))
})

const MiB = 1024 * 1024
const slow = { requestRate: 4, byteRate: MiB / 4 }

it.layer(TestServer.layer(slow), { excludeTestServices: true })("a user who is faster than the server allows", (it) => {
  it.effect("is read more slowly and refused nothing, and others go on", () =>
    withPort(async (port) => {
      const [fast, other] = [await RawClient.open(port), await RawClient.open(port)]
      const token = await fast.login("too_fast", PASSWORD)
      const others = await other.login("at_leisure", PASSWORD)
      const ask = 130
      const started = performance.now()
      for (let id = 1; id <= ask; id++) fast.send("QueryStorage", { id, auth: { token } })
      await other.ask("QueryStorage", { id: 1, auth: { token: others } })
      const otherMillis = performance.now() - started
      for (let i = 0; i < ask; i++) assert.strictEqual((await fast.next())?.header.code, "1:qa")
      // 120 go at once; what is beyond is paid for by waiting before the next.
      assert.strictEqual((await fast.ask("QueryStorage", { id: 1, auth: { token } })).header.code, "1:qa")
      const millis = performance.now() - started
      assert.isAbove(millis, 2000)
      assert.isBelow(otherMillis, millis / 2)
      for (const client of [fast, other]) client.close()
    }))

  it.effect("waits within a download, too", () =>
    withPort(async (port) => {
      const client = await RawClient.open(port)
      const token = await client.login("downloader", PASSWORD)
      const data = Buffer.alloc(MiB, "d")
      for (let i = 0; i < 4; i++) await client.ask("Write", { id: 1, auth: { token }, body: { name: `f${i}` }, data })
      const started = performance.now()
      // 7.5 MiB may go at once: four were written, four are read, and then one more.
      for (let i = 0; i < 5; i++) {
        client.send("Read", { id: 7, auth: { token }, body: { name: `f${i % 4}` } })
        let reply = await client.next()
        while (reply?.header.more === true) reply = await client.next()
        assert.strictEqual(reply?.header.code, "1:read")
      }
      assert.isAbove(performance.now() - started, 1500)
      client.close()
    }))

  it.effect("waits for what the server reads to hash it, too", () =>
    withPort(async (port) => {
      const client = await RawClient.open(port)
      const auth = { token: await client.login("checker", PASSWORD) }
      const data = Buffer.alloc(MiB, "c")
      for (const name of ["Write", "Append", "Append", "Append"] as const) {
        await client.ask(name, { id: 1, auth, body: { name: "long" }, data })
      }
      const started = performance.now()
      client.send("Read", { id: 2, auth, body: { name: "long", content: false } })
      let reply = await client.next()
      while (reply?.header.more === true) reply = await client.next()
      assert.strictEqual(reply?.header.code, "1:read")
      assert.isAbove(performance.now() - started, 1500)
      client.close()
    }))
})

it.live("nobody is late for a time in which the server itself stood still", () =>
  Effect.gen(function*() {
    const folder = yield* TestServer.temporaryFolder
    yield* Effect.promise(async () => {
      const dataDir = join(folder, "data")
      await mkdir(dataDir)
      await TestDatabase.seedDataDir(dataDir)
      const server = await serve(["0", "--data-dir", dataDir], { env: { FIP_GUEST_TIMEOUT: "1500 millis" } })
      const client = await RawClient.open(server.port)
      const request = requestBytes("Heartbeat", { id: 5 })
      await heartbeat(client)
      client.write(Buffer.concat([request, request.subarray(0, 100)]))
      assert.strictEqual((await client.next())?.header.code, "1:hb")
      server.child.kill("SIGSTOP")
      await setTimeout(3500)
      client.write(request.subarray(100))
      server.child.kill("SIGCONT")
      assert.strictEqual((await client.next())?.header.code, "1:hb")
      client.close()
      await server.stop()
    })
  }), 60_000)
