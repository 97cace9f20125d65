/**
 * A request that is denied costs its author nothing, and each can name another file: beyond so many a minute they are
 * counted and not listed, so that nobody fills the log, and the first of these is something that somebody should look at.
 */
import type { Activity } from "./Activity.ts"

const MINUTE_MILLIS = 60_000
/** Users of whom the count is known. */
const REMEMBERED = 10_000

/** What to keep of an activity, and whether to say it. */
export interface Kept {
  readonly activity: Activity
  readonly isSaid: boolean
}

export const makeDenials = (perMinute: () => number, now: () => number) => {
  const counts = new Map<number, { readonly minute: number; count: number }>()
  return (activity: Activity): Kept => {
    const { action, address, code, durationMillis, userId, username } = activity
    if (userId === undefined || !code.startsWith("2:")) return { activity, isSaid: true }
    const minute = Math.floor(now() / MINUTE_MILLIS)
    const known = counts.get(userId)
    if (known?.minute !== minute) {
      if (counts.size >= REMEMBERED) counts.clear()
      counts.set(userId, { minute, count: 1 })
      return { activity, isSaid: true }
    }
    known.count += 1
    if (known.count <= perMinute()) return { activity, isSaid: true }
    return {
      activity: {
        action,
        code,
        says: "many requests of one user are denied: they are counted and not listed",
        userId,
        username,
        address,
        durationMillis,
        suspicious: true,
        notable: true,
        detail: { counted: true }
      },
      isSaid: known.count === perMinute() + 1
    }
  }
}
