/**
 * Who may still need what nothing refers to any more.
 *
 * A read keeps the extents that it was given, and a write has bytes in a segment before a version says so. Both hold a
 * ticket meanwhile. What has become unreferenced may be removed when all tickets that were taken before have been given
 * back: whoever takes one later finds it gone. So nothing is locked, and nobody waits for anybody.
 */
import { Context, Effect, Layer } from "effect"

export type Ticket = number

export class GracePeriods extends Context.Service<GracePeriods, {
  /** To be taken before anything is looked up or written. */
  readonly enter: () => Ticket
  /** Idempotent. */
  readonly leave: (ticket: Ticket) => void
  /** Gives the ticket back when `holder` is closed by nobody and forgotten by all. */
  readonly leaveWith: (holder: object, ticket: Ticket) => void
  /** The beginning of a grace period. */
  readonly begin: () => Ticket
  /** True when nobody holds a ticket that was taken before the period began. */
  readonly isOver: (begun: Ticket) => boolean
}>()("fip/server/files/GracePeriods") {
  static readonly layer = Layer.effect(
    GracePeriods,
    Effect.sync(() => {
      let last = 0
      /** In the order in which they were taken. */
      const held = new Set<Ticket>()
      const leave = (ticket: Ticket): void => {
        held.delete(ticket)
      }
      const forgotten = new FinalizationRegistry<Ticket>(leave)
      return GracePeriods.of({
        enter: () => {
          held.add(++last)
          return last
        },
        leave,
        leaveWith: (holder, ticket) => forgotten.register(holder, ticket),
        begin: () => last,
        isOver: (begun) => {
          for (const oldest of held) return oldest > begun
          return true
        }
      })
    })
  )
}
