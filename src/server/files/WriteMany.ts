/**
 * Several small files in one request: their bytes go to a segment in one piece, and into the database as far as possible
 * in one transaction. Each file is decided by itself, by the rules of the request that it stands for; one that is refused
 * fails alone.
 *
 * Before bytes are stored, what is certain to be refused is refused: others' files one by one, one's own by the quota, and
 * each of them only when there may not be room for all.
 */
import { Context, Effect, Layer, Result } from "effect"
import { checksumsOf } from "../../platform/Checksum.ts"
import { formatFileRef } from "../../protocol/FileName.ts"
import { type Refusal, refuse } from "../../protocol/Refusal.ts"
import type { BodyOf, ResultOf, Written } from "../../protocol/Request.ts"
import { FileLookup } from "../caches/FileLookup.ts"
import type { Caller } from "../Caller.ts"
import { noSuchFile } from "../permissions/Policy.ts"
import type { Change } from "./Change.ts"
import { Committer } from "./Committer.ts"
import { hashOf } from "./contentHash.ts"
import { spansOf } from "./Extent.ts"
import { FileRepo, type Located } from "./FileRepo.ts"
import { GracePeriods } from "./GracePeriods.ts"
import { refusedFile } from "./refusedFile.ts"
import { hasRoom, type Owner, type Place, store, type Storing } from "./Rules.ts"
import { SegmentStore } from "./SegmentStore.ts"

type Entry = BodyOf<"WriteMany">["files"][number]

/** A file of the batch, and its content as views. */
interface Item {
  readonly entry: Entry
  readonly chunks: ReadonlyArray<Uint8Array>
  readonly sha256: ReturnType<typeof hashOf>
}

/** Takes the content of each file from the data of all. */
const cutUp = (files: ReadonlyArray<Entry>, data: ReadonlyArray<Uint8Array>): ReadonlyArray<Item> => {
  let index = 0
  let at = 0
  return files.map((entry) => {
    const chunks: Array<Uint8Array> = []
    for (let missing = entry.size; missing > 0;) {
      const chunk = data[index]
      if (chunk === undefined) break
      const taken = Math.min(missing, chunk.length - at)
      if (taken > 0) chunks.push(taken === chunk.length ? chunk : chunk.subarray(at, at + taken))
      missing -= taken
      at += taken
      if (at === chunk.length) {
        index++
        at = 0
      }
    }
    return { entry, chunks, sha256: hashOf(chunks) }
  })
}

/** Runs of changes in which no name comes twice: one after the other, they keep the order of the request. */
const distinct = (changes: ReadonlyArray<Change>): ReadonlyArray<ReadonlyArray<Change>> => {
  const runs: Array<Array<Change>> = []
  let names = new Set<string>()
  for (const change of changes) {
    if (names.has(change.name) || runs.length === 0) {
      runs.push([])
      names = new Set()
    }
    names.add(change.name)
    runs.at(-1)?.push(change)
  }
  return runs
}

const storingOf = (mode: NonNullable<BodyOf<"WriteMany">["mode"]>, entry: Entry): Storing => ({
  mode,
  length: entry.size,
  position: undefined,
  expected: entry.expected_version
})

const bytesIn = (data: ReadonlyArray<Uint8Array>): number => data.reduce((sum, chunk) => sum + chunk.length, 0)

/**
 * What each file of a batch will be refused with, as far as that is known before: each counts on what those before it
 * take and give back. From a name on that comes again nothing is known.
 */
const foresight = (owner: Owner) => {
  let then = owner
  const seen = new Set<string>()
  let again = false
  return (place: Place, storing: Storing): Refusal | undefined => {
    again ||= seen.has(place.name)
    if (again) return undefined
    seen.add(place.name)
    const decided = store({ ...place, owner: then }, storing)
    if (Result.isFailure(decided)) return decided.failure
    const { file, size } = decided.success
    then = {
      ...then,
      bytesUsed: then.bytesUsed + size - (file?.size ?? 0),
      filesUsed: then.filesUsed + (file === undefined ? 1 : 0)
    }
    return undefined
  }
}

export class WriteMany extends Context.Service<WriteMany, {
  readonly write: (
    caller: Caller,
    body: BodyOf<"WriteMany">,
    data: ReadonlyArray<Uint8Array>
  ) => Effect.Effect<ResultOf<"WriteMany">, Refusal>
}>()("fip/server/files/WriteMany") {
  static readonly layer = Layer.effect(
    WriteMany,
    Effect.gen(function*() {
      const repo = yield* FileRepo
      const lookup = yield* FileLookup
      const committer = yield* Committer
      const segments = yield* SegmentStore
      const grace = yield* GracePeriods

      const writeAll = Effect.fnUntraced(function*(
        caller: Caller,
        body: BodyOf<"WriteMany">,
        data: ReadonlyArray<Uint8Array>
      ): Effect.fn.Return<ResultOf<"WriteMany">, Refusal> {
        const { files, mode = "write" } = body
        const bytes = bytesIn(data)
        if (files.reduce((sum, { size }) => sum + size, 0) !== bytes) {
          return yield* refuse("2:ibv", `files: their sizes are not those of ${bytes} bytes in all`, "files")
        }
        const owner = body.owner ?? caller.username
        const [first] = files
        if (first === undefined) return yield* refuse("2:ibv", "files: there are none", "files")
        const known = lookup.knownOwner(owner)
        const isKnown = known?.userId === caller.userId && hasRoom(known, bytes, files.length)
        const place = isKnown
          ? { owner: known }
          : yield* lookup.locateNow({ callerId: caller.userId, owner, name: first.name })
        if (place === undefined) {
          return {
            owner,
            files: files.map(({ name }) => refusedFile(name, noSuchFile(formatFileRef({ owner, name }))))
          }
        }
        const { owner: payer } = place
        const isOwn = payer.userId === caller.userId && hasRoom(payer, bytes, files.length)
        const places: ReadonlyArray<Located | undefined> = isOwn
          ? []
          : yield* repo.locateMany(files.map(({ name }) => ({ callerId: caller.userId, owner, name })))

        const refused = new Map<number, Refusal>()
        const kept: Array<Item & { readonly index: number }> = []
        const foresee = foresight(payer)
        for (const [index, item] of cutUp(files, data).entries()) {
          const { entry, sha256 } = item
          const place = places[index]
          const refusal = entry.sha256 !== undefined && entry.sha256 !== sha256
            ? refuse("2:sum", "what arrived is not what was sent: send it again", "sha256")
            : place === undefined
            ? undefined
            : foresee(place, storingOf(mode, entry))
          if (refusal === undefined) kept.push({ ...item, index })
          else refused.set(index, refusal)
        }

        const wanted = refused.size === 0 ? data : kept.flatMap(({ chunks }) => chunks)
        const length = refused.size === 0 ? bytes : bytesIn(wanted)
        const location = length === 0 ? undefined : yield* segments.append(wanted, length)
        let offset = location?.offset ?? 0
        const changes = kept.map(({ chunks, entry, sha256 }): Change => {
          const { name, size } = entry
          const at = offset
          offset += size
          return {
            _tag: "Store",
            ...storingOf(mode, entry),
            caller,
            ownerId: payer.userId,
            name,
            sha256,
            attributes: entry.attributes,
            segment: size === 0 ? undefined : location?.segment,
            spans: size === 0 || location === undefined
              ? []
              : spansOf(location.segment, at, size, checksumsOf(chunks, size)),
            upload: undefined
          }
        })
        const outcomes: Array<Result.Result<Written, Refusal>> = []
        for (const run of distinct(changes)) outcomes.push(...yield* committer.commitAll(run))
        if (outcomes.some(Result.isFailure)) lookup.forgetOwner(payer.userId)
        const written = new Map<number, Result.Result<Written, Refusal>>()
        for (const [at, { index }] of kept.entries()) {
          const outcome = outcomes[at]
          if (outcome !== undefined) written.set(index, outcome)
        }
        return {
          owner: payer.username,
          files: files.map(({ name }, index) => {
            const outcome = written.get(index)
            if (outcome !== undefined && Result.isSuccess(outcome)) {
              const { owner: _, ...file } = outcome.success
              return file
            }
            return refusedFile(name, outcome?.failure ?? refused.get(index) ?? NOT_DECIDED)
          })
        }
      })

      return WriteMany.of({
        write: (caller, body, data) =>
          Effect.suspend(() => {
            const ticket = grace.enter()
            return Effect.ensuring(writeAll(caller, body, data), Effect.sync(() => grace.leave(ticket)))
          })
      })
    })
  )
}

/** There is an outcome or a refusal of each. */
const NOT_DECIDED = refuse("3:?", "the server failed at this file; its log says why")
