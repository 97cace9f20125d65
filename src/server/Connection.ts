/**
 * One peer: bytes to requests, requests to handlers, results to replies (docs/protocol.md, section 3).
 *
 * Imperative core; a request becomes an Effect when it is whole. Invariants: what was refused is skipped to its end and
 * never shifts what follows; a request that was received whole runs to its end even when its peer is gone; the bytes,
 * the requests and the replies held for one peer are bounded, beyond that its socket is not read. Until somebody has
 * logged in, the peer is a guest, and has little of everything.
 */
import { Cause, type Effect, Exit, type Fiber, Result } from "effect"
import type { TLSSocket } from "node:tls"
import { Compressor, expand } from "../platform/Compression.ts"
import type { Code } from "../protocol/Code.ts"
import { Parser } from "../protocol/Frame.ts"
import { contentBytes, parseRequestHeader, type RequestHeader } from "../protocol/Header.ts"
import { HEADER_BYTES, MAX_IN_FLIGHT, MAX_INLINE_BYTES, MAX_SKIP_BYTES } from "../protocol/Limits.ts"
import { Refusal, refuse } from "../protocol/Refusal.ts"
import { type ReadHead, type RequestName, Requests, type ResultOf } from "../protocol/Request.ts"
import type { Peer } from "./Caller.ts"
import { CROWDED, Guest, GUEST_UNREAD_BYTES, type GuestOptions, LOGINS, NO_LOGIN } from "./connections/Guest.ts"
import type { BatchSource, ContentSource } from "./ContentSource.ts"
import type { Outgoing } from "./Dispatch.ts"
import { admit, type Asked, type Exchange } from "./Exchange.ts"
import { refusedFile } from "./files/refusedFile.ts"
import type { Trace } from "./metrics/tracing.ts"
import { ReplyWriter } from "./ReplyWriter.ts"

/** Data of running requests held for one peer before its socket is no longer read. */
const HELD_BYTES = 4 * 1024 * 1024

/** Data of requests that are not whole yet, held for one peer. */
const GATHERED_BYTES = 2 * MAX_INLINE_BYTES

/** Replies that wait for the peer to read them, before its socket is no longer read. */
const UNREAD_BYTES = 1024 * 1024

/** How long a peer may take to close its side after the server closed its own. */
const LINGER_MILLIS = 5000

/** A request that has been answered. */
export interface Answered extends Asked {
  readonly request: RequestName
  readonly code: Code
  readonly result: ResultOf<RequestName> | undefined
  /** From its last byte to the answer's last, or to the end of its peer. */
  readonly millis: number
  readonly bytesIn: number
  readonly bytesOut: number
}

export interface ConnectionOptions {
  readonly peer: Peer
  /** What this server calls this connection, and nothing else since its start. */
  readonly id: string
  readonly open: (name: RequestName) => Exchange
  readonly run: <A>(effect: Effect.Effect<A, Refusal>) => Fiber.Fiber<A, Refusal>
  readonly now: () => number
  /** A request failed by the server's fault: `cause` is for the log, never for the peer. */
  readonly onFault: (name: RequestName, requestId: string, cause: Cause.Cause<unknown>) => void
  /** Wraps the work on a request; `undefined` when nobody traces. */
  readonly trace: Trace | undefined
  readonly onAnswered: (answered: Answered) => void
  /** A message was refused before there was a request. */
  readonly onRefused: (code: Code) => void
  readonly idleMillis: number
  readonly messageMillis: number
  readonly guest: GuestOptions
  /** Notes what a user did: requests and bytes; for how many milliseconds to hold the next back. */
  readonly spend: (userId: number, requests: number, bytes: number) => number
}

/** A request of which not all messages have arrived. */
interface Gathering {
  readonly header: RequestHeader
  readonly exchange: Exchange
  body: Uint8Array
  data: Array<Uint8Array>
  bytes: number
}

/** In the place of the id of a last request that was refused: it runs until the others have ended. */
const LAST = -1

const SHUTTING_DOWN = refuse("3:s", "the server is shutting down: connect again in a moment")
const TOO_SLOW = refuse("2:unsp", "the message did not arrive in time")
const NOT_ZSTD = refuse(
  "2:ihv",
  "the data is not what its header says: one zstd frame of raw_size bytes",
  "raw_size"
)
/** Skips a message whose request has been refused already. */
const REFUSED_BEFORE = refuse("2:opcf", "the request was refused")

const isReadHead = (result: ResultOf<RequestName>): result is ReadHead => "position" in result && "length" in result

export class Connection {
  readonly peer: Peer
  private readonly socket: TLSSocket
  private readonly options: ConnectionOptions
  private readonly writer: ReplyWriter
  private readonly parser: Parser<RequestHeader>
  private current: Gathering | undefined
  private readonly gathering = new Map<number, Gathering>()
  private readonly refused = new Set<number>()
  private readonly running = new Set<number>()
  private readonly fibers = new Set<Fiber.Fiber<unknown, Refusal>>()
  private held = 0
  private gathered = 0
  private openedAt: number
  private activeAt: number
  private messageAt = 0
  /** `undefined` once somebody has logged in. */
  private guest: Guest | undefined
  private pacing: NodeJS.Timeout | undefined
  private lastAnswer: (() => void) | undefined
  private draining = false
  private endedAt: number | undefined

  constructor(socket: TLSSocket, options: ConnectionOptions) {
    this.socket = socket
    this.options = options
    this.guest = new Guest(options.guest)
    this.peer = options.peer
    this.openedAt = this.activeAt = options.now()
    this.writer = new ReplyWriter(socket, options.now, () => this.readOn())
    this.parser = new Parser<RequestHeader>({
      parseHeader: parseRequestHeader,
      onHeader: (header) => this.onHeader(header),
      onAuth: (header, auth) => this.gathering.has(header.id) ? undefined : this.prove(auth),
      onMessage: (message) => this.onMessage(message.header, message.body, message.data),
      onSkipped: (header, refusal) => this.onSkipped(header, refusal),
      onFault: () => {
        options.guest.onOffence()
        this.fail(0, refuse("2:ihs", "this is not a header: 256 bytes of JSON padded with spaces"))
      }
    })
    socket.setNoDelay(true)
    socket.on("data", (chunk: Uint8Array) => this.onData(chunk))
    socket.on("end", () => this.finishWhenIdle())
    // The peer is gone; "close" follows and cleans up.
    socket.on("error", () => {})
    socket.on("close", () => clearTimeout(this.pacing))
  }

  /** Bytes of replies that the peer leaves unread. */
  get unread(): number {
    return this.writer.unread
  }

  /** Gives a guest's place to somebody else. */
  shed(): void {
    this.fail(0, CROWDED)
    this.socket.destroySoon()
  }

  /** Tells the peer that the server is leaving, refuses what is new, and ends when what runs has been answered. */
  drain(): void {
    if (this.draining) return
    this.draining = true
    this.writer.refuse(0, SHUTTING_DOWN, this.isIdle)
    this.finishWhenIdle()
  }

  /** Ends now. What still runs is interrupted. */
  destroy(): void {
    for (const fiber of this.fibers) fiber.interruptUnsafe()
    this.socket.destroy()
  }

  /** Takes a time off the clocks: one in which the server itself did not run, or by which its clock was set. */
  pardon(millis: number): void {
    this.openedAt += millis
    this.activeAt += millis
    this.messageAt += millis
    this.writer.pardon(millis)
  }

  /** Enforces the time limits; called about once a second. */
  sweep(now: number): void {
    const { idleMillis } = this.options
    const guest = this.guest?.options
    const { messageMillis } = guest ?? this.options
    if (this.writer.stalledFor(now) > messageMillis) return this.destroy()
    if (this.endedAt !== undefined) {
      if (now - this.endedAt > LINGER_MILLIS) this.socket.destroy()
      return
    }
    if (guest !== undefined && this.isIdle && now - this.openedAt > guest.loginMillis) {
      guest.onOffence()
      this.fail(0, NO_LOGIN)
    } else if (this.socket.isPaused()) {
      // Held back by us, not slow: the clocks start again when it is read again.
      this.activeAt = this.messageAt = now
    } else if (!this.parser.idle) {
      if (now - this.messageAt > messageMillis) {
        guest?.onOffence()
        this.fail(this.current?.header.id ?? 0, TOO_SLOW)
      }
    } else if (this.running.size === 0 && now - this.activeAt > idleMillis) {
      this.fail(0, refuse("2:unsp", "the connection was idle for too long"))
    }
  }

  private get isIdle(): boolean {
    return this.running.size === 0
  }

  private onData(chunk: Uint8Array): void {
    if (this.endedAt !== undefined) return
    const now = this.options.now()
    if (this.parser.idle) this.messageAt = now
    this.activeAt = now
    this.parser.push(chunk)
    if (this.isFull) this.socket.pause()
  }

  /** True while nothing more is read. */
  private get isFull(): boolean {
    return this.running.size >= MAX_IN_FLIGHT || this.held >= HELD_BYTES || this.pacing !== undefined ||
      this.writer.unread > (this.guest === undefined ? UNREAD_BYTES : GUEST_UNREAD_BYTES)
  }

  private readOn(): void {
    if (this.socket.isPaused() && !this.isFull) this.socket.resume()
  }

  private onHeader(header: RequestHeader): Refusal | undefined {
    this.messageAt = this.activeAt
    this.current = undefined
    const refusal = this.check(header)
    const bytes = header.auth_size + header.body_size + header.data_size
    const last = refusal !== undefined && bytes > MAX_SKIP_BYTES ? refusal : this.guest?.count(bytes)
    if (last !== undefined) this.fail(header.id, last)
    return last ?? refusal
  }

  private prove(auth: Uint8Array): Refusal | undefined {
    const exchange = this.current?.exchange
    if (exchange === undefined) return undefined
    const refusal = exchange.prove(auth)
    if (exchange.userId !== undefined) this.welcome()
    return refusal
  }

  private welcome(): void {
    this.guest?.options.onLogin()
    this.guest = undefined
  }

  /** Notes what a user did. Who does more than the server allows in the time is read on later. */
  private pace(userId: number | undefined, requests: number, bytes: number): number {
    return userId === undefined ? 0 : this.options.spend(userId, requests, bytes)
  }

  private holdBack(millis: number): void {
    if (millis === 0 || this.endedAt !== undefined) return
    clearTimeout(this.pacing)
    this.pacing = setTimeout(() => {
      this.pacing = undefined
      this.readOn()
    }, millis)
  }

  private check(header: RequestHeader): Refusal | undefined {
    const { id } = header
    if (this.refused.has(id)) return REFUSED_BEFORE
    const admitted = admit(header)
    if (header.zstd) this.writer.announceZstd()
    const known = this.gathering.get(id)
    if (known !== undefined) {
      this.current = known
      if (Result.isFailure(admitted)) return admitted.failure
      if (admitted.success !== known.exchange.name || header.auth_size > 0 || header.body_size > 0) {
        return refuse("2:ihv", `message ${id} does not continue the request that has this id`, "id")
      }
      if (known.bytes + contentBytes(header) > MAX_INLINE_BYTES) {
        return refuse("2:big", `one request carries at most ${MAX_INLINE_BYTES} bytes: upload in parts`, "data_size")
      }
      return this.gathered + contentBytes(header) > GATHERED_BYTES
        ? refuse("2:rlex", "too many requests are unfinished at the same time: finish some first")
        : undefined
    }
    if (Result.isFailure(admitted)) return admitted.failure
    if (this.running.has(id)) return refuse("2:ihv", `a request with the id ${id} is in flight`, "id")
    if (this.draining) return SHUTTING_DOWN
    const denied = this.guest?.deny(Requests[admitted.success].auth, this.running.size)
    if (denied !== undefined) return denied
    if (header.more && this.gathering.size >= MAX_IN_FLIGHT) {
      return refuse("2:rlex", `at most ${MAX_IN_FLIGHT} requests may be unfinished at the same time`)
    }
    this.current = {
      header,
      exchange: this.options.open(admitted.success),
      body: new Uint8Array(0),
      data: [],
      bytes: 0
    }
    return undefined
  }

  private onMessage(header: RequestHeader, body: Uint8Array, data: ReadonlyArray<Uint8Array>): void {
    const request = this.current
    const { raw_size } = header
    if (request === undefined) return
    if (raw_size !== undefined) {
      const content = expand(data, raw_size)
      if (content === undefined) return this.onSkipped(header, NOT_ZSTD)
      request.data.push(content)
    } else {
      for (const chunk of data) request.data.push(chunk)
    }
    this.current = undefined
    const bytes = contentBytes(header)
    if (request.header === header) request.body = body
    request.bytes += bytes
    if (header.more) {
      this.gathered += bytes
      this.gathering.set(header.id, request)
    } else {
      if (this.gathering.delete(header.id)) this.gathered -= request.bytes - bytes
      this.dispatch(request, header.finish)
    }
  }

  private onSkipped(header: RequestHeader, refusal: Refusal): void {
    const { id } = header
    this.current = undefined
    const known = this.gathering.get(id)
    if (known !== undefined) {
      this.gathering.delete(id)
      this.gathered -= known.bytes
    }
    // `finish` counts on the last message of a request, and its reply is the last of all.
    const finish = header.finish && !header.more
    const answer = () => {
      if (refusal === REFUSED_BEFORE) return
      this.writer.refuse(id, refusal, finish)
      this.options.onRefused(refusal.code)
    }
    if (finish) return this.finishWith(answer)
    answer()
    if (header.more) this.refused.add(id)
    else this.refused.delete(id)
    if (this.refused.size > MAX_IN_FLIGHT) {
      this.fail(id, refuse("2:rlex", "too many requests go on after they were refused"))
    }
  }

  /** Reads nothing more, and gives this answer after those of all that runs. */
  private finishWith(answer: () => void): void {
    this.parser.stop()
    if (this.isIdle) {
      answer()
      return this.end()
    }
    this.running.add(LAST)
    this.lastAnswer = () => {
      answer()
      this.running.delete(LAST)
      this.finishWhenIdle()
    }
  }

  private dispatch(request: Gathering, finish: boolean): void {
    const { id } = request.header
    this.running.add(id)
    this.held += request.bytes
    this.holdBack(this.pace(request.exchange.userId, 1, HEADER_BYTES + request.bytes))
    const ended = this.guest?.begin()
    const startedAt = performance.now()
    const work = request.exchange.run(request.body, request.data)
    const { run, trace } = this.options
    const fiber = run(trace === undefined ? work : trace(request.exchange.name, `${this.options.id}-${id}`, work))
    this.fibers.add(fiber)
    // Nothing is read after `finish`, and its own reply is the last one.
    if (finish) this.parser.stop()
    fiber.addObserver((exit) => {
      this.fibers.delete(fiber)
      const answer = () =>
        void this.answer(request, exit, finish).then((done) => {
          const { exchange, bytes } = request
          const millis = performance.now() - startedAt
          this.options.onAnswered({ ...exchange.asked(), ...done, request: exchange.name, millis, bytesIn: bytes })
          ended?.()
          this.answered(request)
        })
      if (finish && this.running.size > 1) this.lastAnswer = answer
      else answer()
    })
  }

  private answered(request: Gathering): void {
    this.running.delete(request.header.id)
    this.held -= request.bytes
    this.activeAt = this.options.now()
    const { lastAnswer } = this
    if (lastAnswer !== undefined && this.running.size === 1) {
      this.lastAnswer = undefined
      lastAnswer()
    }
    this.readOn()
    if (this.draining || this.parser.dead || this.socket.readableEnded) this.finishWhenIdle()
  }

  private async answer(
    request: Gathering,
    exit: Exit.Exit<Outgoing<RequestName>, Refusal>,
    finish: boolean
  ): Promise<Pick<Answered, "code" | "result" | "bytesOut">> {
    const { exchange, header: { id } } = request
    if (Exit.isFailure(exit)) {
      const refusal = this.refusalOf(exchange.name, id, exit.cause)
      this.writer.refuse(id, refusal, finish)
      return { code: refusal.code, result: undefined, bytesOut: 0 }
    }
    if (LOGINS.has(exchange.name)) this.welcome()
    const { batches, code, content, result } = exit.value
    if (batches !== undefined) return this.streamBatches(request, batches, finish)
    // A file of a batch counts as much as one that comes alone.
    if (exchange.name === "WriteMany" && "files" in result) {
      this.holdBack(this.pace(exchange.userId, result.files.length - 1, 0))
    }
    if (content === undefined || !isReadHead(result)) {
      this.writer.reply(id, code, result, finish)
      return { code, result, bytesOut: 0 }
    }
    const refusal = await this.stream(request, result, content, finish)
    return { code: refusal?.code ?? code, result, bytesOut: result.length }
  }

  private async stream(
    { exchange: { name, userId }, header: { id, zstd } }: Gathering,
    head: ReadHead,
    content: ContentSource,
    finish: boolean
  ): Promise<Refusal | undefined> {
    try {
      const compressor = zstd ? new Compressor() : undefined
      await this.writer.stream(id, head, content, finish, (bytes) => this.pace(userId, 0, bytes), compressor)
      return undefined
    } catch (error) {
      const cause = error instanceof Refusal ? Cause.fail(error) : Cause.die(error)
      const refusal = this.refusalOf(name, id, cause)
      this.writer.refuse(id, refusal, finish)
      return refusal
    } finally {
      content.close()
    }
  }

  private async streamBatches(
    { exchange: { name, userId }, header: { id, zstd } }: Gathering,
    batches: BatchSource,
    finish: boolean
  ): Promise<Pick<Answered, "code" | "result" | "bytesOut">> {
    const { owner } = batches
    const compressor = zstd ? new Compressor() : undefined
    const told: Array<ResultOf<"ReadMany">["files"][number]> = []
    let bytesOut = 0
    const done = (code: Code) => ({ code, result: { owner, files: told }, bytesOut })
    try {
      for (let last = false; !last && !this.writer.closed;) {
        const batch = await batches.next()
        last = batch.last
        const files = batch.files.map((file) =>
          "refusal" in file ? refusedFile(file.name, this.refusalOf(name, id, Cause.fail(file.refusal))) : file
        )
        told.push(...files)
        for (const chunk of batch.chunks) bytesOut += chunk.length
        const pace = (bytes: number) => this.pace(userId, files.length, bytes)
        await this.writer.batch(id, { owner, files }, batch, finish, pace, compressor)
      }
      return done("1:read")
    } catch (error) {
      const refusal = this.refusalOf(name, id, error instanceof Refusal ? Cause.fail(error) : Cause.die(error))
      this.writer.refuse(id, refusal, finish)
      return done(refusal.code)
    } finally {
      batches.close()
    }
  }

  private refusalOf(name: RequestName, id: number, cause: Cause.Cause<unknown>): Refusal {
    if (Cause.hasInterruptsOnly(cause)) return SHUTTING_DOWN
    const failure = cause.reasons.find(Cause.isFailReason)
    const refusal = failure?.error instanceof Refusal ? failure.error : undefined
    if (refusal?.isClientFault) return refusal
    const request_id = `${this.options.id}-${id}`
    this.options.onFault(name, request_id, cause)
    return new Refusal({
      code: refusal?.code ?? "3:?",
      message: refusal?.message ?? "the server failed at this request; its log says why",
      ...refusal?.body,
      request_id
    })
  }

  /** Refuses and closes: the stream of messages can or may not go on. */
  private fail(id: number, refusal: Refusal): void {
    this.parser.stop()
    this.writer.refuse(id, refusal, true)
    this.end()
  }

  private finishWhenIdle(): void {
    if (this.isIdle) this.end()
  }

  private end(): void {
    if (this.endedAt !== undefined) return
    this.endedAt = this.options.now()
    this.parser.stop()
    // What was written is sent first. `sweep` cuts off a peer that does not read it, or does not close in turn.
    this.socket.end()
    this.socket.resume()
  }
}
