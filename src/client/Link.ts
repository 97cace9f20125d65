/**
 * The way to one server: a connection for requests, or several where a program asks much at once, made again when they
 * are gone, and lanes, connections of their own for content that somebody takes at their own pace, so that a slow reader
 * never holds up a request.
 *
 * Every connection settles trust before it is used. All of them are closed when the scope is.
 */
import { Effect, Fiber, type Scope } from "effect"
import type { Refusal } from "../protocol/Refusal.ts"
import {
  ConnectError,
  ConnectionLost,
  type LocalFileError,
  type ProtocolError,
  type TrustError
} from "./ClientError.ts"
import { type Compression, Connection } from "./Connection.ts"
import { dial } from "./Dial.ts"
import { formatHostPort, type HostPort } from "./HostPort.ts"
import { Unanswered } from "./Reply.ts"
import { makePersist, type Persist, type RetryPolicy } from "./Retry.ts"
import { makeShared } from "./Shared.ts"
import type { Trust } from "./Trust.ts"

/** How often a request is sent, all in all, when connections break under it. */
export const MAX_ATTEMPTS = 3

/** How long closing waits for what the server says of its keys to come. */
const LEARN_TIMEOUT = "1 second"

/** A lane that nobody uses is kept for so long. */
const LANE_IDLE_MILLIS = 10_000

export type LinkError = Refusal | ConnectError | ConnectionLost | TrustError | ProtocolError

export interface Link {
  /** The connection for requests; connects when there is none. */
  readonly connection: Effect.Effect<Connection, ConnectError | TrustError>
  /** A lane, for one reader at a time. */
  readonly takeLane: Effect.Effect<Connection, ConnectError | TrustError>
  /** How long a request and its answer are on their way, at least. */
  readonly roundTripMillis: () => number
  /** Gives a lane back. One that still has something on it is closed. */
  readonly releaseLane: (lane: Connection, clean: boolean) => void
  /** Runs a request by the policy of the client's program. */
  readonly persist: Persist
}

export interface LinkOptions {
  readonly address: HostPort
  readonly trust: Trust
  readonly silenceMillis: number
  readonly compression: Compression
  readonly onNotice: (message: string) => void
  readonly onLost?: (() => void) | undefined
  /** For requests; the first is there from the beginning, the others come with the need. */
  readonly connections?: number | undefined
  readonly retry?: RetryPolicy | undefined
}

/** Requests on their way on each connection before another one is made. */
const CROWD = 8

/** Connects, and fails when that does not work at once. */
export const makeLink = Effect.fnUntraced(function*(
  options: LinkOptions
): Effect.fn.Return<Link, ConnectError | TrustError | LocalFileError, Scope.Scope> {
  const { address, connections = 1, onNotice, trust } = options
  const at = formatHostPort(address)
  const open = new Set<Connection>()
  const idleLanes = new Map<Connection, NodeJS.Timeout>()
  let closed = false
  const learning = new Set<Fiber.Fiber<void>>()

  yield* Effect.addFinalizer(() =>
    Effect.gen(function*() {
      closed = true
      // A client that lives for one request only must hear of the server's next key, too.
      yield* Effect.timeoutOption(Effect.interruptible(Fiber.awaitAll(learning)), LEARN_TIMEOUT)
      for (const timer of idleLanes.values()) clearTimeout(timer)
      for (const connection of open) connection.close()
    })
  )

  const connect = (onLeaving: (message: string) => void) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.gen(function*() {
        const dialled = yield* restore(dial(address))
        let trusted = false
        const connection = new Connection(dialled, {
          silenceMillis: options.silenceMillis,
          compression: options.compression,
          // What a server says before it is trusted is nobody's business.
          onLeaving: (message) => trusted ? onLeaving(message) : undefined
        })
        yield* Effect.onError(
          restore(trust.settle(dialled, connection)),
          () => Effect.sync(() => connection.close())
        )
        trusted = true
        open.add(connection)
        dialled.socket.once("close", () => open.delete(connection))
        if (closed) connection.close()
        // Ends with the connection at the latest; the finalizer waits for it.
        const fiber = yield* Effect.forkDetach(Effect.interruptible(trust.learn(dialled, connection)))
        learning.add(fiber)
        fiber.addObserver(() => learning.delete(fiber))
        return connection
      })
    )

  const sayWhy = (message: string) => onNotice(`${at}: ${message}`)
  let current = yield* connect(sayWhy)
  /** Tells of the end of what requests use; a lane's is nobody's business. */
  const tellOfEnd = (connection: Connection): void =>
    connection.onEnd(() => {
      if (connection === current && !closed) options.onLost?.()
    })
  tellOfEnd(current)

  const connectAgain = (onLeaving: (message: string) => void) =>
    Effect.suspend(() =>
      closed ? Effect.fail(new ConnectError({ ...address, message: "the client is closed" })) : connect(onLeaving)
    ).pipe(
      Effect.catchTag("LocalFileError", ({ cause, message }) => new ConnectError({ ...address, message, cause }))
    )

  const reconnect = yield* makeShared(
    Effect.map(connectAgain(sayWhy), (connection) => {
      onNotice(`connected to ${at} again`)
      current = connection
      tellOfEnd(connection)
      return connection
    })
  )

  /** Beside the first. */
  const others = new Set<Connection>()
  const another = yield* makeShared(
    Effect.map(connectAgain(() => {}), (connection) => {
      others.add(connection)
      connection.onEnd(() => others.delete(connection))
      return connection
    })
  )

  const leastBusy = (): Connection => {
    let best = current
    for (const other of others) {
      if (other.usable && (!best.usable || other.load < best.load)) best = other
    }
    return best
  }

  /** Who finds all of them crowded has another one made, while there may be more, and looks again. */
  const choose = (mayBeMade: number): Effect.Effect<Connection, ConnectError | TrustError> =>
    Effect.suspend(() => {
      if (!current.usable) return reconnect
      const best = leastBusy()
      return best.load < CROWD || mayBeMade === 0 || others.size >= connections - 1
        ? Effect.succeed(best)
        : Effect.matchEffect(another, {
          onSuccess: () => choose(mayBeMade - 1),
          onFailure: () => Effect.succeed(best)
        })
    })

  return {
    connection: choose(connections - 1),
    persist: makePersist(options.retry),
    roundTripMillis: () => current.roundTripMillis,
    takeLane: Effect.suspend(() => {
      for (const [lane, timer] of idleLanes) {
        idleLanes.delete(lane)
        clearTimeout(timer)
        if (lane.usable) return Effect.succeed(lane)
      }
      // The connection for requests says it for all.
      return connectAgain(() => {})
    }),
    releaseLane: (lane, clean) => {
      if (!clean || closed || !lane.usable) return lane.close()
      const timer = setTimeout(() => {
        idleLanes.delete(lane)
        lane.close()
      }, LANE_IDLE_MILLIS)
      idleLanes.set(lane, timer)
    }
  }
})

/** What a request is told when its connection broke for good. */
const explain = ({ loss, sent }: Unanswered, what: string, idempotent: boolean): LinkError =>
  loss._tag === "ConnectionLost" && sent && !idempotent
    ? new ConnectionLost({ message: `${loss.message}: ${what} was sent, and may or may not have been carried out` })
    : loss

/**
 * Runs a request, and runs it again where its connection broke and that is safe: when nothing of it was sent, or when
 * doing it twice is doing it once. `by` is a lane to send it by the first time.
 */
export const withRetry = <A>(
  link: Link,
  what: string,
  idempotent: boolean,
  use: (connection: Connection) => Effect.Effect<A, Refusal | Unanswered>,
  by?: Connection
): Effect.Effect<A, LinkError> => {
  const attempt = (number: number): Effect.Effect<A, LinkError | Unanswered> =>
    (number === 1 && by?.usable === true ? use(by) : Effect.flatMap(link.connection, use)).pipe(
      Effect.catchTag(
        "Unanswered",
        (lost) =>
          number < MAX_ATTEMPTS && lost.loss._tag !== "ProtocolError" && (idempotent || !lost.sent)
            ? attempt(number + 1)
            : Effect.fail(lost)
      )
    )
  return link.persist(attempt(1), idempotent).pipe(
    Effect.catchTag("Unanswered", (lost) => Effect.fail(explain(lost, what, idempotent)))
  )
}
