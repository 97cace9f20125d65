/**
 * How long a wrong password takes just now, for answers that have to take as long without doing the work.
 *
 * One of the last measurements, drawn at random, so that the times of both have the same distribution, queueing and
 * disturbances included. Measurements that are old say nothing about the present load: then it is the quickest known.
 */
import { randomInt } from "node:crypto"

const KEPT = 32
const FRESH_MILLIS = 10_000

interface Measurement {
  readonly at: number
  readonly millis: number
}

export class Typical {
  private readonly measured: Array<Measurement> = []

  add(millis: number, at: number): void {
    this.measured.push({ at, millis })
    if (this.measured.length > KEPT) this.measured.shift()
  }

  draw(now: number): number {
    const fresh = this.measured.filter(({ at }) => now - at < FRESH_MILLIS)
    return fresh.length === 0
      ? Math.min(...this.measured.map(({ millis }) => millis))
      : fresh[randomInt(fresh.length)]?.millis ?? 0
  }
}
