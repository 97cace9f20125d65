/**
 * The places where passwords are hashed, given first to callers whom the account knows: a flood of strangers makes them
 * wait for the hash that is running, and for no other.
 */
import { Effect } from "effect"

export type Lane = "known" | "stranger"

export class HashPlaces {
  private free: number
  private readonly waiting: { readonly [L in Lane]: Set<() => void> } = { known: new Set(), stranger: new Set() }

  constructor(places: number) {
    this.free = places
  }

  /** Runs `work` in a place; waits for one without limit, interruptibly. */
  run<A, E>(lane: Lane, work: Effect.Effect<A, E>): Effect.Effect<A, E> {
    const give = Effect.sync(() => {
      this.free++
      this.wake()
    })
    const attempt = (restore: <B, F>(effect: Effect.Effect<B, F>) => Effect.Effect<B, F>): Effect.Effect<A, E> =>
      Effect.suspend(() => {
        if (this.free > 0) {
          this.free--
          return Effect.ensuring(restore(work), give)
        }
        // Who was woken and goes away instead passes it on.
        const waited = Effect.onInterrupt(restore(this.wait(lane)), () => Effect.sync(() => this.wake()))
        return Effect.flatMap(waited, () => attempt(restore))
      })
    return Effect.uninterruptibleMask(attempt)
  }

  private wait(lane: Lane): Effect.Effect<void> {
    return Effect.callback<void>((resume) => {
      const waiter = () => {
        this.waiting[lane].delete(waiter)
        resume(Effect.void)
      }
      this.waiting[lane].add(waiter)
      return Effect.sync(() => {
        this.waiting[lane].delete(waiter)
      })
    })
  }

  private wake(): void {
    if (this.free === 0) return
    for (const queue of [this.waiting.known, this.waiting.stranger]) {
      for (const waiter of queue) return waiter()
    }
  }
}
