/**
 * The server that a worker belongs to, as the worker sees it: who hands it connections, counts what is limited for all
 * workers together, and tells it when to end.
 *
 * What users do is added up here and reported every few milliseconds; who has been too fast on all workers together is
 * slowed down from then on. A place (workers/Places.ts) is asked for and waited for.
 */
import { Deferred, Effect, type Metric, Option } from "effect"
import type { Socket } from "node:net"
import { Refusal } from "../../protocol/Refusal.ts"
import type { Pass } from "../connections/Door.ts"
import type { Entrance } from "../connections/Entrance.ts"
import type { Front } from "../connections/Front.ts"
import type { FromWorker, Outcome, Place, Spent, ToWorker, WorkerSettings } from "./Channel.ts"
import type { Places, TurnsOf } from "./Places.ts"

const REPORT_EVERY_MILLIS = 20

export interface ParentOptions {
  readonly send: (message: FromWorker) => void
  /** The port that the server listens on, as far as it was told. */
  readonly port: number
}

export interface Parent {
  readonly hear: (message: ToWorker, socket: Socket | undefined) => void
  readonly entrance: Entrance
  readonly places: Places
  /** Resolves when this worker is to end. */
  readonly ended: Effect.Effect<void>
  /** What to do when the identity has changed. */
  readonly onIdentity: (reload: (reloaded: () => void) => void) => void
  /** What to do when settings have changed. */
  readonly onSettings: (takeOver: (settings: WorkerSettings) => void) => void
  /** Whence the numbers come that the parent asks for. */
  readonly onMetrics: (read: () => ReadonlyArray<Metric.Metric.Snapshot>) => void
}

export const makeParent = ({ port, send }: ParentOptions): Parent => {
  let front: Front | undefined
  const sheds = new Map<number, () => void>()
  const wants = new Map<number, Deferred.Deferred<Outcome>>()
  let lastWant = 0
  const spent = new Map<number, { requests: number; bytes: number }>()
  let report: NodeJS.Timeout | undefined
  /** Until when each user is to go slowly, by this process's clock. */
  const slow = new Map<number, number>()
  const ended = Deferred.makeUnsafe<void>()
  let reload: ((reloaded: () => void) => void) | undefined
  let takeOver: ((settings: WorkerSettings) => void) | undefined
  let read: (() => ReadonlyArray<Metric.Metric.Snapshot>) | undefined

  const receive = (visit: number, socket: Socket | undefined): void => {
    if (socket === undefined || front === undefined) {
      socket?.destroy()
      return send({ type: "left", visit })
    }
    const pass: Pass = {
      welcome: () => send({ type: "welcome", visit }),
      fault: () => send({ type: "fault", visit }),
      leave: () => {
        sheds.delete(visit)
        send({ type: "left", visit })
      }
    }
    sheds.set(visit, () => void socket.destroy())
    front.receive(socket, { pass, onShed: (shed) => sheds.set(visit, shed) })
  }

  /** Runs `use` with what became of the wish, and keeps the place until it has ended. */
  const want = <A, E>(place: Place, use: (outcome: Outcome) => Effect.Effect<A, E>): Effect.Effect<A, E> =>
    Effect.acquireUseRelease(
      Effect.sync(() => {
        const outcome = Deferred.makeUnsafe<Outcome>()
        wants.set(++lastWant, outcome)
        send({ type: "want", want: lastWant, place })
        return { id: lastWant, outcome }
      }),
      ({ outcome }) => Effect.flatMap(Deferred.await(outcome), use),
      ({ id }) =>
        Effect.sync(() => {
          wants.delete(id)
          send({ type: "done", want: id })
        })
    )

  const turns = (of: TurnsOf) => ({
    take: <A, E>(key: string, work: Effect.Effect<A, E>): Effect.Effect<Option.Option<A>, E> =>
      want(
        { kind: "turn", of, key },
        ({ kind }) => kind === "granted" ? Effect.asSome(work) : Effect.succeed(Option.none())
      )
  })

  const tell = (): void => {
    report = undefined
    const users = Array.from(spent, ([userId, { bytes, requests }]): Spent => [userId, requests, bytes])
    spent.clear()
    send({ type: "spent", users })
  }

  return {
    hear: (message, socket) => {
      switch (message.type) {
        case "visit":
          return receive(message.visit, socket)
        case "shed":
          return sheds.get(message.visit)?.()
        case "place": {
          const outcome = wants.get(message.want)
          if (outcome !== undefined) Deferred.doneUnsafe(outcome, Effect.succeed(message.outcome))
          return
        }
        case "slow":
          for (const [userId, millis] of message.users) slow.set(userId, performance.now() + millis)
          return
        case "identity":
          return reload?.(() => send({ type: "identity" }))
        case "metrics":
          return send({ type: "metrics", ask: message.ask, metrics: read?.() ?? [] })
        case "end":
          Deferred.doneUnsafe(ended, Effect.void)
          return
        case "settings":
          return takeOver?.(message.settings)
        case "begin":
          return
      }
    },
    entrance: {
      open: (given) =>
        Effect.sync(() => {
          front = given
          return port
        }),
      // The parent hands over nobody any more.
      close: () => {},
      spend: (userId, requests, bytes) => {
        const sum = spent.get(userId)
        if (sum === undefined) spent.set(userId, { requests, bytes })
        else {
          sum.requests += requests
          sum.bytes += bytes
        }
        report ??= setTimeout(tell, REPORT_EVERY_MILLIS)
        return Math.max(0, (slow.get(userId) ?? 0) - performance.now())
      },
      sweep: () => {
        const now = performance.now()
        for (const [userId, until] of slow) if (until <= now) slow.delete(userId)
      }
    },
    places: {
      hashing: {
        run: (lane, work) =>
          want({ kind: "hashing", lane }, (outcome): Effect.Effect<Effect.Success<typeof work>, Refusal> => {
            if (outcome.kind === "granted") return work
            const { code, message, retryAfterMs } = outcome.kind === "refused"
              ? outcome
              : { code: "2:rlex" as const, message: "too many wait: try again in a moment", retryAfterMs: 1000 }
            return Effect.fail(
              new Refusal({ code, message, ...retryAfterMs === undefined ? {} : { retry_after_ms: retryAfterMs } })
            )
          })
      },
      turns: { accounts: turns("accounts"), addresses: turns("addresses") }
    },
    ended: Deferred.await(ended),
    onIdentity: (given) => {
      reload = given
    },
    onSettings: (given) => {
      takeOver = given
    },
    onMetrics: (given) => {
      read = given
    }
  }
}
