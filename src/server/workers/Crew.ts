/**
 * A server's workers: processes of their own that serve its connections. Here they are accepted, let in by one door, and
 * handed on unread, each to the worker that has the fewest; what is limited for all workers together is counted here.
 *
 * A worker is a server of its own (WorkerServer.ts) among those on the database (Cluster.ts), which trusts the identity,
 * the locks and the background work of this one. One that ends is replaced. None lives on without its parent: the
 * channel between them closes, and it ends at once.
 *
 * The finalizer stands where a listener's does: nobody is let in any more, and every worker finishes what it has begun.
 */
import {
  Clock,
  Context,
  Data,
  Deferred,
  Duration,
  Effect,
  FiberSet,
  Layer,
  type Metric,
  Schedule,
  type Scope
} from "effect"
import type { Socket } from "node:net"
import { GOODBYE } from "../caches/Coherence.ts"
import { watchDoor } from "../connections/crowds.ts"
import { Door } from "../connections/Door.ts"
import type { Visit } from "../connections/Front.ts"
import { listen, makeGate } from "../connections/Gate.ts"
import { UserRate } from "../connections/UserRate.ts"
import { ServerIdentity } from "../Identity.ts"
import { Listener } from "../Listener.ts"
import { Metrics } from "../metrics/Metrics.ts"
import { BEAT, Notifications } from "../Notifications.ts"
import { ServerConfig, workersOf } from "../ServerConfig.ts"
import type { FromWorker, WorkerSettings } from "./Channel.ts"
import { makePlaces, Places } from "./Places.ts"
import { WorkerProcess } from "./WorkerProcess.ts"

/** The workers cannot be started. `message` is a sentence for the person who starts the server. */
export class CrewError extends Data.TaggedError("CrewError")<{ readonly message: string }> {}

/** What a worker runs, and with which settings. Whoever starts a server with workers says so. */
export const WorkerProgram = Context.Reference<
  {
    readonly file: string
    readonly settings: () => WorkerSettings
    /** Is called when they have changed, until the scope closes. */
    readonly onChange: (use: () => void) => Effect.Effect<void, never, Scope.Scope>
  } | undefined
>("fip/server/workers/WorkerProgram", { defaultValue: () => undefined })

const SWEEP_EVERY = "1 second"

/** Connections that wait until a worker can take them: while workers start, or read a new identity. */
const MAX_WAITING = 1000

/** A worker that ended soon after its start is replaced after a pause, each time twice as long. */
const SHORT_LIFE_MILLIS = 10_000
const FIRST_PAUSE_MILLIS = 100
const LONGEST_PAUSE_MILLIS = 10_000

/** For what a worker closes after its last connection. */
const CLOSING_MILLIS = 5000

interface Waiting {
  readonly socket: Socket
  readonly visit: Visit
  readonly since: number
}

export const Crew = {
  layer: Layer.effect(
    Listener,
    Effect.gen(function*() {
      const config = yield* ServerConfig
      const program = yield* WorkerProgram
      if (program === undefined) return yield* new CrewError({ message: "this program has no workers" })
      const identity = yield* ServerIdentity
      const notifications = yield* Notifications
      const places = (yield* Places) ?? makePlaces(config)
      const { attach } = yield* Metrics
      const clock = yield* Clock.Clock
      const now = () => clock.currentTimeMillisUnsafe()
      const run = yield* FiberSet.makeRuntime<never, void, never>()

      const door = new Door(config)
      const rate = new UserRate(config)
      const tellOfCrowds = yield* watchDoor(door)
      const workers = new Map<number, WorkerProcess>()
      const waiting = new Set<Waiting>()
      const asked = new Map<number, (metrics: ReadonlyArray<Metric.Metric.Snapshot>) => void>()
      let lastAsk = 0
      let closing: Deferred.Deferred<void> | undefined

      const size = (): number => {
        let all = waiting.size
        for (const worker of workers.values()) all += worker.size
        return all
      }

      /** The one to be given the next connection. */
      const idlest = (): WorkerProcess | undefined => {
        let found: WorkerProcess | undefined
        for (const worker of workers.values()) {
          if (worker.isReady && (found === undefined || worker.size < found.size)) found = worker
        }
        return found
      }
      const drop = (one: Waiting): void => {
        waiting.delete(one)
        one.visit.pass.leave()
        one.socket.destroy()
      }
      const enter = (socket: Socket, visit: Visit): void => {
        const worker = idlest()
        if (worker !== undefined) return worker.receive(socket, visit)
        const one: Waiting = { socket, visit, since: now() }
        if (closing !== undefined || waiting.size >= MAX_WAITING) return drop(one)
        waiting.add(one)
        visit.onShed(() => drop(one))
      }
      const admit = (): void => {
        for (const one of waiting) {
          const worker = idlest()
          if (worker === undefined) return
          waiting.delete(one)
          worker.receive(one.socket, one.visit)
        }
      }
      const spend = (users: Extract<FromWorker, { readonly type: "spent" }>["users"]): void => {
        const at = now()
        const slow = users.flatMap(([userId, requests, bytes]) => {
          const millis = rate.spend(userId, requests, bytes, at)
          return millis > 0 ? [[userId, millis] as const] : []
        })
        if (slow.length === 0) return
        for (const worker of workers.values()) worker.send({ type: "slow", users: slow })
      }

      /** Starts one, and another in its place when it ends. `started` is told once what became of the first. */
      const start = (number: number, pause: number, started: (failure: string | undefined) => void): void => {
        let failure: string | undefined
        const worker = new WorkerProcess({
          number,
          program: program.file,
          places,
          run,
          onMessage: (message) => {
            switch (message.type) {
              case "ready":
                started(undefined)
                return admit()
              case "failed":
                failure = message.message
                return
              case "identity":
                return admit()
              case "spent":
                return spend(message.users)
              case "metrics":
                return asked.get(message.ask)?.(message.metrics)
              default:
                return
            }
          },
          onExit: (code, signal) => {
            workers.delete(number)
            const how = failure ?? (signal === null ? `it exited with ${code}` : `it was ended by ${signal}`)
            if (closing !== undefined) {
              if (workers.size === 0) Deferred.doneUnsafe(closing, Effect.void)
              return
            }
            const isFirst = worker.node === undefined && pause === 0
            started(how)
            if (isFirst) return
            const isShort = performance.now() - worker.startedAt < SHORT_LIFE_MILLIS
            const next = isShort ? Math.min(LONGEST_PAUSE_MILLIS, Math.max(FIRST_PAUSE_MILLIS, 2 * pause)) : 0
            const { node } = worker
            run(
              Effect.logWarning("a worker has ended: another takes its place").pipe(
                Effect.annotateLogs({ worker: number, reason: how }),
                // It uses nothing any more that it remembered: nobody has to wait for it.
                Effect.andThen(
                  node === undefined ? Effect.void : Effect.ignore(notifications.publishAs(node, BEAT, GOODBYE))
                ),
                Effect.andThen(Effect.sleep(Duration.millis(next))),
                Effect.andThen(Effect.sync(() => {
                  if (closing === undefined) start(number, Math.max(1, next), () => {})
                }))
              )
            )
          }
        })
        workers.set(number, worker)
        worker.send({ type: "begin", number, settings: program.settings() })
      }

      const gate = makeGate({
        door,
        now,
        isFull: () => closing !== undefined || size() >= config.maxConnections,
        pauseOnConnect: true,
        enter
      })

      yield* program.onChange(() => {
        const settings = program.settings()
        for (const worker of workers.values()) worker.send({ type: "settings", settings })
      })
      yield* identity.onChange(() => {
        for (const worker of workers.values()) worker.rotate()
      })
      yield* Effect.acquireRelease(
        Effect.callback<void, CrewError>((resume) => {
          let left = workersOf(config)
          for (let number = 1; number <= workersOf(config); number++) {
            start(number, 0, (failure) => {
              left--
              if (failure !== undefined) {
                return resume(Effect.fail(new CrewError({ message: `a worker could not start: ${failure}` })))
              }
              if (left === 0) resume(Effect.void)
            })
          }
        }).pipe(Effect.onError(() =>
          Effect.sync(() => {
            closing = Deferred.makeUnsafe()
            for (const worker of workers.values()) worker.kill()
          })
        )),
        () =>
          Effect.gen(function*() {
            const empty = Deferred.makeUnsafe<void>()
            closing = empty
            if (workers.size === 0) return
            for (const one of waiting) drop(one)
            for (const worker of workers.values()) worker.send({ type: "end" })
            const patience = Duration.sum(config.shutdownDeadline, Duration.millis(CLOSING_MILLIS))
            const inTime = yield* Effect.timeoutOption(Effect.interruptible(Deferred.await(empty)), patience)
            if (inTime._tag === "Some") return
            yield* Effect.logWarning(`shutdown deadline: killing ${workers.size} workers`)
            for (const worker of workers.values()) worker.kill()
          })
      )
      for (let number = 1; number <= workersOf(config); number++) {
        yield* attach({
          attributes: { worker: String(number) },
          isReady: () => workers.get(number)?.isReady === true,
          snapshot: Effect.callback((resume) => {
            const ask = ++lastAsk
            const worker = workers.get(number)
            if (worker?.isReady !== true) return resume(Effect.succeed([]))
            asked.set(ask, (metrics) => {
              asked.delete(ask)
              resume(Effect.succeed(metrics))
            })
            worker.send({ type: "metrics", ask })
            return Effect.sync(() => asked.delete(ask))
          })
        })
      }
      const port = yield* Effect.acquireRelease(
        listen(gate, config, (error) => run(Effect.logError("the listener failed", error))),
        () => Effect.sync(() => gate.close())
      )

      const stale = Duration.toMillis(config.handshakeTimeout)
      yield* Effect.sync(() => {
        const at = now()
        for (const one of waiting) if (at - one.since > stale) drop(one)
        door.sweep(at)
        rate.sweep(at)
        tellOfCrowds(at)
      }).pipe(Effect.repeat(Schedule.spaced(SWEEP_EVERY)), Effect.forkScoped)

      return Listener.of({ host: config.host, port })
    })
  ).pipe(Layer.provide(Notifications.layer))
}
