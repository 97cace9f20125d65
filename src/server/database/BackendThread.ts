/**
 * The embedded database in a thread of its own: neither a statement nor the sync of a commit holds up this one.
 *
 * The interface between the two is PostgreSQL's protocol, in buffers that are handed over, not copied. Every message to
 * the thread is answered by one from it, in order; the first one says that the database is open. When the thread ends,
 * for whatever reason, what waits for it fails, and so does all that comes later.
 */
import { extname, join } from "node:path"
import { Worker } from "node:worker_threads"
import type { Durability } from "../ServerConfig.ts"
import type { Backend } from "./Backend.ts"

export interface ThreadData {
  readonly folder: string
  readonly durability: Durability
}

/** An error, as it crosses the threads. */
export interface Failure {
  readonly message: string
  readonly errno: number | undefined
  /** For the log. */
  readonly cause: string | undefined
}

export type ThreadReply = Uint8Array<ArrayBuffer> | Failure

/** To the thread: end. */
export const CLOSE = "close"

const toError = ({ cause, errno, message }: Failure): Error =>
  Object.assign(
    new Error(message, cause === undefined ? undefined : { cause }),
    errno === undefined ? undefined : { errno }
  )

/** Opens the database in `folder`, as `openEmbedded` does. */
export const openThread = async (folder: string, durability: Durability): Promise<Backend> => {
  interface Waiting {
    readonly resolve: (answer: Uint8Array<ArrayBuffer>) => void
    readonly reject: (error: Error) => void
  }
  const waiting: Array<Waiting> = []
  let ended: Error | undefined
  const workerData: ThreadData = { folder, durability }
  const worker = new Worker(join(import.meta.dirname, `engineThread${extname(import.meta.filename)}`), {
    workerData,
    name: "database"
  })
  worker.on("message", (reply: ThreadReply) => {
    const asked = waiting.shift()
    if (reply instanceof Uint8Array) asked?.resolve(reply)
    else asked?.reject(toError(reply))
  })
  const end = (error: Error): void => {
    ended ??= error
    for (const { reject } of waiting.splice(0)) reject(ended)
  }
  worker.on("error", (cause: unknown) => end(new Error("the embedded database stopped: its thread failed", { cause })))
  worker.on("exit", () => end(new Error("the embedded database stopped: its thread ended")))

  const reply = () => new Promise<Uint8Array<ArrayBuffer>>((resolve, reject) => waiting.push({ resolve, reject }))

  try {
    await reply()
  } catch (error) {
    await worker.terminate()
    throw error
  }
  return {
    answer: (messages) => {
      if (ended !== undefined) return Promise.reject(ended)
      // A copy: what the client wrote is a part of a larger buffer, and not ours to give away.
      const own = new Uint8Array(messages)
      worker.postMessage(own, [own.buffer])
      return reply()
    },
    close: async () => {
      if (ended !== undefined) return
      ended = new Error("the embedded database is closed")
      worker.postMessage(CLOSE, [])
      try {
        await reply()
      } finally {
        await worker.terminate()
      }
    },
    abandon: async () => {
      await worker.terminate()
    }
  }
}
