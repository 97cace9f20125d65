/**
 * Uploads that are in memory: those that something was added to lately.
 *
 * Requests on one upload run one at a time, in their turn, and on one server: whoever takes one up waits until the
 * others have noted what they have of it and let it go. What has arrived is noted in the database after it was
 * synced: now and then while parts come, when the upload is taken out of memory, and when the layer closes.
 */
import { Clock, Context, Duration, Effect, Exit, FiberSet, Layer, Scope, Semaphore } from "effect"
import type { UploadId } from "../../protocol/Identity.ts"
import { Refusal, refuse } from "../../protocol/Refusal.ts"
import type { Written } from "../../protocol/Request.ts"
import { Coherence } from "../caches/Coherence.ts"
import { uploadOf } from "../caches/tags.ts"
import type { Caller } from "../Caller.ts"
import { databaseRefusal } from "../Database.ts"
import { FileBufferCache } from "../FileBufferCache.ts"
import { ServerConfig } from "../ServerConfig.ts"
import { background } from "../ShutdownCoordinator.ts"
import { EXTENT_BYTES } from "./Extent.ts"
import { Ranges } from "./Ranges.ts"
import { SegmentStore, type SegmentWriter } from "./SegmentStore.ts"
import { type ReadBack, UploadContent } from "./UploadContent.ts"
import { type Run, type SavedUpload, type Upload, UploadRepo } from "./UploadRepo.ts"

/** Progress is noted after so many new bytes. */
const SAVE_BYTES = EXTENT_BYTES

/** An upload that nothing was added to for so long is not kept in memory. */
const UNLOAD_AFTER = Duration.minutes(5)

/** How often what has expired is looked for, at least. */
const EXPIRE_EVERY = Duration.minutes(1)

/** How long a server waits, at most, that took an upload up at the same moment as another one. */
const CONTEST_MILLIS = 30

export class UploadSession {
  readonly upload: Upload
  readonly content = new UploadContent()
  /** The bytes that are noted in the database. */
  readonly noted = new Ranges()
  readonly turn = Semaphore.makeUnsafe(1)
  /** Of the segment's writer. */
  readonly scope = Scope.makeUnsafe()
  writer: SegmentWriter | undefined
  /** The owner had room for the content up to here. */
  clearedTo: number
  /** What has arrived since that was looked at. */
  unclearedBytes = 0
  unsavedBytes = 0
  isSaving = false
  usedAt: number
  /** It was committed, aborted, or is not in memory any more. */
  isOver = false

  constructor({ runs, upload }: SavedUpload, now: number) {
    this.upload = upload
    this.clearedTo = upload.size ?? 0
    this.usedAt = now
    for (const run of runs) {
      this.content.restore(run)
      this.noted.add(run.position, run.position + run.length)
    }
  }
}

const notFound = refuse(
  "2:nf",
  "there is no such upload: it has expired, was aborted, or is somebody else's",
  "upload_id"
)
const committedAlready = refuse("2:opcf", "the upload was committed already", "upload_id")

const toRefusal = (error: unknown): Refusal =>
  error instanceof Refusal ? error : refuse("3:?", "what arrived of the upload could not be read back")

export class UploadSessions extends Context.Service<UploadSessions, {
  /** Runs `work` on one of the caller's uploads when it is its turn; uninterruptibly. */
  readonly use: <A>(
    caller: Caller,
    uploadId: UploadId,
    work: (session: UploadSession) => Effect.Effect<A, Refusal>,
    /** Given the answer of its commit instead. Without it that is a conflict. */
    onCommitted?: (outcome: Written) => Effect.Effect<A, Refusal>
  ) => Effect.Effect<A, Refusal>
  /** Runs `work` on what has arrived. */
  readonly compute: <A>(
    session: UploadSession,
    work: (content: UploadContent, readBack: ReadBack) => Promise<A>
  ) => Effect.Effect<A, Refusal>
  /** Notes what has arrived when there is enough of it; the parts that come do not wait for that. */
  readonly advance: (session: UploadSession) => Effect.Effect<void, Refusal>
  /** The upload was committed: its segment belongs to the file now. */
  readonly end: (session: UploadSession) => Effect.Effect<void>
  /** Removes the upload and what has arrived of it. */
  readonly drop: (session: UploadSession) => Effect.Effect<void, Refusal>
  /** When an upload that something was added to at `usedAt` expires, in milliseconds since 1970. */
  readonly expiryOf: (usedAt: number) => number
  /** Drops what has expired. Run now and then by the layer itself. */
  readonly expire: Effect.Effect<void, Refusal>
}>()("fip/server/files/UploadSessions") {
  static readonly layer = Layer.effect(
    UploadSessions,
    Effect.gen(function*() {
      const lifetime = Duration.toMillis((yield* ServerConfig).uploadLifetime)
      const repo = yield* UploadRepo
      const store = yield* SegmentStore
      const cache = yield* FileBufferCache
      const coherence = yield* Coherence

      const sessions = new Map<UploadId, UploadSession>()
      const loading = yield* Semaphore.make(1)
      /** The upload that is being taken up. */
      let claimed: { readonly uploadId: UploadId; isContested: boolean } | undefined
      const saves = yield* FiberSet.make()

      const end = (session: UploadSession): Effect.Effect<void> =>
        Effect.suspend(() => {
          session.isOver = true
          sessions.delete(session.upload.uploadId)
          return Scope.close(session.scope, Exit.void)
        })

      const drop = Effect.fnUntraced(function*(session: UploadSession) {
        // Nothing, when another server committed it meanwhile: the segment is a file's then.
        const segment = yield* repo.remove(session.upload.uploadId, session.upload.userId)
        if (segment !== undefined) yield* Effect.ignore(store.remove(segment), { log: "Warn" })
        yield* end(session)
      })

      /** Takes an upload up when no other server has it; what is noted of it, when it cannot be. */
      const load = Effect.fnUntraced(function*(caller: Caller, uploadId: UploadId) {
        while (true) {
          const claim = claimed = { uploadId, isContested: false }
          yield* Effect.mapError(coherence.claim(uploadOf(uploadId)), databaseRefusal)
          const now = yield* Clock.currentTimeMillis
          const saved = yield* repo.find(uploadId, caller.userId)
          // From here on nothing comes between: another server's claim finds this one or the session.
          claimed = undefined
          if (!claim.isContested) {
            if (saved === undefined || saved.outcome !== undefined) return { session: undefined, saved }
            const session = new UploadSession(saved, now)
            sessions.set(uploadId, session)
            return { session, saved }
          }
          // Two servers took it up at the same time: neither has it, and one of them is faster next time.
          yield* Effect.sleep(Math.random() * CONTEST_MILLIS)
        }
      })

      /** The session of one of the caller's uploads, or the answer to its commit. */
      const find = Effect.fnUntraced(function*(caller: Caller, uploadId: UploadId) {
        const held = sessions.get(uploadId)
        if (held !== undefined) {
          if (held.upload.userId !== caller.userId) return yield* notFound
          if (coherence.isTrusted()) return { session: held }
          // Another server may have taken it up and not been heard.
          yield* unload(held)
          if (!held.isOver) return { session: held }
        }
        const { saved, session } = yield* load(caller, uploadId)
        if (session !== undefined) return { session }
        return saved?.outcome === undefined ? yield* notFound : { outcome: saved.outcome }
      }, loading.withPermit)

      /** Runs `work` on the upload when it is its turn. */
      const use = <A>(
        caller: Caller,
        uploadId: UploadId,
        work: (session: UploadSession) => Effect.Effect<A, Refusal>,
        onCommitted: (outcome: Written) => Effect.Effect<A, Refusal> = () => Effect.fail(committedAlready)
      ): Effect.Effect<A, Refusal> =>
        Effect.flatMap(find(caller, uploadId), ({ outcome, session }) =>
          session === undefined
            ? outcome === undefined ? Effect.fail(notFound) : onCommitted(outcome)
            : session.turn.withPermit(Effect.suspend(() =>
              // It ended, or was taken out of memory, while others had their turn: look again.
              session.isOver ? use(caller, uploadId, work, onCommitted) : Effect.uninterruptible(work(session))
            )))

      const readBack = (session: UploadSession) => async (from: number, to: number): Promise<Uint8Array> => {
        const buffer = Buffer.allocUnsafe(to - from)
        await cache.use(session.upload.segment, (reader) => reader.read(from, [buffer]))
        return buffer
      }
      const compute = <A>(session: UploadSession, work: (content: UploadContent, read: ReadBack) => Promise<A>) =>
        Effect.tryPromise({ try: () => work(session.content, readBack(session)), catch: toRefusal })

      const expiryOf = (usedAt: number): number => usedAt + lifetime

      const note = Effect.fnUntraced(function*(session: UploadSession, runs: ReadonlyArray<Run>) {
        yield* store.sync(session.upload.segment)
        yield* repo.save(session.upload.uploadId, runs, new Date(expiryOf(session.usedAt)))
        for (const run of runs) session.noted.add(run.position, run.position + run.length)
      })

      /** Notes what has arrived, and when the upload was last used. In the session's turn. */
      const save = Effect.fnUntraced(function*(session: UploadSession) {
        yield* note(session, yield* compute(session, (content, read) => content.runs(session.noted, read)))
      })

      /** The same, beside the parts that come meanwhile. */
      const advance = Effect.fnUntraced(function*(session: UploadSession) {
        if (session.unsavedBytes < SAVE_BYTES || session.isSaving) return
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

      /** Takes an upload out of memory. One whose progress cannot be noted stays. */
      const unload = (session: UploadSession): Effect.Effect<void> =>
        session.turn.withPermit(Effect.uninterruptible(Effect.suspend(() =>
          session.isOver || session.isSaving
            ? Effect.void
            : Effect.ignore(Effect.andThen(save(session), end(session)), { log: "Warn" })
        )))

      const release = (session: UploadSession): Effect.Effect<void> =>
        Effect.andThen(FiberSet.awaitEmpty(saves), Effect.ensuring(unload(session), end(session)))
      yield* coherence.attach({
        drop: () => undefined,
        clear: () => undefined,
        release: (tags) => {
          if (tags.every((tag) => !tag.startsWith("p"))) return undefined
          if (claimed !== undefined && tags.includes(uploadOf(claimed.uploadId))) claimed.isContested = true
          const held = [...sessions.values()].filter(({ upload }) => tags.includes(uploadOf(upload.uploadId)))
          return held.length === 0 ? undefined : Effect.forEach(held, release, { discard: true })
        }
      })

      const expire = Effect.gen(function*() {
        const now = yield* Clock.currentTimeMillis
        for (const session of sessions.values()) {
          if (session.usedAt + Duration.toMillis(UNLOAD_AFTER) <= now) yield* unload(session)
        }
        if (sessions.size > 0) {
          yield* repo.touch(Array.from(sessions.values(), (session) => ({
            uploadId: session.upload.uploadId,
            expiresAt: new Date(expiryOf(session.usedAt))
          })))
        }
        for (const segment of yield* repo.removeExpired(new Date(now))) {
          yield* Effect.ignore(store.remove(segment), { log: "Warn" })
        }
      })

      yield* background(
        "uploads that expire",
        Effect.forever(Effect.andThen(
          Effect.sleep(Duration.min(EXPIRE_EVERY, Duration.millis(lifetime / 4))),
          Effect.ignore(expire, { log: "Warn" })
        ))
      )
      // After everything that uses it: a restart then continues where each upload is now.
      yield* Effect.addFinalizer(() =>
        Effect.andThen(
          FiberSet.awaitEmpty(saves),
          Effect.forEach(
            Array.from(sessions.values()),
            release,
            { discard: true }
          )
        )
      )

      return UploadSessions.of({ use, compute, advance, end, drop, expiryOf, expire })
    })
  ).pipe(Layer.provide(Coherence.layer))
}
