/**
 * The program on both sides, as processes, with a proxy between them that counts what passes: so that a test can kill
 * either side in the midst of a transfer, and see what the next run sends.
 */
import { assert } from "@effect/vitest"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { CountingProxy } from "./CountingProxy.ts"
import { type Finished, run, type Running, serve, type ServerProcess, spawnProgram } from "./Program.ts"
import { TestDatabase } from "./TestDatabase.ts"

export const USER = "alice"
export const PASSWORD = "correct horse"

export class ProxiedProgram {
  /** Everything of both sides; what a test adds is removed with it. */
  readonly folder: string
  readonly proxy: CountingProxy
  private server: ServerProcess | undefined

  private constructor(folder: string, proxy: CountingProxy) {
    this.folder = folder
    this.proxy = proxy
  }

  /** A server with one user. */
  static async start(): Promise<ProxiedProgram> {
    const folder = await mkdtemp(join(tmpdir(), "fip-proxied-"))
    await TestDatabase.seedDataDir(join(folder, "data"))
    const program = new ProxiedProgram(folder, await CountingProxy.start())
    await program.startServer()
    program.resultOf(await program.run("UNEW", USER, PASSWORD))
    return program
  }

  async startServer(): Promise<void> {
    this.server = await serve(["0", "--data-dir", join(this.folder, "data"), "--log-level", "error"])
    this.proxy.target = this.server.port
  }

  async killServer(): Promise<void> {
    await this.server?.stop("SIGKILL")
  }

  async stop(): Promise<void> {
    await this.killServer()
    await this.proxy.stop()
    await rm(this.folder, { recursive: true, force: true })
  }

  private args(words: ReadonlyArray<string>): ReadonlyArray<string> {
    const knownHosts = join(this.folder, "known_hosts")
    return ["connect", "127.0.0.1", String(this.proxy.port), "--known-hosts", knownHosts, "--json", "--", ...words]
  }

  private get options() {
    return { env: { FIP_USERNAME: USER, FIP_PASSWORD: PASSWORD, XDG_STATE_HOME: join(this.folder, "state") } }
  }

  /** Begins a command of the shell. */
  begin(...words: ReadonlyArray<string>): Running {
    return spawnProgram(this.args(words), this.options)
  }

  private run(...words: ReadonlyArray<string>): Promise<Finished> {
    return run(this.args(words), this.options)
  }

  private resultOf<A>({ status, stderr, stdout }: Finished): A {
    assert.strictEqual(status, 0, `${stderr}${stdout}`)
    return JSON.parse(stdout.toString()).result
  }

  /** Runs a command of the shell to its end, and gives its result. */
  async finish<A = Readonly<Record<string, unknown>>>(...words: ReadonlyArray<string>): Promise<A> {
    return this.resultOf(await this.run(...words))
  }
}
