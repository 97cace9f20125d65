/**
 * Sending a local file so that another run can go on with it, whatever was killed meanwhile.
 *
 * A journal (Journal.ts) keeps the upload's id, by what the file is known, and the checksum of every block that was sent.
 * The next run of the same upload asks the server what has arrived and sends the rest: nothing that was sent is read or
 * hashed again, but for some blocks that are looked at to be sure of the file. The checksums of all blocks prove the
 * content; a run that sends all of it proves its SHA-256 besides. A file that is not what it was is sent from its
 * beginning, and nothing of it is published before.
 */
import { Cause, Data, Effect, Exit, Option, Schema, type Scope, Stream } from "effect"
import { createHash, type Hash, randomInt } from "node:crypto"
import path from "node:path"
import { BLOCK_BYTES } from "../platform/Checksum.ts"
import { Sha256, UploadId } from "../protocol/Identity.ts"
import { MAX_DATA_BYTES } from "../protocol/Limits.ts"
import { Refusal } from "../protocol/Refusal.ts"
import type { UploadState, Written } from "../protocol/Request.ts"
import type { Api } from "./Api.ts"
import { type BlockRange, BlockSums } from "./BlockSums.ts"
import { IntegrityError, type TransferError } from "./ClientError.ts"
import type { OnProgress } from "./FipClient.ts"
import type { Journal, Journals } from "./Journal.ts"
import type { Link } from "./Link.ts"
import { changedWhileSent, type FilePart, partsIn, type Source } from "./LocalFile.ts"
import { abort, sendPart, type Target } from "./Upload.ts"
import { openWays } from "./Ways.ts"

/** Blocks of a claim, as many as the wire has room for. */
const CLAIM_BLOCKS = 1024

/** Blocks that are compared with the file before an upload is taken up. */
const SAMPLES = 8

/** How often what is missing is sent, when the server has lost some of what it had acknowledged. */
const MAX_ROUNDS = 4

const Facts = Schema.Struct({
  size: Schema.Finite,
  inode: Schema.String,
  modified: Schema.String,
  changed: Schema.String
})

const decodeHead = Schema.decodeUnknownOption(
  Schema.Struct({ kind: Schema.Literal("upload"), upload_id: UploadId, source: Facts })
)
const decodeSums = Schema.decodeUnknownOption(Schema.Tuple([Schema.Number, Schema.String]))

export interface ResumableUpload {
  readonly api: Api
  readonly link: Link
  readonly journals: Journals
  readonly target: Target
  /** How many to use; chosen by distance where nobody says. */
  readonly connections: number | undefined
  readonly localPath: string
  readonly source: Source
  readonly onProgress: OnProgress
  readonly onNotice: (message: string) => void
}

/** What was begun by an earlier run is of no use; the sentence says why. */
class Stale extends Data.TaggedError("Stale")<{ readonly message: string }> {}

/** An upload that has begun. */
interface Work {
  readonly uploadId: UploadId
  readonly sums: BlockSums
  /** Of the whole, where this run reads all of it. */
  readonly hash: Hash | undefined
  readonly received: UploadState["received"]
}

const MiB = 1024 * 1024

const bytesIn = (ranges: UploadState["received"]): number => ranges.reduce((sum, [from, to]) => sum + to - from, 0)

/** What is missing, from the beginning of a block to the end of one. */
const missing = (received: UploadState["received"], size: number): ReadonlyArray<BlockRange> => {
  const gaps: Array<BlockRange> = []
  let at = 0
  for (const [from, to] of [...received, [size, size] as const]) {
    const begin = at - at % BLOCK_BYTES
    const end = Math.min(size, Math.ceil(from / BLOCK_BYTES) * BLOCK_BYTES)
    if (from > at) gaps.push([begin, end])
    at = to
  }
  return gaps
}

const wanted = (error: unknown, code: Refusal["code"]): error is Refusal =>
  error instanceof Refusal && error.code === code

const noUpload = (error: unknown): boolean => wanted(error, "2:nf") && error.field === "upload_id"

/**
 * Whether a later run can go on: the server may be back then, and the session, too. What has filled the server's disk is
 * taken back: it would keep everybody from writing for as long as an upload is kept.
 */
const canBeTakenUp = (exit: Exit.Exit<unknown, TransferError>): boolean =>
  Exit.isFailure(exit) &&
  exit.cause.reasons.every((reason) => {
    if (!Cause.isFailReason(reason)) return true
    const { error } = reason
    if (error._tag === "LocalFileError" || error._tag === "IntegrityError") return false
    return error._tag !== "Refusal" || (error.code.startsWith("3:") && error.code !== "3:disk") ||
      ["2:auth", "2:exp", "2:rlex", "2:unsp"].includes(error.code)
  })

export const sendResumably = Effect.fnUntraced(function*(
  upload: ResumableUpload
): Effect.fn.Return<Written, TransferError, Scope.Scope> {
  const { api, localPath, onNotice, onProgress, source, target } = upload
  const { file, mode } = target
  const { facts, size } = source
  const user = Option.match(yield* api.session.identity, { onNone: () => "", onSome: ({ username }) => username })
  const journal = yield* upload.journals.open([
    "upload",
    user.toLowerCase(),
    file.owner ?? "",
    file.name,
    mode,
    String(target.position ?? ""),
    String(target.expectedVersion ?? ""),
    path.resolve(localPath)
  ])

  const status = (upload_id: UploadId, claim?: { readonly offset: number; readonly checksums: string }) =>
    Effect.map(api.call("UploadStatus", { upload_id, claim }), ({ received }) => received)

  /** What has arrived, with what the server finds when it is told what to look for. */
  const arrived = Effect.fnUntraced(function*(uploadId: UploadId, sums: BlockSums) {
    let received = yield* status(uploadId)
    const sent = missing(received, size).flatMap((gap) => sums.ranges(gap, true, CLAIM_BLOCKS))
    for (const range of sent) {
      const before = bytesIn(received)
      received = yield* status(uploadId, { offset: range[0], checksums: sums.encode(range) })
      if (bytesIn(received) === before) break
    }
    return received
  })

  const read = (parts: ReadonlyArray<FilePart>, use: (part: FilePart, block: Uint8Array) => boolean) => {
    const blocks = source.blocks(parts)
    const step = (index: number): Effect.Effect<void, TransferError> =>
      Effect.flatMap(blocks.next, (block) => {
        const part = parts[index]
        if (block === undefined || part === undefined) return Effect.void
        const fits = use(part, block)
        blocks.release(block)
        return fits ? step(index + 1) : Effect.fail(changedWhileSent(localPath))
      })
    return step(0)
  }

  /** Looks at some of the blocks that were sent. */
  const compareSamples = (sums: BlockSums) => {
    const known = sums.ranges([0, size], true, 1)
    const picked = new Set([0, known.length - 1])
    for (let count = picked.size; count < SAMPLES; count++) picked.add(randomInt(Math.max(1, known.length)))
    return read(known.filter((_, index) => picked.has(index)), ([from], block) => sums.take(from, block))
  }

  /** Takes up what an earlier run left. */
  const takeUp = Effect.fnUntraced(function*(
    { found }: Journal
  ): Effect.fn.Return<Work | Written, TransferError | Stale> {
    const [first, ...lines] = found
    const head = Option.getOrUndefined(decodeHead(first))
    if (head === undefined) return yield* new Stale({ message: "" })
    const uploadId = head.upload_id
    const { changed, inode, modified } = head.source
    const isSame = facts.size === head.source.size && facts.changed === changed && facts.inode === inode &&
      facts.modified === modified
    if (!isSame) {
      yield* Effect.ignore(api.call("UploadAbort", { upload_id: uploadId }))
      return yield* new Stale({ message: `${localPath} changed since its upload was interrupted` })
    }
    const sums = new BlockSums(size)
    for (const line of lines) {
      const noted = Option.getOrUndefined(decodeSums(line))
      if (noted === undefined || !sums.decode(...noted)) break
    }
    return yield* Effect.gen(function*() {
      const received = yield* arrived(uploadId, sums)
      yield* compareSamples(sums).pipe(
        Effect.catchTag("LocalFileError", () =>
          Effect.andThen(
            Effect.ignore(api.call("UploadAbort", { upload_id: uploadId })),
            new Stale({ message: `${localPath} is not what it was when its upload was interrupted` })
          ))
      )
      return { uploadId, sums, hash: undefined, received }
    }).pipe(
      Effect.catchIf(
        noUpload,
        () => Effect.fail(new Stale({ message: "the server does not have the interrupted upload any more" }))
      ),
      Effect.catchIf((error) => wanted(error, "2:opcf"), () => outcomeOf(uploadId, sums))
    )
  })

  /** The answer to a commit that was carried out, and whose answer was lost. */
  const outcomeOf = Effect.fnUntraced(function*(uploadId: UploadId, sums: BlockSums) {
    const written = yield* api.call("UploadCommit", { upload_id: uploadId, blocks_sha256: sums.sha256() })
    // To add the same content twice would be worse than to be told of a version that is not the newest any more.
    if (mode === "append" || mode === "patch") return written
    const now = yield* Effect.option(api.call("QueryFile", { owner: file.owner, name: file.name }))
    if (Option.isSome(now) && now.value.version === written.version && now.value.size === written.size) return written
    return yield* new Stale({ message: "" })
  })

  const begin = Effect.gen(function*(): Effect.fn.Return<Work, TransferError> {
    const { upload_id } = yield* api.call("UploadBegin", {
      owner: file.owner,
      name: file.name,
      expected_version: target.expectedVersion,
      attributes: target.attributes,
      mode,
      position: mode === "patch" ? target.position ?? 0 : undefined,
      size
    })
    if (journal !== undefined) yield* journal.begin({ kind: "upload", upload_id, source: facts })
    return { uploadId: upload_id, sums: new BlockSums(size), hash: createHash("sha256"), received: [] }
  })

  /** Sends what is missing. */
  const sendMissing = Effect.fnUntraced(function*(work: Work, hash: Hash | undefined) {
    const { received, sums, uploadId } = work
    const parts = missing(received, size).flatMap(([from, to]) => partsIn(from, to))
    const blocks = source.blocks(parts)
    const unsent = parts.reduce((sum, [from, to]) => sum + to - from, 0)
    const ways = yield* openWays(upload.link, unsent, upload.connections)
    let acknowledged = size - unsent
    onProgress({ bytes: acknowledged, total: size })
    const nextPart = (index: number) =>
      Effect.flatMap(blocks.next, (block) => {
        const part = parts[index]
        if (block === undefined || part === undefined) return Effect.undefined
        if (!sums.take(part[0], block)) return Effect.fail(changedWhileSent(localPath))
        journal?.add([part[0], sums.encode(part)])
        // Hashed before it is handed on: the parts after it are read and sent meanwhile.
        hash?.update(block)
        return Effect.succeed([{ block, offset: part[0] }, index + 1] as const)
      })
    return yield* Stream.unfold(0, nextPart).pipe(
      Stream.mapEffect((part) =>
        Effect.map(sendPart(api, uploadId, part, ways.next()), () => {
          acknowledged += part.block.length
          blocks.release(part.block)
          onProgress({ bytes: acknowledged, total: size })
        }), { concurrency: ways.window, unordered: true }),
      Stream.runDrain
    )
  }, Effect.scoped)

  const finish = (work: Work, round: number): Effect.Effect<Written, TransferError> =>
    Effect.gen(function*() {
      const { hash, sums, uploadId } = work
      yield* sendMissing(work, round === 1 ? hash : undefined)
      // Blocks that arrived, and whose checksums were lost with the end of the journal.
      const unknown = sums.ranges([0, size], false, MAX_DATA_BYTES / BLOCK_BYTES)
      yield* read(unknown, ([from], block) => sums.take(from, block))
      const sha256 = hash === undefined ? undefined : Sha256.make(hash.copy().digest("hex"))
      return yield* api.call("UploadCommit", { upload_id: uploadId, sha256, blocks_sha256: sums.sha256() }).pipe(
        Effect.flatMap((written): Effect.Effect<Written, TransferError> => {
          if (sha256 === undefined) return Effect.succeed(written)
          const isWhole = mode !== "append" && mode !== "patch"
          return isWhole && written.sha256 !== undefined && written.sha256 !== sha256
            ? new IntegrityError({ message: `${written.name} did not arrive as it was sent. Send it again` })
            : Effect.succeed({ ...written, sha256 })
        }),
        Effect.catchIf(
          // The server was killed, and lost what it had not noted.
          (error) => wanted(error, "2:opcf") && round < MAX_ROUNDS,
          () => Effect.flatMap(arrived(uploadId, sums), (received) => finish({ ...work, received }, round + 1))
        )
      )
    })

  /** Runs an upload to its end; where that is not reached, leaves it to a later run or takes it back. */
  const run = (work: Work) =>
    Effect.onExit(finish(work, 1), (exit) => {
      if (journal === undefined) return abort(api, work.uploadId, exit)
      if (canBeTakenUp(exit)) return Effect.void
      return Effect.andThen(abort(api, work.uploadId, exit), journal.remove)
    })

  const anew = Effect.flatMap(begin, run)
  if (journal === undefined || journal.found.length === 0) return yield* anew

  return yield* takeUp(journal).pipe(
    Effect.flatMap((taken) => {
      if (!("uploadId" in taken)) return Effect.as(journal.remove, taken)
      const there = bytesIn(taken.received)
      if (there > 0) {
        onNotice(
          `going on with the upload of ${localPath}: ${Math.floor(there / MiB)} of ${
            Math.ceil(size / MiB)
          } MiB are there`
        )
      }
      return run(taken).pipe(
        Effect.catchIf(
          (error) => noUpload(error) || wanted(error, "2:sum"),
          () => Effect.fail(new Stale({ message: `what the server has of ${localPath} is not right` }))
        )
      )
    }),
    Effect.catchTag("Stale", ({ message }) => {
      if (message !== "") onNotice(`${message}: it is sent from its beginning`)
      return anew
    })
  )
})
