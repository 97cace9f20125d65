/**
 * What earlier versions and deleted files of an owner take of the disk: bytes that nothing current refers to. Pure.
 *
 * Bytes are counted once, however many versions have them: a version that was patched shares all but a few with the
 * next. So a bound on them is one on the disk, and not on how often something was changed.
 */
import type { SegmentId } from "./Extent.ts"

export interface OldExtent {
  readonly segment: SegmentId
  readonly offset: number
  readonly length: number
  /** When it ceased to be current, in milliseconds since 1970; `undefined` while it is. */
  readonly endedAt: number | undefined
}

/** The bytes of a segment, cut at the points where something begins or ends; each piece is taken once. */
class Pieces {
  private readonly points: Array<number>
  /** For each piece, the first one from there on that may still be free. */
  private readonly free: Array<number>

  constructor(points: ReadonlyArray<number>) {
    this.points = [...new Set(points)].toSorted((a, b) => a - b)
    this.free = this.points.map((_, index) => index)
  }

  private firstFree(from: number): number {
    let at = from
    while (this.free[at] !== at) at = this.free[at] ?? this.points.length
    // Whoever comes the same way again is there at once.
    for (let step = from; step !== at;) {
      const next = this.free[step] ?? at
      this.free[step] = at
      step = next
    }
    return at
  }

  private indexOf(point: number): number {
    let low = 0
    let high = this.points.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.points[middle] ?? 0) < point) low = middle + 1
      else high = middle
    }
    return low
  }

  /** Takes the bytes [from, to), both of them points; how many were free. */
  take(from: number, to: number): number {
    let bytes = 0
    const end = this.indexOf(to)
    for (let at = this.firstFree(this.indexOf(from)); at < end; at = this.firstFree(at)) {
      bytes += (this.points[at + 1] ?? 0) - (this.points[at] ?? 0)
      this.free[at] = at + 1
    }
    return bytes
  }
}

/**
 * The instant by which something must have ceased to be current in order to go, so that what is left has at most
 * `allowed` bytes; `undefined` when nothing has to go. `extents` come with the current ones first, then from the latest
 * to the oldest.
 */
export const cutoff = (extents: ReadonlyArray<OldExtent>, allowed: number): number | undefined => {
  const points = new Map<SegmentId, Array<number>>()
  for (const { length, offset, segment } of extents) {
    const known = points.get(segment)
    if (known === undefined) points.set(segment, [offset, offset + length])
    else known.push(offset, offset + length)
  }
  const segments = new Map(Array.from(points, ([segment, ends]) => [segment, new Pieces(ends)]))
  let bytes = 0
  for (const { endedAt, length, offset, segment } of extents) {
    const taken = segments.get(segment)?.take(offset, offset + length) ?? 0
    if (endedAt === undefined) continue
    bytes += taken
    if (bytes > allowed) return endedAt
  }
  return undefined
}
