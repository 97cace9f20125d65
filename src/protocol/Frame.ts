/**
 * The push parser: bytes in, whole messages out (docs/protocol.md, section 2).
 *
 * Pure and synchronous. Data is not copied: `Message.data` is a list of views into the chunks that were pushed. Only
 * what comes in crumbs is gathered in blocks, so a message never holds more pieces than its size justifies.
 * It never buffers what was not admitted: `onHeader` sees the sizes before a byte of a component is kept, and `onAuth`
 * sees the auth component before a byte of body or data is kept. What either refuses is read to its end and dropped, so
 * one refused message never shifts the next.
 */
import { HEADER_BYTES } from "./Limits.ts"
import type { Refusal } from "./Refusal.ts"

/** The sizes a header announces. Reply headers have no auth component. */
export interface Sizes {
  readonly auth_size?: number
  readonly body_size: number
  readonly data_size: number
}

export interface Message<H> {
  readonly header: H
  readonly auth: Uint8Array
  readonly body: Uint8Array
  /** `header.data_size` bytes in order, as views; do not write to them. */
  readonly data: ReadonlyArray<Uint8Array>
}

export interface Handlers<H extends Sizes> {
  /** Decodes 256 bytes; `undefined` ends the connection through `onFault`. */
  readonly parseHeader: (bytes: Uint8Array) => H | undefined
  /**
   * Before anything of the message is kept. A refusal skips the whole message. Auth and body components are allocated
   * as announced, so a side that reads from a peer bounds them here.
   */
  readonly onHeader?: (header: H) => Refusal | undefined
  /** After the auth component, before body and data are kept. A refusal skips the rest. */
  readonly onAuth?: (header: H, auth: Uint8Array) => Refusal | undefined
  readonly onMessage: (message: Message<H>) => void
  /** A refused message has been read to its end. */
  readonly onSkipped?: (header: H, refusal: Refusal) => void
  /** The header could not be parsed. The parser takes no more bytes. */
  readonly onFault: () => void
}

type Stage = "header" | "auth" | "body" | "data" | "skip" | "dead"

const NOTHING = new Uint8Array(0)

/**
 * A piece of data shorter than this is copied into a block. A view costs some hundred bytes whatever its length: a peer
 * that sends one byte at a time would otherwise make its data cost more than a hundred times its size.
 */
const CRUMB_BYTES = 1024
const BLOCK_BYTES = 16 * 1024

export class Parser<H extends Sizes> {
  private readonly handlers: Handlers<H>
  private stage: Stage = "header"
  private readonly head = new Uint8Array(HEADER_BYTES)
  private header: H | undefined
  private auth: Uint8Array = NOTHING
  private body: Uint8Array = NOTHING
  private data: Array<Uint8Array> = []
  /** The last of `data` while it has room: it is filled before another view is taken. */
  private block: Uint8Array | undefined
  private blockFilled = 0
  private refusal: Refusal | undefined
  /** Bytes of the current stage that are here / still missing. */
  private filled = 0
  private missing = HEADER_BYTES

  constructor(handlers: Handlers<H>) {
    this.handlers = handlers
  }

  /** True between two messages: nothing of the next one has arrived. */
  get idle(): boolean {
    return this.stage === "header" && this.filled === 0
  }

  /** True after a header that could not be parsed, and after {@link stop}. */
  get dead(): boolean {
    return this.stage === "dead"
  }

  /** Ignores everything from here on. */
  stop(): void {
    this.stage = "dead"
    this.data = []
    this.block = undefined
    this.auth = this.body = NOTHING
  }

  /** Takes the next bytes of the stream. The parser keeps views into `chunk` while it is part of a message's data. */
  push(chunk: Uint8Array): void {
    let at = 0
    while (at < chunk.length && this.stage !== "dead") {
      let take = Math.min(this.missing, chunk.length - at)
      switch (this.stage) {
        case "header":
          this.head.set(chunk.subarray(at, at + take), this.filled)
          break
        case "auth":
          this.auth.set(chunk.subarray(at, at + take), this.filled)
          break
        case "body":
          this.body.set(chunk.subarray(at, at + take), this.filled)
          break
        case "data":
          take = this.collect(chunk.subarray(at, at + take))
          break
        case "skip":
          break
      }
      at += take
      this.filled += take
      this.missing -= take
      // Stages of no bytes are passed at once, so a message ends with its last byte and not with the next one's first.
      while (this.missing === 0 && !this.dead) this.advance()
    }
  }

  /** Keeps data, as a view or in a block; gives how much of `piece` that was. */
  private collect(piece: Uint8Array): number {
    if (this.block === undefined) {
      if (piece.length >= CRUMB_BYTES) {
        this.data.push(piece)
        return piece.length
      }
      this.block = new Uint8Array(Math.min(this.missing, BLOCK_BYTES))
      this.blockFilled = 0
      this.data.push(this.block)
    }
    const taken = Math.min(piece.length, this.block.length - this.blockFilled)
    this.block.set(taken === piece.length ? piece : piece.subarray(0, taken), this.blockFilled)
    this.blockFilled += taken
    if (this.blockFilled === this.block.length) this.block = undefined
    return taken
  }

  private enter(stage: Stage, bytes: number): void {
    this.stage = stage
    this.filled = 0
    this.missing = bytes
  }

  private advance(): void {
    const { handlers, header } = this
    if (this.stage === "header") {
      const parsed = handlers.parseHeader(this.head)
      if (parsed === undefined) {
        this.stop()
        handlers.onFault()
        return
      }
      this.header = parsed
      this.refusal = handlers.onHeader?.(parsed)
      if (this.dead) return
      const authBytes = parsed.auth_size ?? 0
      if (this.refusal !== undefined) {
        this.enter("skip", authBytes + parsed.body_size + parsed.data_size)
      } else {
        this.auth = authBytes === 0 ? NOTHING : new Uint8Array(authBytes)
        this.enter("auth", authBytes)
      }
      return
    }
    if (header === undefined) return
    switch (this.stage) {
      case "auth":
        this.refusal = handlers.onAuth?.(header, this.auth)
        if (this.dead) return
        if (this.refusal !== undefined) {
          this.enter("skip", header.body_size + header.data_size)
        } else {
          this.body = header.body_size === 0 ? NOTHING : new Uint8Array(header.body_size)
          this.enter("body", header.body_size)
        }
        return
      case "body":
        this.enter("data", header.data_size)
        return
      case "data": {
        const message = { header, auth: this.auth, body: this.body, data: this.data }
        this.reset()
        handlers.onMessage(message)
        return
      }
      case "skip": {
        const refusal = this.refusal
        this.reset()
        if (refusal !== undefined) handlers.onSkipped?.(header, refusal)
        return
      }
    }
  }

  private reset(): void {
    this.header = undefined
    this.refusal = undefined
    this.auth = this.body = NOTHING
    this.data = []
    this.enter("header", HEADER_BYTES)
  }
}
