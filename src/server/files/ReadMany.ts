/**
 * Several small files in one reply: looked up at once, and read from their segments as they lie there, neighbours
 * together. What is written together is read together, in few reads.
 *
 * Each file is decided by itself; one that is refused, or damaged, fails alone. The next message is read while the one
 * before leaves; nothing of it goes through the caches of blocks.
 */
import { Context, Effect, FiberSet, Layer, Result } from "effect"
import { formatFileRef } from "../../protocol/FileName.ts"
import { MAX_DATA_BYTES } from "../../protocol/Limits.ts"
import { Refusal, refuse } from "../../protocol/Refusal.ts"
import type { BodyOf, FileRead } from "../../protocol/Request.ts"
import { NoteAccess } from "../AccessStatistics.ts"
import { FileLookup } from "../caches/FileLookup.ts"
import type { Caller } from "../Caller.ts"
import type { Batch, BatchSource, Withheld } from "../ContentSource.ts"
import { FileBufferCache } from "../FileBufferCache.ts"
import { noSuchFile } from "../permissions/Policy.ts"
import { isWhole, runsOf, type Want, wantsOf } from "./blockRuns.ts"
import { hashOf } from "./contentHash.ts"
import { FileRepo, type Located } from "./FileRepo.ts"
import { GracePeriods, type Ticket } from "./GracePeriods.ts"
import { withAttributes } from "./Listing.ts"
import { type FileRow, labelOf, permit } from "./Rules.ts"

/** A file that is to be read. */
interface Item {
  readonly place: Located
  readonly file: FileRow
  readonly wants: ReadonlyArray<Want>
}

/** Blocks are read whole, although little of one may be wanted: so much is read for one message, or for one file. */
const MAX_READ_BYTES = 2 * MAX_DATA_BYTES

const isItem = (item: Item | Withheld): item is Item => "wants" in item

const byPlace = (a: Want, b: Want): number =>
  a.segment === b.segment ? a.begin - b.begin : a.segment < b.segment ? -1 : 1

/** The wanted bytes of blocks: one view where they lie together. */
const join = (chunks: Array<Uint8Array>, part: Uint8Array): void => {
  const last = chunks.at(-1)
  if (last !== undefined && last.buffer === part.buffer && last.byteOffset + last.length === part.byteOffset) {
    chunks[chunks.length - 1] = new Uint8Array(last.buffer, last.byteOffset, last.length + part.length)
  } else chunks.push(part)
}

export class ReadMany extends Context.Service<ReadMany, {
  /** What is given must be closed, by whoever takes it. */
  readonly read: (caller: Caller, body: BodyOf<"ReadMany">) => Effect.Effect<BatchSource, Refusal>
}>()("fip/server/files/ReadMany") {
  static readonly layer = Layer.effect(
    ReadMany,
    Effect.gen(function*() {
      const repo = yield* FileRepo
      const lookup = yield* FileLookup
      const cache = yield* FileBufferCache
      const grace = yield* GracePeriods
      const note = yield* NoteAccess
      const fork = yield* FiberSet.makeRuntime<never, unknown, unknown>()

      /** Reads whole blocks; what cannot be read, or is not what was written, is refused for the file it is of. */
      const load = async (items: ReadonlyArray<Item>): Promise<ReadonlyMap<Want, Refusal>> => {
        const failed = new Map<Want, Refusal>()
        const wants = items.flatMap((item) => item.wants).toSorted(byPlace)
        const read = async (run: ReadonlyArray<Want>): Promise<void> => {
          const [first] = run
          const last = run.at(-1)
          if (first === undefined || last === undefined) return
          const { begin, segment } = first
          const bytes = Buffer.allocUnsafeSlow(last.end - begin)
          try {
            await cache.use(segment, (reader) => reader.read(begin, [bytes]))
            for (const want of run) want.block = bytes.subarray(want.begin - begin, want.end - begin)
          } catch (error) {
            if (!(error instanceof Refusal)) throw error
            // Of neighbours that cannot be read together, some can perhaps be read.
            if (run.length > 1) { for (const want of run) await read([want]) }
            else failed.set(first, error)
          }
        }
        await Promise.all(runsOf(wants).map(read))
        return failed
      }

      const give = ({ file, place, wants }: Item, failed: ReadonlyMap<Want, Refusal>, chunks: Array<Uint8Array>) => {
        const { name, size, version } = file
        for (const want of wants) {
          const failure = failed.get(want)
          if (failure !== undefined) return { name, refusal: failure }
          if (!isWhole(want)) return { name, refusal: refuse("3:bad", `${labelOf(place)} is damaged on the server`) }
        }
        const own: Array<Uint8Array> = []
        for (const { block, from, to } of wants) {
          const part = block?.subarray(from, to)
          if (part === undefined) continue
          own.push(part)
          join(chunks, part)
        }
        const sha256 = file.sha256 ?? hashOf(own)
        if (file.sha256 === undefined) {
          fork(
            repo.setHash(file.fileId, version, sha256).pipe(
              Effect.tap(() => Effect.sync(() => lookup.forget(file.fileId))),
              Effect.ignore({ log: "Warn" })
            )
          )
        }
        note.read(file.fileId)
        return { name, size, version, sha256, ...withAttributes(file.attributes) }
      }

      const find = Effect.fnUntraced(function*(caller: Caller, body: BodyOf<"ReadMany">, ticket: Ticket) {
        const owner = body.owner ?? caller.username
        const places = yield* lookup.locateMany(
          body.names.map((name) => ({ callerId: caller.userId, owner, name, from: 0, to: MAX_DATA_BYTES }))
        )
        const items = body.names.map((name, index): Item | Withheld => {
          const place = places[index]
          if (place === undefined) return { name, refusal: noSuchFile(formatFileRef({ owner, name })) }
          const permitted = permit(place, "read")
          if (Result.isFailure(permitted)) return { name, refusal: permitted.failure }
          const file = permitted.success
          const wants = file.size > MAX_DATA_BYTES ? undefined : wantsOf(place.extents, file.size)
          return wants === undefined
            ? {
              name,
              refusal: refuse("2:big", `${labelOf(place)} is too large, or in too many pieces: read it by itself`)
            }
            : { place, file, wants }
        })
        return sourceOf(places.find((place) => place !== undefined)?.owner.username ?? owner, items, ticket)
      })

      const sourceOf = (
        owner: BatchSource["owner"],
        items: ReadonlyArray<Item | Withheld>,
        ticket: Ticket
      ): BatchSource => {
        let index = 0
        let ahead: Promise<Batch> | undefined

        /** As many of the next files as one message has room for. */
        const take = async (): Promise<Batch> => {
          const taken: Array<Item | Withheld> = []
          for (let bytes = 0, read = 0; index < items.length; index++) {
            const item = items[index]
            if (item === undefined) break
            if (isItem(item)) {
              bytes += item.file.size
              read += item.wants.reduce((sum, { begin, end }) => sum + end - begin, 0)
              if (bytes > MAX_DATA_BYTES || (read > MAX_READ_BYTES && taken.length > 0)) break
            }
            taken.push(item)
          }
          const last = index === items.length
          const failed = await load(taken.filter(isItem))
          const chunks: Array<Uint8Array> = []
          const files: Array<FileRead | Withheld> = []
          for (const item of taken) files.push(isItem(item) ? give(item, failed, chunks) : item)
          return { files, chunks, last }
        }

        const source: BatchSource = {
          owner,
          next: async () => {
            const batch = await (ahead ?? take())
            ahead = batch.last ? undefined : take()
            // Its failure is told to whoever takes it, if anybody does.
            ahead?.catch(() => undefined)
            return batch
          },
          close: () => grace.leave(ticket)
        }
        grace.leaveWith(source, ticket)
        return source
      }

      return ReadMany.of({
        read: (caller, body) =>
          Effect.suspend(() => {
            const ticket = grace.enter()
            return Effect.onError(find(caller, body, ticket), () => Effect.sync(() => grace.leave(ticket)))
          })
      })
    })
  )
}
