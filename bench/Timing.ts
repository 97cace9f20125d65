/** Whole commands timed in turns: A B C A B C …, so that a machine whose speed drifts does so for all of them. */
import { spawn } from "node:child_process"
import { setTimeout } from "node:timers/promises"
import { cpuOf, cpuOfChildren } from "./cpu.ts"

export interface Contender {
  readonly name: string
  /** Undo what the last run left; not timed. */
  readonly before?: () => Promise<void>
  /** Servers that work for it: their CPU time counts, too. */
  readonly servers?: ReadonlyArray<number>
  readonly run: () => Promise<void>
}

export interface Row {
  readonly name: string
  readonly seconds: ReadonlyArray<number>
  /** CPU time, both ends together. */
  readonly cpu: ReadonlyArray<number>
}

const quantile = (sorted: ReadonlyArray<number>, q: number): number => {
  const at = (sorted.length - 1) * q
  const low = sorted[Math.floor(at)] ?? Number.NaN
  const high = sorted[Math.ceil(at)] ?? Number.NaN
  return low + (high - low) * (at - Math.floor(at))
}

export const median = (values: ReadonlyArray<number>): number => quantile([...values].sort((a, b) => a - b), 0.5)

/** Runs every contender once to warm up, then `rounds` times in turn. */
export const inTurns = async (contenders: ReadonlyArray<Contender>, rounds: number): Promise<Array<Row>> => {
  const rows = contenders.map(({ name }) => ({ name, seconds: new Array<number>(), cpu: new Array<number>() }))
  for (let round = -1; round < rounds; round++) {
    for (const [index, { before, run, servers = [] }] of contenders.entries()) {
      await before?.()
      const used = () => servers.reduce((total, pid) => total + cpuOf(pid), cpuOfChildren())
      const [start, cpu] = [performance.now(), used()]
      await run()
      const seconds = (performance.now() - start) / 1000
      // What served it may still be ending, and counts only when it has.
      await setTimeout(200)
      const row = rows[index]
      if (round < 0 || row === undefined) continue
      row.seconds.push(seconds)
      row.cpu.push(used() - cpu)
    }
  }
  return rows
}

/** A Markdown table; `unit` turns seconds into what is shown beside them, `base` is the row that ratios refer to. */
export const table = (rows: ReadonlyArray<Row>, unit: (seconds: number) => string): string => {
  const own = median(rows[0]?.seconds ?? [])
  const ownCpu = median(rows[0]?.cpu ?? [])
  const lines = rows.map(({ cpu, name, seconds }) => {
    const sorted = [...seconds].sort((a, b) => a - b)
    const mid = median(seconds)
    return `| ${name} | ${mid.toFixed(2)} s | ${sorted[0]?.toFixed(2)}–${sorted.at(-1)?.toFixed(2)} s | ${
      unit(mid)
    } | ${(mid / own).toFixed(2)} × | ${median(cpu).toFixed(2)} s | ${(median(cpu) / ownCpu).toFixed(2)} × |`
  })
  return [
    "| | median | spread | rate | FIP is faster by | CPU time | FIP needs less by |",
    "| --- | --- | --- | --- | --- | --- | --- |",
    ...lines
  ].join("\n")
}

/** Runs a command to its end; rejects with its output when it fails. */
export const command = (
  file: string,
  args: ReadonlyArray<string>,
  options: { readonly input?: string; readonly env?: NodeJS.ProcessEnv; readonly cwd?: string } = {}
): Promise<string> =>
  new Promise((resolve, reject) => {
    const child = spawn(file, args, { env: { ...process.env, ...options.env }, cwd: options.cwd, stdio: "pipe" })
    let output = ""
    child.stdout.on("data", (chunk) => output += chunk)
    child.stderr.on("data", (chunk) => output += chunk)
    child.on("error", reject)
    child.on("close", (code) =>
      code === 0 ? resolve(output) : reject(new Error(`${file} ${args.join(" ")} ended with ${code}:\n${output}`)))
    child.stdin.on("error", () => {})
    child.stdin.end(options.input)
  })
