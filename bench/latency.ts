/**
 * 200 connections that mix reads and durable writes of 4 KiB, four of five reads: first as fast as they are answered,
 * each asking one thing at a time; then at half of that rate, at fixed moments whether answers have come or not, so that
 * whoever has to wait for a slow answer counts as late, too.
 */
import { setTimeout } from "node:timers/promises"
import { RawClient, requestBytes } from "../test/support/RawClient.ts"
import { startFip } from "./FipProcess.ts"

const CONNECTIONS = 200
const FILES = 1000
const SECONDS = 8
const TICK_MILLIS = 2
const data = Buffer.alloc(4096, "x")

const isWrite = (id: number): boolean => id % 5 === 0

interface Asker {
  readonly client: RawClient
  /** When the request of this id was due. */
  readonly due: Map<number, number>
}

/** A row of the table. */
const line = (name: string, count: number, millis: ReadonlyArray<number>): string => {
  const sorted = millis.toSorted((a, b) => a - b)
  const quantile = (q: number) => `${(sorted[Math.floor((sorted.length - 1) * q)] ?? 0).toFixed(1)} ms`
  return `| ${name} | ${count.toFixed(0)} | ${[0.5, 0.99, 0.999, 1].map(quantile).join(" | ")} |`
}

export const latency = async (folder: string): Promise<string> => {
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
      askers.push({ client: await RawClient.open(fip.port), due: new Map() })
    }

    let asked = 0
    let ends = 0
    const ask = ({ client, due }: Asker, at: number) => {
      const id = ++asked
      due.set(id, at)
      const body = { name: `f${(id * 7919) % FILES}` }
      client.write(
        isWrite(id)
          ? requestBytes("Write", { id, auth: { token }, body, data })
          : requestBytes("Read", { id, auth: { token }, body })
      )
    }
    /** Takes answers until all are here and there will be none. */
    const listen = async (asker: Asker, onAnswer: (millis: number, id: number) => void) => {
      while (performance.now() < ends || asker.due.size > 0) {
        if (asker.due.size === 0) {
          await setTimeout(TICK_MILLIS)
          continue
        }
        const reply = await asker.client.next()
        if (reply?.header.code.startsWith("1:") !== true) throw new Error(`refused: ${JSON.stringify(reply?.body)}`)
        const at = asker.due.get(reply.header.id) ?? 0
        asker.due.delete(reply.header.id)
        onAnswer(performance.now() - at, reply.header.id)
      }
    }

    /** How many are answered in a second, when each connection has one on its way all the time. */
    const peak = async (seconds: number): Promise<number> => {
      const begin = performance.now()
      let answered = 0
      ends = begin + seconds * 1000
      await Promise.all(askers.map((asker) => {
        ask(asker, begin)
        return listen(asker, () => {
          answered += 1
          if (performance.now() < ends) ask(asker, performance.now())
        })
      }))
      return answered / (performance.now() - begin) * 1000
    }

    await peak(2)
    const most = await peak(SECONDS)
    const rate = most / 2
    const reads: Array<number> = []
    const writes: Array<number> = []
    const begin = performance.now()
    ends = begin + SECONDS * 1000
    const listening = askers.map((asker) => listen(asker, (each, id) => void (isWrite(id) ? writes : reads).push(each)))
    let sent = 0
    while (performance.now() < ends) {
      await setTimeout(TICK_MILLIS)
      for (const now = performance.now(); sent < (now - begin) * rate / 1000; sent++) {
        const asker = askers[sent % CONNECTIONS]
        if (asker !== undefined) ask(asker, begin + sent * 1000 / rate)
      }
    }
    await Promise.all(listening)
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
    for (const { client } of askers) client.close()
    await fip.stop()
  }
}
