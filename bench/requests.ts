/**
 * Small requests on one connection, 32 in flight: what each costs the server in CPU time, all its threads together.
 *
 * CPU time is what a busy machine leaves comparable; its inverse is how many requests one core can answer in a second.
 */
import { RawClient, requestBytes } from "../test/support/RawClient.ts"
import { cpuOf } from "./cpu.ts"
import { startFip } from "./FipProcess.ts"

const IN_FLIGHT = 32
const WARM_UP = 2000
const REQUESTS = 10_000
/** Keeps `IN_FLIGHT` requests on their way until `count` are answered. */
export const pump = async (client: RawClient, count: number, request: (id: number) => Buffer): Promise<void> => {
  let sent = 0
  const send = () => client.write(request(++sent))
  for (let i = 0; i < Math.min(IN_FLIGHT, count); i++) send()
  for (let answered = 0; answered < count; answered++) {
    const reply = await client.next()
    if (reply?.header.code.startsWith("1:") !== true) throw new Error(`refused: ${JSON.stringify(reply?.body)}`)
    if (sent < count) send()
  }
}

export const requests = async (folder: string): Promise<string> => {
  const fip = await startFip(folder)
  const client = await RawClient.open(fip.port)
  try {
    const token = await client.login("requests", "bench-password")
    const data = Buffer.alloc(4096, "x")
    const kinds: Readonly<Record<string, (id: number, run: string) => Buffer>> = {
      "HEARTBEAT": (id) => requestBytes("Heartbeat", { id }),
      "WRITE of 4 KiB, durable, a new file each": (id, run) =>
        requestBytes("Write", { id, auth: { token }, body: { name: `${run}${id}` }, data }),
      "READ of 4 KiB": (id) => requestBytes("Read", { id, auth: { token }, body: { name: "warm-up7" } })
    }
    const lines: Array<string> = []
    for (const [name, request] of Object.entries(kinds)) {
      await pump(client, WARM_UP, (id) => request(id, "warm-up"))
      const cpu = cpuOf(fip.pid)
      const start = performance.now()
      await pump(client, REQUESTS, (id) => request(id, "f"))
      const seconds = (performance.now() - start) / 1000
      const used = cpuOf(fip.pid) - cpu
      lines.push(
        `| ${name} | ${(used / REQUESTS * 1e6).toFixed(0)} µs | ${(REQUESTS / used).toFixed(0)} /s | ${
          (REQUESTS / seconds).toFixed(0)
        } /s |`
      )
    }
    return [
      "### Small requests on one connection, 32 in flight",
      ["| | CPU time of the server | per core | here |", "| --- | --- | --- | --- |", ...lines].join("\n")
    ].join("\n\n")
  } finally {
    client.close()
    await fip.stop()
  }
}
