/**
 * Token buckets by key: each fills with `rate` a second up to what comes in `burstSeconds`, and may be overdrawn by as
 * much. The rate may change at any time.
 *
 * A key that has not been seen begins full, so a bucket that is full again need not be kept. At most `capacity` are
 * kept; beyond that the one that was used least recently is forgotten, in its owner's favour.
 */
interface Bucket {
  tokens: number
  at: number
}

export interface BucketLimits {
  readonly rate: () => number
  readonly burstSeconds: number
  readonly capacity: number
}

export class Buckets<Key> {
  private readonly limits: BucketLimits
  private readonly buckets = new Map<Key, Bucket>()

  constructor(limits: BucketLimits) {
    this.limits = limits
  }

  get size(): number {
    return this.buckets.size
  }

  private get burst(): number {
    return this.limits.rate() * this.limits.burstSeconds
  }

  /** What is in a bucket; negative while it is overdrawn. */
  level(key: Key, now: number): number {
    const bucket = this.buckets.get(key)
    return bucket === undefined ? this.burst : this.filled(bucket, now)
  }

  /** Takes `cost`, whether or not it is there. How many milliseconds the bucket is then overdrawn for, if at all. */
  take(key: Key, cost: number, now: number): number {
    const { burst } = this
    const { capacity, rate } = this.limits
    let bucket = this.buckets.get(key)
    if (bucket === undefined) {
      bucket = { tokens: burst, at: now }
      if (this.buckets.size >= capacity) {
        for (const oldest of this.buckets.keys()) {
          this.buckets.delete(oldest)
          break
        }
      }
    } else {
      // Maps keep the order of insertion: what is used goes to the end.
      this.buckets.delete(key)
    }
    this.buckets.set(key, bucket)
    bucket.tokens = Math.max(-burst, this.filled(bucket, now) - cost)
    bucket.at = now
    return bucket.tokens >= 0 ? 0 : (-bucket.tokens / rate()) * 1000
  }

  /** Forgets what is full. */
  sweep(now: number): void {
    const { burst } = this
    for (const [key, bucket] of this.buckets) {
      if (this.filled(bucket, now) >= burst) this.buckets.delete(key)
    }
  }

  /** A clock that was set back fills nothing. */
  private filled({ at, tokens }: Bucket, now: number): number {
    return Math.min(this.burst, tokens + Math.max(0, now - at) * (this.limits.rate() / 1000))
  }
}
