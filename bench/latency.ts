/**
 * 200 connections that mix reads and durable writes of 4 KiB, four of five reads: first as fast as they are answered,
 * each asking one thing at a time; then at half of that rate, at fixed moments whether answers have come or not, so that
 * whoever has to wait for a slow answer counts as late, too. Latencies are those of all rounds together.
 *
 * The load is made in this process, on the same cores. It keeps nothing of the answers and reads them all into one buffer:
 * what it throws away would have to be collected at the server's expense.
 */
import { setTimeout } from "node:timers/promises"
import { connect, type TLSSocket } from "node:tls"
import { Parser } from "../src/protocol/Frame.ts"
import { parseReplyHeader, type ReplyHeader } from "../src/protocol/Header.ts"
import { refuse } from "../src/protocol/Refusal.ts"
import { RawClient, requestBytes } from "../test/support/RawClient.ts"
import { startFip } from "./FipProcess.ts"
import { median } from "./Timing.ts"

const CONNECTIONS = 200
const FILES = 1000
const SECONDS = 8
const TICK_MILLIS = 2
const data = Buffer.alloc(4096, "x")
const arrived = Buffer.alloc(64 * 1024)
/** What the parser skips an answer with. */
const unread = refuse("2:nf", "nobody reads it")

const isWrite = (id: number): boolean => id % 5 === 0

interface Asker {
  readonly socket: TLSSocket
  /** When the request of this id was due. */
  readonly due: Map<number, number>
  onAnswer: (millis: number, id: number) => void
}

const open = (port: number): Promise<Asker> =>
  new Promise((resolve, reject) => {
    const answered = ({ code, id }: ReplyHeader): void => {
      if (!code.startsWith("1:")) throw new Error(`refused: ${code}`)
      const at = asker.due.get(id) ?? 0
      asker.due.delete(id)
      asker.onAnswer(performance.now() - at, id)
    }
    const parser = new Parser<ReplyHeader>({
      parseHeader: parseReplyHeader,
      onHeader: () => unread,
      onMessage: ({ header }) => answered(header),
      onSkipped: answered,
      onFault: () => reject(new Error("the server sent something that is no header"))
    })
    // In a variable, because the types of TLS connections lack `onread`, which they hand on to their sockets.
    const options = {
      port,
      host: "127.0.0.1",
      rejectUnauthorized: false,
      ALPNProtocols: ["fip/1"],
      onread: {
        buffer: arrived,
        callback: (length: number) => {
          parser.push(arrived.subarray(0, length))
          return true
        }
      }
    }
    const socket = connect(options, () => resolve(asker))
    const asker: Asker = { socket, due: new Map(), onAnswer: () => undefined }
    socket.on("error", reject)
  })

/** A row of the table. */
const line = (name: string, count: number, millis: ReadonlyArray<number>): string => {
  const sorted = millis.toSorted((a, b) => a - b)
  const quantile = (q: number) => `${(sorted[Math.floor((sorted.length - 1) * q)] ?? 0).toFixed(1)} ms`
  return `| ${name} | ${count.toFixed(0)} | ${[0.5, 0.99, 0.999, 1].map(quantile).join(" | ")} |`
}

export const latency = async (folder: string, rounds: number): Promise<string> => {
  const fip = await startFip(folder, ["--workers", "1"])
  const askers: Array<Asker> = []
  try {
    const first = await RawClient.open(fip.port)
    const token = await first.login("latency", "bench-password")
    for (let file = 0; file < FILES; file++) {
      first.send("Write", { id: file + 1, auth: { token }, body: { name: `f${file}` }, data })
    }
    for (let file = 0; file < FILES; file++) await first.next()
    first.close()
    for (let count = 0; count < CONNECTIONS; count++) {
      askers.push(await open(fip.port))
    }

    let asked = 0
    const ask = ({ due, socket }: Asker, at: number) => {
      const id = ++asked
      due.set(id, at)
      const body = { name: `f${(id * 7919) % FILES}` }
      socket.write(
        isWrite(id)
          ? requestBytes("Write", { id, auth: { token }, body, data })
          : requestBytes("Read", { id, auth: { token }, body })
      )
    }
    const allAnswered = async () => {
      while (askers.some(({ due }) => due.size > 0)) await setTimeout(TICK_MILLIS)
    }

    /** How many are answered in a second, when each connection has one on its way all the time. */
    const peak = async (seconds: number): Promise<number> => {
      const begin = performance.now()
      const ends = begin + seconds * 1000
      let answered = 0
      for (const asker of askers) {
        asker.onAnswer = () => {
          answered += 1
          if (performance.now() < ends) ask(asker, performance.now())
        }
        ask(asker, begin)
      }
      await setTimeout(seconds * 1000)
      await allAnswered()
      return answered / (performance.now() - begin) * 1000
    }

    const reads: Array<number> = []
    const writes: Array<number> = []
    const atRate = async (rate: number): Promise<void> => {
      const begin = performance.now()
      const ends = begin + SECONDS * 1000
      for (const asker of askers) asker.onAnswer = (millis, id) => void (isWrite(id) ? writes : reads).push(millis)
      let sent = 0
      while (performance.now() < ends) {
        await setTimeout(TICK_MILLIS)
        for (const now = performance.now(); sent < (now - begin) * rate / 1000; sent++) {
          const asker = askers[sent % CONNECTIONS]
          if (asker !== undefined) ask(asker, begin + sent * 1000 / rate)
        }
      }
      await allAnswered()
    }

    await peak(2)
    const peaks: Array<number> = []
    for (let round = 0; round < rounds; round++) {
      const most = await peak(SECONDS)
      peaks.push(most)
      await atRate(most / 2)
    }
    const most = median(peaks)
    const rate = most / 2
    return [
      `### ${CONNECTIONS} connections, four reads of 4 KiB to one durable write of as much`,
      [
        "| | requests a second | median | p99 | p99.9 | slowest |",
        "| --- | --- | --- | --- | --- | --- |",
        `| one on its way on each | ${most.toFixed(0)} | | | | |`,
        line("at half of that, at fixed moments", rate, [...reads, ...writes]),
        line("of them reads", rate * 4 / 5, reads),
        line("of them durable writes", rate / 5, writes)
      ].join("\n")
    ].join("\n\n")
  } finally {
    for (const { socket } of askers) socket.destroy()
    await fip.stop()
  }
}
