/**
 * From a TCP connection to a TLS session: whom the door lets in, and the handshake.
 *
 * TCP is accepted by a server of its own, so that whom the door refuses costs no TLS. TLS 1.3 only, ALPN `fip/1`
 * required. Whatever fails before there is a session ends here, and is nobody else's business.
 */
import { constants } from "node:crypto"
import { createServer as createTcpServer, type Server, type Socket } from "node:net"
import { createServer as createTlsServer, type SecureContextOptions, type TLSSocket } from "node:tls"
import { ALPN } from "../../protocol/Limits.ts"
import type { Door, Pass } from "./Door.ts"

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
  readonly door: Door
  readonly now: () => number
  readonly handshakeMillis: number
  readonly onSession: (socket: TLSSocket, visit: Visit) => void
}

export interface Front {
  /** To be listened with. */
  readonly server: Server
  /** What handshakes that begin from here on are made with. */
  readonly present: (key: string, certificate: string) => void
  /** Lets nobody in any more, and ends what is in the handshake: it has nothing to be told, and would hold the server. */
  readonly close: () => void
}

const keyOf = (socket: Socket): string => `${socket.remoteAddress} ${socket.remotePort}`

export const makeFront = ({ door, handshakeMillis, now, onSession }: FrontOptions): Front => {
  // Connections in the handshake, by the peer's address and port.
  const handshakes = new Map<string, Visit & { readonly socket: Socket }>()
  let closing = false

  const tls = createTlsServer(
    { ...TLS_OPTIONS, ALPNProtocols: [ALPN], handshakeTimeout: handshakeMillis },
    (socket) => {
      const visit = handshakes.get(keyOf(socket))
      handshakes.delete(keyOf(socket))
      if (visit === undefined || closing || socket.alpnProtocol !== ALPN) {
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

  const server = createTcpServer((socket) => {
    let shed = (): void => void socket.destroy()
    const pass = closing ? undefined : door.enter(socket.remoteAddress ?? "", now, () => shed())
    // The newcomer may have been pushed out itself.
    if (pass === undefined || socket.destroyed) {
      pass?.leave()
      socket.destroy()
      return
    }
    const key = keyOf(socket)
    const visit = { socket, pass, onShed: (take: () => void) => void (shed = take) }
    handshakes.set(key, visit)
    socket.on("close", () => {
      if (handshakes.get(key) === visit) handshakes.delete(key)
      pass.leave()
    })
    tls.emit("connection", socket)
  })

  return {
    server,
    present: (key, certificate) => tls.setSecureContext({ ...TLS_OPTIONS, key, cert: certificate }),
    close: () => {
      closing = true
      for (const { socket } of handshakes.values()) socket.destroy()
    }
  }
}
