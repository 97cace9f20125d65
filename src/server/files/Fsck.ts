/**
 * Checks everything that is stored, while the server goes on: what the tables say of each other, and every block that a
 * version needs against its checksum.
 *
 * Repairing does only what cannot lose anything: it counts anew what users are charged for, and removes segments that
 * nothing refers to. Content that is damaged stays as it is, for whoever wants to read the rest.
 */
import { Context, Effect, Layer } from "effect"
import { crc32 } from "node:zlib"
import { Refusal, refuse } from "../../protocol/Refusal.ts"
import type { AdminFinding, AdminFsck } from "../admin/Commands.ts"
import type { Report } from "../admin/Handler.ts"
import { type Block, liveBlocks } from "./Compactor.ts"
import type { SegmentId } from "./Extent.ts"
import { FsckRepo } from "./FsckRepo.ts"
import { GracePeriods } from "./GracePeriods.ts"
import { Reclaimer } from "./Reclaimer.ts"
import { ReclaimRepo } from "./ReclaimRepo.ts"
import { type SegmentReader, SegmentStore } from "./SegmentStore.ts"

/** Read at once. */
const STEP_BYTES = 1024 * 1024

/** Findings that are named; the others are counted. */
const MAX_FINDINGS = 1000

const toRefusal = (error: unknown): Refusal =>
  error instanceof Refusal ? error : refuse("3:disk", "the segment cannot be read")

/** Neighbouring blocks together, up to `STEP_BYTES`. */
const steps = (blocks: ReadonlyArray<Block>): ReadonlyArray<ReadonlyArray<Block>> => {
  const result: Array<Array<Block>> = []
  for (const block of blocks) {
    const step = result.at(-1)
    const [first] = step ?? []
    const isNext = step?.at(-1)?.to === block.from
    if (step !== undefined && first !== undefined && isNext && block.to - first.from <= STEP_BYTES) step.push(block)
    else result.push([block])
  }
  return result
}

/** The blocks of a step that are not what they were; all of them when they cannot be read. */
const damagedIn = async (reader: SegmentReader, step: ReadonlyArray<Block>): Promise<ReadonlyArray<Block>> => {
  const from = step[0]?.from ?? 0
  const content = Buffer.allocUnsafe((step.at(-1)?.to ?? 0) - from)
  try {
    await reader.read(from, [content])
  } catch (error) {
    if (toRefusal(error).code !== "3:bad") throw error
    return step
  }
  return step.filter((block) => crc32(content.subarray(block.from - from, block.to - from)) !== block.checksum)
}

export class Fsck extends Context.Service<Fsck, {
  /** It can be interrupted at any point. */
  readonly check: (options: { readonly repair: boolean }, report?: Report) => Effect.Effect<AdminFsck, Refusal>
}>()("fip/server/files/Fsck") {
  static readonly layerNoDeps = Layer.effect(
    Fsck,
    Effect.gen(function*() {
      const repo = yield* FsckRepo
      const reclaim = yield* ReclaimRepo
      const reclaimer = yield* Reclaimer
      const store = yield* SegmentStore
      const grace = yield* GracePeriods

      /** How much of a segment is needed, and the blocks of it that are damaged. Some blocks at a time. */
      const checkSegment = Effect.fnUntraced(function*(segment: SegmentId) {
        const damaged: Array<Block> = []
        let bytes = 0
        /** The last block that was checked: runs that overlap have the same ones there. */
        let seen = -1
        let reader: SegmentReader | undefined
        yield* Effect.ensuring(
          reclaim.liveSpans(segment, (spans) =>
            Effect.gen(function*() {
              const blocks = liveBlocks(spans).filter((block) => block.from > seen)
              seen = blocks.at(-1)?.from ?? seen
              for (const step of steps(blocks)) {
                bytes += step.reduce((sum, block) => sum + block.to - block.from, 0)
                // Uninterruptible: the reader is not closed while it reads.
                const found = Effect.uninterruptible(Effect.tryPromise({
                  try: async () => damagedIn(reader ??= await store.open(segment), step),
                  catch: toRefusal
                }))
                // It is not there at all.
                damaged.push(
                  ...yield* Effect.catchIf(found, ({ code }) => code === "3:bad", () => Effect.succeed(step))
                )
              }
            })),
          Effect.promise(async () => reader?.close())
        )
        return { bytes, damaged }
      })

      const check = Effect.fnUntraced(function*(
        { repair }: { readonly repair: boolean },
        progress: Report = () => {}
      ) {
        const findings: Array<AdminFinding> = []
        let problems = 0
        let repaired = 0
        const report = (kind: AdminFinding["kind"], subject: string, message: string, isRepaired = false): void => {
          problems++
          if (isRepaired) repaired++
          if (findings.length < MAX_FINDINGS) findings.push({ kind, subject, message, repaired: isRepaired })
        }

        let files = 0
        let versions = 0
        for (let after = 0;;) {
          const page = yield* repo.files(after)
          files += page.files
          progress({ doing: "checking files", done: files })
          versions += page.versions
          for (const { fault, label, version } of page.faults) {
            report("version", label, version === 0 ? fault : `version ${version}: ${fault}`)
          }
          if (page.last === undefined) break
          after = page.last
        }

        for (const drift of yield* repo.drifted) {
          if (repair) yield* repo.recount(drift.userId)
          report(
            "quota",
            drift.username,
            `charged for ${drift.bytesUsed} bytes in ${drift.filesUsed} files, and has ${drift.bytes} in ${drift.files}`,
            repair
          )
        }

        let segments = 0
        let bytes = 0
        const inUse = yield* repo.segmentCount
        for (let after: SegmentId | undefined;;) {
          const page = yield* repo.segments(after)
          for (const segment of page) {
            // Nothing is removed meanwhile that is referred to now.
            const ticket = grace.enter()
            const checked = yield* Effect.ensuring(checkSegment(segment), Effect.sync(() => grace.leave(ticket)))
            segments++
            bytes += checked.bytes
            progress({ doing: "checking segments", done: segments, of: Math.max(segments, inUse) })
            for (const { from, to } of checked.damaged) {
              const where = yield* repo.filesAt(segment, from, to)
              report("damaged", segment, `bytes ${from} to ${to - 1} are damaged or missing: ${where.join(", ")}`)
            }
          }
          after = page.at(-1)
          if (after === undefined) break
        }

        const uploads = yield* repo.uploads
        const sizes = new Map((yield* store.list).map((info) => [info.segment, info.bytes]))
        const short = uploads.filter(({ end, segment }) => (sizes.get(segment) ?? 0) < end)
        if (short.length > 0) {
          // One that ended since takes its segment with it.
          const still = new Set((yield* repo.uploads).map(({ uploadId }) => uploadId))
          for (const { end, segment, uploadId } of short) {
            if (!still.has(uploadId)) continue
            report("upload", uploadId, `${end} bytes have arrived, and ${sizes.get(segment) ?? 0} are there`)
          }
        }

        if (repair) yield* reclaimer.sweepSegments
        const swept = repair ? yield* reclaimer.sweepSegments : undefined
        const closed = (yield* store.list).filter((info) => !info.isOpen)
        const unreferenced = new Set(yield* reclaim.unreferenced(closed.map((info) => info.segment)))
        const orphans = closed.filter((info) => unreferenced.has(info.segment))
        return {
          segments,
          bytes,
          files,
          versions,
          users: yield* repo.users,
          uploads: uploads.length,
          orphan_segments: orphans.length,
          orphan_bytes: orphans.reduce((sum, info) => sum + info.bytes, 0),
          removed_segments: swept?.segmentsRemoved ?? 0,
          removed_bytes: swept?.bytesRemoved ?? 0,
          problems,
          repaired,
          findings
        }
      })

      return Fsck.of({ check })
    })
  )

  static readonly layer = this.layerNoDeps.pipe(
    Layer.provide([FsckRepo.layer, ReclaimRepo.layer, Reclaimer.layer, GracePeriods.layer])
  )
}
