/**
 * Uploads: content that arrives in parts, in any order, on any connection, and becomes a file's content in one step.
 *
 * The parts go to a segment of the upload's own. What has arrived is noted in the database now and then, after it was
 * synced, so that a restart knows a part of it for certain; the rest is sent again. Nothing of an upload can be seen
 * before its commit, and its commit is one change like any other. Requests on one upload run one at a time.
 */
import { Clock, Context, Effect, Layer, Option, Result, Scope } from "effect"
import { createHash, randomUUID } from "node:crypto"
import { crc32 } from "node:zlib"
import { BLOCK_BYTES, CHECKSUM_BYTES, checksumAt } from "../../platform/Checksum.ts"
import { formatFileRef } from "../../protocol/FileName.ts"
import { Sha256, UploadId } from "../../protocol/Identity.ts"
import { type Refusal, refuse } from "../../protocol/Refusal.ts"
import type { BodyOf, ResultOf, UploadState, Written } from "../../protocol/Request.ts"
import type { Caller } from "../Caller.ts"
import { noSuchFile } from "../permissions/Policy.ts"
import { Committer } from "./Committer.ts"
import { SegmentId, spansOf } from "./Extent.ts"
import { FileRepo } from "./FileRepo.ts"
import { timestamp } from "./Listing.ts"
import { type Place, store as decideStore, type Stored, type Storing } from "./Rules.ts"
import { SegmentStore } from "./SegmentStore.ts"
import { sliceChunks } from "./UploadContent.ts"
import { UploadRepo } from "./UploadRepo.ts"
import { type UploadSession, UploadSessions } from "./UploadSessions.ts"

/** The quota is asked about so far ahead of what has arrived, when the size is not known. */
const CLEAR_BYTES = 64 * 1024 * 1024

/** It is asked about again after so much has arrived: others fill the room that was there, too. */
const RECLEAR_BYTES = 16 * 1024 * 1024

/** Uploads of a user that are not finished. */
const MAX_UNFINISHED = 100

/** Decides on storing while so many bytes, which nobody pays for yet, belong to other uploads that are not finished. */
const decideBeside = (others: number, place: Place, storing: Storing): Result.Result<Stored, Refusal> => {
  const { owner } = place
  const decided = decideStore({ ...place, owner: { ...owner, bytesUsed: owner.bytesUsed + others } }, storing)
  return Result.isFailure(decided) && Result.isSuccess(decideStore(place, storing))
    ? Result.fail(refuse(
      "2:quota",
      `over the quota: ${others} bytes are held by uploads that are not finished; finish or abort them, or wait until they expire`
    ))
    : decided
}

type Proof = BodyOf<"UploadCommit">
export type Claim = Exclude<BodyOf<"UploadStatus">["claim"], undefined>

const hashOf = (bytes: Uint8Array): Sha256 => Sha256.make(createHash("sha256").update(bytes).digest("hex"))

/** The blocks of a claim that are whole, or the last one of the content. */
const claimedBlocks = function*({ checksums, offset }: Claim, size: number) {
  const sums = Buffer.from(checksums, "base64")
  if (offset % BLOCK_BYTES > 0) return
  for (let index = 0; index < Math.floor(sums.length / CHECKSUM_BYTES); index++) {
    const from = offset + index * BLOCK_BYTES
    const to = Math.min(from + BLOCK_BYTES, size)
    if (from >= to) return
    yield { from, to, checksum: checksumAt(sums, index) }
  }
}

export class Uploads extends Context.Service<Uploads, {
  readonly begin: (caller: Caller, body: BodyOf<"UploadBegin">) => Effect.Effect<UploadState, Refusal>
  /** Idempotent: bytes that have arrived before are ignored. When it returns they are stored, not yet durable. */
  readonly part: (
    caller: Caller,
    body: BodyOf<"UploadPart">,
    data: ReadonlyArray<Uint8Array>
  ) => Effect.Effect<ResultOf<"UploadPart">, Refusal>
  /** Blocks that are claimed and found count as arrived. */
  readonly status: (caller: Caller, uploadId: UploadId, claim?: Claim) => Effect.Effect<UploadState, Refusal>
  /** Idempotent: a repeated commit gets the same answer, until the upload expires. */
  readonly commit: (caller: Caller, body: BodyOf<"UploadCommit">) => Effect.Effect<Written, Refusal>
  readonly abort: (caller: Caller, uploadId: UploadId) => Effect.Effect<void, Refusal>
  readonly list: (caller: Caller) => Effect.Effect<ResultOf<"QueryUploads">, Refusal>
}>()("fip/server/files/Uploads") {
  static readonly layer = Layer.effect(
    Uploads,
    Effect.gen(function*() {
      const sessions = yield* UploadSessions
      const repo = yield* UploadRepo
      const files = yield* FileRepo
      const committer = yield* Committer
      const segments = yield* SegmentStore

      const state = (
        uploadId: UploadId,
        size: number | undefined,
        received: UploadState["received"],
        usedAt: number
      ): UploadState => ({
        upload_id: uploadId,
        ...(size === undefined ? {} : { size }),
        received,
        expires_at: timestamp(sessions.expiryOf(usedAt))
      })

      /** Asks whether `length` bytes could be committed now, and some more if possible. */
      const clear = Effect.fnUntraced(function*(session: UploadSession, caller: Caller, length: number) {
        const { expected, mode, name, owner, position } = session.upload
        const place = yield* files.locate({ callerId: caller.userId, owner, name })
        if (place === undefined) return yield* noSuchFile(formatFileRef({ owner, name }))
        const storing = { mode, position, expected }
        const others = yield* repo.unfinished(caller.userId, session.upload.ownerId, session.upload.uploadId)
        yield* Effect.fromResult(decideBeside(others.bytes, place, { ...storing, length }))
        const ahead = decideBeside(others.bytes, place, { ...storing, length: length + CLEAR_BYTES })
        session.clearedTo = Math.max(session.clearedTo, length + (Result.isSuccess(ahead) ? CLEAR_BYTES : 0))
        session.unclearedBytes = 0
      })

      const receive = Effect.fnUntraced(function*(
        session: UploadSession,
        caller: Caller,
        offset: number,
        data: ReadonlyArray<Uint8Array>,
        length: number
      ) {
        const { content, upload } = session
        const end = offset + length
        session.usedAt = yield* Clock.currentTimeMillis
        if (upload.size !== undefined && end > upload.size) {
          return yield* refuse("2:ibv", `the part ends at ${end}, and the upload has ${upload.size} bytes`, "offset")
        }
        if (end > session.clearedTo || session.unclearedBytes >= RECLEAR_BYTES) {
          // What has been announced was looked at when it was; now it is about what has arrived.
          const arrived = content.received.all.reduce((sum, [from, to]) => sum + to - from, length)
          yield* clear(session, caller, upload.size === undefined ? end : Math.min(arrived, upload.size))
        }
        for (const gap of content.received.missing(offset, end)) {
          const chunks = sliceChunks(data, offset, gap)
          const writer = session.writer ??= yield* Scope.provide(segments.writer(upload.segment), session.scope)
          yield* Effect.all([
            writer.write(gap[0], chunks),
            // While other threads write.
            Effect.sync(() => content.compute(gap[0], chunks))
          ], { concurrency: "unbounded", discard: true }).pipe(
            Effect.onError(() => Effect.sync(() => content.forget(...gap)))
          )
          content.arrived(...gap)
          session.unclearedBytes += gap[1] - gap[0]
          session.unsavedBytes += gap[1] - gap[0]
        }
        yield* sessions.compute(session, (content, read) => content.catchUp(2 * length, read))
        yield* sessions.advance(session)
      })

      /** Takes blocks that an earlier process wrote and could not note any more, where they are what was sent. */
      const recover = Effect.fnUntraced(function*(session: UploadSession, claim: Claim) {
        const { content, upload } = session
        for (const { checksum, from, to } of claimedBlocks(claim, upload.size ?? content.received.end)) {
          const gaps = content.received.missing(from, to)
          if (gaps.length === 0) continue
          const found = yield* Effect.option(sessions.compute(session, (_, readBack) => readBack(from, to)))
          if (Option.isNone(found) || crc32(found.value) !== checksum) continue
          const writer = session.writer ??= yield* Scope.provide(segments.writer(upload.segment), session.scope)
          // Written once more, because a sync covers only what was written by this process.
          yield* writer.write(from, [found.value])
          for (const gap of gaps) content.accept(gap[0], sliceChunks([found.value], from, gap))
          session.unsavedBytes += to - from
        }
        yield* sessions.advance(session)
      })

      const wrongContent = Effect.fnUntraced(function*(session: UploadSession, field: string) {
        yield* sessions.drop(session)
        return yield* refuse("2:sum", "what arrived is not what was sent: the upload was dropped, begin again", field)
      })

      const publish = Effect.fnUntraced(function*(session: UploadSession, caller: Caller, proof: Proof) {
        const { content, upload } = session
        const size = upload.size ?? content.received.end
        const [gap] = content.received.missing(0, size)
        if (gap !== undefined) {
          return yield* refuse(
            "2:opcf",
            `bytes ${gap[0]} to ${gap[1] - 1} of the upload have not arrived: send them and commit again`
          )
        }
        const checksums = yield* sessions.compute(session, (content, read) => content.complete(size, read))
        if (proof.blocks_sha256 !== undefined && proof.blocks_sha256 !== hashOf(checksums)) {
          return yield* wrongContent(session, "blocks_sha256")
        }
        // A client's word is not stored: whoever reads the whole file computes the hash that is not known here.
        const sha256 = content.isHashLost && proof.blocks_sha256 !== undefined
          ? undefined
          : yield* sessions.compute(session, (content, read) => content.sha256(size, read))
        if (sha256 !== undefined && proof.sha256 !== undefined && proof.sha256 !== sha256) {
          return yield* wrongContent(session, "sha256")
        }
        const written = yield* committer.commit({
          _tag: "Store",
          caller,
          ownerId: upload.ownerId,
          name: upload.name,
          expected: upload.expected,
          mode: upload.mode,
          position: upload.position,
          length: size,
          segment: size === 0 ? undefined : upload.segment,
          spans: spansOf(upload.segment, 0, size, checksums),
          sha256,
          attributes: upload.attributes,
          upload: upload.uploadId
        })
        yield* sessions.end(session)
        return written
      })

      return Uploads.of({
        begin: Effect.fnUntraced(function*(caller, body) {
          const owner = body.owner ?? caller.username
          const { expected_version: expected, mode, name, size } = body
          const position = mode === "patch" ? body.position ?? 0 : undefined
          const place = yield* files.locate({ callerId: caller.userId, owner, name })
          if (place === undefined) return yield* noSuchFile(formatFileRef({ owner, name }))
          const { userId: ownerId, username } = place.owner
          const unfinished = yield* repo.unfinished(caller.userId, ownerId, undefined)
          if (unfinished.uploads >= MAX_UNFINISHED) {
            return yield* refuse(
              "2:quota",
              `you have ${unfinished.uploads} uploads that are not finished: finish or abort some (QUERY uploads shows them), or wait until they expire`
            )
          }
          yield* Effect.fromResult(
            decideBeside(unfinished.bytes, place, { mode, position, expected, length: size ?? 0 })
          )
          const now = yield* Clock.currentTimeMillis
          const uploadId = UploadId.make(randomUUID())
          const segment = SegmentId(randomUUID())
          yield* repo.insert(
            {
              uploadId,
              userId: caller.userId,
              ownerId,
              owner: username,
              name,
              mode,
              size,
              position,
              expected,
              segment,
              attributes: body.attributes ?? {}
            },
            new Date(sessions.expiryOf(now))
          )
          return state(uploadId, size, [], now)
        }),

        part: (caller, { offset, upload_id }, data) => {
          let length = 0
          for (const chunk of data) length += chunk.length
          return Effect.as(
            sessions.use(caller, upload_id, (session) => receive(session, caller, offset, data, length)),
            { upload_id, offset, length }
          )
        },

        status: (caller, uploadId, claim) =>
          sessions.use(
            caller,
            uploadId,
            (session) =>
              Effect.map(
                claim === undefined ? Effect.void : recover(session, claim),
                () => state(uploadId, session.upload.size, session.content.received.all, session.usedAt)
              )
          ),

        commit: (caller, proof) =>
          proof.sha256 === undefined && proof.blocks_sha256 === undefined
            ? Effect.fail(refuse("2:ibv", "a commit needs a hash of what was sent: sha256 or blocks_sha256", "sha256"))
            : sessions.use(caller, proof.upload_id, (session) => publish(session, caller, proof), Effect.succeed),

        abort: (caller, uploadId) => sessions.use(caller, uploadId, sessions.drop),

        list: (caller) =>
          Effect.map(repo.list(caller.userId), (rows) => ({
            uploads: rows.map(({ expires_at, size, ...row }) => ({
              ...row,
              ...(size === null ? {} : { size }),
              expires_at: timestamp(expires_at.getTime())
            }))
          }))
      })
    })
  )
}
