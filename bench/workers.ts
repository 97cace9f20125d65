/**
 * Small requests on many connections, with one worker and with two: what they cost in which process, and what follows for
 * more cores than this machine has.
 *
 * What a worker does for a request is done in as many processes as there are. What bounds all of them together is the
 * busiest thread of those that there is one of: the parent's, and the embedded database's.
 */
import { Effect } from "effect"
import { execFile } from "node:child_process"
import { join } from "node:path"
import { promisify } from "node:util"
import { RawClient, requestBytes } from "../test/support/RawClient.ts"
import * as TestPostgres from "../test/support/TestPostgres.ts"
import { cpuOfPostgres, threadsOf } from "./cpu.ts"
import { startFip } from "./FipProcess.ts"
import { pump } from "./requests.ts"

const CLIENTS = 8
const REQUESTS = 10_000
/** Until every worker trusts what it remembers. */
const WARM_UP_MILLIS = 4000

const childrenOf = async (pid: number): Promise<ReadonlyArray<number>> => {
  const { stdout } = await promisify(execFile)("ps", ["-A", "-o", "pid=,ppid="])
  return stdout.split("\n").flatMap((line) => {
    const [child, parent] = line.trim().split(/\s+/).map(Number)
    return parent === pid && child !== undefined ? [child] : []
  })
}

const sum = (seconds: ReadonlyMap<string, number>): number =>
  [...seconds.values()].reduce((total, one) => total + one, 0)

/** Seconds of CPU: of the main thread of the server, of its database's, and of everything that there is several of. */
const usage = (server: number, workers: ReadonlyArray<number>, postgres: string | undefined) => {
  const own = threadsOf(server)
  const main = own.get("MainThread") ?? 0
  const thread = own.get("database") ?? 0
  const others = workers.reduce((total, pid) => total + sum(threadsOf(pid)), 0)
  const database = postgres === undefined ? thread : cpuOfPostgres(postgres)
  return { main, database, pool: sum(own) - main - thread, others }
}

type Usage = ReturnType<typeof usage>

const requestsOf = (token: string): Readonly<Record<string, (id: number, run: string) => Buffer>> => {
  const data = Buffer.alloc(4096, "x")
  return {
    "READ of 4 KiB": (id) => requestBytes("Read", { id, auth: { token }, body: { name: "read" } }),
    "WRITE of 4 KiB, durable, a new file each": (id, run) =>
      requestBytes("Write", { id, auth: { token }, body: { name: `${run}-${id}` }, data })
  }
}

/** With one worker and with two, each on a PostgreSQL of its own or on the embedded database. */
const measure = async (
  folder: string,
  databases: ReadonlyArray<string> | undefined
): Promise<ReadonlyArray<string>> => {
  const lines: Array<string> = []
  for (const count of [1, 2]) {
    const postgres = databases?.[count - 1]
    const database = postgres === undefined ? [] : ["--database-url", postgres]
    const fip = await startFip(join(folder, String(count)), ["--workers", String(count), ...database])
    const clients: Array<RawClient> = []
    try {
      for (let index = 0; index < CLIENTS; index++) clients.push(await RawClient.open(fip.port))
      const [first] = clients
      const token = await first?.login("requests", "bench-password") ?? ""
      const data = Buffer.alloc(4096, "x")
      await first?.ask("Write", { id: 1, auth: { token }, body: { name: "read" }, data })
      const pids = await childrenOf(fip.pid)
      for (const [name, request] of Object.entries(requestsOf(token))) {
        const all = (each: number, run: string) =>
          Promise.all(clients.map((client, index) => pump(client, each, (id) => request(id, `${run}-${index}`))))
        const start = performance.now()
        for (let round = 0; performance.now() - start < WARM_UP_MILLIS; round++) await all(50, `warm-up-${round}`)
        const before = usage(fip.pid, pids, postgres)
        const begun = performance.now()
        await all(REQUESTS / CLIENTS, "measured")
        const seconds = (performance.now() - begun) / 1000
        const after = usage(fip.pid, pids, postgres)
        const micros = (part: keyof Usage): number => (after[part] - before[part]) / REQUESTS * 1e6
        const [main, database, pool, others] = [micros("main"), micros("database"), micros("pool"), micros("others")]
        // With one worker there is one process, and all of it but the database could be several.
        const single = count === 1 ? main + pool : pool + others
        // A PostgreSQL has a process for each connection.
        const shared = Math.max(count === 1 ? 0 : main, postgres === undefined ? database : 0)
        lines.push(
          `| ${name} | ${count} | ${(REQUESTS / seconds).toFixed(0)} /s | ${single.toFixed(0)} µs | ${
            count === 1 ? "–" : `${main.toFixed(1)} µs`
          } | ${database.toFixed(1)} µs | ${(1e6 / single).toFixed(0)} /s | ${
            shared < 1 ? "none" : `${(1e6 / shared).toFixed(0)} /s`
          } |`
        )
      }
    } finally {
      for (const client of clients) client.close()
      await fip.stop()
    }
  }
  return lines.map((line) => `| ${databases === undefined ? "embedded" : "PostgreSQL"} ${line}`)
}

export const workers = async (folder: string): Promise<string> => {
  const lines = [
    ...await measure(join(folder, "embedded"), undefined),
    ...await Effect.runPromise(Effect.scoped(Effect.gen(function*() {
      const databases = [yield* TestPostgres.newDurableServer, yield* TestPostgres.newDurableServer]
      return yield* Effect.promise(() => measure(join(folder, "postgres"), databases))
    })))
  ]
  return [
    `### Workers: small requests on ${CLIENTS} connections, 32 in flight on each`,
    "CPU time is what can be compared on a machine whose cores the clients need too. A server is bounded by what its " +
    "workers can do (their number times what one can do with a core of its own), and by what the busiest thread of which " +
    "there is one can do: the parent's, and the embedded database's. A PostgreSQL has a process for each connection.",
    [
      "| database | | workers | here | CPU of a worker | of the parent | of the database | one worker on a core | all workers at most |",
      "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
      ...lines
    ].join("\n")
  ].join("\n\n")
}
