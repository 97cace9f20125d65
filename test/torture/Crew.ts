/** A process of clients, as its parent has it. */
import { type ChildProcess, fork } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import { type Begun, type Order, type Outcome, READY } from "./crewProcess.ts"

const program = fileURLToPath(new URL("crewProcess.ts", import.meta.url))

interface Waiting {
  readonly resolve: (outcome: Outcome) => void
  readonly onBegun: (upload: string) => void
}

export class Crew {
  private readonly child: ChildProcess
  private readonly waiting = new Map<string, Waiting>()

  private constructor(child: ChildProcess) {
    this.child = child
    child.on("message", (message: Begun | Outcome) => {
      if ("upload" in message) this.waiting.get(message.user)?.onBegun(message.upload)
      else this.settle(message)
    })
    child.on("exit", () => {
      for (const user of this.waiting.keys()) this.settle({ user, failure: "its process was killed" })
    })
  }

  /** Starts one, and waits until its users are logged in. */
  static async start(
    port: number,
    knownHosts: string,
    folder: string,
    users: ReadonlyArray<string>,
    env: NodeJS.ProcessEnv
  ): Promise<Crew> {
    const child = fork(program, [String(port), knownHosts, folder, ...users], {
      serialization: "advanced",
      env: { ...process.env, ...env }
    })
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
    const waiting = this.waiting.get(outcome.user)
    this.waiting.delete(outcome.user)
    waiting?.resolve(outcome)
  }

  do(order: Order, onBegun: (upload: string) => void): Promise<Outcome> {
    return new Promise((resolve) => {
      this.waiting.set(order.user, { resolve, onBegun })
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
