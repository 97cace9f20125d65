/**
 * The two ways in which the reply to a Read arrives: collected, when it is known to be small, and on a lane (Link.ts),
 * taken message by message.
 */
import { Effect, Result } from "effect"
import type { Message } from "../protocol/Frame.ts"
import type { ReplyHeader } from "../protocol/Header.ts"
import type { Sha256 } from "../protocol/Identity.ts"
import { MAX_DATA_BYTES } from "../protocol/Limits.ts"
import type { Refusal } from "../protocol/Refusal.ts"
import { decodeReadTail, type ReadHead } from "../protocol/Request.ts"
import { decodeAnswer } from "./Api.ts"
import type { Chunks } from "./Chunks.ts"
import { ProtocolError } from "./ClientError.ts"
import type { Connection, RequestMessage } from "./Connection.ts"
import { type Link, type LinkError, MAX_ATTEMPTS, withRetry } from "./Link.ts"
import { ReplyStream, type Unanswered } from "./Reply.ts"

/** What waits on a lane for its reader before the lane is not read any more. */
const LANE_BYTES = 4 * 1024 * 1024

/** A collected reply has `MAX_DATA_BYTES` of content; this leaves room for it to come in small messages. */
const COLLECTED_BYTES = 4 * MAX_DATA_BYTES

type ReplyMessage = Message<ReplyHeader>

export interface Part {
  readonly chunks: Chunks
  /** Of the whole file, when this part says it. */
  readonly sha256: Sha256 | undefined
}

export interface Collected {
  readonly head: ReadHead
  readonly parts: ReadonlyArray<Part>
}

export interface Lane {
  readonly head: ReadHead
  /** The next part; `undefined` after the last. */
  readonly next: Effect.Effect<Part | undefined, Refusal | ProtocolError | Unanswered>
  /** Idempotent. */
  readonly close: () => void
}

export const headOf = (message: ReplyMessage | undefined): Result.Result<ReadHead, ProtocolError> =>
  message === undefined
    ? Result.fail(new ProtocolError({ message: "the server's answer to Read is empty" }))
    : decodeAnswer("Read", message.body)

export const partOf = (message: ReplyMessage): Result.Result<Part, ProtocolError> => {
  const { body, data, header } = message
  if (header.more || body.length === 0) return Result.succeed({ chunks: data, sha256: undefined })
  return Result.match(decodeReadTail(body), {
    onSuccess: ({ sha256 }) => Result.succeed({ chunks: data, sha256 }),
    onFailure: ({ message }) =>
      Result.fail(new ProtocolError({ message: `the end of the server's answer: ${message}` }))
  })
}

/** Sends a Read of at most `MAX_DATA_BYTES` and waits for all of it. */
export const collect = (link: Link, request: RequestMessage): Effect.Effect<Collected, LinkError> => {
  const gather = (connection: Connection): Effect.Effect<ReadonlyArray<ReplyMessage>, Refusal | Unanswered> =>
    Effect.suspend(() => {
      const stream = new ReplyStream(connection, request, { capacity: COLLECTED_BYTES, whenFull: "close" })
      const messages: Array<ReplyMessage> = []
      const rest: Effect.Effect<ReadonlyArray<ReplyMessage>, Refusal | Unanswered> = Effect.flatMap(
        stream.next,
        (message) => {
          if (message === undefined) return Effect.succeed(messages)
          messages.push(message)
          return rest
        }
      )
      return Effect.onInterrupt(rest, () => Effect.sync(() => stream.abandon()))
    })

  return Effect.flatMap(
    withRetry(link, "Read", true, gather),
    ([first, ...rest]) =>
      Effect.fromResult(Result.gen(function*() {
        const head = yield* headOf(first)
        const parts: Array<Part> = [{ chunks: first?.data ?? [], sha256: head.sha256 }]
        for (const message of rest) parts.push(yield* partOf(message))
        return { head, parts }
      }))
  )
}

/** Sends a Read on a lane and waits for its head. */
export const openLane = (link: Link, request: RequestMessage): Effect.Effect<Lane, LinkError> => {
  const open = (connection: Connection, restore: <A, E>(effect: Effect.Effect<A, E>) => Effect.Effect<A, E>) => {
    const stream = new ReplyStream(connection, request, { capacity: LANE_BYTES, whenFull: "pause" })
    let closed = false
    const close = () => {
      if (closed) return
      closed = true
      const clean = stream.ended
      stream.abandon()
      link.releaseLane(connection, clean)
    }
    const take = Effect.flatMap(
      stream.next,
      (message) => message === undefined ? Effect.undefined : Effect.fromResult(partOf(message))
    )
    return restore(stream.next).pipe(
      Effect.flatMap((first) =>
        Effect.map(Effect.fromResult(headOf(first)), (head): Lane => {
          let begun = false
          const next = Effect.suspend((): Lane["next"] => {
            if (begun) return take
            begun = true
            return Effect.succeed({ chunks: first?.data ?? [], sha256: head.sha256 })
          })
          return { head, next, close }
        })
      ),
      Effect.onError(() => Effect.sync(close))
    )
  }

  const attempt = (number: number): Effect.Effect<Lane, LinkError> =>
    Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(restore(link.takeLane), (connection) => open(connection, restore))
    ).pipe(
      Effect.catchTag(
        "Unanswered",
        ({ loss }) => number < MAX_ATTEMPTS && loss._tag !== "ProtocolError" ? attempt(number + 1) : Effect.fail(loss)
      )
    )
  return link.persist(attempt(1), true)
}
