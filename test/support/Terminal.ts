/** The program at a real terminal (by util-linux `script`), and a person in front of it. */
import { type ChildProcess, execFile, spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { ownProgram } from "./Program.ts"
import { Screen } from "./Screen.ts"

/** False where there is no such `script`: then there is no terminal to be had. */
export const hasTerminal = spawnSync("script", ["--version"]).stdout?.includes("util-linux") ?? false

/** A screen that does not change for so long is not what was waited for. */
const SHOWN_WITHIN_MILLIS = 20_000

export interface TerminalOptions {
  readonly cwd: string
  readonly env: NodeJS.ProcessEnv
  readonly columns?: number
  readonly rows?: number
}

export class Terminal {
  readonly child: ChildProcess
  readonly end: Promise<number | null>
  readonly screen: Screen
  text = ""
  #seen = 0
  #shown: Promise<void> = Promise.resolve()

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
    this.screen = new Screen(columns, rows)
    this.child.stdout?.on("data", (chunk: Buffer) => {
      this.text += chunk.toString()
      const before = this.#shown
      this.#shown = before.then(() => this.screen.write(chunk))
    })
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

  /** Waits until the screen is as it should be. */
  async shows(what: string, isThere: (screen: Screen) => boolean): Promise<void> {
    for (;;) {
      // All that has come, so that whatever comes now is noticed below.
      for (let shown: Promise<void> | undefined; shown !== this.#shown; await shown) shown = this.#shown
      if (isThere(this.screen)) return
      if (this.child.exitCode !== null) {
        throw new Error(`the program ended before ${what}: ${this.screen.rows.join("\n")}`)
      }
      const more = once(this.child.stdout ?? this.child, "data")
      const late = setTimeout(() =>
        this.child.stdout?.emit(
          "error",
          new Error(
            `there is no ${what} on the screen:\n${this.screen.rows.join("\n")}`
          )
        ), SHOWN_WITHIN_MILLIS)
      await more.finally(() => clearTimeout(late))
    }
  }

  /** What has been shown since. */
  get unseen(): string {
    return this.text.slice(this.#seen)
  }

  async resize(columns: number): Promise<void> {
    await this.#shown
    this.screen.resize(columns)
    const device = /^\/dev\/\S+/m.exec(this.text)?.[0] ?? ""
    await promisify(execFile)("stty", ["-F", device, "cols", String(columns)])
  }
}
