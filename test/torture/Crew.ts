/** A process of clients, as its parent has it. */
import { type ChildProcess, fork } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import type { Change } from "../support/FileModel.ts"
import { type Order, type Outcome, READY } from "./crewProcess.ts"

const program = fileURLToPath(new URL("crewProcess.ts", import.meta.url))

export class Crew {
  private readonly child: ChildProcess
  private readonly waiting = new Map<string, (outcome: Outcome) => void>()

  private constructor(child: ChildProcess) {
    this.child = child
    child.on("message", (outcome: Outcome) => this.settle(outcome))
    child.on("exit", () => {
      for (const user of this.waiting.keys()) this.settle({ user, failure: "its process was killed" })
    })
  }

  /** Starts one, and waits until its users are logged in. */
  static async start(port: number, knownHosts: string, folder: string, users: ReadonlyArray<string>): Promise<Crew> {
    const child = fork(program, [String(port), knownHosts, folder, ...users], { serialization: "advanced" })
    const [message] = await Promise.race([
      once(child, "message"),
      once(child, "exit").then(([status]) => [`a process of clients ended with ${status}`])
    ])
    if (message !== READY) throw new Error(String(message))
    return new Crew(child)
  }

  get isAlive(): boolean {
    return this.child.connected
  }

  private settle(outcome: Outcome): void {
    const resolve = this.waiting.get(outcome.user)
    this.waiting.delete(outcome.user)
    resolve?.(outcome)
  }

  do(user: string, change: Change): Promise<Outcome> {
    return new Promise((resolve) => {
      this.waiting.set(user, resolve)
      const order: Order = { user, change }
      // When it cannot be told, its end settles the matter.
      this.child.send(order, () => {})
    })
  }

  async kill(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return
    const exit = once(this.child, "exit")
    this.child.kill("SIGKILL")
    await exit
  }
}
