import { assert, it } from "@effect/vitest"
import * as fc from "fast-check"
import { SegmentId } from "../../../src/server/files/Extent.ts"
import { cutoff, type OldExtent } from "../../../src/server/files/Surplus.ts"

const extent = fc.record({
  segment: fc.constantFrom("a", "b").map(SegmentId),
  offset: fc.nat(20),
  length: fc.integer({ min: 1, max: 10 }),
  endedAt: fc.option(fc.nat(5), { nil: undefined })
})

const latestFirst = (extents: ReadonlyArray<OldExtent>) =>
  extents.toSorted((a, b) => (b.endedAt ?? Infinity) - (a.endedAt ?? Infinity) || 0)

const bytesOf = (some: ReadonlyArray<OldExtent>) =>
  new Set(
    some.flatMap(({ length, offset, segment }) => Array.from({ length }, (_, index) => `${segment}${offset + index}`))
  )

/** Bytes that only old extents have which ended after an instant, one by one. */
const bytesAfter = (extents: ReadonlyArray<OldExtent>, instant: number): number => {
  const old = bytesOf(extents.filter(({ endedAt }) => endedAt !== undefined && endedAt > instant))
  const current = bytesOf(extents.filter(({ endedAt }) => endedAt === undefined))
  return [...old].filter((byte) => !current.has(byte)).length
}

it("leaves as much of what is old as is allowed, and no less than it must, bytes that are shared counted once", () => {
  fc.assert(
    fc.property(fc.array(extent, { maxLength: 12 }), fc.nat(40), (extents, allowed) => {
      const instant = cutoff(latestFirst(extents), allowed)
      assert.isAtMost(bytesAfter(extents, instant ?? -1), allowed)
      if (instant !== undefined) assert.isAbove(bytesAfter(extents, instant - 1), allowed)
    }),
    { numRuns: 2000 }
  )
})
