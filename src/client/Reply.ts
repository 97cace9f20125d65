/**
 * Replies as Effects: one answer, or a stream of messages with a bounded buffer.
 *
 * Interruption abandons the request: its reply, if one comes, is dropped.
 */
import { Data, Effect } from "effect"
import { isSuccess } from "../protocol/Code.ts"
import type { Message } from "../protocol/Frame.ts"
import type { ReplyHeader } from "../protocol/Header.ts"
import type { Refusal } from "../protocol/Refusal.ts"
import { ProtocolError } from "./ClientError.ts"
import type { Connection, Exchange, Loss, RequestMessage } from "./Connection.ts"
import { decodeRefusal } from "./ServerText.ts"

/** The connection ended before the (whole) reply was here. Link.ts decides whether to ask again. */
export class Unanswered extends Data.TaggedError("Unanswered")<{
  readonly loss: Loss
  /** False when the server has not seen a byte of the request. */
  readonly sent: boolean
}> {}

/** Sends a request and waits for its one answer: the reply's body. */
export const ask = (
  connection: Connection,
  request: RequestMessage
): Effect.Effect<Uint8Array, Refusal | Unanswered> =>
  Effect.callback((resume) => {
    const id = connection.send(request, {
      streamed: false,
      onReply: ({ body, header }) =>
        resume(isSuccess(header.code) ? Effect.succeed(body) : Effect.fail(decodeRefusal(header.code, body))),
      onLost: (loss, sent) => resume(Effect.fail(new Unanswered({ loss, sent })))
    })
    return Effect.sync(() => connection.abandon(id))
  })

export interface ReplyStreamOptions {
  readonly capacity: number
  /**
   * `pause`: the connection is not read while `capacity` bytes wait to be taken. `close`: a server that sends more than
   * `capacity` in all is not spoken to again.
   */
  readonly whenFull: "pause" | "close"
}

/** Room that a message takes besides its content, so that empty messages are not free. */
const MESSAGE_BYTES = 1024

const sizeOf = ({ header }: Message<ReplyHeader>): number => MESSAGE_BYTES + header.body_size + header.data_size

/** A reply of many messages, taken one by one. */
export class ReplyStream implements Exchange {
  readonly streamed = true
  private readonly connection: Connection
  private readonly options: ReplyStreamOptions
  private readonly id: number
  private readonly queue: Array<Message<ReplyHeader>> = []
  private held = 0
  private end: Effect.Effect<undefined, Refusal | Unanswered> | undefined
  private wake: (() => void) | undefined

  /** Sends the request. */
  constructor(connection: Connection, request: RequestMessage, options: ReplyStreamOptions) {
    this.connection = connection
    this.options = options
    this.id = connection.send(request, this)
  }

  /** True when the last message has arrived. */
  get ended(): boolean {
    return this.end !== undefined
  }

  onReply(message: Message<ReplyHeader>): void {
    const { body, header } = message
    if (isSuccess(header.code)) {
      this.queue.push(message)
      this.held += sizeOf(message)
      if (!header.more) this.end = Effect.undefined
      else if (this.held > this.options.capacity) this.onFull()
    } else {
      this.end = Effect.fail(decodeRefusal(header.code, body))
    }
    this.wake?.()
  }

  onLost(loss: Loss, sent: boolean): void {
    this.end = Effect.fail(new Unanswered({ loss, sent }))
    this.wake?.()
  }

  /** The next message; `undefined` after the last. What arrived before a failure comes first. */
  readonly next: Effect.Effect<Message<ReplyHeader> | undefined, Refusal | Unanswered> = Effect.suspend(() => {
    const message = this.queue.shift()
    if (message !== undefined) {
      if (this.options.whenFull === "pause") {
        this.held -= sizeOf(message)
        if (this.held <= this.options.capacity / 2) this.connection.resume()
      }
      return Effect.succeed(message)
    }
    return this.end ?? Effect.andThen(this.arrival, this.next)
  })

  /** Nobody takes what is left. */
  abandon(): void {
    this.queue.length = 0
    this.connection.abandon(this.id)
    this.connection.resume()
  }

  private readonly arrival = Effect.callback<void>((resume) => {
    this.wake = () => {
      this.wake = undefined
      resume(Effect.void)
    }
    return Effect.sync(() => this.wake = undefined)
  })

  private onFull(): void {
    if (this.options.whenFull === "pause") this.connection.pause()
    else this.connection.close(new ProtocolError({ message: "the server sent more than it was asked for" }))
  }
}
