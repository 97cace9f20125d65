/**
 * Accepts TLS connections and keeps their set: limits, time limits, and the drain at shutdown.
 *
 * TLS 1.3 only, ALPN `fip/1` required. The finalizer is the first to run of all the server's: it stops accepting, tells
 * every client (`3:s`), waits for what is in flight, and cuts off what is not done by the deadline, while everything
 * the handlers need is still open.
 */
import { Cause, Clock, Context, Data, Duration, Effect, Layer, Redacted, Schedule } from "effect"
import { constants } from "node:crypto"
import type { Socket } from "node:net"
import { createServer, type SecureContextOptions, type TLSSocket } from "node:tls"
import { spkiOf } from "../platform/Signature.ts"
import { EXPORTER_BYTES, EXPORTER_LABEL } from "../protocol/Continuity.ts"
import { ALPN } from "../protocol/Limits.ts"
import { Refusal } from "../protocol/Refusal.ts"
import { Connection } from "./Connection.ts"
import type { Handlers } from "./Dispatch.ts"
import { type Authenticate, makeExchanges } from "./Exchange.ts"
import { ServerIdentity } from "./Identity.ts"
import { fingerprint } from "./identity/IdentityState.ts"
import type { ProvenSession } from "./identity/prove.ts"
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

const TLS_OPTIONS: SecureContextOptions = {
  minVersion: "TLSv1.3",
  // AES-128 first: as safe here, and less work for both ends.
  ciphers: "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384",
  honorCipherOrder: true,
  // No session tickets: a resumed session would not prove the key again.
  secureOptions: constants.SSL_OP_NO_TICKET
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

const keyOf = (socket: Socket): string => `${socket.remoteAddress} ${socket.remotePort}`

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

        // Connections in the TLS handshake, by the peer's address and port.
        const handshakes = new Map<string, Socket>()
        let closing = false
        const connections = new Set<Connection>()

        const accept = (socket: TLSSocket) => {
          handshakes.delete(keyOf(socket))
          if (closing || socket.alpnProtocol !== ALPN) {
            socket.destroy()
            return
          }
          const peer = { address: socket.remoteAddress ?? "", session: sessionOf(socket) }
          const connection = new Connection(socket, {
            peer,
            open: makeExchanges(handlers, authenticate, peer),
            run,
            now,
            onFault: (name, cause) => {
              run(Effect.annotateLogs(Effect.logError(`${name} failed`, cause), {
                address: peer.address,
                ...isDamage(cause) ? { suspicious: true } : {}
              }))
            },
            idleMillis: Duration.toMillis(config.idleTimeout),
            messageMillis: Duration.toMillis(config.messageTimeout)
          })
          connections.add(connection)
          socket.on("close", () => connections.delete(connection))
        }

        const server = createServer({
          ...TLS_OPTIONS,
          ALPNProtocols: [ALPN],
          handshakeTimeout: Duration.toMillis(config.handshakeTimeout)
        }, accept)
        // Connections that are open, or in their handshake, go on with the key they have.
        yield* identity.follow(({ certificate, key }) =>
          server.setSecureContext({ ...TLS_OPTIONS, key: Redacted.value(key), cert: certificate })
        )
        server.maxConnections = config.maxConnections
        server.on("connection", (socket: Socket) => {
          handshakes.set(keyOf(socket), socket)
        })
        // A failed handshake ends here, and is nobody else's business.
        server.on("tlsClientError", (_, socket) => {
          handshakes.delete(keyOf(socket))
          socket.destroy()
        })

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
                closing = true
                server.close(() => resume(Effect.void))
                for (const connection of connections) connection.drain()
                // Those still in the handshake have nothing to be told, and would hold the server open.
                for (const socket of handshakes.values()) socket.destroy()
              })
              const inTime = yield* Effect.timeoutOption(Effect.interruptible(closed), config.shutdownDeadline)
              if (inTime._tag === "None") {
                yield* Effect.logWarning(`shutdown deadline: cutting off ${connections.size} connections`)
                for (const connection of connections) connection.destroy()
              }
            })
        )

        yield* Effect.sync(() => {
          const at = now()
          for (const connection of connections) connection.sweep(at)
        }).pipe(Effect.repeat(Schedule.spaced("1 second")), Effect.forkScoped)

        const bound = server.address()
        const port = bound === null || typeof bound === "string" ? config.port : bound.port
        return Listener.of({ host: config.host, port })
      })
    )
}
