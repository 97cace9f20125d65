/**
 * What answers PostgreSQL's protocol without a socket: the embedded engine, in this thread or in one of its own
 * (BackendThread.ts).
 *
 * It has one session, which all clients share (EngineHub.ts). When one begins anew after the engine stopped, what the last
 * one left (a transaction, prepared statements, listeners) is swept away first.
 */
import type { PGlite } from "@electric-sql/pglite"

export interface Backend {
  /** Answers whole messages, those that are asked first before the others. Rejects when the engine has stopped. */
  readonly answer: (messages: Uint8Array) => Promise<Uint8Array>
  readonly close: () => Promise<void>
  /** Lets go of an engine that has stopped: that one cannot be closed. */
  readonly abandon: () => Promise<void>
}

/** A connection begins with the one message that has no type. */
export const isStartup = (messages: Uint8Array): boolean => messages[0] === 0

const concat = (pieces: ReadonlyArray<Uint8Array<ArrayBuffer>>, length: number): Uint8Array<ArrayBuffer> => {
  const [first] = pieces
  if (pieces.length === 1 && first !== undefined) return first
  const whole = new Uint8Array(length)
  let at = 0
  for (const piece of pieces) {
    whole.set(piece, at)
    at += piece.length
  }
  return whole
}

/** Has the engine answer, which then does nothing else. One at a time. */
export const ask = async (engine: PGlite, messages: Uint8Array): Promise<Uint8Array<ArrayBuffer>> => {
  if (isStartup(messages)) {
    await engine.exec("ROLLBACK")
    await engine.exec("DISCARD ALL")
  }
  const pieces: Array<Uint8Array<ArrayBuffer>> = []
  let length = 0
  await engine.execProtocolRawStream(messages, {
    syncToFs: false,
    onRawData: (bytes) => {
      // A view of the engine's memory, which the next message overwrites.
      pieces.push(new Uint8Array(bytes))
      length += bytes.length
    }
  })
  return concat(pieces, length)
}

/** An engine in this thread, which stands still while it answers. For tests. */
export const backendOf = (engine: PGlite): Backend => {
  let last: Promise<unknown> = Promise.resolve()
  return {
    answer: (messages) => {
      // In a turn of its own: others get theirs.
      const answer = last.then(() => new Promise((resume) => setImmediate(resume))).then(() => ask(engine, messages))
      last = answer.catch(() => undefined)
      return answer
    },
    close: () => engine.close(),
    abandon: () => Promise.resolve()
  }
}
