/**
 * Uploads: content that arrives in parts, in any order, on any connection, and becomes a file's content in one step.
 *
 * The parts go to a segment of the upload's own. What has arrived is noted in the database now and then, after it was
 * synced, so that a restart knows a part of it for certain; the rest is sent again. Nothing of an upload can be seen
 * before its commit, and its commit is one change like any other. Requests on one upload run one at a time.
 */
import { Clock, Context, Duration, Effect, Exit, FiberSet, Layer, Result, Scope, Semaphore } from "effect"
import { randomUUID } from "node:crypto"
import { formatFileRef } from "../../protocol/FileName.ts"
import { type Sha256, UploadId } from "../../protocol/Identity.ts"
import { Refusal, refuse } from "../../protocol/Refusal.ts"
import type { BodyOf, ResultOf, UploadState, Written } from "../../protocol/Request.ts"
import type { Caller } from "../Caller.ts"
import { FileBufferCache } from "../FileBufferCache.ts"
import { noSuchFile } from "../permissions/Policy.ts"
import { ServerConfig } from "../ServerConfig.ts"
import { Committer } from "./Committer.ts"
import { EXTENT_BYTES, SegmentId, spansOf } from "./Extent.ts"
import { FileRepo } from "./FileRepo.ts"
import { timestamp } from "./Listing.ts"
import { Ranges } from "./Ranges.ts"
import { store as decideStore } from "./Rules.ts"
import { SegmentStore, type SegmentWriter } from "./SegmentStore.ts"
import { type ReadBack, sliceChunks, UploadContent } from "./UploadContent.ts"
import { type Run, type SavedUpload, type Upload, UploadRepo } from "./UploadRepo.ts"

/** Progress is noted after so many new bytes. */
const SAVE_BYTES = EXTENT_BYTES

/** The quota is asked about so far ahead of what has arrived, when the size is not known. */
const CLEAR_BYTES = 64 * 1024 * 1024

/** An upload that nothing was added to for so long is not kept in memory. */
const UNLOAD_AFTER = Duration.minutes(5)

/** How often what has expired is looked for, at least. */
const EXPIRE_EVERY = Duration.minutes(1)

/** An upload in memory. */
interface Session {
  readonly upload: Upload
  readonly content: UploadContent
  /** The bytes that are noted in the database. */
  readonly noted: Ranges
  readonly turn: Semaphore.Semaphore
  /** Of the segment's writer. */
  readonly scope: Scope.Closeable
  writer: SegmentWriter | undefined
  /** The owner had room for the content up to here. */
  clearedTo: number
  unsavedBytes: number
  isSaving: boolean
  usedAt: number
  /** It was committed, aborted, or is not in memory any more. */
  isOver: boolean
}

const notFound = refuse(
  "2:nf",
  "there is no such upload: it has expired, was aborted, or is somebody else's",
  "upload_id"
)
const committed = refuse("2:opcf", "the upload was committed already", "upload_id")

const toRefusal = (error: unknown): Refusal =>
  error instanceof Refusal ? error : refuse("3:?", "what arrived of the upload could not be read back")

export class Uploads extends Context.Service<Uploads, {
  readonly begin: (caller: Caller, body: BodyOf<"UploadBegin">) => Effect.Effect<UploadState, Refusal>
  /** Idempotent: bytes that have arrived before are ignored. When it returns they are stored, not yet durable. */
  readonly part: (
    caller: Caller,
    body: BodyOf<"UploadPart">,
    data: ReadonlyArray<Uint8Array>
  ) => Effect.Effect<ResultOf<"UploadPart">, Refusal>
  readonly status: (caller: Caller, uploadId: UploadId) => Effect.Effect<UploadState, Refusal>
  /** Idempotent: a repeated commit gets the same answer, until the upload expires. */
  readonly commit: (caller: Caller, body: BodyOf<"UploadCommit">) => Effect.Effect<Written, Refusal>
  readonly abort: (caller: Caller, uploadId: UploadId) => Effect.Effect<void, Refusal>
  /** Drops what has expired. Run now and then by the layer itself. */
  readonly expire: Effect.Effect<void, Refusal>
}>()("fip/server/files/Uploads") {
  static readonly layer = Layer.effect(
    Uploads,
    Effect.gen(function*() {
      const lifetime = Duration.toMillis((yield* ServerConfig).uploadLifetime)
      const repo = yield* UploadRepo
      const files = yield* FileRepo
      const committer = yield* Committer
      const store = yield* SegmentStore
      const cache = yield* FileBufferCache

      const sessions = new Map<UploadId, Session>()
      const loading = yield* Semaphore.make(1)
      const saves = yield* FiberSet.make()

      const open = Effect.fnUntraced(function*({ runs, upload }: SavedUpload) {
        const session: Session = {
          upload,
          content: new UploadContent(),
          noted: new Ranges(),
          turn: yield* Semaphore.make(1),
          scope: yield* Scope.make(),
          writer: undefined,
          clearedTo: upload.size ?? 0,
          unsavedBytes: 0,
          isSaving: false,
          usedAt: yield* Clock.currentTimeMillis,
          isOver: false
        }
        for (const run of runs) {
          session.content.restore(run)
          session.noted.add(run.position, run.position + run.length)
        }
        sessions.set(upload.uploadId, session)
        return session
      })

      const close = Effect.fnUntraced(function*(session: Session) {
        session.isOver = true
        sessions.delete(session.upload.uploadId)
        yield* Scope.close(session.scope, Exit.void)
      })

      const discard = Effect.fnUntraced(function*(segment: SegmentId, session?: Session) {
        yield* Effect.ignore(store.remove(segment), { log: "Warn" })
        if (session !== undefined) yield* close(session)
      })

      /** The session of one of the caller's uploads, or the answer to its commit. */
      const find = Effect.fnUntraced(function*(caller: Caller, uploadId: UploadId) {
        const session = sessions.get(uploadId)
        if (session !== undefined) return session.upload.userId === caller.userId ? { session } : yield* notFound
        const saved = yield* repo.find(uploadId, caller.userId)
        if (saved === undefined) return yield* notFound
        return saved.outcome === undefined ? { session: yield* open(saved) } : { outcome: saved.outcome }
      }, loading.withPermit)

      /** Runs `work` on the upload when it is its turn. */
      const use = <A>(
        caller: Caller,
        uploadId: UploadId,
        work: (session: Session) => Effect.Effect<A, Refusal>,
        onCommitted: (outcome: Written) => Effect.Effect<A, Refusal> = () => Effect.fail(committed)
      ): Effect.Effect<A, Refusal> =>
        Effect.flatMap(find(caller, uploadId), ({ outcome, session }) =>
          session === undefined
            ? outcome === undefined ? Effect.fail(notFound) : onCommitted(outcome)
            : session.turn.withPermit(Effect.suspend(() =>
              // It ended, or was taken out of memory, while others had their turn: look again.
              session.isOver ? use(caller, uploadId, work, onCommitted) : Effect.uninterruptible(work(session))
            )))

      const readBack = (session: Session) => async (from: number, to: number): Promise<Uint8Array> => {
        const buffer = Buffer.allocUnsafe(to - from)
        await cache.use(session.upload.segment, (reader) => reader.read(from, [buffer]))
        return buffer
      }
      const compute = <A>(session: Session, work: (content: UploadContent, read: ReadBack) => Promise<A>) =>
        Effect.tryPromise({ try: () => work(session.content, readBack(session)), catch: toRefusal })

      const expiryOf = (session: Session): number => session.usedAt + lifetime

      const state = (session: Session): UploadState => ({
        upload_id: session.upload.uploadId,
        ...(session.upload.size === undefined ? {} : { size: session.upload.size }),
        received: session.content.received.all,
        expires_at: timestamp(expiryOf(session))
      })

      const note = Effect.fnUntraced(function*(session: Session, runs: ReadonlyArray<Run>) {
        yield* store.sync(session.upload.segment)
        yield* repo.save(session.upload.uploadId, runs, new Date(expiryOf(session)))
        for (const run of runs) session.noted.add(run.position, run.position + run.length)
      })

      /** Notes what has arrived. In the session's turn. */
      const save = Effect.fnUntraced(function*(session: Session) {
        const runs = yield* compute(session, (content, read) => content.runs(session.noted, read))
        if (runs.length > 0) yield* note(session, runs)
      })

      /** The same, beside the parts that come meanwhile. */
      const saveBeside = Effect.fnUntraced(function*(session: Session) {
        const runs = yield* compute(session, (content, read) => content.runs(session.noted, read))
        session.unsavedBytes = 0
        session.isSaving = true
        yield* FiberSet.run(
          saves,
          note(session, runs).pipe(
            Effect.ignore({ log: "Warn" }),
            Effect.ensuring(Effect.sync(() => {
              session.isSaving = false
            }))
          )
        )
      })

      /** Asks whether `length` bytes could be committed now, and some more if possible. */
      const clear = Effect.fnUntraced(function*(session: Session, caller: Caller, length: number) {
        const { expected, mode, name, owner, position } = session.upload
        const place = yield* files.locate({ callerId: caller.userId, owner, name })
        if (place === undefined) return yield* noSuchFile(formatFileRef({ owner, name }))
        const storing = { mode, position, expected }
        yield* Effect.fromResult(decideStore(place, { ...storing, length }))
        const ahead = decideStore(place, { ...storing, length: length + CLEAR_BYTES })
        session.clearedTo = length + (Result.isSuccess(ahead) ? CLEAR_BYTES : 0)
      })

      const receive = Effect.fnUntraced(function*(
        session: Session,
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
        if (end > session.clearedTo) yield* clear(session, caller, end)
        for (const gap of content.received.missing(offset, end)) {
          const chunks = sliceChunks(data, offset, gap)
          session.writer ??= yield* Scope.provide(store.writer(upload.segment), session.scope)
          yield* session.writer.write(gap[0], chunks)
          content.accept(gap[0], chunks)
          session.unsavedBytes += gap[1] - gap[0]
        }
        yield* compute(session, (content, read) => content.catchUp(2 * length, read))
        if (session.unsavedBytes >= SAVE_BYTES && !session.isSaving) yield* saveBeside(session)
      })

      const publish = Effect.fnUntraced(function*(session: Session, caller: Caller, sha256: Sha256) {
        const { content, upload } = session
        const size = upload.size ?? content.received.end
        const [gap] = content.received.missing(0, size)
        if (gap !== undefined) {
          return yield* refuse(
            "2:opcf",
            `bytes ${gap[0]} to ${gap[1] - 1} of the upload have not arrived: send them and commit again`
          )
        }
        if ((yield* compute(session, (content, read) => content.sha256(size, read))) !== sha256) {
          yield* repo.remove(upload.uploadId, upload.userId)
          yield* discard(upload.segment, session)
          return yield* refuse(
            "2:sum",
            "what arrived is not what was sent: the upload was dropped, begin again",
            "sha256"
          )
        }
        const checksums = yield* compute(session, (content, read) => content.complete(size, read))
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
          upload: upload.uploadId
        })
        yield* close(session)
        return written
      })

      const expire = Effect.gen(function*() {
        const now = yield* Clock.currentTimeMillis
        for (const session of sessions.values()) {
          if (session.isSaving || session.usedAt + Duration.toMillis(UNLOAD_AFTER) > now) continue
          yield* session.turn.withPermit(
            Effect.uninterruptible(
              Effect.suspend(() => session.isOver ? Effect.void : Effect.andThen(save(session), close(session)))
            )
          )
        }
        if (sessions.size > 0) {
          yield* repo.touch(Array.from(sessions.values(), (session) => ({
            uploadId: session.upload.uploadId,
            expiresAt: new Date(expiryOf(session))
          })))
        }
        for (const segment of yield* repo.removeExpired(new Date(now))) yield* discard(segment)
      })

      yield* Effect.forkScoped(Effect.forever(Effect.andThen(
        Effect.sleep(Duration.min(EXPIRE_EVERY, Duration.millis(lifetime / 4))),
        Effect.ignore(expire, { log: "Warn" })
      )))
      // After everything that uses it: a restart then continues where each upload is now.
      yield* Effect.addFinalizer(() =>
        Effect.andThen(
          FiberSet.awaitEmpty(saves),
          Effect.forEach(
            Array.from(sessions.values()),
            (session) => Effect.ensuring(Effect.ignore(save(session), { log: "Warn" }), close(session)),
            { discard: true }
          )
        )
      )

      return Uploads.of({
        begin: Effect.fnUntraced(function*(caller, body) {
          const owner = body.owner ?? caller.username
          const { expected_version: expected, mode, name, size } = body
          const position = mode === "patch" ? body.position ?? 0 : undefined
          const place = yield* files.locate({ callerId: caller.userId, owner, name })
          if (place === undefined) return yield* noSuchFile(formatFileRef({ owner, name }))
          yield* Effect.fromResult(decideStore(place, { mode, position, expected, length: size ?? 0 }))
          const expiresAt = (yield* Clock.currentTimeMillis) + lifetime
          const uploadId = UploadId.make(randomUUID())
          const { userId: ownerId, username } = place.owner
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
              segment
            },
            new Date(expiresAt)
          )
          return {
            upload_id: uploadId,
            ...(size === undefined ? {} : { size }),
            received: [],
            expires_at: timestamp(expiresAt)
          }
        }),

        part: (caller, { offset, upload_id }, data) => {
          let length = 0
          for (const chunk of data) length += chunk.length
          return Effect.as(
            use(caller, upload_id, (session) => receive(session, caller, offset, data, length)),
            { upload_id, offset, length }
          )
        },

        status: (caller, uploadId) => use(caller, uploadId, (session) => Effect.sync(() => state(session))),

        commit: (caller, { sha256, upload_id }) =>
          use(caller, upload_id, (session) => publish(session, caller, sha256), Effect.succeed),

        abort: (caller, uploadId) =>
          use(
            caller,
            uploadId,
            (session) => Effect.andThen(repo.remove(uploadId, caller.userId), discard(session.upload.segment, session))
          ),

        expire
      })
    })
  )
}
