/**
 * How fast one user may go, on all connections together: requests and bytes, in both directions.
 *
 * Who is faster is not refused but read, and answered, more slowly: the caller waits as long as `spend` says.
 */
import { Buckets } from "./Buckets.ts"

export interface UserRateLimits {
  readonly requestRate: number
  /** Bytes a second; `undefined`: as many as there are. */
  readonly byteRate: number | undefined
}

/** For so long a user who was idle may go as fast as the machine. */
const BURST_SECONDS = 30
const CAPACITY = 65_536

const bucketsOf = (rate: () => number) => new Buckets<number>({ rate, burstSeconds: BURST_SECONDS, capacity: CAPACITY })

export class UserRate {
  private readonly limits: UserRateLimits
  private readonly requests: Buckets<number>
  private readonly bytes: Buckets<number>

  constructor(limits: UserRateLimits) {
    this.limits = limits
    this.requests = bucketsOf(() => limits.requestRate)
    this.bytes = bucketsOf(() => limits.byteRate ?? 0)
  }

  /** Notes what a user did; for how many milliseconds to hold back what comes next. */
  spend(userId: number, requests: number, bytes: number, now: number): number {
    const wait = requests === 0 ? 0 : this.requests.take(userId, requests, now)
    return this.limits.byteRate === undefined ? wait : Math.max(wait, this.bytes.take(userId, bytes, now))
  }

  sweep(now: number): void {
    this.requests.sweep(now)
    this.bytes.sweep(now)
  }
}
