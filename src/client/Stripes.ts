/**
 * A range of a file that comes by several lanes: cut into stripes, each asked for by a Read of its own, a few of them on
 * their way on each lane, and given in order.
 *
 * Invariants: at most `STRIPES_PER_LANE` stripes for each lane are held or on their way; all are of the version that was
 * asked for. A lane that breaks ends it with `Unanswered`: who reads goes on behind what was given.
 */
import { Effect, Result } from "effect"
import type { FileRef } from "../protocol/FileName.ts"
import { Refusal } from "../protocol/Refusal.ts"
import type { Api, CallError } from "./Api.ts"
import { bytesOf } from "./Chunks.ts"
import { ConnectionLost, ProtocolError } from "./ClientError.ts"
import type { Connection } from "./Connection.ts"
import type { Link } from "./Link.ts"
import { headOf, type Lane, type Part, partOf } from "./ReadReply.ts"
import { ReplyStream, Unanswered } from "./Reply.ts"

const STRIPE_BYTES = 4 * 1024 * 1024
const STRIPES_PER_LANE = 3

export interface Striped {
  readonly file: FileRef
  readonly version: number
  readonly from: number
  readonly to: number
  readonly connections: number
}

interface Stripe {
  readonly connection: Connection
  readonly stream: ReplyStream
  readonly from: number
  readonly length: number
  received: number
  begun: boolean
}

const wrong = new ProtocolError({ message: "the server's answer to Read is wrong: it is about another range" })

/** Takes as many lanes as there are to be had, and at least one. */
const takeLanes = (link: Link, count: number) =>
  Effect.uninterruptibleMask((restore) => {
    const lanes: Array<Connection> = []
    const take = Effect.uninterruptibleMask((restore) =>
      Effect.map(restore(link.takeLane), (lane) => void lanes.push(lane))
    )
    const others = Array.from({ length: count - 1 }, () => Effect.ignore(take))
    return restore(Effect.all([take, ...others], { concurrency: "unbounded", discard: true })).pipe(
      Effect.as(lanes),
      Effect.onError(() =>
        Effect.sync(() => {
          for (const lane of lanes) link.releaseLane(lane, true)
        })
      )
    )
  })

class Stripes {
  private readonly api: Api
  private readonly link: Link
  private readonly lanes: ReadonlyArray<Connection>
  private readonly what: Striped
  private readonly stripes: Array<Stripe> = []
  private asked: number
  private turn = 0
  private closed = false

  constructor(api: Api, link: Link, lanes: ReadonlyArray<Connection>, what: Striped) {
    this.api = api
    this.link = link
    this.lanes = lanes
    this.what = what
    this.asked = what.from
  }

  /** Asks for the next stripes, as many as may be on their way. */
  private readonly fill: Effect.Effect<void, CallError> = Effect.suspend(() => {
    const { lanes, stripes, what: { file: { name, owner }, to, version } } = this
    const connection = lanes[this.turn % lanes.length]
    if (connection === undefined || this.asked === to || stripes.length >= lanes.length * STRIPES_PER_LANE) {
      return Effect.void
    }
    const from = this.asked
    const length = Math.min(STRIPE_BYTES, to - from)
    this.turn += 1
    this.asked += length
    const input = { owner, name, version, position: from, limit: length }
    return Effect.andThen(
      this.api.authorised("Read", input, (request) =>
        Effect.sync(() => {
          const options = { capacity: 2 * STRIPE_BYTES, whenFull: "pause" } as const
          const stream = new ReplyStream(connection, request, options)
          stripes.push({ connection, stream, from, length, received: 0, begun: false })
        })),
      this.fill
    )
  })

  readonly next: Lane["next"] = Effect.suspend(() => {
    const [stripe] = this.stripes
    if (stripe === undefined) return Effect.undefined
    return Effect.matchEffect(stripe.stream.next, {
      onSuccess: (message): Lane["next"] => {
        if (message === undefined) {
          if (stripe.received !== stripe.length) return Effect.fail(wrong)
          this.stripes.shift()
          return Effect.andThen(Effect.catch(this.fill, lost), this.next)
        }
        if (stripe.begun) return this.give(stripe, partOf(message))
        stripe.begun = true
        return this.give(
          stripe,
          Result.flatMap(
            headOf(message),
            ({ length, position, version }) =>
              position === stripe.from && length === stripe.length && version === this.what.version
                ? Result.succeed({ chunks: message.data, sha256: undefined })
                : Result.fail(wrong)
          )
        )
      },
      onFailure: lost
    })
  })

  private give(stripe: Stripe, part: Result.Result<Part, ProtocolError>): Lane["next"] {
    if (Result.isSuccess(part)) stripe.received += bytesOf(part.success.chunks)
    return Effect.fromResult(part)
  }

  readonly open = Effect.andThen(this.fill, this.next)

  close(): void {
    if (this.closed) return
    this.closed = true
    for (const { stream } of this.stripes) stream.abandon()
    this.stripes.length = 0
    for (const lane of this.lanes) this.link.releaseLane(lane, lane.idle)
  }
}

/** What is no answer about the file: somebody who asks again is given a new token, or a new connection. */
const lost = (error: CallError | Unanswered): Effect.Effect<never, Refusal | ProtocolError | Unanswered> => {
  if (error._tag === "Unanswered" || error._tag === "ProtocolError") return Effect.fail(error)
  if (error instanceof Refusal && error.code !== "2:exp") return Effect.fail(error)
  return Effect.fail(new Unanswered({ loss: new ConnectionLost({ message: error.message }), sent: true }))
}

/** Opens lanes, asks for the first stripes and waits for the first bytes: they are of the right version. */
export const openStripes = (api: Api, link: Link, what: Striped) =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(restore(takeLanes(link, what.connections)), (lanes) => {
      const stripes = new Stripes(api, link, lanes, what)
      return restore(stripes.open).pipe(
        Effect.map((first): Omit<Lane, "head"> => {
          let begun = false
          const next = Effect.suspend((): Lane["next"] => {
            if (begun) return stripes.next
            begun = true
            return Effect.succeed(first)
          })
          return { next, close: () => stripes.close() }
        }),
        Effect.onError(() => Effect.sync(() => stripes.close()))
      )
    })
  )
