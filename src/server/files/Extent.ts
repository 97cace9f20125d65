/**
 * Extents: which bytes of which segment a part of a file is made of. Pure.
 *
 * A span carries what verifies it: the checksums of every block it touches, whole, although it may begin and end within
 * a block. Cutting a span copies nothing but (views of) checksums.
 */
import { Brand } from "effect"
import { BLOCK_BYTES, sliceChecksums } from "../../platform/Checksum.ts"

/** The random id of a segment: a UUID. */
export type SegmentId = string & Brand.Brand<"SegmentId">
export const SegmentId = Brand.nominal<SegmentId>()

/** Bytes of a segment. */
export interface Span {
  readonly segment: SegmentId
  readonly offset: number
  readonly length: number
  /** Where in the segment the first block that the span touches begins, and where the last one ends. */
  readonly checkedFrom: number
  readonly checkedTo: number
  readonly checksums: Uint8Array
}

/** A span and its place in a file. */
export interface Extent extends Span {
  readonly position: number
}

/** Longest extent. A whole number of blocks; long enough that a large file has few, short enough to be cut cheaply. */
export const EXTENT_BYTES = 16 * 1024 * 1024

/** The part of a span from `from` up to, and without, `to`, both counted from the span's beginning. */
export const cut = (span: Span, from: number, to: number): Span => {
  if (from === 0 && to === span.length) return span
  const begin = span.offset + from
  const end = span.offset + to
  const first = Math.floor((begin - span.checkedFrom) / BLOCK_BYTES)
  const last = Math.ceil((end - span.checkedFrom) / BLOCK_BYTES)
  return {
    segment: span.segment,
    offset: begin,
    length: to - from,
    checkedFrom: span.checkedFrom + first * BLOCK_BYTES,
    checkedTo: Math.min(span.checkedFrom + last * BLOCK_BYTES, span.checkedTo),
    checksums: sliceChecksums(span.checksums, first, last)
  }
}

/** The spans of a run that was written at `offset` of a segment, none longer than `EXTENT_BYTES`. */
export const spansOf = (
  segment: SegmentId,
  offset: number,
  length: number,
  checksums: Uint8Array
): ReadonlyArray<Span> => {
  const run: Span = { segment, offset, length, checkedFrom: offset, checkedTo: offset + length, checksums }
  const spans: Array<Span> = []
  for (let at = 0; at < length; at += EXTENT_BYTES) spans.push(cut(run, at, Math.min(at + EXTENT_BYTES, length)))
  return spans
}

/** Lays spans out one after the other from `position` on. */
export const layOut = (spans: ReadonlyArray<Span>, position: number): ReadonlyArray<Extent> => {
  let at = position
  return spans.map((span) => {
    const extent: Extent = { ...span, position: at }
    at += span.length
    return extent
  })
}

/** What is left of `extent` when the bytes [from, to) of the file are taken out: up to two extents. */
export const without = (extent: Extent, from: number, to: number): ReadonlyArray<Extent> => {
  const rest: Array<Extent> = []
  const end = extent.position + extent.length
  if (extent.position < from) {
    rest.push({ ...cut(extent, 0, Math.min(from, end) - extent.position), position: extent.position })
  }
  if (end > to) {
    const begin = Math.max(to, extent.position)
    rest.push({ ...cut(extent, begin - extent.position, extent.length), position: begin })
  }
  return rest
}
