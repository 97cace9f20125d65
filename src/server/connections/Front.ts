/**
 * From a TCP connection that was let in to a TLS session: the handshake.
 *
 * TLS 1.3 only, ALPN `fip/1` required. Whatever fails before there is a session ends here, and is nobody else's business.
 */
import { constants } from "node:crypto"
import type { Socket } from "node:net"
import { createServer as createTlsServer, type SecureContextOptions, type TLSSocket } from "node:tls"
import { ALPN } from "../../protocol/Limits.ts"
import type { Pass } from "./Door.ts"

const TLS_OPTIONS: SecureContextOptions = {
  minVersion: "TLSv1.3",
  // AES-128 first: as safe here, and less work for both ends.
  ciphers: "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384",
  honorCipherOrder: true,
  // No session tickets: a resumed session would not prove the key again.
  secureOptions: constants.SSL_OP_NO_TICKET
}

/** Somebody who was let in. */
export interface Visit {
  readonly pass: Pass
  /** What to do from here on when the place is needed for somebody else. */
  readonly onShed: (shed: () => void) => void
}

export interface FrontOptions {
  readonly handshakeMillis: number
  readonly onSession: (socket: TLSSocket, visit: Visit) => void
}

export interface Front {
  /** Connections that have not ended. */
  readonly size: () => number
  /** Makes a session of a connection. Its pass leaves with it. */
  readonly receive: (socket: Socket, visit: Visit) => void
  /** What handshakes that begin from here on are made with. */
  readonly present: (key: string, certificate: string) => void
  /**
   * Receives nobody any more, and ends what is in the handshake: it has nothing to be told, and would hold the server.
   * `onEmpty` is called when every connection has ended.
   */
  readonly close: (onEmpty: () => void) => void
}

const keyOf = (socket: Socket): string => `${socket.remoteAddress} ${socket.remotePort}`

export const makeFront = ({ handshakeMillis, onSession }: FrontOptions): Front => {
  // Connections in the handshake, by the peer's address and port.
  const handshakes = new Map<string, Visit & { readonly socket: Socket }>()
  const open = new Set<Socket>()
  let closing: (() => void) | undefined

  const tls = createTlsServer(
    { ...TLS_OPTIONS, ALPNProtocols: [ALPN], handshakeTimeout: handshakeMillis },
    (socket) => {
      const visit = handshakes.get(keyOf(socket))
      handshakes.delete(keyOf(socket))
      if (visit === undefined || closing !== undefined || socket.alpnProtocol !== ALPN) {
        visit?.pass.fault()
        socket.destroy()
        return
      }
      onSession(socket, visit)
    }
  )
  tls.on("tlsClientError", (_, socket) => {
    handshakes.get(keyOf(socket))?.pass.fault()
    socket.destroy()
  })

  return {
    size: () => open.size,
    receive: (socket, visit) => {
      const key = keyOf(socket)
      const entry = { socket, ...visit }
      handshakes.set(key, entry)
      open.add(socket)
      socket.on("close", () => {
        if (handshakes.get(key) === entry) handshakes.delete(key)
        open.delete(socket)
        visit.pass.leave()
        if (open.size === 0) closing?.()
      })
      if (closing === undefined) tls.emit("connection", socket)
      else socket.destroy()
    },
    present: (key, certificate) => tls.setSecureContext({ ...TLS_OPTIONS, key, cert: certificate }),
    close: (onEmpty) => {
      closing = onEmpty
      for (const { socket } of handshakes.values()) socket.destroy()
      if (open.size === 0) onEmpty()
    }
  }
}
