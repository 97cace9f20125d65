/**
 * The one session of the embedded database, for many clients: a server's own and those of its workers. To each of them
 * it is a PostgreSQL by itself.
 *
 * - **Whole cycles.** What a client sends goes to the engine up to the last message that ends a cycle (Sync, Query), so
 *   that an error skips nothing of another client's.
 * - **A transaction has the engine to itself**, from the answer that says it has begun to the one that says it is over.
 *   Clients take turns between transactions, in the order in which they came.
 * - **Notifications** are the session's; whoever has asked to listen gets all of them, before the answer to the
 *   statement that committed them. Nobody may ask to listen no more: a client ends instead.
 * - **What a client leaves** (a transaction, prepared statements, whose names are its own) is cleared away.
 *
 * PostgreSQL's protocol: messages of a type, a length and content; the first one of a client has no type.
 */
import type { Backend } from "./Backend.ts"

const type = (letter: string): number => letter.charCodeAt(0)
const SYNC = type("S")
const QUERY = type("Q")
const PARSE = type("P")
const CLOSE = type("C")
const TERMINATE = type("X")
const READY = type("Z")
const NOTIFICATION = type("A")
const IDLE = type("I")

const HEAD_BYTES = 5
/** Beyond this it is no message of ours. */
const MAX_MESSAGE_BYTES = 256 * 1024 * 1024

/** A client that stands still in a transaction keeps everybody from the database. */
const HELD_MILLIS = 30_000

/** What a client hears from the hub. */
export interface ClientEnd {
  readonly onBytes: (bytes: Uint8Array) => void
  readonly onEnd: () => void
}

export interface HubClient {
  /** Bytes of the protocol, as they come. */
  readonly write: (bytes: Uint8Array) => void
  readonly end: () => void
}

const message = (letter: number, content: string): Buffer => {
  const bytes = Buffer.alloc(HEAD_BYTES + Buffer.byteLength(content))
  bytes[0] = letter
  bytes.writeInt32BE(bytes.length - 1, 1)
  bytes.write(content, HEAD_BYTES)
  return bytes
}

const STARTUP_PARAMETERS = "user\0postgres\0database\0postgres\0\0"
const PROTOCOL_3 = 196_608

const startup = (): Buffer => {
  const bytes = Buffer.alloc(8 + STARTUP_PARAMETERS.length)
  bytes.writeInt32BE(bytes.length, 0)
  bytes.writeInt32BE(PROTOCOL_3, 4)
  bytes.write(STARTUP_PARAMETERS, 8)
  return bytes
}

/** A string that ends with a zero byte. */
const stringAt = (bytes: Buffer, at: number): string => bytes.toString("utf8", at, bytes.indexOf(0, at))

class Client implements HubClient {
  private readonly hub: EngineHub
  readonly peer: ClientEnd
  private bytes: Buffer = Buffer.alloc(0)
  private isStarted = false
  isEnded = false
  isListening = false
  /** It waits for its turn. */
  isWaiting = false
  /** Whole cycles that the engine has not been given. */
  private cycles: Array<Buffer> = []
  private readonly statements = new Set<string>()

  constructor(hub: EngineHub, peer: ClientEnd) {
    this.hub = hub
    this.peer = peer
  }

  write(bytes: Uint8Array): void {
    if (this.isEnded) return
    this.bytes = this.bytes.length === 0
      ? Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
      : Buffer.concat([this.bytes, bytes])
    if (!this.isStarted && !this.begin()) return
    let at = 0
    let cut = 0
    while (this.bytes.length - at >= HEAD_BYTES) {
      const letter = this.bytes[at]
      const length = 1 + this.bytes.readInt32BE(at + 1)
      if (length < HEAD_BYTES || length > MAX_MESSAGE_BYTES) return this.end()
      if (this.bytes.length - at < length) break
      if (letter === TERMINATE) return this.end()
      if (letter === PARSE) this.note(at + HEAD_BYTES)
      at += length
      if (letter === SYNC || letter === QUERY) cut = at
    }
    if (cut === 0) return
    this.cycles.push(this.bytes.subarray(0, cut))
    this.bytes = this.bytes.subarray(cut)
    this.hub.wait(this)
  }

  end(): void {
    if (this.isEnded) return
    this.isEnded = true
    this.hub.wait(this)
    this.peer.onEnd()
  }

  /** What the engine is to be given next. */
  take(): Uint8Array | undefined {
    if (this.isEnded) {
      const rest = [
        message(QUERY, "ROLLBACK\0"),
        ...Array.from(this.statements, (name) => message(CLOSE, `S${name}\0`)),
        message(SYNC, "")
      ]
      return Buffer.concat(rest)
    }
    const cycles = this.cycles
    this.cycles = []
    return cycles.length === 0 ? undefined : Buffer.concat(cycles)
  }

  /** Takes the first message; true when the client may go on. */
  private begin(): boolean {
    if (this.bytes.length < 4) return false
    const length = this.bytes.readInt32BE(0)
    if (length < 8 || length > MAX_MESSAGE_BYTES) {
      this.end()
      return false
    }
    if (this.bytes.length < length) return false
    // A statement runs to its end in one go: there is never one to cancel.
    if (this.bytes.readInt32BE(4) !== PROTOCOL_3) {
      this.end()
      return false
    }
    this.bytes = this.bytes.subarray(length)
    this.isStarted = true
    this.peer.onBytes(this.hub.greeting)
    return true
  }

  /** Of a statement that is prepared: its name, and whether it begins to listen. */
  private note(at: number): void {
    const name = stringAt(this.bytes, at)
    if (name !== "") this.statements.add(name)
    if (stringAt(this.bytes, at + Buffer.byteLength(name) + 1).startsWith("LISTEN ")) this.isListening = true
  }
}

export class EngineHub {
  private readonly backend: Backend
  /** What the engine says to a client that begins. */
  readonly greeting: Uint8Array
  private readonly clients = new Set<Client>()
  private waiting: Array<Client> = []
  /** Who is in a transaction. */
  private holder: Client | undefined
  private patience: NodeJS.Timeout | undefined
  /** Whose messages the engine works on, and how many answers are to come. */
  private current: Client | undefined
  private inFlight = 0
  /** The engine stopped. What is asked next goes to one that is opened anew, if it can be. */
  private isLost = false
  /** How often it has stopped. */
  private losses = 0

  private readonly heldMillis: number

  private constructor(backend: Backend, greeting: Uint8Array, heldMillis: number) {
    this.backend = backend
    this.greeting = greeting
    this.heldMillis = heldMillis
  }

  static readonly open = async (backend: Backend, heldMillis: number = HELD_MILLIS): Promise<EngineHub> =>
    new EngineHub(backend, await backend.answer(startup()), heldMillis)

  readonly connect = (end: ClientEnd): HubClient => {
    const client = new Client(this, end)
    this.clients.add(client)
    return client
  }

  /** A client has something for the engine. */
  wait(client: Client): void {
    if (!client.isWaiting) {
      client.isWaiting = true
      this.waiting.push(client)
    }
    this.work()
  }

  /**
   * Whose turn it is: who is in a transaction, or who has waited longest. While the engine works, only the one that it
   * works for: what others ask could fall into a transaction that is about to begin.
   */
  private next(): Client | undefined {
    const { current, holder } = this
    if (this.inFlight > 0 && (this.isLost || (holder ?? this.waiting[0]) !== current)) return undefined
    if (holder === undefined) return this.waiting.shift()
    if (!holder.isWaiting) return undefined
    this.waiting = this.waiting.filter((client) => client !== holder)
    return holder
  }

  private work(): void {
    for (let client = this.next(); client !== undefined; client = this.next()) {
      client.isWaiting = false
      const messages = client.take()
      if (client.isEnded) this.clients.delete(client)
      if (messages === undefined) continue
      // Who is in a transaction has as long as it had, whoever else comes.
      clearTimeout(this.patience)
      this.current = client
      this.inFlight++
      void this.ask(client, messages)
    }
  }

  private async ask(client: Client, messages: Uint8Array): Promise<void> {
    const { losses } = this
    try {
      if (this.isLost) {
        await this.backend.answer(startup())
        this.isLost = false
      }
      this.deliver(client, await this.backend.answer(messages))
    } catch {
      if (losses === this.losses) this.lose()
    }
    this.inFlight--
    this.work()
    const { holder } = this
    if (holder !== undefined && this.inFlight === 0) {
      this.patience = setTimeout(() => holder.end(), this.heldMillis).unref()
    }
  }

  /** The engine has stopped, with all that its clients had begun. */
  private lose(): void {
    this.isLost = true
    this.losses++
    this.holder = undefined
    // Whoever hears of it may be back at once.
    const lost = new Set(this.clients)
    this.clients.clear()
    for (const client of lost) client.end()
    this.waiting = this.waiting.filter((client) => !lost.has(client))
  }

  /** Hands over an answer, and to whoever listens what is for all. */
  private deliver(client: Client, answer: Uint8Array): void {
    const bytes = Buffer.from(answer.buffer, answer.byteOffset, answer.byteLength)
    const pieces: Array<Buffer> = []
    let from = 0
    for (let at = 0; at < bytes.length;) {
      const length = 1 + bytes.readInt32BE(at + 1)
      const letter = bytes[at]
      if (letter === READY) this.holder = bytes[at + HEAD_BYTES] === IDLE ? undefined : client
      if (letter === NOTIFICATION) {
        pieces.push(bytes.subarray(from, at))
        from = at + length
        const notification = bytes.subarray(at, from)
        for (const other of this.clients) if (other.isListening && !other.isEnded) other.peer.onBytes(notification)
      }
      at += length
    }
    pieces.push(bytes.subarray(from))
    if (client.isEnded) return
    for (const piece of pieces) if (piece.length > 0) client.peer.onBytes(piece)
  }
}
