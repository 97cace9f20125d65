/**
 * Turns by key: at most `running` at the same time for one key, at most `waiting` behind them, in the order in which
 * they came. Nothing is kept for a key that nobody uses.
 */
import { Effect, Option, Semaphore } from "effect"

interface Turn {
  readonly semaphore: Semaphore.Semaphore
  users: number
}

export interface Turns {
  /** Runs `work` when it is its turn; `None`, at once, when too many wait. */
  readonly take: <A, E>(key: string, work: Effect.Effect<A, E>) => Effect.Effect<Option.Option<A>, E>
}

export const makeTurns = (limits: { readonly running: number; readonly waiting: number }): Turns => {
  const turns = new Map<string, Turn>()
  const enter = (key: string): Turn | undefined => {
    const turn = turns.get(key) ?? { semaphore: Semaphore.makeUnsafe(limits.running), users: 0 }
    if (turn.users >= limits.running + limits.waiting) return undefined
    turn.users++
    turns.set(key, turn)
    return turn
  }
  return {
    take: (key, work) =>
      Effect.acquireUseRelease(
        Effect.sync(() => enter(key)),
        (turn) => turn === undefined ? Effect.succeedNone : Effect.asSome(turn.semaphore.withPermit(work)),
        (turn) =>
          Effect.sync(() => {
            if (turn === undefined) return
            turn.users--
            if (turn.users === 0) turns.delete(key)
          })
      )
  }
}
