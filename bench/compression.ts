/**
 * A tree of sources (those of the package `effect`) each way over a round trip of 100 ms and a line of 10 MiB a second,
 * whole process: compressed on its way, as is done by default, and not.
 */
import { readdir, rm, stat } from "node:fs/promises"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { startFip } from "./FipProcess.ts"
import { startDistance } from "./peers/distance.ts"
import { inTurns, table } from "./Timing.ts"

const ROUND_TRIP_MILLIS = 100
const MIB_PER_SECOND = 10

const source = fileURLToPath(new URL("../node_modules/effect/src", import.meta.url))

const sizeOf = async (folder: string): Promise<number> => {
  let bytes = 0
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) bytes += (await stat(join(entry.parentPath, entry.name))).size
  }
  return bytes
}

export const compression = async (folder: string, rounds: number): Promise<string> => {
  const mib = await sizeOf(source) / 1024 ** 2
  const fip = await startFip(folder)
  const line = await startDistance(fip.port, ROUND_TRIP_MILLIS, MIB_PER_SECOND)
  const target = join(folder, "target")
  const rate = (seconds: number) => `${(mib / seconds).toFixed(1)} MiB/s`
  let run = 0
  const contenders = (what: string, lineOf: (way: string) => string) =>
    ["auto", "never"].map((way) => ({
      name: `\`fip\` ${what}, \`--compress ${way}\``,
      before: () => rm(target, { recursive: true, force: true }),
      servers: [fip.pid],
      run: async () => void await fip.shell([lineOf(way)], line.port, ["--compress", way])
    }))
  try {
    const up = await inTurns(contenders("UPLOAD", () => `UPLOAD --recursive ${source} up${run++}`), rounds)
    const down = await inTurns(contenders("DOWNLOAD", () => `DOWNLOAD --recursive up0 ${target}`), rounds)
    const title = (way: string) =>
      `### A tree of ${mib.toFixed(0)} MiB of sources ${way}, over ${ROUND_TRIP_MILLIS} ms and ${MIB_PER_SECOND} MiB/s`
    return [title("up"), table(up, rate), title("down"), table(down, rate)].join("\n\n")
  } finally {
    line.stop()
    await fip.stop()
  }
}
