/**
 * The writing half of a connection: replies and content streams onto one TLS socket.
 *
 * Imperative, because every byte of every download passes here. Small replies of one turn of the event loop leave in
 * one write; larger content goes out as it is, never copied. A peer that stops reading stalls its own streams: at most
 * `BUFFERED_BYTES` and one chunk for each of its streams wait for it.
 */
import { setTimeout } from "node:timers/promises"
import type { TLSSocket } from "node:tls"
import type { Compressor } from "../platform/Compression.ts"
import type { Code } from "../protocol/Code.ts"
import { encodeReplyHeader } from "../protocol/Header.ts"
import { encodeJson } from "../protocol/Json.ts"
import { HEADER_BYTES } from "../protocol/Limits.ts"
import type { Refusal } from "../protocol/Refusal.ts"
import type { ReadHead } from "../protocol/Request.ts"
import type { Batch, ContentSource } from "./ContentSource.ts"

/** Content waits while this much is on its way to the kernel. */
const BUFFERED_BYTES = 1024 * 1024

/** Content up to this size leaves together with its header, and with other replies. */
const SMALL_BYTES = 16 * 1024

export class ReplyWriter {
  private readonly socket: TLSSocket
  private readonly now: () => number
  private waiting: Array<() => void> = []
  private corked = false
  /** When the peer last took something, or when there was last nothing to take. */
  private progressAt: number
  private unsent = 0
  private unreadBytes = 0
  private readonly onRead: () => void
  private zstd = false

  /** `onRead` is called whenever the peer has taken all replies. */
  constructor(socket: TLSSocket, now: () => number, onRead: () => void) {
    this.socket = socket
    this.now = now
    this.onRead = onRead
    this.progressAt = now()
    const wake = () => {
      const waiting = this.waiting
      this.waiting = []
      for (const resume of waiting) resume()
    }
    socket.on("drain", wake)
    socket.on("close", wake)
  }

  get closed(): boolean {
    return this.socket.destroyed || this.socket.writableEnded
  }

  /** For how long the peer has taken nothing although there was something, in milliseconds. */
  stalledFor(now: number): number {
    return this.unsent === 0 ? 0 : now - this.progressAt
  }

  /** Bytes of replies, content aside, that wait for the peer to take them. */
  get unread(): number {
    return this.unreadBytes
  }

  /** The peer knows of compressed data: every reply from here on says that it is taken here, too. */
  announceZstd(): void {
    this.zstd = true
  }

  /** Takes a time off the clock by which {@link stalledFor} goes. */
  pardon(millis: number): void {
    this.progressAt += millis
  }

  reply(id: number, code: Code, body: unknown, ended = false): void {
    if (this.closed) return
    this.cork()
    const message = this.message(id, code, body, 0, false, ended)
    this.unreadBytes += message.length
    this.write(message, () => {
      this.unreadBytes -= message.length
      if (this.unreadBytes === 0) this.onRead()
    })
  }

  refuse(id: number, refusal: Refusal, ended = false): void {
    this.reply(id, refusal.code, refusal.body, ended)
  }

  /**
   * Streams `content` as a run of messages whose first carries `head`. Resolves when the last was handed to the socket,
   * or the peer is gone; rejects with what `content.next` rejects with. Does not close the source. `pace` is told what was
   * written, or read and withheld, and says for how many milliseconds to rest. Without a compressor it goes as it is.
   */
  async stream(
    id: number,
    head: ReadHead,
    content: ContentSource,
    ended: boolean,
    pace: (bytes: number) => number,
    compressor: Compressor | undefined
  ): Promise<void> {
    let remaining = content.length
    let body: object | undefined = head
    while (!this.closed) {
      let chunk = content.next()
      if (chunk instanceof Promise) chunk = await chunk
      const shrinking = chunk === undefined ? undefined : compressor?.shrink(chunk)
      const compressed = shrinking === undefined ? undefined : await shrinking
      if (this.closed) return
      remaining = chunk === undefined ? 0 : remaining - chunk.length
      const last = remaining === 0
      const sha256 = last ? content.sha256() : undefined
      const carried = sha256 === undefined ? body : { ...body, sha256 }
      const bytes = chunk?.length ?? 0
      const data = compressed ?? chunk
      // A corked socket copies what it has into one record: worth it while that is little.
      if (remaining === 0 && (data?.length ?? 0) <= SMALL_BYTES) this.cork()
      else this.uncork()
      const raw = compressed === undefined ? undefined : bytes
      const code = last ? "1:read" : "0:read"
      this.write(this.message(id, code, carried, data?.length ?? 0, !last, last && ended, raw))
      if (chunk !== undefined && data !== undefined) {
        const source = chunk
        this.write(data, () => content.release(source))
      }
      const rest = pace(bytes + (content.withheld?.() ?? 0))
      if (last) return
      body = undefined
      if (rest > 0) await setTimeout(rest)
      while (this.socket.writableLength > BUFFERED_BYTES && !this.closed) await this.drained()
    }
  }

  /**
   * Writes one message of a run that carries whole files. Resolves when the next may be written, or the peer is gone;
   * `pace` and `compressor` as in {@link stream}.
   */
  async batch(
    id: number,
    body: object,
    { chunks, last }: Batch,
    ended: boolean,
    pace: (bytes: number) => number,
    compressor: Compressor | undefined
  ): Promise<void> {
    const bytes = chunks.reduce((sum, chunk) => sum + chunk.length, 0)
    const compressed = compressor === undefined ? undefined : await compressor.shrink(Buffer.concat(chunks))
    if (this.closed) return
    const data = compressed === undefined ? chunks : [compressed]
    const length = compressed?.length ?? bytes
    if (length <= SMALL_BYTES) this.cork()
    else this.uncork()
    const raw = compressed === undefined ? undefined : bytes
    this.write(this.message(id, last ? "1:read" : "0:read", body, length, !last, last && ended, raw))
    for (const chunk of data) this.write(chunk)
    const rest = pace(bytes)
    if (last) return
    if (rest > 0) await setTimeout(rest)
    while (this.socket.writableLength > BUFFERED_BYTES && !this.closed) await this.drained()
  }

  private drained(): Promise<void> {
    return new Promise((resume) => this.waiting.push(resume))
  }

  /** What is written in this turn of the event loop leaves in one piece. */
  private cork(): void {
    if (this.corked) return
    this.corked = true
    this.socket.cork()
    process.nextTick(() => this.uncork())
  }

  private uncork(): void {
    if (!this.corked) return
    this.corked = false
    this.socket.uncork()
  }

  private write(bytes: Uint8Array, onSent?: () => void): void {
    if (this.unsent === 0) this.progressAt = this.now()
    this.unsent += 1
    this.socket.write(bytes, () => {
      this.unsent -= 1
      this.progressAt = this.now()
      onSent?.()
    })
  }

  /** A header and its body in one piece. */
  private message(
    id: number,
    code: Code,
    body: unknown,
    dataBytes: number,
    more: boolean,
    ended: boolean,
    rawBytes?: number
  ): Uint8Array {
    const json = encodeJson(body)
    const header = encodeReplyHeader({
      id,
      code,
      body_size: json.length,
      data_size: dataBytes,
      more,
      ended_connection: ended,
      timestamp: this.now(),
      zstd: this.zstd,
      ...rawBytes === undefined ? {} : { raw_size: rawBytes }
    })
    if (json.length === 0) return header
    const message = new Uint8Array(HEADER_BYTES + json.length)
    message.set(header)
    message.set(json, HEADER_BYTES)
    return message
  }
}
