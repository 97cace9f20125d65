/**
 * Keeps the set of connections: time limits, and the drain at shutdown. Who may come in, from where, and TLS, are in
 * connections/.
 *
 * The finalizer is the first to run of all the server's: it stops accepting, tells every client (`3:s`), waits for what
 * is in flight, and cuts off what is not done by the deadline, while everything the handlers need is still open.
 */
import { Cause, Clock, Context, Duration, Effect, Layer, Redacted, Schedule } from "effect"
import { randomBytes } from "node:crypto"
import type { TLSSocket } from "node:tls"
import { spkiOf } from "../platform/Signature.ts"
import { EXPORTER_BYTES, EXPORTER_LABEL } from "../protocol/Continuity.ts"
import { Refusal } from "../protocol/Refusal.ts"
import { Connection } from "./Connection.ts"
import { Entrance, makeEntrance } from "./connections/Entrance.ts"
import { makeFront, type Visit } from "./connections/Front.ts"
import type { GuestLoad } from "./connections/Guest.ts"
import type { Handlers } from "./Dispatch.ts"
import { type Authenticate, makeExchanges } from "./Exchange.ts"
import { ServerIdentity } from "./Identity.ts"
import { fingerprint } from "./identity/IdentityState.ts"
import type { ProvenSession } from "./identity/prove.ts"
import { Metrics } from "./metrics/Metrics.ts"
import { TraceRequests } from "./metrics/tracing.ts"
import { makeRequestObserver } from "./RequestObserver.ts"
import { ServerConfig } from "./ServerConfig.ts"

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
        const entrance = (yield* Entrance) ?? (yield* makeEntrance)
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
            spend: (userId, requests, bytes) => entrance.spend(userId, requests, bytes, now())
          })
          onShed(() => connection.shed())
          guests.add(connection)
          connections.add(connection)
          socket.on("close", () => {
            guests.delete(connection)
            connections.delete(connection)
          })
        }

        const front = makeFront({
          handshakeMillis: Duration.toMillis(config.handshakeTimeout),
          onSession: accept
        })
        // Connections that are open, or in their handshake, go on with the key they have.
        yield* identity.follow(({ certificate, key }) => front.present(Redacted.value(key), certificate))

        const port = yield* Effect.acquireRelease(
          entrance.open(front),
          () =>
            Effect.gen(function*() {
              entrance.close()
              const closed = Effect.callback<void>((resume) => {
                front.close(() => resume(Effect.void))
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

        let sweptAt = now()
        yield* Effect.sync(() => {
          const at = now()
          const off = at - sweptAt - SWEEP_MILLIS
          sweptAt = at
          // The machine slept, was too busy, or its clock was set: nobody is late for that.
          if (Math.abs(off) > SWEEP_MILLIS) {
            for (const connection of connections) connection.pardon(off)
          }
          for (const connection of connections) connection.sweep(at)
          entrance.sweep(at)
        }).pipe(Effect.repeat(Schedule.spaced(SWEEP_MILLIS)), Effect.forkScoped)

        return Listener.of({ host: config.host, port })
      })
    )
}
