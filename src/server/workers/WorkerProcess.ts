/**
 * One worker as its parent sees it: a process, the connections it was given, and the places it holds. When it ends,
 * however it ends, all of that is given back.
 */
import { Deferred, Effect, type Fiber, Option } from "effect"
import { type ChildProcess, fork } from "node:child_process"
import type { Socket } from "node:net"
import type { Refusal } from "../../protocol/Refusal.ts"
import type { Visit } from "../connections/Front.ts"
import type { FromWorker, Outcome, Place, ToWorker } from "./Channel.ts"
import type { Places } from "./Places.ts"

/** As Node is started with for the server itself (bin/fip.js). */
const NODE_FLAGS = ["--semi-space-growth-factor=1", "--no-parallel-scavenge"]

/** A place that it holds, or waits for. */
interface Want {
  readonly end: () => void
}

export interface WorkerOptions {
  readonly number: number
  readonly program: string
  readonly places: Places
  readonly run: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
  /** Everything that is not about one connection or place. */
  readonly onMessage: (message: FromWorker) => void
  readonly onExit: (code: number | null, signal: NodeJS.Signals | null) => void
}

export class WorkerProcess {
  readonly number: number
  readonly startedAt = performance.now()
  /** What it is called among the servers on the database, once it is ready. */
  node: string | undefined
  private readonly child: ChildProcess
  private readonly options: WorkerOptions
  private readonly visits = new Map<number, Visit & { readonly socket: Socket }>()
  private readonly wants = new Map<number, Want>()
  private lastVisit = 0
  /** Changes of the identity that it has been told of and has not confirmed. */
  private rotations = 0
  private rotatedMeanwhile = false

  constructor(options: WorkerOptions) {
    this.options = options
    this.number = options.number
    this.child = fork(options.program, [], {
      serialization: "advanced",
      execArgv: [...process.execArgv, ...NODE_FLAGS],
      stdio: ["ignore", "inherit", "inherit", "ipc"]
    })
    this.child.on("message", (message: FromWorker) => this.hear(message))
    // What cannot be sent any more went to one that is ending.
    this.child.on("error", () => {})
    this.child.on("exit", (code, signal) => {
      for (const { pass, socket } of this.visits.values()) {
        pass.leave()
        socket.destroy()
      }
      this.visits.clear()
      for (const want of this.wants.keys()) this.giveBack(want)
      options.onExit(code, signal)
    })
  }

  /** Connections that it has. */
  get size(): number {
    return this.visits.size
  }

  /** It can be given connections: it has started, and has the identity that the server has. */
  get isReady(): boolean {
    return this.node !== undefined && this.rotations === 0 && this.child.connected
  }

  send(message: ToWorker): void {
    if (this.child.connected) this.child.send(message)
  }

  rotate(): void {
    if (this.node === undefined) {
      // What it reads at its start may be what there was before.
      this.rotatedMeanwhile = true
      return
    }
    this.rotations++
    this.send({ type: "identity" })
  }

  kill(): void {
    this.child.kill("SIGKILL")
  }

  /** Hands over a connection, of which nothing has been read. */
  receive(socket: Socket, { onShed, pass }: Visit): void {
    const visit = ++this.lastVisit
    this.visits.set(visit, { socket, pass, onShed })
    onShed(() => this.send({ type: "shed", visit }))
    this.child.send({ type: "visit", visit } satisfies ToWorker, socket, { keepOpen: false }, (error) => {
      if (error === null) return
      socket.destroy()
      this.leave(visit)
    })
  }

  private leave(visit: number): void {
    this.visits.get(visit)?.pass.leave()
    this.visits.delete(visit)
  }

  private hear(message: FromWorker): void {
    switch (message.type) {
      case "welcome":
        return this.visits.get(message.visit)?.pass.welcome()
      case "fault":
        return this.visits.get(message.visit)?.pass.fault()
      case "left":
        return this.leave(message.visit)
      case "want":
        return this.take(message.want, message.place)
      case "done":
        return this.giveBack(message.want)
      case "ready":
        this.node = message.node
        if (this.rotatedMeanwhile) this.rotate()
        return this.options.onMessage(message)
      case "identity":
        this.rotations--
        return this.options.onMessage(message)
      default:
        return this.options.onMessage(message)
    }
  }

  private take(want: number, place: Place): void {
    const { places, run } = this.options
    const answer = (outcome: Outcome) => Effect.sync(() => this.send({ type: "place", want, outcome }))
    const held = Deferred.makeUnsafe<void>()
    const state = { isGranted: false }
    const hold = Effect.suspend(() => {
      state.isGranted = true
      return Effect.andThen(answer({ kind: "granted" }), Deferred.await(held))
    })
    const refused = ({ code, message, retry_after_ms }: Refusal) =>
      answer({ kind: "refused", code, message, retryAfterMs: retry_after_ms })
    const taken = place.kind === "hashing"
      ? Effect.catch(places.hashing.run(place.lane, hold), refused)
      : Effect.flatMap(
        places.turns[place.of].take(place.key, hold),
        (done) => Option.isNone(done) ? answer({ kind: "full" }) : Effect.void
      )
    const fiber = run(taken)
    this.wants.set(want, {
      end: () => {
        if (state.isGranted) Deferred.doneUnsafe(held, Effect.void)
        else fiber.interruptUnsafe()
      }
    })
  }

  private giveBack(want: number): void {
    this.wants.get(want)?.end()
    this.wants.delete(want)
  }
}
