/**
 * A process of its own that attacks a server on loopback from many addresses: `node attacker.ts <kind> <port>`. Prints
 * `ready` when it is at full strength, and its figures when it is told to stop.
 */
import { connect as connectTcp, type Socket } from "node:net"
import { setTimeout } from "node:timers/promises"
import { connect as connectTls, type TLSSocket } from "node:tls"
import { requestBytes } from "../../test/support/RawClient.ts"

const [, , kind = "", portText = ""] = process.argv
const port = Number(portText)
const host = "127.0.0.1"
const ADDRESSES = 20
let turns = 0
const figures = { connections: 0, refused: 0 }

const from = () => ({ port, host, localAddress: `127.0.21.${(turns++ % ADDRESSES) + 1}` })

/** A connection that is made; `undefined` when it is turned away. */
const opened = <S extends Socket>(socket: S, event: string): Promise<S | undefined> =>
  new Promise((resolve) => {
    socket.once(event, () => {
      figures.connections++
      resolve(socket)
    })
    socket.on("error", () => {})
    socket.once("close", () => {
      figures.refused++
      resolve(undefined)
    })
  })

const tls = (): Promise<TLSSocket | undefined> =>
  opened(connectTls({ ...from(), rejectUnauthorized: false, ALPNProtocols: ["fip/1"] }), "secureConnect")

const tcp = (): Promise<Socket | undefined> => opened(connectTcp(from()), "connect")

const gone = (socket: Socket): Promise<void> =>
  new Promise((resolve) => socket.destroyed ? resolve() : socket.once("close", () => resolve()))

/** Keeps `count` of them going; what is turned away tries again a little later. */
const keep = (count: number, one: () => Promise<void>): void => {
  for (let index = 0; index < count; index++) {
    void (async () => {
      for (;;) {
        await one()
        await setTimeout(20)
      }
    })()
  }
}

const header = requestBytes("Heartbeat", { id: 1 })
const many = Buffer.concat(Array.from({ length: 200 }, (_, id) => requestBytes("Heartbeat", { id })))

const attacks: Readonly<Record<string, () => void>> = {
  "slow headers": () =>
    keep(1500, async () => {
      const socket = await tls()
      if (socket === undefined) return
      for (let at = 0; !socket.destroyed; at++) {
        socket.write(header.subarray(at % 256, (at % 256) + 1))
        await setTimeout(1000)
      }
    }),
  "half-open handshakes": () =>
    keep(1500, async () => {
      const socket = await tcp()
      socket?.write(Uint8Array.of(0x16, 0x03, 0x01))
      if (socket !== undefined) await gone(socket)
    }),
  "connections as fast as possible": () =>
    keep(64, async () => {
      ;(await tls())?.destroy()
    }),
  "replies unread": () =>
    keep(300, async () => {
      const socket = await tls()
      if (socket === undefined) return
      socket.pause()
      socket.write(many)
      // A paused socket learns that it was cut off when it writes.
      while (!socket.destroyed) {
        await setTimeout(1000)
        socket.write(header)
      }
    }),
  "wrong passwords": () =>
    keep(100, async () => {
      const socket = await tls()
      if (socket === undefined) return
      socket.resume()
      for (let id = 1; !socket.destroyed && id < 500; id++) {
        const auth = { identity: "bench", password: "not the password" }
        socket.write(requestBytes("Login", { id, auth, body: { device: `stranger-${turns++}` } }))
        await setTimeout(100)
      }
      socket.destroy()
    })
}

attacks[kind]?.()
setTimeout(4000).then(() => process.stdout.write("ready\n"), () => {})
process.on("SIGTERM", () => {
  process.stdout.write(`${JSON.stringify(figures)}\n`, () => process.exit(0))
})
