/** A way to a server that stays when the server moves to another port, and counts the bytes that pass. */
import { connect, createServer, type Server, type Socket } from "node:net"

/** One connection that passes, or has passed. */
export interface Line {
  up: number
  down: number
  readonly cut: () => void
}

export class CountingProxy {
  /** In the order in which they were made. */
  readonly lines: Array<Line> = []
  /** From clients to the server, and back. */
  up = 0
  down = 0
  /** Where the server listens just now. */
  target = 0
  /** Called when bytes have passed. */
  onPassed: () => void = () => {}
  readonly port: number
  private readonly listener: Server
  private readonly sockets = new Set<Socket>()

  private constructor(listener: Server, port: number) {
    this.listener = listener
    this.port = port
    listener.on("connection", (client) => this.pass(client))
  }

  static readonly start = (): Promise<CountingProxy> =>
    new Promise((resolve) => {
      const listener = createServer()
      listener.listen(0, "127.0.0.1", () => {
        const address = listener.address()
        resolve(new CountingProxy(listener, typeof address === "object" && address !== null ? address.port : 0))
      })
    })

  private pass(client: Socket): void {
    const server = connect(this.target, "127.0.0.1")
    const ends = [client, server] as const
    const line: Line = { up: 0, down: 0, cut: () => ends.forEach((socket) => socket.destroy()) }
    this.lines.push(line)
    for (const [index, socket] of ends.entries()) {
      const other = ends[1 - index] ?? client
      this.sockets.add(socket)
      socket.on("data", (chunk) => {
        const way = socket === client ? "up" : "down"
        this[way] += chunk.length
        line[way] += chunk.length
        this.onPassed()
      })
      socket.pipe(other)
      // What has been taken is still handed on, as the network does.
      socket.on("error", () => other.end())
      socket.on("close", () => {
        this.sockets.delete(socket)
        other.end()
      })
    }
  }

  /** Resolves when the condition holds. */
  when(condition: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      this.onPassed = () => {
        if (!condition()) return
        this.onPassed = () => {}
        resolve()
      }
    })
  }

  stop(): Promise<unknown> {
    for (const socket of this.sockets) socket.destroy()
    return new Promise((resolve) => this.listener.close(resolve))
  }
}
