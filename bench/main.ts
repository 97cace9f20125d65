/**
 * `npm run bench [-- part …] [--rounds n] [--files n] [--write] [--profile folder]`: measures FIP next to its peers on
 * this machine; `--files` is the size of the large store of the part `store`.
 *
 * Prints Markdown; `--write` puts it into docs/benchmarks.md. `--profile` leaves CPU profiles of FIP's processes in a
 * folder; what it prints then is not to be compared. FIP is built first, and measured as users have it. Loopback only;
 * everything started here ends here.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { arch, cpus, loadavg, platform, release, tmpdir, totalmem } from "node:os"
import { join, resolve } from "node:path"
import { parseArgs } from "node:util"
import { attack } from "./attack/main.ts"
import { compression } from "./compression.ts"
import { distance } from "./distance.ts"
import { durability, patch } from "./durability.ts"
import { idle } from "./idle.ts"
import { latency } from "./latency.ts"
import { install } from "./program.ts"
import { requests } from "./requests.ts"
import { farSmall, small, trees } from "./small.ts"
import { start } from "./start.ts"
import { store } from "./store.ts"
import { command } from "./Timing.ts"
import { transfer } from "./transfer.ts"
import { workers } from "./workers.ts"

const parts: Readonly<Record<string, (folder: string, rounds: number, files: number) => Promise<string>>> = {
  transfer,
  distance,
  compression,
  small,
  trees,
  "far-small": farSmall,
  requests,
  latency,
  idle,
  start,
  durability,
  patch,
  attack,
  workers,
  store
}

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: "string", default: "5" },
    files: { type: "string", default: "1000000" },
    write: { type: "boolean", default: false },
    profile: { type: "string" }
  }
})
const names = positionals.length === 0 ? Object.keys(parts) : positionals
const unknown = names.filter((name) => !Object.hasOwn(parts, name))
if (unknown.length > 0) {
  process.stderr.write(`no such part: ${unknown.join(", ")}; there are ${Object.keys(parts).join(", ")}\n`)
  process.exit(2)
}

if (values.profile !== undefined) process.env["FIP_BENCH_PROFILES"] = resolve(values.profile)

const version = async (file: string, ...args: ReadonlyArray<string>): Promise<string> =>
  (await command(file, args).catch(() => "not installed")).split("\n")[0] ?? ""

const installed = await mkdtemp(join(tmpdir(), "fip-bench-program-"))
process.env["FIP_BENCH_PROGRAM"] = await install(installed)

const sections: Array<string> = []
const load = loadavg()[0] ?? 0
for (const name of names) {
  const folder = await mkdtemp(join(tmpdir(), "fip-bench-"))
  try {
    sections.push(await parts[name]?.(folder, Number(values.rounds), Number(values.files)) ?? "")
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
await rm(installed, { recursive: true, force: true })

const report = [
  "# Benchmarks",
  `Made by \`npm run bench -- ${
    names.join(" ")
  } --rounds ${values.rounds} --write\`: whole processes on loopback, taken in turns after one warm-up each; the median counts, and the ratios, not the single figures. FIP syncs every write and proves a SHA-256 on both ends; its peers do neither. It has the session that \`fip login\` keeps, they have a key.`,
  `${new Date().toISOString().slice(0, 10)}, ${platform()} ${release()} ${arch()}, ${cpus().length} × ${
    cpus()[0]?.model ?? "?"
  }, ${(totalmem() / 1024 ** 3).toFixed(0)} GiB; Node ${process.version}; ${await version(
    "ssh",
    "-V"
  )}, cipher aes128-gcm@openssh.com. Load before: ${load.toFixed(1)}.`,
  ...sections,
  ""
].join("\n\n")
process.stdout.write(report)
if (values.write && values.profile === undefined) {
  await writeFile(new URL("../docs/benchmarks.md", import.meta.url), report)
}
