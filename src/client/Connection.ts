/**
 * One established connection: requests out, replies routed back by id (docs/protocol.md, section 3).
 *
 * Imperative core; Reply.ts makes Effects of it. Invariants: at most `MAX_IN_FLIGHT` requests are unanswered, the rest
 * wait in order, those with data and those without by turns, so that neither holds up the other; a message is handed to
 * the socket only when the one before has left; every exchange ends exactly once,
 * with its last reply or with `onLost`; what a server may announce is capped before a byte of it is kept, and a server
 * that breaks the protocol is not spoken to again. Data belongs to the connection until the exchange has ended.
 */
import type { TLSSocket } from "node:tls"
import { Compressor, expand } from "../platform/Compression.ts"
import { isSuccess } from "../protocol/Code.ts"
import { type Message, Parser } from "../protocol/Frame.ts"
import {
  contentBytes,
  encodeRequestHeader,
  isCompatible,
  parseReplyHeader,
  type ReplyHeader
} from "../protocol/Header.ts"
import type { Fingerprint } from "../protocol/Identity.ts"
import { MAX_DATA_BYTES, MAX_IN_FLIGHT, MAX_REPLY_BODY_BYTES } from "../protocol/Limits.ts"
import { type Refusal, refuse } from "../protocol/Refusal.ts"
import { ConnectionLost, ProtocolError } from "./ClientError.ts"
import type { Dialled } from "./Dial.ts"
import { decodeRefusal } from "./ServerText.ts"

/** Data up to this size travels in the same write as its header. */
const SMALL_BYTES = 16 * 1024

/** A request, ready for the wire. */
export interface RequestMessage {
  readonly category: number
  readonly subcategory: number
  readonly auth: Uint8Array
  readonly body: Uint8Array
  readonly data: Uint8Array
  /** Where the data is compressed: how many bytes it has when it is not. */
  readonly rawBytes?: number
}

export type Loss = ConnectionLost | ProtocolError | Refusal

export interface Exchange {
  /** True when the reply may be a run of messages, and carry data. */
  readonly streamed: boolean
  /** A message of the reply. The last one has `more: false`. */
  readonly onReply: (message: Message<ReplyHeader>) => void
  /** There will be no (further) reply. `sent` is false when the server has not seen a byte of the request. */
  readonly onLost: (loss: Loss, sent: boolean) => void
}

interface Entry {
  readonly request: RequestMessage
  sentAt: number
  /** The server was told that it may answer with compressed data. */
  takesZstd: boolean
  /** `undefined` once nobody waits: what still arrives is dropped. */
  exchange: Exchange | undefined
  written: boolean
  /** A last reply that overtook the end of the request. */
  early: Message<ReplyHeader> | undefined
}

export interface ConnectionOptions {
  /** How long the server may be silent while it owes an answer. */
  readonly silenceMillis: number
  /** The server has said that it is leaving: no more requests on this connection. */
  readonly onLeaving: (message: string) => void
  readonly compression: Compression
}

/** A server that owes answers must complete one, or send so much, within twice the silence that it may keep. */
const PROGRESS_BYTES = 64 * 1024

/** Whether content is compressed on its way, by a server that can do it: `auto` where a round trip takes its time. */
export type Compression = "auto" | "always" | "never"

/** From this round trip on bytes are taken to be dearer than what it costs to save them. */
const COMPRESS_FROM_MILLIS = 10

const isLarge = ({ data }: RequestMessage): boolean => data.length > SMALL_BYTES

/** Refused locally: the parser then reads the message to its end and keeps nothing of it. */
const UNWANTED = refuse("3:?", "nobody waits for this reply")

export class Connection {
  readonly fingerprint: Fingerprint
  private readonly socket: TLSSocket
  private readonly parser: Parser<ReplyHeader>
  private readonly options: ConnectionOptions
  /** What waits to be sent: small requests, and requests with much data. */
  private readonly small = new Map<number, Entry>()
  private readonly large = new Map<number, Entry>()
  private largeIsNext = false
  private readonly inFlight = new Map<number, Entry>()
  private lastId = 0
  private blocked = false
  private corked = false
  private paused = false
  /** When the server last got on with what it owes, and what has come since. */
  private progressAt = 0
  private received = 0
  private readonly compressor = new Compressor()
  private serverTakesZstd = false
  private roundTrip: number
  private leaving = false
  private loss: Loss | undefined

  /** Takes over the socket. Until its server is trusted, it must be asked for nothing but the proof of who it is. */
  constructor({ fingerprint, handshakeMillis, socket }: Dialled, options: ConnectionOptions) {
    this.fingerprint = fingerprint
    this.roundTrip = handshakeMillis
    this.socket = socket
    this.options = options
    this.parser = new Parser<ReplyHeader>({
      parseHeader: parseReplyHeader,
      onHeader: (header) => this.admit(header),
      onMessage: (message) => this.onMessage(message),
      onFault: () => this.breach("it sent something that is no reply")
    })
    if (socket.destroyed) {
      this.fail(new ConnectionLost({ message: "the server closed the connection" }))
      return
    }
    socket.on("data", (chunk: Uint8Array) => this.onData(chunk))
    socket.on("drain", () => {
      this.blocked = false
      this.pump()
    })
    socket.on("end", () => this.fail(new ConnectionLost({ message: "the server closed the connection" })))
    socket.on("error", (error) => this.fail(new ConnectionLost({ message: `the connection broke: ${error.message}` })))
    socket.on("close", () => this.fail(new ConnectionLost({ message: "the connection was closed" })))
    socket.on("timeout", () => this.onSilence())
    socket.setKeepAlive(true, 30_000)
    socket.setTimeout(options.silenceMillis)
  }

  /** True while new requests may be sent. */
  get usable(): boolean {
    return this.loss === undefined && !this.leaving
  }

  /** Nothing is asked that is not answered. */
  get idle(): boolean {
    return this.inFlight.size === 0 && this.small.size === 0 && this.large.size === 0
  }

  /** Requests that are not answered, or not even sent. */
  get load(): number {
    return this.inFlight.size + this.small.size + this.large.size
  }

  /** The shortest time in which the server has answered: the handshake, or a small request. */
  get roundTripMillis(): number {
    return this.roundTrip
  }

  private get compresses(): boolean {
    const { compression } = this.options
    return compression === "always" || (compression === "auto" && this.roundTrip >= COMPRESS_FROM_MILLIS)
  }

  /** The request with its data compressed, where that is to be, can be and is worth it. */
  async pack(request: RequestMessage): Promise<RequestMessage> {
    const { data } = request
    const packed = this.serverTakesZstd && this.compresses ? await this.compressor.shrink(data) : undefined
    return packed === undefined ? request : { ...request, data: packed, rawBytes: data.length }
  }

  /** Sends a request when its turn comes, and returns its id. */
  send(request: RequestMessage, exchange: Exchange): number {
    const id = ++this.lastId
    if (!this.usable) {
      exchange.onLost(this.loss ?? new ConnectionLost({ message: "the server is leaving" }), false)
      return id
    }
    const waiting = isLarge(request) ? this.large : this.small
    waiting.set(id, { request, sentAt: 0, takesZstd: false, exchange, written: false, early: undefined })
    this.pump()
    return id
  }

  /** Nobody waits for this request any more. Its place is free once the server has answered it. */
  abandon(id: number): void {
    if (this.small.delete(id) || this.large.delete(id)) return
    const entry = this.inFlight.get(id)
    if (entry !== undefined) entry.exchange = undefined
  }

  /** Stops reading: the server's replies, all of them, wait in the network. */
  pause(): void {
    this.paused = true
    this.socket.pause()
  }

  resume(): void {
    if (!this.paused) return
    this.paused = false
    // The silence before this moment was ours.
    this.socket.setTimeout(this.options.silenceMillis)
    this.progress()
    this.socket.resume()
  }

  /** Closes at once; what is unanswered is lost. Idempotent. */
  close(loss: Loss = new ConnectionLost({ message: "the client closed the connection" })): void {
    this.fail(loss)
  }

  /** Calls back once when the connection has ended, also where that was before. */
  onEnd(listener: () => void): void {
    if (this.socket.destroyed) listener()
    else this.socket.once("close", listener)
  }

  private pump(): void {
    while (!this.blocked && this.inFlight.size < MAX_IN_FLIGHT && this.usable) {
      const preferred = this.largeIsNext ? this.large : this.small
      const waiting = preferred.size > 0 ? preferred : this.largeIsNext ? this.small : this.large
      const [first] = waiting
      if (first === undefined) return
      const [id, entry] = first
      this.largeIsNext = waiting === this.small
      waiting.delete(id)
      if (this.inFlight.size === 0) this.progress()
      this.inFlight.set(id, entry)
      this.write(id, entry)
    }
  }

  private write(id: number, entry: Entry): void {
    const { auth, body, category, data, rawBytes, subcategory } = entry.request
    entry.takesZstd = this.compresses
    const header = encodeRequestHeader({
      id,
      category,
      subcategory,
      auth_size: auth.length,
      body_size: body.length,
      data_size: data.length,
      more: false,
      finish: false,
      zstd: entry.takesZstd,
      ...rawBytes === undefined ? {} : { raw_size: rawBytes }
    })
    const apart = isLarge(entry.request)
    entry.sentAt = performance.now()
    const head = Buffer.concat(apart ? [header, auth, body] : [header, auth, body, data])
    const onWritten = () => {
      entry.written = true
      // The server owes nothing before it has the request.
      this.progress()
      if (entry.early !== undefined) this.deliver(id, entry, entry.early)
    }
    if (apart) {
      // A corked socket would copy the data into one buffer with what was written before.
      this.uncork()
      this.socket.write(head)
      this.blocked = !this.socket.write(data, onWritten)
    } else {
      if (!this.corked) {
        this.corked = true
        this.socket.cork()
        process.nextTick(() => this.uncork())
      }
      this.blocked = !this.socket.write(head, onWritten)
    }
  }

  private uncork(): void {
    if (!this.corked) return
    this.corked = false
    this.socket.uncork()
  }

  private admit(header: ReplyHeader): Refusal | undefined {
    if (!isCompatible(header.version)) {
      return this.breach(`it speaks version ${header.version} of the protocol, which this client does not`)
    }
    if (
      header.body_size > MAX_REPLY_BODY_BYTES || header.data_size > MAX_DATA_BYTES ||
      contentBytes(header) > MAX_DATA_BYTES
    ) {
      return this.breach(`it announced a reply of ${header.body_size} and ${contentBytes(header)} bytes`)
    }
    this.serverTakesZstd ||= header.zstd
    if (header.id === 0) {
      return header.more || header.data_size > 0 || isSuccess(header.code)
        ? this.breach("it answered a request that has no id")
        : undefined
    }
    const entry = this.inFlight.get(header.id)
    if (entry === undefined) return this.breach("it answered a request that was not sent")
    if (header.raw_size !== undefined && !entry.takesZstd) return this.breach("it compressed what it was not to")
    if (entry.exchange === undefined) {
      if (!header.more) this.forget(header)
      return UNWANTED
    }
    const streams = entry.exchange.streamed && isSuccess(header.code)
    if (header.more !== (header.code === "0:read") || (!streams && (header.more || header.data_size > 0))) {
      return this.breach("it sent more than was asked for")
    }
    return undefined
  }

  private onMessage(received: Message<ReplyHeader>): void {
    if (received.header.id === 0) return this.onAnnouncement(received)
    const message = this.unpack(received)
    if (message === undefined) return
    const { header } = message
    const entry = this.inFlight.get(header.id)
    if (entry === undefined) return
    if (!isLarge(entry.request)) this.roundTrip = Math.min(this.roundTrip, performance.now() - entry.sentAt)
    if (header.more) {
      entry.exchange?.onReply(message)
    } else if (entry.written || !isSuccess(header.code)) {
      this.deliver(header.id, entry, message)
    } else {
      // The data may still be on its way out: its owner must not get it back before.
      entry.early = message
    }
  }

  /** The message with its data as it is; `undefined` when that is none. */
  private unpack(message: Message<ReplyHeader>): Message<ReplyHeader> | undefined {
    const { raw_size, ...header } = message.header
    if (raw_size === undefined) return message
    const content = expand(message.data, raw_size)
    if (content !== undefined) return { ...message, header: { ...header, data_size: raw_size }, data: [content] }
    this.breach("it sent compressed data that is none")
    return undefined
  }

  private deliver(id: number, entry: Entry, message: Message<ReplyHeader>): void {
    if (this.inFlight.get(id) !== entry) return
    const { exchange } = entry
    this.forget(message.header)
    exchange?.onReply(message)
  }

  /** A request has been answered: its place goes to the next. */
  private forget(header: ReplyHeader): void {
    this.inFlight.delete(header.id)
    this.progress()
    if (header.ended_connection) this.leave("the server is closing the connection")
    else if (this.leaving) this.closeWhenIdle()
    else this.pump()
  }

  /** A refusal that concerns no request but the connection. */
  private onAnnouncement(message: Message<ReplyHeader>): void {
    const refusal = decodeRefusal(message.header.code, message.body)
    if (refusal.code === "3:s") this.leave(refusal.message)
    else this.fail(refusal)
  }

  private leave(message: string): void {
    if (!this.usable) return
    this.leaving = true
    this.options.onLeaving(message)
    this.loseWaiting(new ConnectionLost({ message }))
    this.closeWhenIdle()
  }

  private closeWhenIdle(): void {
    if (this.inFlight.size === 0) this.fail(new ConnectionLost({ message: "the server closed the connection" }))
  }

  private onData(chunk: Uint8Array): void {
    this.received += chunk.length
    if (this.received >= PROGRESS_BYTES) this.progress()
    this.parser.push(chunk)
    // Every byte ends the silence, so a server could keep its clients waiting for ever by one now and then.
    if (this.inFlight.size === 0 || performance.now() - this.progressAt <= 2 * this.options.silenceMillis) return
    this.fail(new ConnectionLost({ message: "the server sends, but does not get on with what it was asked for" }))
  }

  private progress(): void {
    this.progressAt = performance.now()
    this.received = 0
  }

  private onSilence(): void {
    if (this.inFlight.size === 0 || this.paused) return
    const seconds = this.options.silenceMillis / 1000
    this.fail(new ConnectionLost({ message: `the server has not answered for ${seconds} seconds` }))
  }

  private breach(message: string): Refusal {
    this.fail(new ProtocolError({ message: `the server does not keep to the protocol: ${message}` }))
    return UNWANTED
  }

  private fail(loss: Loss): void {
    if (this.loss !== undefined) return
    this.loss = loss
    this.parser.stop()
    // TLS says goodbye where nothing is left to say; a peer that takes nothing is not waited for.
    if (this.socket.writableLength === 0) this.socket.destroySoon()
    else this.socket.destroy()
    this.loseWaiting(loss)
    this.lose(this.inFlight, loss, true)
  }

  private loseWaiting(loss: Loss): void {
    this.lose(this.small, loss, false)
    this.lose(this.large, loss, false)
  }

  private lose(entries: Map<number, Entry>, loss: Loss, sent: boolean): void {
    const lost = [...entries.values()]
    entries.clear()
    for (const { exchange } of lost) exchange?.onLost(loss, sent)
  }
}
