import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { crc32 } from "node:zlib"
import { BLOCK_BYTES, blocksIn, checksumAt, checksumsOf } from "../../../src/platform/Checksum.ts"
import {
  cut,
  type Extent,
  EXTENT_BYTES,
  layOut,
  SegmentId,
  type Span,
  spansOf,
  without
} from "../../../src/server/files/Extent.ts"
import { Ranges } from "../../../src/server/files/Ranges.ts"
import * as Storage from "./Storage.ts"

const segment = SegmentId("00000000-0000-4000-8000-000000000000")

/** The blocks that a span says it touches are whole blocks of `run`, which began at `offset`, and their sums are right. */
const assertVerifiable = (span: Span, run: Uint8Array, offset: number) => {
  assert.isAtMost(span.checkedFrom, span.offset)
  assert.isAtLeast(span.checkedTo, span.offset + span.length)
  assert.strictEqual(span.checksums.length, 4 * blocksIn(span.checkedTo - span.checkedFrom))
  assert.strictEqual((span.checkedFrom - offset) % BLOCK_BYTES, 0)
  for (let begin = span.checkedFrom, index = 0; begin < span.checkedTo; begin += BLOCK_BYTES, index++) {
    const end = Math.min(begin + BLOCK_BYTES, span.checkedTo)
    assert.isTrue(end === offset + run.length || end - begin === BLOCK_BYTES)
    assert.strictEqual(checksumAt(span.checksums, index), crc32(run.subarray(begin - offset, end - offset)))
  }
}

describe("checksums", () => {
  it("are those of each block, however the bytes are cut into chunks", () => {
    fc.assert(
      fc.property(fc.nat(3 * BLOCK_BYTES), fc.integer({ min: 1, max: 100_000 }), (length, size) => {
        const run = Buffer.alloc(length, "content that differs from block to block, at 51 bytes")
        const sums = checksumsOf(Storage.inPieces(run, size), length)
        assert.strictEqual(sums.length, 4 * blocksIn(length))
        for (let index = 0; index < blocksIn(length); index++) {
          assert.strictEqual(
            checksumAt(sums, index),
            crc32(run.subarray(index * BLOCK_BYTES, (index + 1) * BLOCK_BYTES))
          )
        }
      }),
      { numRuns: 50 }
    )
  })
})

describe("extents", () => {
  const run = Buffer.alloc(5 * BLOCK_BYTES + 777, "a run of blocks, each of which is another one")
  const offset = 12_345
  const whole: Span = {
    segment,
    offset,
    length: run.length,
    checkedFrom: offset,
    checkedTo: offset + run.length,
    checksums: checksumsOf([run], run.length)
  }
  const range = fc.tuple(fc.nat(run.length - 1), fc.nat(run.length - 1)).map(([a, b]) =>
    [Math.min(a, b), Math.max(a, b) + 1] as const
  )

  it("can be verified after they were cut and cut again", () => {
    fc.assert(fc.property(range, fc.nat(), fc.nat(), ([from, to], a, b) => {
      const once = cut(whole, from, to)
      assertVerifiable(once, run, offset)
      const [first, last] = [a % once.length, b % once.length].sort((x, y) => x - y)
      const twice = cut(once, first ?? 0, (last ?? 0) + 1)
      assertVerifiable(twice, run, offset)
      assert.strictEqual(twice.offset, offset + from + (first ?? 0))
    }))
  })

  it("keep what is not taken out, and nothing else", () => {
    fc.assert(fc.property(range, range, fc.nat(1000), ([begin, end], [from, to], position) => {
      const extent: Extent = { ...cut(whole, begin, end), position }
      const left = without(extent, from, to)
      for (const rest of left) {
        assertVerifiable(rest, run, offset)
        assert.strictEqual(rest.offset - extent.offset, rest.position - position)
      }
      const last = position + extent.length
      const expected = [[position, Math.min(last, from)], [Math.max(position, to), last]]
      assert.deepStrictEqual(
        left.map((rest) => [rest.position, rest.position + rest.length]),
        expected.filter(([first = 0, end = 0]) => first < end)
      )
    }))
  })

  it("of a long run are none longer than the longest, and follow each other", () => {
    const length = 2 * EXTENT_BYTES + 5
    const spans = spansOf(segment, 7, length, new Uint8Array(4 * blocksIn(length)))
    assert.deepStrictEqual(spans.map((span) => span.length), [EXTENT_BYTES, EXTENT_BYTES, 5])
    assert.deepStrictEqual(layOut(spans, 100).map((extent) => extent.position), [
      100,
      100 + EXTENT_BYTES,
      100 + 2 * EXTENT_BYTES
    ])
    assert.deepStrictEqual(spans.map((span) => span.checksums.length), [1024, 1024, 4])
    assert.deepStrictEqual(spansOf(segment, 7, 0, new Uint8Array(0)), [])
  })
})

describe("ranges", () => {
  it("are the set of what was added", () => {
    const item = fc.tuple(fc.nat(60), fc.nat(12)).map(([from, length]) => [from, from + length] as const)
    fc.assert(fc.property(fc.array(item, { maxLength: 20 }), item, (added, [from, to]) => {
      const ranges = new Ranges()
      const model = new Set<number>()
      for (const [begin, end] of added) {
        ranges.add(begin, end)
        for (let at = begin; at < end; at++) model.add(at)
      }
      const members = ranges.all.flatMap(([begin, end]) => Array.from({ length: end - begin }, (_, i) => begin + i))
      assert.deepStrictEqual(members, [...model].sort((a, b) => a - b))
      for (const [index, [begin]] of ranges.all.entries()) {
        const before = ranges.all[index - 1]
        assert.isTrue(before === undefined || before[1] < begin, "ranges touch")
      }
      const missing = ranges.missing(from, to).flatMap(([a, b]) => Array.from({ length: b - a }, (_, i) => a + i))
      const expected = Array.from({ length: to - from }, (_, i) => from + i).filter((at) => !model.has(at))
      assert.deepStrictEqual(missing, expected)
      let prefix = 0
      while (model.has(prefix)) prefix++
      assert.strictEqual(ranges.prefix, prefix)
      assert.strictEqual(ranges.end, Math.max(0, ...[...model].map((at) => at + 1)))
    }))
  })
})
