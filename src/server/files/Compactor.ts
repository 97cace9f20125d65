/**
 * Copies what is needed of a segment to where new content goes, so that nothing is left to keep the segment for.
 *
 * Whole blocks are copied, and only when they are what their checksums say; extents keep their checksums and their place
 * within the blocks. Each piece is durable in its new place before a transaction says so, and the old segment stays
 * until nobody reads from it: a crash at any point leaves nothing but dead space.
 */
import { Context, Effect, Layer } from "effect"
import { crc32 } from "node:zlib"
import { BLOCK_BYTES, checksumAt } from "../../platform/Checksum.ts"
import { Refusal, refuse } from "../../protocol/Refusal.ts"
import { Coherence } from "../caches/Coherence.ts"
import { segmentOf } from "../caches/tags.ts"
import { databaseRefusal } from "../Database.ts"
import type { SegmentId } from "./Extent.ts"
import { GracePeriods } from "./GracePeriods.ts"
import { type LiveRun, type Move, ReclaimRepo } from "./ReclaimRepo.ts"
import { type SegmentInfo, type SegmentReader, SegmentStore } from "./SegmentStore.ts"

/** A piece that is copied and moved at once: what a writer may have to wait for. */
const PIECE_BYTES = 4 * 1024 * 1024
const PIECE_STRETCHES = 256

/** A block that is needed, and its place in the segment. */
export interface Block {
  readonly from: number
  readonly to: number
  readonly checksum: number
}

/** The blocks that runs consist of, each once, in order. Runs that overlap have the same blocks there. */
export const liveBlocks = (runs: ReadonlyArray<LiveRun>): ReadonlyArray<Block> => {
  const blocks = new Map<number, Block>()
  for (const { checksums, from, to } of runs) {
    for (let at = from, index = 0; at < to; at += BLOCK_BYTES, index++) {
      blocks.set(at, { from: at, to: Math.min(at + BLOCK_BYTES, to), checksum: checksumAt(checksums, index) })
    }
  }
  return [...blocks.values()].toSorted((a, b) => a.from - b.from)
}

/** Stretches of blocks that must stay together, because an extent lies across them; several to a piece. */
const pieces = (runs: ReadonlyArray<LiveRun>): ReadonlyArray<ReadonlyArray<Omit<Move, "segment" | "distance">>> => {
  const stretches: Array<{ from: number; to: number }> = []
  for (const { from, to } of runs) {
    const last = stretches.at(-1)
    if (last !== undefined && from < last.to) last.to = Math.max(last.to, to)
    else stretches.push({ from, to })
  }
  const result: Array<Array<Omit<Move, "segment" | "distance">>> = []
  let bytes = PIECE_BYTES
  for (const stretch of stretches) {
    const piece = result.at(-1)
    const length = stretch.to - stretch.from
    if (piece === undefined || bytes + length > PIECE_BYTES || piece.length === PIECE_STRETCHES) {
      result.push([stretch])
      bytes = length
    } else {
      piece.push(stretch)
      bytes += length
    }
  }
  return result
}

const damaged = (segment: SegmentId) => refuse("3:bad", `segment ${segment} is damaged`)

const toRefusal = (segment: SegmentId) => (error: unknown): Refusal =>
  error instanceof Refusal ? error : damaged(segment)

export class Compactor extends Context.Service<Compactor, {
  /** Moves what is needed of a segment elsewhere, when it is less than half of it. True when it was. */
  readonly compact: (info: SegmentInfo) => Effect.Effect<boolean, Refusal>
}>()("fip/server/files/Compactor") {
  static readonly layerNoDeps = Layer.effect(
    Compactor,
    Effect.gen(function*() {
      const repo = yield* ReclaimRepo
      const store = yield* SegmentStore
      const grace = yield* GracePeriods
      const coherence = yield* Coherence

      const copy = Effect.fnUntraced(function*(
        segment: SegmentId,
        reader: SegmentReader,
        stretch: Omit<Move, "segment" | "distance">,
        blocks: ReadonlyMap<number, Block>
      ) {
        const length = stretch.to - stretch.from
        const content = Buffer.allocUnsafeSlow(length)
        yield* Effect.tryPromise({ try: () => reader.read(stretch.from, [content]), catch: toRefusal(segment) })
        for (let at = 0; at < length;) {
          const block = blocks.get(stretch.from + at)
          if (block === undefined) return yield* damaged(segment)
          const end = block.to - stretch.from
          if (crc32(content.subarray(at, end)) !== block.checksum) return yield* damaged(segment)
          at = end
        }
        const { offset, segment: target } = yield* store.append([content], length)
        return { ...stretch, segment: target, distance: offset - stretch.from }
      })

      const movePiece = Effect.fnUntraced(function*(
        segment: SegmentId,
        reader: SegmentReader,
        piece: ReadonlyArray<Omit<Move, "segment" | "distance">>,
        blocks: ReadonlyMap<number, Block>
      ) {
        const moves = yield* Effect.forEach(piece, (stretch) => copy(segment, reader, stretch, blocks))
        for (const target of new Set(moves.map((move) => move.segment))) yield* store.sync(target)
        // Who looks it up from memory afterwards would not find the segment.
        yield* coherence.transaction((changed) => {
          changed(segmentOf(segment))
          return repo.move(segment, moves)
        }).pipe(Effect.mapError(databaseRefusal))
      })

      const compact = Effect.fnUntraced(function*({ bytes, segment }: SegmentInfo) {
        const runs = yield* repo.liveRuns(segment)
        const blocks = liveBlocks(runs)
        const live = blocks.reduce((sum, block) => sum + block.to - block.from, 0)
        if (live === 0 || live * 2 >= bytes) return false
        const byOffset = new Map(blocks.map((block) => [block.from, block]))
        yield* Effect.acquireUseRelease(
          Effect.tryPromise({ try: () => store.open(segment), catch: toRefusal(segment) }),
          (reader) =>
            Effect.forEach(pieces(runs), (piece) =>
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
        return true
      })

      return Compactor.of({ compact })
    })
  )

  static readonly layer = this.layerNoDeps.pipe(Layer.provide(Coherence.layer))
}
