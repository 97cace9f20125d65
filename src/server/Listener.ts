/**
 * Accepts connections and keeps their set: time limits, what users may do in a second, and the drain at shutdown. Who may
 * come in, and TLS, are in connections/.
 *
 * The finalizer is the first to run of all the server's: it stops accepting, tells every client (`3:s`), waits for what
 * is in flight, and cuts off what is not done by the deadline, while everything the handlers need is still open.
 */
import { Cause, Clock, Context, Data, Duration, Effect, Layer, Redacted, Schedule } from "effect"
import { randomBytes } from "node:crypto"
import type { TLSSocket } from "node:tls"
import { spkiOf } from "../platform/Signature.ts"
import { EXPORTER_BYTES, EXPORTER_LABEL } from "../protocol/Continuity.ts"
import { Refusal } from "../protocol/Refusal.ts"
import { Connection } from "./Connection.ts"
import { Door } from "./connections/Door.ts"
import { makeFront, type Visit } from "./connections/Front.ts"
import type { GuestLoad } from "./connections/Guest.ts"
import { UserRate } from "./connections/UserRate.ts"
import type { Handlers } from "./Dispatch.ts"
import { type Authenticate, makeExchanges } from "./Exchange.ts"
import { ServerIdentity } from "./Identity.ts"
import { fingerprint } from "./identity/IdentityState.ts"
import type { ProvenSession } from "./identity/prove.ts"
import { Metrics } from "./metrics/Metrics.ts"
import { TraceRequests } from "./metrics/tracing.ts"
import { makeRequestObserver } from "./RequestObserver.ts"
import { ServerConfig } from "./ServerConfig.ts"

/** The server cannot listen where it was told to. */
export class ListenError extends Data.TaggedError("ListenError")<{ readonly message: string }> {}

const listenError = (host: string, port: number, error: NodeJS.ErrnoException): ListenError => {
  switch (error.code) {
    case "EADDRINUSE":
      return new ListenError({
        message:
          `port ${port} on ${host} is taken by another program: stop it, or choose another port (0 picks a free one)`
      })
    case "EACCES":
      return new ListenError({ message: `no permission to listen on port ${port}: choose one above 1023` })
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return new ListenError({ message: `${host} is not an address of this machine` })
    default:
      return new ListenError({ message: `cannot listen on ${host} port ${port}: ${error.message}` })
  }
}

/** Stored content is not what it was. */
const isDamage = ({ reasons }: Cause.Cause<unknown>): boolean =>
  reasons.some((reason) =>
    Cause.isFailReason(reason) && reason.error instanceof Refusal && reason.error.code === "3:bad"
  )

/** What a proof of the server's identity is bound to. */
const sessionOf = (socket: TLSSocket) => (): ProvenSession | undefined => {
  const key = socket.getX509Certificate()?.publicKey
  return key === undefined || socket.destroyed ? undefined : {
    fingerprint: fingerprint(spkiOf(key)),
    exporter: new Uint8Array(socket.exportKeyingMaterial(EXPORTER_BYTES, EXPORTER_LABEL, Buffer.alloc(0)))
  }
}

/** Time limits are looked at so often. */
const SWEEP_MILLIS = 1000

/** At most so often is the log told that connections are turned away. */
const TURNED_AWAY_EVERY_MILLIS = 60_000

export class Listener extends Context.Service<Listener, {
  readonly host: string
  /** The port that was bound, also when 0 was asked for. */
  readonly port: number
}>()("fip/server/Listener") {
  static readonly layer = (handlers: Handlers, authenticate: Authenticate) =>
    Layer.effect(
      Listener,
      Effect.gen(function*() {
        const config = yield* ServerConfig
        const identity = yield* ServerIdentity
        const clock = yield* Clock.Clock
        const now = () => clock.currentTimeMillisUnsafe()
        const run = Effect.runForkWith(yield* Effect.context())
        const observer = yield* makeRequestObserver
        const trace = yield* TraceRequests
        // Unlike those of the start before: a person who quotes the id of a request means one.
        const runId = randomBytes(3).toString("hex")
        let accepted = 0

        const connections = new Set<Connection>()
        const guests = new Set<Connection>()
        const door = new Door(config)
        const rate = new UserRate(config)
        const load: GuestLoad = {
          running: 0,
          unread: () => {
            let bytes = 0
            for (const guest of guests) bytes += guest.unread
            return bytes
          }
        }

        const accept = (socket: TLSSocket, { onShed, pass }: Visit) => {
          const peer = { address: socket.remoteAddress ?? "", session: sessionOf(socket) }
          const connection = new Connection(socket, {
            peer,
            open: makeExchanges(handlers, authenticate, peer),
            run,
            now,
            id: `${runId}-${(accepted++).toString(36)}`,
            onFault: (name, request_id, cause) => {
              run(Effect.annotateLogs(Effect.logError(`${name} failed`, cause), {
                request_id,
                address: peer.address,
                ...isDamage(cause) ? { suspicious: true } : {}
              }))
            },
            onAnswered: (answered) => observer.answered(peer.address, answered),
            onRefused: observer.refused,
            trace,
            idleMillis: Duration.toMillis(config.idleTimeout),
            messageMillis: Duration.toMillis(config.messageTimeout),
            guest: {
              loginMillis: Duration.toMillis(config.loginTimeout),
              messageMillis: Math.min(Duration.toMillis(config.guestTimeout), Duration.toMillis(config.messageTimeout)),
              requests: config.guestRequests,
              load,
              onLogin: () => {
                guests.delete(connection)
                pass.welcome()
              },
              onOffence: pass.fault
            },
            spend: (userId, requests, bytes) => rate.spend(userId, requests, bytes, now())
          })
          onShed(() => connection.shed())
          guests.add(connection)
          connections.add(connection)
          socket.on("close", () => {
            guests.delete(connection)
            connections.delete(connection)
          })
        }

        const { close, present, server } = makeFront({
          door,
          now,
          handshakeMillis: Duration.toMillis(config.handshakeTimeout),
          onSession: accept
        })
        // Connections that are open, or in their handshake, go on with the key they have.
        yield* identity.follow(({ certificate, key }) => present(Redacted.value(key), certificate))
        server.maxConnections = config.maxConnections

        yield* Effect.acquireRelease(
          Effect.callback<void, ListenError>((resume) => {
            const onError = (error: Error) => resume(Effect.fail(listenError(config.host, config.port, error)))
            server.once("error", onError)
            server.listen(config.port, config.host, () => {
              server.off("error", onError)
              server.on("error", (error) => run(Effect.logError("the listener failed", error)))
              resume(Effect.void)
            })
          }),
          () =>
            Effect.gen(function*() {
              const closed = Effect.callback<void>((resume) => {
                close()
                server.close(() => resume(Effect.void))
                for (const connection of connections) connection.drain()
              })
              const inTime = yield* Effect.timeoutOption(Effect.interruptible(closed), config.shutdownDeadline)
              if (inTime._tag === "None") {
                yield* Effect.logWarning(`shutdown deadline: cutting off ${connections.size} connections`)
                for (const connection of connections) connection.destroy()
              }
            })
        )

        const { observe } = yield* Metrics
        yield* observe({
          name: "fip_connections",
          description: "Open connections",
          kind: "gauge",
          read: () => connections.size
        })
        yield* observe({
          name: "fip_guests",
          description: "Connections on which nobody has logged in yet",
          kind: "gauge",
          read: () => door.guestCount
        })
        yield* observe({
          name: "fip_connections_turned_away_total",
          description: "Connections that were closed unread, and guests that were pushed out",
          kind: "counter",
          read: () => door.refused + door.shed
        })

        let told = { at: 0, refused: 0, shed: 0 }
        const tellOfCrowds = (at: number): Effect.Effect<void> => {
          const { refused, shed } = door
          if (refused + shed === told.refused + told.shed || at - told.at < TURNED_AWAY_EVERY_MILLIS) return Effect.void
          const since = { refused: refused - told.refused, shed: shed - told.shed }
          told = { at, refused, shed }
          return Effect.sync(() =>
            observer.noticed({
              action: "Crowd",
              code: "2:rlex",
              says: "connections were turned away: too many of one address, or without a login",
              address: "",
              durationMillis: 0,
              suspicious: true,
              notable: true,
              detail: since
            })
          )
        }
        let sweptAt = now()
        yield* Effect.suspend(() => {
          const at = now()
          const off = at - sweptAt - SWEEP_MILLIS
          sweptAt = at
          // The machine slept, was too busy, or its clock was set: nobody is late for that.
          if (Math.abs(off) > SWEEP_MILLIS) {
            for (const connection of connections) connection.pardon(off)
          }
          for (const connection of connections) connection.sweep(at)
          server.maxConnections = config.maxConnections
          door.sweep(at)
          rate.sweep(at)
          return tellOfCrowds(at)
        }).pipe(Effect.repeat(Schedule.spaced(SWEEP_MILLIS)), Effect.forkScoped)

        const bound = server.address()
        const port = bound === null || typeof bound === "string" ? config.port : bound.port
        return Listener.of({ host: config.host, port })
      })
    )
}
