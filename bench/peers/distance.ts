/**
 * A long way between two programs of this machine: a proxy in a process of its own that holds every byte back for half
 * a round trip, either way, and lets through no more than so many bytes a second where that is asked for.
 *
 * `node distance.ts <port> <round trip in ms> [bytes per second]` listens, and prints its port. Nothing is lost, and no
 * window is modelled: only what the programs themselves allow to be on its way binds them. The first bytes of a
 * connection wait for one round trip more, which its TCP handshake would have taken.
 */
import { spawn } from "node:child_process"
import { connect, createServer, type Socket } from "node:net"
import { fileURLToPath } from "node:url"

/** A sender is not read while so much of it waits for a narrow line. */
const QUEUED_BYTES = 1024 * 1024

const forward = (from: Socket, to: Socket, oneWay: number, bytesPerSecond: number, begin: number): void => {
  const queue: Array<{ readonly due: number; readonly chunk: Buffer | undefined }> = []
  let free = begin
  let first = 0
  let timer: NodeJS.Timeout | undefined
  /** What waits for its turn on the line, and not for the way. */
  const backlog = (now: number) => Math.max(0, free - now) * bytesPerSecond / 1000
  const deliver = () => {
    timer = undefined
    const now = performance.now()
    to.cork()
    for (let next = queue[first]; next !== undefined && next.due <= now; next = queue[++first]) {
      if (next.chunk === undefined) to.end()
      else to.write(next.chunk)
    }
    process.nextTick(() => to.uncork())
    if (first > 256 || first === queue.length) {
      queue.splice(0, first)
      first = 0
    }
    if (from.isPaused() && backlog(now) < QUEUED_BYTES / 2) from.resume()
    plan(now)
  }
  const plan = (now: number) => {
    const next = queue[first]
    if (next === undefined || timer !== undefined) return
    timer = setTimeout(deliver, Math.max(0, next.due - now))
  }
  const add = (chunk: Buffer | undefined) => {
    const now = performance.now()
    free = Math.max(free, now) + (chunk?.length ?? 0) * 1000 / bytesPerSecond
    queue.push({ due: free + oneWay, chunk })
    if (bytesPerSecond !== Number.POSITIVE_INFINITY && backlog(now) > QUEUED_BYTES) from.pause()
    plan(now)
  }
  from.on("data", add)
  from.on("end", () => add(undefined))
  from.on("error", () => to.destroy())
  from.on("close", () => from.readableEnded ? undefined : to.destroy())
}

const self = fileURLToPath(import.meta.url)
if (process.argv[1] === self) {
  const [target, roundTrip = 0, limit = Number.POSITIVE_INFINITY] = process.argv.slice(2).map(Number)
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (near) => {
    const far = connect({ port: target ?? 0, host: "127.0.0.1", allowHalfOpen: true, noDelay: true })
    const now = performance.now()
    forward(near, far, roundTrip / 2, limit, now + roundTrip)
    forward(far, near, roundTrip / 2, limit, now + roundTrip)
  })
  server.listen(0, "127.0.0.1", () => {
    const address = server.address()
    if (address !== null && typeof address === "object") process.stdout.write(`${address.port}\n`)
  })
}

export interface Distance {
  readonly port: number
  readonly stop: () => void
}

/** Puts a way of this round trip, and this many MiB a second, before a port. */
export const startDistance = (target: number, roundTripMillis: number, mibPerSecond?: number): Promise<Distance> =>
  new Promise((resolve, reject) => {
    const limit = mibPerSecond === undefined ? [] : [String(mibPerSecond * 1024 * 1024)]
    const child = spawn(process.execPath, [self, String(target), String(roundTripMillis), ...limit], {
      stdio: ["ignore", "pipe", "inherit"]
    })
    child.on("error", reject)
    child.on("exit", (code) => reject(new Error(`the proxy ended with ${code}`)))
    child.stdout.once("data", (port) => resolve({ port: Number(String(port)), stop: () => void child.kill() }))
  })
