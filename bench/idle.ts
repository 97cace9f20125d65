/** 10,000 connections on which somebody has logged in and now does nothing: what each costs the server in memory. */
import { readFileSync } from "node:fs"
import { setTimeout } from "node:timers/promises"
import { RawClient } from "../test/support/RawClient.ts"
import { startFip } from "./FipProcess.ts"

const CONNECTIONS = 10_000
const AT_ONCE = 32
const WARM_UP = 500

/** Resident KiB of a process. */
const residentKiB = (pid: number): number =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? Number.NaN)

export const idle = async (folder: string): Promise<string> => {
  const limits = ["connections-per-address", "connection-rate", "max-guests", "guests-per-address", "max-connections"]
  for (const name of limits) process.env[`FIP_${name.replaceAll("-", "_").toUpperCase()}`] = "100000"
  const fip = await startFip(folder, ["--workers", "1"])
  for (const name of limits) delete process.env[`FIP_${name.replaceAll("-", "_").toUpperCase()}`]
  const open: Array<RawClient> = []
  try {
    const first = await RawClient.open(fip.port)
    const token = await first.login("idle", "bench-password")
    const add = async (count: number) => {
      let left = count
      const one = async () => {
        while (left-- > 0) {
          const client = await RawClient.open(fip.port)
          await client.ask("QueryUser", { id: 1, auth: { token } })
          open.push(client)
        }
      }
      await Promise.all(Array.from({ length: AT_ONCE }, one))
    }
    await add(WARM_UP)
    for (const client of open.splice(0)) client.close()
    await setTimeout(2000)
    const before = residentKiB(fip.pid)
    const rows: Array<string> = []
    for (const count of [CONNECTIONS / 10, CONNECTIONS]) {
      await add(count - open.length)
      await setTimeout(3000)
      const now = residentKiB(fip.pid)
      rows.push(
        `| ${count} | ${(now / 1024).toFixed(0)} MiB | ${((now - before) / count).toFixed(1)} KiB |`
      )
    }
    first.close()
    return [
      "### Idle connections",
      [
        "| connections | resident memory of the server | for each, beyond that of none |",
        "| --- | --- | --- |",
        `| 0 | ${(before / 1024).toFixed(0)} MiB | |`,
        ...rows
      ].join("\n")
    ].join("\n\n")
  } finally {
    for (const client of open) client.close()
    await fip.stop()
  }
}
