/**
 * `npm run bench -- attack`: how long an honest client waits before and while strangers attack the server, each attack
 * from twenty addresses of the loopback network.
 *
 * The attacker shares the machine with both, so part of every figure is the attack's own work: what counts is that the
 * honest client is served, and by how much slower.
 */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { readFileSync } from "node:fs"
import { setTimeout } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { RawClient } from "../../test/support/RawClient.ts"
import { startFip } from "../FipProcess.ts"

const ATTACKS = [
  "slow headers",
  "half-open handshakes",
  "connections as fast as possible",
  "replies unread",
  "wrong passwords"
]
const REQUESTS = 150
const CONNECTIONS = 30
const USER = { identity: "bench", password: "bench-password" }
const attacker = fileURLToPath(new URL("attacker.ts", import.meta.url))

interface Measured {
  readonly request: ReadonlyArray<number>
  readonly connect: ReadonlyArray<number>
  readonly failed: number
}

const millis = (value: number): string => `${value.toFixed(1)} ms`

const memoryOf = (pid: number): number =>
  Math.round(Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024)

const at = (values: ReadonlyArray<number>, q: number): number =>
  values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) * q)] ?? Number.NaN

const timed = async (work: () => Promise<unknown>): Promise<number> => {
  const begun = performance.now()
  await work()
  return performance.now() - begun
}

/** Requests on a connection that is there, and new connections with their first request. */
const measure = async (port: number, token: string, client: RawClient): Promise<Measured> => {
  const request: Array<number> = []
  const connect: Array<number> = []
  let failed = 0
  for (let id = 1; id <= REQUESTS; id++) {
    request.push(await timed(() => client.ask("QueryStorage", { id, auth: { token } })))
    await setTimeout(5)
    if (id % (REQUESTS / CONNECTIONS) !== 0) continue
    try {
      connect.push(
        await timed(async () => {
          const other = await RawClient.open(port)
          await other.ask("QueryStorage", { id: 1, auth: { token } })
          other.close()
        })
      )
    } catch {
      failed++
    }
  }
  return { request, connect, failed }
}

export const attack = async (folder: string): Promise<string> => {
  const lines = [
    "### An honest client while strangers attack",
    "| attack | request, median | 95 % | × | new connection, median | 95 % | × | failed | server |",
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
  ]
  for (const [index, kind] of ATTACKS.entries()) {
    // A server of its own for each, so that none inherits what another left.
    const fip = await startFip(`${folder}/${index}`)
    const client = await RawClient.open(fip.port)
    const login = await client.ask("Login", { id: 1, auth: USER, body: { device: "bench-device" } })
    const token = String(login.body["token"])
    const before = await measure(fip.port, token, client)
    const memoryBefore = memoryOf(fip.pid)

    const child = spawn(process.execPath, [attacker, kind, String(fip.port)], { stdio: ["ignore", "pipe", "inherit"] })
    await once(child.stdout, "data")
    const during = await measure(fip.port, token, client)
    const memory = memoryOf(fip.pid)
    child.kill("SIGTERM")
    await once(child, "close")
    client.close()
    await fip.stop()

    const row = (name: string, one: Measured, ratio: (what: "request" | "connect") => string, held: number): string =>
      `| ${name} | ${millis(at(one.request, 0.5))} | ${millis(at(one.request, 0.95))} | ${ratio("request")} | ${
        millis(at(one.connect, 0.5))
      } | ${millis(at(one.connect, 0.95))} | ${ratio("connect")} | ${one.failed} of ${CONNECTIONS} | ${held} MiB |`
    lines.push(
      row(`before: ${kind}`, before, () => "1", memoryBefore),
      row(kind, during, (what) => (at(during[what], 0.5) / at(before[what], 0.5)).toFixed(1), memory)
    )
  }
  return `${lines[0]}\n\n${lines.slice(1).join("\n")}`
}
