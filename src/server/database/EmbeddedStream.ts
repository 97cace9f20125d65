/**
 * The embedded database as a connection: a Duplex that speaks PostgreSQL's protocol, for the same client that talks to
 * a PostgreSQL over a socket. The client writes whole messages; they are answered in the order in which they come.
 */
import { Duplex } from "node:stream"
import { type Backend, isStartup } from "./Backend.ts"

const TERMINATE = 0x58
const CANCEL_REQUEST = 80_877_102

const isCancelRequest = (message: Buffer): boolean =>
  isStartup(message) && message.length >= 8 && message.readInt32BE(4) === CANCEL_REQUEST

export class EmbeddedStream extends Duplex {
  private readonly backend: Backend
  private last: Promise<void> = Promise.resolve()

  constructor(backend: Backend) {
    super()
    this.backend = backend
  }

  /** Waits for no answer: the backend works on these messages while the next ones are written. */
  override _write(message: Buffer, _encoding: BufferEncoding, done: () => void): void {
    // A statement runs to its end in one go: there is never one to cancel.
    this.last = message[0] === TERMINATE || isCancelRequest(message)
      ? this.last.then(() => this.give(null))
      : this.backend.answer(message).then(
        (answer) => this.give(answer),
        (cause: unknown) => void this.destroy(cause instanceof Error ? cause : new Error(String(cause)))
      )
    done()
  }

  override _read(): void {
    // Answers are pushed as they come.
  }

  private give(answer: Uint8Array | null): void {
    if (!this.destroyed) this.push(answer)
  }
}
