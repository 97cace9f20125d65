/**
 * Copies what is needed of a segment to where new content goes, so that nothing is left to keep the segment for.
 *
 * The bytes that extents are made of are copied, and no others, when the blocks that they lie in are what their checksums
 * say; in their new place they get checksums of their own. Each piece is durable in its new place before a transaction says so, and the old segment stays
 * until nobody reads from it: a crash at any point leaves nothing but dead space.
 */
import { Context, Effect, Layer } from "effect"
import { crc32 } from "node:zlib"
import { BLOCK_BYTES, checksumAt, checksumsOf } from "../../platform/Checksum.ts"
import { Refusal, refuse } from "../../protocol/Refusal.ts"
import { Coherence } from "../caches/Coherence.ts"
import { segmentOf } from "../caches/tags.ts"
import { databaseRefusal } from "../Database.ts"
import { cut, type SegmentId, type Span } from "./Extent.ts"
import { GracePeriods } from "./GracePeriods.ts"
import { type Move, ReclaimRepo } from "./ReclaimRepo.ts"
import { type SegmentInfo, type SegmentReader, SegmentStore } from "./SegmentStore.ts"

/** A piece that is copied and moved at once: what a writer may have to wait for. */
const PIECE_BYTES = 4 * 1024 * 1024
const PIECE_SPANS = 1000

/** A block that is needed, and its place in the segment. */
export interface Block {
  readonly from: number
  readonly to: number
  readonly checksum: number
}

/** Blocks of a segment that an extent needs. */
export type CheckedRun = Pick<Span, "checkedFrom" | "checkedTo" | "checksums">

/** The blocks that runs consist of, each once, in order. Runs that overlap have the same blocks there. */
export const liveBlocks = (runs: ReadonlyArray<CheckedRun>): ReadonlyArray<Block> => {
  const blocks = new Map<number, Block>()
  for (const { checkedFrom, checkedTo, checksums } of runs) {
    for (let at = checkedFrom, index = 0; at < checkedTo; at += BLOCK_BYTES, index++) {
      blocks.set(at, { from: at, to: Math.min(at + BLOCK_BYTES, checkedTo), checksum: checksumAt(checksums, index) })
    }
  }
  return [...blocks.values()].toSorted((a, b) => a.from - b.from)
}

/** Bytes that stay together because spans overlap in them, and those spans. */
interface Stretch {
  readonly from: number
  to: number
  readonly spans: Array<Span>
}

/** The bytes that spans are made of, each once. Spans come in order. */
const stretchesOf = (spans: ReadonlyArray<Span>): ReadonlyArray<Stretch> => {
  const stretches: Array<Stretch> = []
  for (const span of spans) {
    const last = stretches.at(-1)
    const end = span.offset + span.length
    if (last !== undefined && span.offset < last.to) {
      last.to = Math.max(last.to, end)
      last.spans.push(span)
    } else stretches.push({ from: span.offset, to: end, spans: [span] })
  }
  return stretches
}

/** Several stretches to a piece. */
const pieces = (stretches: ReadonlyArray<Stretch>): ReadonlyArray<ReadonlyArray<Stretch>> => {
  const result: Array<Array<Stretch>> = []
  let bytes = 0
  let count = 0
  for (const stretch of stretches) {
    bytes += stretch.to - stretch.from
    count += stretch.spans.length
    const piece = result.at(-1)
    if (piece !== undefined && bytes <= PIECE_BYTES && count <= PIECE_SPANS) piece.push(stretch)
    else {
      result.push([stretch])
      bytes = stretch.to - stretch.from
      count = stretch.spans.length
    }
  }
  return result
}

const damaged = (segment: SegmentId) => refuse("3:bad", `segment ${segment} is damaged`)

const toRefusal = (segment: SegmentId) => (error: unknown): Refusal =>
  error instanceof Refusal ? error : damaged(segment)

/** What a look at a segment came to. */
export interface Look {
  readonly isCompacted: boolean
  /** Bytes of the segment that nothing needs. */
  readonly deadBytes: number
}

export class Compactor extends Context.Service<Compactor, {
  /** Moves what is needed of a segment elsewhere, when it is less than half of it. */
  readonly compact: (info: SegmentInfo) => Effect.Effect<Look, Refusal>
}>()("fip/server/files/Compactor") {
  static readonly layerNoDeps = Layer.effect(
    Compactor,
    Effect.gen(function*() {
      const repo = yield* ReclaimRepo
      const store = yield* SegmentStore
      const grace = yield* GracePeriods
      const coherence = yield* Coherence

      /** Copies a stretch; where its spans lie then. */
      const copy = Effect.fnUntraced(function*(
        segment: SegmentId,
        reader: SegmentReader,
        { from, spans, to }: Stretch,
        blocks: ReadonlyMap<number, Block>
      ) {
        // Whole blocks are read, because that is what checksums are of.
        const begin = spans[0]?.checkedFrom ?? from
        const end = spans.reduce((last, span) => Math.max(last, span.checkedTo), to)
        const read = Buffer.allocUnsafeSlow(end - begin)
        yield* Effect.tryPromise({ try: () => reader.read(begin, [read]), catch: toRefusal(segment) })
        for (let at = begin; at < end;) {
          const block = blocks.get(at)
          if (block === undefined) return yield* damaged(segment)
          if (crc32(read.subarray(at - begin, block.to - begin)) !== block.checksum) return yield* damaged(segment)
          at = block.to
        }
        const content = read.subarray(from - begin, to - begin)
        const { length } = content
        const { offset, segment: target } = yield* store.append([content], length)
        const run: Span = {
          segment: target,
          offset,
          length,
          checkedFrom: offset,
          checkedTo: offset + length,
          checksums: checksumsOf([content], length)
        }
        return spans.map((span): Move => ({
          from: span,
          to: cut(run, span.offset - from, span.offset + span.length - from)
        }))
      })

      const movePiece = Effect.fnUntraced(function*(
        segment: SegmentId,
        reader: SegmentReader,
        piece: ReadonlyArray<Stretch>,
        blocks: ReadonlyMap<number, Block>
      ) {
        const moves = (yield* Effect.forEach(piece, (stretch) => copy(segment, reader, stretch, blocks))).flat()
        for (const target of new Set(moves.map((move) => move.to.segment))) yield* store.sync(target)
        // Who looks it up from memory afterwards would not find the segment.
        yield* coherence.transaction((changed) => {
          changed(segmentOf(segment))
          return repo.move(segment, moves)
        }).pipe(Effect.mapError(databaseRefusal))
      })

      const compact = Effect.fnUntraced(function*({ bytes, segment }: SegmentInfo): Effect.fn.Return<Look, Refusal> {
        const live = yield* repo.liveBytes(segment)
        if (live === 0 || live * 2 >= bytes) return { isCompacted: false, deadBytes: Math.max(0, bytes - live) }
        const spans: Array<Span> = []
        yield* repo.liveSpans(segment, (some) =>
          Effect.sync(() => {
            for (const span of some) spans.push(span)
          }))
        const stretches = stretchesOf(spans)
        const blocks = liveBlocks(spans)
        const byOffset = new Map(blocks.map((block) => [block.from, block]))
        yield* Effect.acquireUseRelease(
          Effect.tryPromise({ try: () => store.open(segment), catch: toRefusal(segment) }),
          (reader) =>
            Effect.forEach(pieces(stretches), (piece) =>
              Effect.suspend(() => {
                // The copies are referred to by nothing until they are moved to.
                const ticket = grace.enter()
                return Effect.uninterruptible(Effect.ensuring(
                  movePiece(segment, reader, piece, byOffset),
                  Effect.sync(() => grace.leave(ticket))
                ))
              }), { discard: true }),
          (reader) => Effect.promise(() => reader.close())
        )
        return { isCompacted: true, deadBytes: bytes }
      })

      return Compactor.of({ compact })
    })
  )

  static readonly layer = this.layerNoDeps.pipe(Layer.provide(Coherence.layer))
}
