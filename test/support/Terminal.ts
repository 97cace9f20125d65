/** The program at a real terminal (by util-linux `script`), and a person in front of it. */
import { type ChildProcess, execFile, spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { ownProgram } from "./Program.ts"

/** False where there is no such `script`: then there is no terminal to be had. */
export const hasTerminal = spawnSync("script", ["--version"]).stdout?.includes("util-linux") ?? false

export interface TerminalOptions {
  readonly cwd: string
  readonly env: NodeJS.ProcessEnv
  readonly columns?: number
  readonly rows?: number
}

export class Terminal {
  readonly child: ChildProcess
  readonly end: Promise<number | null>
  text = ""
  #seen = 0

  /** Runs `fip …`. */
  constructor(args: ReadonlyArray<string>, { columns = 80, cwd, env, rows = 24 }: TerminalOptions) {
    const command = [process.execPath, ownProgram, ...args].join(" ")
    const line = `stty cols ${columns} rows ${rows}; tty; exec ${command}`
    this.child = spawn("script", ["-qefc", line, "/dev/null"], {
      cwd,
      env: {
        PATH: process.env["PATH"],
        TERM: "xterm",
        XDG_STATE_HOME: join(tmpdir(), "fip-test-state"),
        SHELL: "/bin/sh",
        ...env
      },
      stdio: "pipe"
    })
    this.child.stdout?.on("data", (chunk) => this.text += chunk)
    this.end = once(this.child, "close").then(([status]) => status)
  }

  type(text: string): void {
    this.child.stdin?.write(text)
  }

  /** Waits for `text` to be shown after what was waited for before. */
  async sees(text: string): Promise<void> {
    for (;;) {
      const at = this.text.indexOf(text, this.#seen)
      if (at >= 0) {
        this.#seen = at + text.length
        return
      }
      if (this.child.exitCode !== null) throw new Error(`the program ended without showing ${text}: ${this.text}`)
      await once(this.child.stdout ?? this.child, "data")
    }
  }

  /** What has been shown since. */
  get unseen(): string {
    return this.text.slice(this.#seen)
  }

  async resize(columns: number): Promise<void> {
    const device = /^\/dev\/\S+/m.exec(this.text)?.[0] ?? ""
    await promisify(execFile)("stty", ["-F", device, "cols", String(columns)])
  }
}
