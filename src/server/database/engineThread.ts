/** The program of the embedded database's thread (BackendThread.ts): opens it, answers what it is asked, and closes it. */
import * as Predicate from "effect/Predicate"
import { parentPort, workerData } from "node:worker_threads"
import { ask } from "./Backend.ts"
import { CLOSE, type Failure, type ThreadData, type ThreadReply } from "./BackendThread.ts"
import { openEmbedded } from "./Embedded.ts"

const { durability, folder }: ThreadData = workerData
const port = parentPort

const failureOf = (error: unknown): Failure => ({
  message: error instanceof Error ? error.message : String(error),
  errno: Predicate.hasProperty(error, "errno") && Predicate.isNumber(error.errno) ? error.errno : undefined,
  cause: error instanceof Error && error.cause !== undefined ? String(error.cause) : undefined
})

const DONE = () => new Uint8Array(0)

/** Replies with the outcome of `work`. */
const reply = async (work: () => Promise<Uint8Array<ArrayBuffer>>): Promise<void> => {
  const outcome: ThreadReply = await work().catch(failureOf)
  port?.postMessage(outcome, outcome instanceof Uint8Array ? [outcome.buffer] : [])
}

const opening = openEmbedded(folder, durability)
let last: Promise<void> = reply(() => opening.then(DONE))
port?.on("message", (message: Uint8Array | typeof CLOSE) => {
  last = last.then(() =>
    reply(async () => {
      const engine = await opening
      return message === CLOSE ? engine.close().then(DONE) : ask(engine, message)
    })
  )
})
