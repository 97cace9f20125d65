/**
 * Reading a file. Its beginning comes on the connection for requests, in one round trip; what is left of a larger one
 * comes on a lane, as fast as it is taken, or on several (Stripes.ts).
 *
 * Invariants: all bytes are of one version, also when a lane breaks and the next goes on where it ended; a reading that
 * was opened has its version secured; a whole file ends only when its hash was found right.
 */
import { Array as Arr, Effect } from "effect"
import { createHash, type Hash } from "node:crypto"
import type { FileRef } from "../protocol/FileName.ts"
import { Sha256 } from "../protocol/Identity.ts"
import { MAX_DATA_BYTES } from "../protocol/Limits.ts"
import type { ReadHead } from "../protocol/Request.ts"
import type { Api, CallError } from "./Api.ts"
import { bytesOf, drop } from "./Chunks.ts"
import { IntegrityError, ProtocolError } from "./ClientError.ts"
import type { ReadOptions } from "./FipClient.ts"
import { type Link, MAX_ATTEMPTS } from "./Link.ts"
import { collect, type Collected, type Lane, openLane, type Part } from "./ReadReply.ts"
import type { Unanswered } from "./Reply.ts"
import { openStripes } from "./Stripes.ts"
import { connectionsFor } from "./Ways.ts"

export interface OpenOptions extends ReadOptions {
  /** For what is left. One, unless it is given or may be chosen by distance (`auto`). */
  readonly connections?: number | "auto" | undefined
}

export type ReadError = CallError | IntegrityError

const wrong = (what: string) => new ProtocolError({ message: `the server's answer to Read is wrong: ${what}` })

/** A file that is being read. Whoever opens it closes it. */
export class Reading {
  /** Of all that was asked for, not only of the first reply. */
  readonly head: ReadHead
  private readonly api: Api
  private readonly link: Link
  private readonly file: FileRef
  private readonly whole: boolean
  private readonly hash: Hash = createHash("sha256")
  private readonly end: number
  /** The next byte to give. */
  private at: number
  private parts: ReadonlyArray<Part>
  private lane: Omit<Lane, "head"> | undefined
  /** How many to use; one as soon as one of several has broken. */
  private connections: number | "auto"
  /** Bytes that the lane brings again. */
  private skip = 0
  private expected: Sha256 | undefined
  private digest: Sha256 | undefined
  private attempts = 0

  constructor(api: Api, link: Link, file: FileRef, options: OpenOptions, { head, parts }: Collected) {
    this.api = api
    this.link = link
    this.file = file
    this.connections = options.connections ?? 1
    const rest = Math.max(0, head.size - head.position)
    this.at = head.position
    this.end = head.position + Math.min(rest, options.limit ?? rest)
    this.whole = this.at === 0 && this.end === head.size
    this.head = { ...head, length: this.end - this.at }
    this.parts = parts
    for (const { sha256 } of parts) this.expected ??= sha256
  }

  /** True while bytes or a hash are missing that the first reply did not bring. */
  get incomplete(): boolean {
    return this.here < this.end || this.hashless
  }

  /** The hash of a whole file that was read to its end. */
  get sha256(): Sha256 | undefined {
    return this.digest
  }

  /** The next bytes, never none; `undefined` at the end. */
  readonly next: Effect.Effect<Arr.NonEmptyReadonlyArray<Uint8Array> | undefined, ReadError> = Effect.suspend(() => {
    const [part, ...parts] = this.parts
    if (part !== undefined) {
      this.parts = parts
      return this.give(part)
    }
    if (this.lane === undefined) return this.finish()
    return Effect.matchEffect(this.lane.next, {
      onSuccess: (part) => part === undefined ? this.finish() : this.give(part),
      onFailure: (error) => error._tag === "Unanswered" ? this.goOn(error) : Effect.fail(error)
    })
  })

  /** Takes a lane for what is missing. Refused when the version is there no more. */
  readonly secure: Effect.Effect<void, ReadError> = Effect.suspend(() => {
    // A hash that is not known beforehand comes at the end of a reading of the whole.
    const again = this.hashless
    const from = again ? 0 : this.here
    const asked = this.connections === "auto" ? undefined : this.connections
    const connections = connectionsFor(this.link, this.end - from, asked)
    if (connections === 1 || again) return this.secureOne(from, again)
    this.connections = 1
    const { end: to, file, head: { version } } = this
    return Effect.matchEffect(openStripes(this.api, this.link, { file, version, from, to, connections }), {
      onSuccess: (lane) => {
        this.lane = lane
        this.skip = 0
        return Effect.void
      },
      onFailure: (error) => error._tag === "Unanswered" ? this.secureOne(from, again) : Effect.fail(error)
    })
  })

  private secureOne(from: number, again: boolean): Effect.Effect<void, ReadError> {
    const range = again ? {} : { position: from, limit: this.end - from }
    return this.api.authorised(
      "Read",
      { owner: this.file.owner, name: this.file.name, version: this.head.version, ...range },
      (request) => openLane(this.link, request)
    ).pipe(Effect.flatMap((lane) => {
      this.lane = lane
      this.skip = again ? this.at : 0
      if (again) this.parts = []
      const { length, position, version } = lane.head
      return version === this.head.version && position === from && length === this.end - from
        ? Effect.void
        : Effect.fail(wrong("it is about another range or version"))
    }))
  }

  /** Gives back what the reading holds. Idempotent. */
  close(): void {
    this.parts = []
    this.lane?.close()
    this.lane = undefined
  }

  /** Up to where the bytes are here. */
  private get here(): number {
    let here = this.at
    for (const { chunks } of this.parts) here += bytesOf(chunks)
    return here
  }

  private get hashless(): boolean {
    return this.whole && this.expected === undefined
  }

  private give({ chunks, sha256 }: Part): Effect.Effect<Arr.NonEmptyReadonlyArray<Uint8Array> | undefined, ReadError> {
    this.expected ??= sha256
    const rest = drop(chunks, this.skip)
    this.skip -= Math.min(this.skip, bytesOf(chunks))
    if (!Arr.isReadonlyArrayNonEmpty(rest)) return this.next
    const bytes = bytesOf(rest)
    if (this.at + bytes > this.end) return Effect.fail(wrong("it has more bytes than it announced"))
    this.at += bytes
    this.attempts = 0
    if (this.whole) { for (const chunk of rest) this.hash.update(chunk) }
    return Effect.succeed(rest)
  }

  private finish(): Effect.Effect<undefined, ReadError> {
    this.close()
    if (this.at < this.end) return Effect.fail(wrong("it has fewer bytes than it announced"))
    if (!this.whole || this.digest !== undefined) return Effect.undefined
    if (this.expected === undefined) return Effect.fail(wrong("a whole file came without its hash"))
    this.digest = Sha256.make(this.hash.digest("hex"))
    if (this.digest === this.expected) return Effect.undefined
    return Effect.fail(
      new IntegrityError({
        message: `${this.file.name} did not arrive as it is stored: its hash is ${this.digest} here ` +
          `and ${this.expected} on the server. Try again`
      })
    )
  }

  /** The lane broke: takes another one for what is missing. */
  private goOn({ loss }: Unanswered): Effect.Effect<Arr.NonEmptyReadonlyArray<Uint8Array> | undefined, ReadError> {
    this.attempts += 1
    this.lane?.close()
    this.lane = undefined
    if (loss._tag === "ProtocolError" || this.attempts >= MAX_ATTEMPTS) return Effect.fail(loss)
    return Effect.andThen(this.secure, this.next)
  }
}

/** Opens a file, or a part of it, for reading. Whoever is given the reading closes it. */
export const openReading = (
  api: Api,
  link: Link,
  file: FileRef,
  options: OpenOptions = {}
): Effect.Effect<Reading, ReadError> => {
  const { limit = MAX_DATA_BYTES, position = 0, version } = options
  const attempt = (number: number): Effect.Effect<Reading, ReadError> =>
    Effect.gen(function*() {
      const collected = yield* api.authorised(
        "Read",
        { owner: file.owner, name: file.name, position, version, limit: Math.min(limit, MAX_DATA_BYTES) },
        (request) => collect(link, request)
      )
      const { head } = collected
      if (head.position !== position || (version !== undefined && head.version !== version)) {
        return yield* wrong("it is about another range or version")
      }
      const reading = new Reading(api, link, file, options, collected)
      if (!reading.incomplete) return reading
      // The file may be replaced or removed between the two requests. Nothing has been given yet, so begin anew.
      return yield* reading.secure.pipe(
        Effect.as(reading),
        Effect.onError(() => Effect.sync(() => reading.close())),
        Effect.catchIf(
          (error) => error._tag === "Refusal" && error.code === "2:nf" && number < MAX_ATTEMPTS,
          () => attempt(number + 1)
        )
      )
    })
  return attempt(1)
}
