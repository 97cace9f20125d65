/**
 * Verified blocks of content in memory, least recently used out first; bounded for each user and in all.
 *
 * What one user reads pushes out that user's own blocks before anybody else's: only when all users together are over
 * the bound does a user lose blocks to another, and then the one who has been idle for longest.
 */

/** What an entry costs beside its bytes. */
const ENTRY_BYTES = 256

interface UserBlocks {
  /** In the order of their last use. */
  readonly blocks: Map<string, Uint8Array>
  bytes: number
  usedAt: number
}

export class BlockCache {
  private readonly maxBytes: number
  private readonly maxBytesPerUser: number
  /** In the order of their last use. */
  private readonly users = new Map<number, UserBlocks>()
  private total = 0
  /** Blocks that were asked for and found, and those that were not there. */
  hits = 0
  misses = 0

  constructor(maxBytes: number, maxBytesPerUser: number) {
    this.maxBytes = maxBytes
    this.maxBytesPerUser = Math.min(maxBytes, maxBytesPerUser)
  }

  /** Held by all users together, bookkeeping included. */
  get bytes(): number {
    return this.total
  }

  get(userId: number, key: string, now: number): Uint8Array | undefined {
    const user = this.users.get(userId)
    const block = user?.blocks.get(key)
    if (user === undefined || block === undefined) {
      this.misses++
      return undefined
    }
    this.hits++
    user.blocks.delete(key)
    user.blocks.set(key, block)
    this.touch(userId, user, now)
    return block
  }

  put(userId: number, key: string, block: Uint8Array, now: number): void {
    const cost = block.length + ENTRY_BYTES
    if (cost > this.maxBytesPerUser) return
    const user = this.users.get(userId) ?? { blocks: new Map<string, Uint8Array>(), bytes: 0, usedAt: now }
    this.touch(userId, user, now)
    this.remove(user, key)
    while (user.bytes + cost > this.maxBytesPerUser) this.evict(userId, user)
    while (this.total + cost > this.maxBytes) {
      for (const [id, idlest] of this.users) {
        this.evict(id, idlest)
        break
      }
    }
    this.users.set(userId, user)
    user.blocks.set(key, block)
    user.bytes += cost
    this.total += cost
  }

  /** Drops what belongs to users who have used nothing since `before`. */
  dropIdle(before: number): void {
    for (const [id, user] of this.users) {
      if (user.usedAt >= before) return
      this.users.delete(id)
      this.total -= user.bytes
    }
  }

  private touch(userId: number, user: UserBlocks, now: number): void {
    user.usedAt = now
    this.users.delete(userId)
    this.users.set(userId, user)
  }

  /** Drops the block that the user has not used for longest, and the user after the last one. */
  private evict(userId: number, user: UserBlocks): void {
    for (const key of user.blocks.keys()) {
      this.remove(user, key)
      break
    }
    if (user.blocks.size === 0) this.users.delete(userId)
  }

  private remove(user: UserBlocks, key: string): void {
    const block = user.blocks.get(key)
    if (block === undefined) return
    user.blocks.delete(key)
    user.bytes -= block.length + ENTRY_BYTES
    this.total -= block.length + ENTRY_BYTES
  }
}
