/**
 * Opens the TLS connection: TLS 1.3, ALPN `fip/1`, and the fingerprint of the key that the server has proven to own.
 *
 * The certificate's names, dates and issuer mean nothing here, because trust is by pin: whoever dials must settle trust
 * (Trust.ts) before anything secret is written. Nothing is read from the socket before somebody listens to it.
 */
import { Effect, Result } from "effect"
import { isIP } from "node:net"
import { connect, type TLSSocket } from "node:tls"
import { continuityCrypto, spkiOf } from "../platform/Signature.ts"
import { EXPORTER_BYTES, EXPORTER_LABEL, fingerprintOf } from "../protocol/Continuity.ts"
import type { TlsSession } from "../protocol/ContinuityProof.ts"
import type { Fingerprint } from "../protocol/Identity.ts"
import { ALPN } from "../protocol/Limits.ts"
import { ConnectError } from "./ClientError.ts"
import type { HostPort } from "./HostPort.ts"
import { formatHostPort } from "./HostPort.ts"

/** For the TCP connection and the TLS handshake together. */
const CONNECT_TIMEOUT = "10 seconds"

export interface Dialled {
  readonly socket: TLSSocket
  readonly fingerprint: Fingerprint
  /** How long the TLS handshake took: a round trip, and little more. */
  readonly handshakeMillis: number
  /** What a proof of the server's identity must fit. */
  readonly session: TlsSession
}

/** What went wrong, as a sentence. */
const describe = (address: HostPort, error: NodeJS.ErrnoException): string => {
  const at = formatHostPort(address)
  switch (error.code) {
    case "ECONNREFUSED":
      return `nothing listens on ${at}: is the server running, and is this its port?`
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return `there is no host called ${address.host}: check the name and the network`
    case "ENETUNREACH":
    case "EHOSTUNREACH":
      return `${at} cannot be reached from here: check the network`
    case "ETIMEDOUT":
      return `${at} did not answer in time`
    case "ECONNRESET":
    case "EPIPE":
      return `${at} closed the connection before it was established`
    default:
      return error.code?.startsWith("ERR_SSL") === true || error.code === "EPROTO"
        ? `${at} does not speak ${ALPN} over TLS 1.3: is it a FIP server?`
        : `cannot connect to ${at}: ${error.message}`
  }
}

const sessionOf = (socket: TLSSocket): Result.Result<TlsSession, string> => {
  try {
    const key = socket.getPeerX509Certificate()?.publicKey
    if (key === undefined) return Result.fail("it presented no certificate")
    const exporter = socket.exportKeyingMaterial(EXPORTER_BYTES, EXPORTER_LABEL, Buffer.alloc(0))
    return Result.succeed({ key: spkiOf(key), exporter: new Uint8Array(exporter) })
  } catch {
    // node:crypto throws at a certificate or key of a kind that OpenSSL cannot read.
    return Result.fail("it presented a key that cannot be read")
  }
}

/** Connects. Interruption destroys the socket; on success it belongs to the caller. */
export const dial = (address: HostPort): Effect.Effect<Dialled, ConnectError> =>
  Effect.callback<Dialled, ConnectError>((resume) => {
    const refuse = (message: string, cause?: unknown) => {
      socket.destroy()
      resume(Effect.fail(new ConnectError({ ...address, message, cause })))
    }
    const socket = connect({
      host: address.host,
      port: address.port,
      minVersion: "TLSv1.3",
      ALPNProtocols: [ALPN],
      rejectUnauthorized: false,
      // RFC 6066, section 3: an address is no server name.
      servername: isIP(address.host) === 0 ? address.host : ""
    })
    socket.setNoDelay(true)
    let connectedAt = performance.now()
    socket.once("connect", () => {
      connectedAt = performance.now()
    })
    // Stays for the life of the socket: an error without a listener would end the process.
    socket.on("error", (error) => refuse(describe(address, error), error))
    socket.once("secureConnect", () => {
      if (socket.alpnProtocol !== ALPN) return refuse(`${formatHostPort(address)} does not speak ${ALPN}`)
      const session = sessionOf(socket)
      if (Result.isFailure(session)) {
        return refuse(`cannot identify ${formatHostPort(address)}: ${session.failure}`)
      }
      const fingerprint = fingerprintOf(continuityCrypto, session.success.key)
      resume(Effect.succeed({
        socket,
        fingerprint,
        handshakeMillis: performance.now() - connectedAt,
        session: session.success
      }))
    })
    return Effect.sync(() => socket.destroy())
  }).pipe(
    Effect.timeoutOrElse({
      duration: CONNECT_TIMEOUT,
      orElse: () =>
        Effect.fail(new ConnectError({ ...address, message: `${formatHostPort(address)} did not answer in time` }))
    })
  )
