/**
 * The embedded database, opened again after it stopped: on a full disk, say, which has room again later.
 *
 * An engine that stopped answers nothing any more. Whoever connects next has it opened anew, and what was committed is
 * there, as after a crash; while that fails, everybody is told, and it is not tried more often than once in `pauseMillis`.
 */
import { type Backend, isStartup } from "./Backend.ts"

const PAUSE_MILLIS = 1000

export interface ReopeningOptions {
  readonly onStopped: (cause: unknown) => void
  readonly onReopened: () => void
  readonly pauseMillis?: number
}

/** Rejects when it cannot be opened the first time. */
export const openReopening = async (
  open: () => Promise<Backend>,
  { onReopened, onStopped, pauseMillis = PAUSE_MILLIS }: ReopeningOptions
): Promise<Backend> => {
  let backend = await open()
  let stopped: { readonly cause: unknown } | undefined
  let opening: Promise<void> | undefined
  let notBefore = 0
  let isClosed = false

  const stop = (of: Backend, cause: unknown): void => {
    if (of !== backend || stopped !== undefined || isClosed) return
    stopped = { cause }
    onStopped(cause)
  }

  const ask = (messages: Uint8Array): Promise<Uint8Array> => {
    const current = backend
    const answer = current.answer(messages)
    answer.catch((cause: unknown) => stop(current, cause))
    return answer
  }

  const reopen = async (): Promise<void> => {
    try {
      await backend.abandon()
      backend = await open()
      stopped = undefined
      onReopened()
    } catch (cause) {
      stopped = { cause }
      notBefore = performance.now() + pauseMillis
    }
  }

  return {
    answer: (messages) => {
      if (stopped === undefined) return ask(messages)
      if (isClosed || !isStartup(messages) || performance.now() < notBefore) return Promise.reject(stopped.cause)
      opening ??= reopen().finally(() => {
        opening = undefined
      })
      return opening.then(() => stopped === undefined ? ask(messages) : Promise.reject(stopped.cause))
    },
    close: async () => {
      isClosed = true
      await opening
      await (stopped === undefined ? backend.close() : backend.abandon())
    },
    abandon: () => backend.abandon()
  }
}
