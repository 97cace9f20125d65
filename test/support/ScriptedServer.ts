/**
 * A server that says what a test tells it to, true or not: real TLS on loopback, the wire's own codecs, and nothing
 * else of the program. It is also the malicious server: a peer can send any bytes at any time, and counts what it got.
 */
import "reflect-metadata"
import { X509CertificateGenerator } from "@peculiar/x509"
import { Effect, Result, type Scope } from "effect"
import { createHash, KeyObject, webcrypto } from "node:crypto"
import { mkdtemp, rm } from "node:fs/promises"
import type { Socket } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createServer, type Server, type TLSSocket } from "node:tls"
import type { Code } from "../../src/protocol/Code.ts"
import { Parser } from "../../src/protocol/Frame.ts"
import {
  encodeReplyHeader,
  parseRequestHeader,
  type ReplyHeader,
  type RequestHeader
} from "../../src/protocol/Header.ts"
import { Fingerprint } from "../../src/protocol/Identity.ts"
import { encodeJson } from "../../src/protocol/Json.ts"
import { ALPN } from "../../src/protocol/Limits.ts"
import { type BodyOf, decodeBody, type RequestName, requestOf } from "../../src/protocol/Request.ts"

export interface Identity {
  readonly cert: string
  readonly key: string
  readonly fingerprint: Fingerprint
}

/** A fresh key with a certificate of its own. */
export const makeIdentity: Effect.Effect<Identity> = Effect.promise(async () => {
  const keys = await webcrypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign", "verify"])
  const certificate = await X509CertificateGenerator.createSelfSigned({
    name: "CN=scripted",
    keys,
    signingAlgorithm: { name: "ECDSA", hash: "SHA-256" }
  }, webcrypto)
  const spki = await webcrypto.subtle.exportKey("spki", keys.publicKey)
  const digest = createHash("sha256").update(new Uint8Array(spki)).digest("base64").replace("=", "")
  return {
    cert: certificate.toString("pem"),
    key: KeyObject.from(keys.privateKey).export({ type: "pkcs8", format: "pem" }).toString(),
    fingerprint: Fingerprint.make(`SHA256:${digest}`)
  }
})

/** A reply as a test writes it; sizes are counted unless they are to lie. */
export interface Reply extends Partial<Omit<ReplyHeader, "code">> {
  readonly code: Code
  readonly body?: unknown
  readonly data?: Uint8Array
}

export const replyBytes = ({ body, code, data, ...header }: Reply): Buffer => {
  const json = encodeJson(body)
  const bytes = encodeReplyHeader({
    id: 0,
    body_size: json.length,
    data_size: data?.length ?? 0,
    more: false,
    ended_connection: false,
    timestamp: 0,
    ...header,
    code
  })
  return Buffer.concat([bytes, json, data ?? Buffer.alloc(0)])
}

/** A request as it arrived. */
export interface Received<K extends RequestName = RequestName> {
  readonly name: K
  readonly id: number
  readonly auth: { readonly [key: string]: unknown }
  readonly body: BodyOf<K>
  readonly data: Buffer
  readonly peer: Peer
  readonly reply: (reply: Reply) => void
}

export type Script = { readonly [K in RequestName]?: (request: Received<K>) => Reply | void }

const closed = (socket: Socket): Promise<void> =>
  new Promise((resolve) => socket.closed ? resolve() : socket.once("close", () => resolve()))

/** One connection. */
export class Peer {
  readonly socket: TLSSocket
  readonly requests: Array<Received> = []
  /** Bytes that arrived inside TLS. */
  bytes = 0

  constructor(socket: TLSSocket) {
    this.socket = socket
  }

  send(reply: Reply): void {
    this.socket.write(replyBytes(reply))
  }

  /** Waits until it is closed. */
  readonly closed: Effect.Effect<void> = Effect.promise(() => closed(this.socket))
}

export class ScriptedServer {
  readonly port: number
  readonly peers: ReadonlyArray<Peer>
  /** Everything that was asked, in order of arrival. */
  readonly requests: ReadonlyArray<Received>
  private readonly listener: Server
  private readonly sockets: ReadonlySet<Socket>

  private constructor(
    port: number,
    peers: ReadonlyArray<Peer>,
    requests: ReadonlyArray<Received>,
    listener: Server,
    sockets: ReadonlySet<Socket>
  ) {
    this.port = port
    this.peers = peers
    this.requests = requests
    this.listener = listener
    this.sockets = sockets
  }

  /** The identity that later connections are shown. */
  useIdentity(identity: Identity): void {
    this.listener.setSecureContext(identity)
  }

  /** Waits until no connection is open, also none that never came to be a peer. */
  readonly deserted: Effect.Effect<void> = Effect.promise(async () => {
    for (const socket of this.sockets) await closed(socket)
  })

  /** How often a request was asked. */
  count(name: RequestName): number {
    return this.requests.filter((request) => request.name === name).length
  }

  /** The latest connection. */
  get last(): Peer | undefined {
    return this.peers.at(-1)
  }

  /** Listens until the scope closes. Requests without a script are left unanswered. */
  static readonly make = (
    identity: Identity,
    script: Script,
    onConnection: (peer: Peer) => void = () => {}
  ): Effect.Effect<ScriptedServer, never, Scope.Scope> =>
    Effect.acquireRelease(
      Effect.callback<{ readonly server: ScriptedServer; readonly close: () => void }>((resume) => {
        const peers: Array<Peer> = []
        const requests: Array<Received> = []
        const listener = createServer(
          { cert: identity.cert, key: identity.key, minVersion: "TLSv1.3", ALPNProtocols: [ALPN] },
          (socket) => {
            const peer = new Peer(socket)
            peers.push(peer)
            socket.on("error", () => {})
            const parser = new Parser<RequestHeader>({
              parseHeader: parseRequestHeader,
              onMessage: ({ auth, body, data, header }) => {
                const name = requestOf(header.category, header.subcategory)
                if (name === undefined) return
                // Clients ask it beside what a test is about, so it is no part of what was asked unless a test says so.
                if (name === "Credentials" && script.Credentials === undefined) {
                  peer.send({ id: header.id, code: "2:unop", body: { message: "this server has no credentials" } })
                  return
                }
                receive(name, { id: header.id, auth, body, data: Buffer.concat(data), peer })
              },
              onFault: () => socket.destroy()
            })
            socket.on("data", (chunk) => {
              peer.bytes += chunk.length
              parser.push(chunk)
            })
            onConnection(peer)
          }
        )
        const receive = <K extends RequestName>(
          name: K,
          raw: { id: number; auth: Uint8Array; body: Uint8Array; data: Buffer; peer: Peer }
        ) => {
          const { data, id, peer } = raw
          const request: Received<K> = {
            name,
            id,
            auth: raw.auth.length === 0 ? {} : JSON.parse(Buffer.from(raw.auth).toString()),
            body: Result.getOrThrow(decodeBody(name, raw.body)),
            data,
            peer,
            reply: (reply) => peer.send({ id, ...reply })
          }
          peer.requests.push(request)
          requests.push(request)
          const reply = script[name]?.(request)
          if (reply !== undefined) request.reply(reply)
        }
        listener.on("tlsClientError", () => {})
        const sockets = new Set<Socket>()
        listener.on("connection", (socket) => sockets.add(socket))
        listener.listen(0, "127.0.0.1", () => {
          const address = listener.address()
          const port = typeof address === "object" && address !== null ? address.port : 0
          resume(Effect.succeed({
            server: new ScriptedServer(port, peers, requests, listener, sockets),
            close: () => {
              for (const { socket } of peers) socket.destroy()
              listener.close()
            }
          }))
        })
      }),
      ({ close }) => Effect.sync(close)
    ).pipe(Effect.map(({ server }) => server))
}

/** A folder that is removed when the scope closes. */
export const temporaryFolder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "fip-test-"))),
  (folder) => Effect.promise(() => rm(folder, { recursive: true, force: true }))
)
