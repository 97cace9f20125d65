/** Numbers, choices and bytes that depend on a seed alone, so that what a test did can be done again. */
import { createCipheriv } from "node:crypto"

const INITIAL_VECTOR = Buffer.alloc(16)

export class Random {
  private state: number

  constructor(seed: number) {
    this.state = seed | 0
  }

  /** At least 0, less than 1 (mulberry32). */
  next(): number {
    this.state = (this.state + 0x6d2b79f5) | 0
    let mixed = Math.imul(this.state ^ (this.state >>> 15), this.state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }

  /** At least 0, less than `limit`. */
  below(limit: number): number {
    return Math.floor(this.next() * limit)
  }

  chance(probability: number): boolean {
    return this.next() < probability
  }

  pick<A>(choices: readonly [A, ...ReadonlyArray<A>]): A {
    return choices[this.below(choices.length)] ?? choices[0]
  }

  /** Bytes that do not repeat, so that none of them can stand in for others. */
  bytes(length: number): Buffer {
    const key = Buffer.alloc(16)
    for (let at = 0; at < key.length; at += 4) key.writeUInt32LE(this.below(2 ** 32), at)
    return createCipheriv("aes-128-ctr", key, INITIAL_VECTOR).update(Buffer.alloc(length))
  }

  /** One for somebody who takes numbers at a time of their own. */
  split(): Random {
    return new Random(this.below(2 ** 32))
  }
}
