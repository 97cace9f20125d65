/**
 * What was looked up, by key, least recently used out first; bounded by entries and by bytes, and forgotten when it is
 * old. Each entry bears tags that say what it depends on: dropping a tag drops every entry that bears it.
 */

interface Entry<A> {
  readonly value: A
  readonly tags: ReadonlyArray<string>
  readonly bytes: number
  readonly until: number
}

export interface Bounds {
  readonly maxEntries: number
  readonly maxBytes: number
  /** In milliseconds. */
  readonly timeToLive: number
}

/** What an entry costs beside its value. */
const ENTRY_BYTES = 256

export class TaggedCache<A> {
  hits = 0
  misses = 0
  evictions = 0
  private readonly bounds: Bounds
  /** In the order of their last use. */
  private readonly entries = new Map<string, Entry<A>>()
  private readonly tagged = new Map<string, Set<string>>()
  private total = 0

  constructor(bounds: Bounds) {
    this.bounds = bounds
  }

  get size(): number {
    return this.entries.size
  }

  get bytes(): number {
    return this.total
  }

  /** Counts as a hit or a miss, as the caller says: what is there may not be what is needed. */
  get(key: string, now: number, suffices: (value: A) => boolean = () => true): A | undefined {
    const entry = this.entries.get(key)
    if (entry !== undefined && entry.until <= now) this.remove(key, entry)
    else if (entry !== undefined && suffices(entry.value)) {
      this.entries.delete(key)
      this.entries.set(key, entry)
      this.hits++
      return entry.value
    }
    this.misses++
    return undefined
  }

  /** What is there, whether or not it is asked for. */
  peek(key: string, now: number): A | undefined {
    const entry = this.entries.get(key)
    return entry === undefined || entry.until <= now ? undefined : entry.value
  }

  set(key: string, value: A, tags: ReadonlyArray<string>, bytes: number, now: number): void {
    const before = this.entries.get(key)
    if (before !== undefined) this.remove(key, before)
    const cost = bytes + ENTRY_BYTES
    if (cost > this.bounds.maxBytes) return
    for (const [oldest, entry] of this.entries) {
      if (this.entries.size < this.bounds.maxEntries && this.total + cost <= this.bounds.maxBytes) break
      this.remove(oldest, entry)
      this.evictions++
    }
    this.entries.set(key, { value, tags, bytes: cost, until: now + this.bounds.timeToLive })
    this.total += cost
    for (const tag of tags) {
      const keys = this.tagged.get(tag)
      if (keys === undefined) this.tagged.set(tag, new Set([key]))
      else keys.add(key)
    }
  }

  drop(tag: string): void {
    for (const key of this.tagged.get(tag) ?? []) {
      const entry = this.entries.get(key)
      if (entry !== undefined) this.remove(key, entry)
    }
  }

  clear(): void {
    this.entries.clear()
    this.tagged.clear()
    this.total = 0
  }

  private remove(key: string, entry: Entry<A>): void {
    this.entries.delete(key)
    this.total -= entry.bytes
    for (const tag of entry.tags) {
      const keys = this.tagged.get(tag)
      keys?.delete(key)
      if (keys?.size === 0) this.tagged.delete(tag)
    }
  }
}
