/** The program as processes: what a user types, with exit status and both outputs. */
import { type ChildProcess, spawn } from "node:child_process"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

/** What is run: this repository's own, or the one that `.ci/run` has built, which starts in half the time. */
export const ownProgram = process.env["FIP_TEST_PROGRAM"] ?? fileURLToPath(new URL("../../bin/fip.js", import.meta.url))

/** Where clients note their transfers unless a test says where: not among those of whoever runs the tests. */
const stateHome = join(tmpdir(), "fip-test-state")

export interface Finished {
  readonly status: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: Buffer
  readonly stderr: string
}

export interface RunOptions {
  readonly input?: string | Uint8Array
  readonly env?: NodeJS.ProcessEnv
  readonly cwd?: string
  /** Flags of Node itself. */
  readonly node?: ReadonlyArray<string>
  /** Another one than this repository's, such as an installed one. */
  readonly program?: string
}

const start = (args: ReadonlyArray<string>, options: RunOptions): ChildProcess =>
  spawn(process.execPath, [...(options.node ?? []), options.program ?? ownProgram, ...args], {
    env: {
      PATH: process.env["PATH"],
      HOME: process.env["HOME"],
      NO_COLOR: "1",
      XDG_STATE_HOME: stateHome,
      // As on a small machine, wherever the tests run; those of workers ask for them.
      FIP_WORKERS: "1",
      ...options.env
    },
    cwd: options.cwd,
    stdio: "pipe"
  })

const finished = (child: ChildProcess): Promise<Finished> =>
  new Promise((resolve, reject) => {
    const stdout: Array<Buffer> = []
    let stderr = ""
    child.stdout?.on("data", (chunk: Buffer) => stdout.push(chunk))
    child.stderr?.on("data", (chunk) => stderr += chunk)
    child.on("error", reject)
    child.on("close", (status, signal) => resolve({ status, signal, stdout: Buffer.concat(stdout), stderr }))
  })

/** Runs `fip …` to its end. */
export const run = (args: ReadonlyArray<string>, options: RunOptions = {}): Promise<Finished> => {
  const child = start(args, options)
  child.stdin?.on("error", () => {})
  child.stdin?.end(options.input)
  return finished(child)
}

export interface Running {
  readonly child: ChildProcess
  readonly end: Promise<Finished>
}

/** Starts `fip …` and leaves it running. */
export const spawnProgram = (args: ReadonlyArray<string>, options: RunOptions = {}): Running => {
  const child = start(args, options)
  return { child, end: finished(child) }
}

export interface ServerProcess extends Running {
  readonly port: number
  readonly fingerprint: string
  /** Sends the signal and waits for the end. */
  readonly stop: (signal?: NodeJS.Signals) => Promise<Finished>
}

/** Starts `fip serve` and waits until it says that it listens. */
export const serve = (args: ReadonlyArray<string>, options: RunOptions = {}): Promise<ServerProcess> => {
  const running = spawnProgram(["serve", ...args], options)
  const { child, end } = running
  return new Promise((resolve, reject) => {
    let text = ""
    child.stdout?.on("data", (chunk) => {
      text += chunk
      const found = /^listening on \S+:(\d+) (SHA256:\S+)$/m.exec(text)
      if (found === null) return
      resolve({
        ...running,
        port: Number(found[1]),
        fingerprint: found[2] ?? "",
        stop: (signal = "SIGTERM") => {
          child.kill(signal)
          return end
        }
      })
    })
    void end.then(({ status, stderr }) => reject(new Error(`fip serve ended with ${status}: ${stderr}`)))
  })
}
