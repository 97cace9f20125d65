/**
 * The embedded database as a connection: a Duplex that speaks PostgreSQL's protocol, for the same client that talks to
 * a PostgreSQL over a socket.
 *
 * There is one backend behind all of them. The client holds one connection at a time; when it opens another after the
 * first broke, what that one left (a transaction, prepared statements, listeners) is swept away first. The client writes
 * whole messages, and each write is answered before the next is looked at.
 */
import type { PGlite } from "@electric-sql/pglite"
import { Duplex } from "node:stream"

const TERMINATE = 0x58
const CANCEL_REQUEST = 80_877_102

const isStartup = (message: Buffer): boolean => message[0] === 0
const isCancelRequest = (message: Buffer): boolean =>
  isStartup(message) && message.length >= 8 && message.readInt32BE(4) === CANCEL_REQUEST

export class EmbeddedStream extends Duplex {
  private readonly database: PGlite

  constructor(database: PGlite) {
    super()
    this.database = database
  }

  /** Runs in a turn of its own: an answer must not arrive before the write has returned, and others get a turn. */
  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    setImmediate(() => {
      this.answer(chunk).then(
        () => done(),
        (cause: unknown) => done(cause instanceof Error ? cause : new Error(String(cause)))
      )
    })
  }

  override _read(): void {
    // Answers are pushed as they come.
  }

  private async answer(message: Buffer): Promise<void> {
    if (this.destroyed) return
    // A statement runs to its end in one go: there is never one to cancel.
    if (message[0] === TERMINATE || isCancelRequest(message)) {
      this.push(null)
      return
    }
    if (isStartup(message)) {
      await this.database.exec("ROLLBACK")
      await this.database.exec("DISCARD ALL")
    }
    await this.database.execProtocolRawStream(message, {
      syncToFs: false,
      onRawData: (bytes) => {
        // A view of the engine's memory, which the next message overwrites.
        this.push(Buffer.from(bytes))
      }
    })
  }
}
