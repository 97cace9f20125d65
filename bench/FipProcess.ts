/**
 * A `fip serve` of its own in a temporary folder, and `fip connect` against it: real processes, as a user runs them who
 * has logged in once (`fip login`), as those of ssh have their keys.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { existsSync } from "node:fs"
import { mkdir } from "node:fs/promises"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { command } from "./Timing.ts"

/** Built (program.ts), or as it is in the clone. */
export const program = () =>
  process.env["FIP_BENCH_PROGRAM"] ?? fileURLToPath(new URL("../bin/fip.js", import.meta.url))
export const USER = "bench"
export const PASSWORD = "bench-password"

/** With `--profile`: where every process leaves its CPU profiles, one for each of its threads. */
const profiled = (name: string): ReadonlyArray<string> => {
  const folder = process.env["FIP_BENCH_PROFILES"]
  return folder === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${join(folder, name)}`]
}

export interface FipProcess {
  readonly pid: number
  readonly port: number
  /** Runs shell commands as the one user, through one `fip connect`; by another port, where one leads to the server. */
  readonly shell: (lines: ReadonlyArray<string>, port?: number, flags?: ReadonlyArray<string>) => Promise<string>
  readonly stop: () => Promise<void>
}

const ready = (child: ChildProcess): Promise<number> =>
  new Promise((resolve, reject) => {
    let text = ""
    child.stdout?.on("data", (chunk) => {
      text += chunk
      const found = /^listening on \S+:(\d+) /m.exec(text)
      if (found !== null) resolve(Number(found[1]))
    })
    child.on("close", (code) => reject(new Error(`fip serve ended with ${code}`)))
  })

export const startFip = async (folder: string, flags: ReadonlyArray<string> = []): Promise<FipProcess> => {
  const child = spawn(
    process.execPath,
    [
      ...profiled("server"),
      program(),
      "serve",
      "0",
      "--data-dir",
      join(folder, "data"),
      "--log-level",
      "warn",
      ...flags
    ],
    { stdio: ["ignore", "pipe", "inherit"] }
  )
  const port = await ready(child)
  const env = {
    FIP_USERNAME: USER,
    XDG_CONFIG_HOME: join(folder, "config"),
    XDG_STATE_HOME: join(folder, "state")
  }
  const withPassword = { ...env, FIP_PASSWORD: PASSWORD }
  const connect = (by: number) => [
    ...profiled("client"),
    program(),
    "connect",
    "127.0.0.1",
    String(by),
    "--known-hosts",
    join(folder, "known_hosts")
  ]
  try {
    // Where a client has been here before, the user is there.
    if (!existsSync(join(folder, "known_hosts"))) {
      await command(process.execPath, [...connect(port), "--", "UNEW", USER, PASSWORD])
    }
  } catch (cause) {
    child.kill()
    throw cause
  }
  /** The addresses that a session is kept for. */
  const known = new Set<number>()
  const login = async (by: number): Promise<void> => {
    if (known.has(by)) return
    known.add(by)
    await mkdir(env.XDG_STATE_HOME, { recursive: true, mode: 0o700 })
    const words = [program(), "login", `${USER}@127.0.0.1:${by}`, "--known-hosts", join(folder, "known_hosts")]
    await command(process.execPath, words, { env: withPassword })
  }
  return {
    pid: child.pid ?? 0,
    port,
    shell: async (lines, by = port, flags = []) => {
      await login(by)
      return command(process.execPath, [...connect(by), ...flags], { env, input: `${lines.join("\n")}\n` })
    },
    stop: () =>
      new Promise((resolve) => {
        child.on("close", () => resolve())
        child.kill("SIGTERM")
      })
  }
}
