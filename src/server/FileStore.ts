/**
 * Files: everything that a request can do to one, for callers whose tokens have been verified.
 *
 * The parts are in files/: Rules (what may be done), Committer (every change, made durable and then known), SegmentStore
 * and ContentReader (the bytes), Uploads, Listing. What a change acknowledges is on disk; what it refuses has changed
 * nothing. A read is of one version, whatever happens meanwhile.
 */
import { Context, Effect, FiberSet, Layer } from "effect"
import { checksumsOf } from "../platform/Checksum.ts"
import { formatFileRef } from "../protocol/FileName.ts"
import type { UploadId } from "../protocol/Identity.ts"
import { MAX_PAGE } from "../protocol/Limits.ts"
import { type Refusal, refuse } from "../protocol/Refusal.ts"
import type { BodyOf, ReadHead, ResultOf, UploadMode, UploadState, VersionInfo, Written } from "../protocol/Request.ts"
import { NoteAccess } from "./AccessStatistics.ts"
import { FileLookup } from "./caches/FileLookup.ts"
import type { Caller } from "./Caller.ts"
import type { BatchSource, ContentSource } from "./ContentSource.ts"
import { FeedRepo } from "./feed/FeedRepo.ts"
import { FileBufferCache } from "./FileBufferCache.ts"
import type { Change } from "./files/Change.ts"
import { Committer } from "./files/Committer.ts"
import { hashOf } from "./files/contentHash.ts"
import { ContentReader } from "./files/ContentReader.ts"
import { spansOf } from "./files/Extent.ts"
import { FileRepo, type Located, type LocateRequest, type VersionRow } from "./files/FileRepo.ts"
import { GracePeriods, type Ticket } from "./files/GracePeriods.ts"
import { Listing, timestamp, toFileInfo, withAttributes } from "./files/Listing.ts"
import { noSuchVersion } from "./files/Plan.ts"
import { ReadMany } from "./files/ReadMany.ts"
import { hasRoom, labelOf, permit, store } from "./files/Rules.ts"
import { SegmentStore } from "./files/SegmentStore.ts"
import { UploadRepo } from "./files/UploadRepo.ts"
import { Uploads } from "./files/Uploads.ts"
import { UploadSessions } from "./files/UploadSessions.ts"
import { WriteMany } from "./files/WriteMany.ts"
import { noSuchFile } from "./permissions/Policy.ts"

/** Content as views, in order. */
type Data = ReadonlyArray<Uint8Array>

type Put<K extends "Create" | "Write" | "Replace" | "Append" | "Patch"> = (
  caller: Caller,
  body: BodyOf<K>,
  data: Data
) => Effect.Effect<Written, Refusal>

export interface Reading {
  readonly head: ReadHead
  readonly content: ContentSource
}

const toVersionInfo = (row: VersionRow, current: number): VersionInfo => ({
  version: row.version,
  size: row.size,
  author: row.author,
  modified_at: timestamp(row.createdAt),
  current: row.version === current,
  ...(row.sha256 === undefined ? {} : { sha256: row.sha256 }),
  ...withAttributes(row.attributes)
})

export class FileStore extends Context.Service<FileStore, {
  readonly create: Put<"Create">
  /** Makes the file or replaces its content. */
  readonly write: Put<"Write">
  readonly replace: Put<"Replace">
  readonly append: Put<"Append">
  readonly patch: Put<"Patch">
  /** The content of several files; one that is refused fails alone. */
  readonly writeMany: (
    caller: Caller,
    body: BodyOf<"WriteMany">,
    data: Data
  ) => Effect.Effect<ResultOf<"WriteMany">, Refusal>
  /** Several whole files; what is given must be closed, by whoever takes it. */
  readonly readMany: (caller: Caller, body: BodyOf<"ReadMany">) => Effect.Effect<BatchSource, Refusal>
  /** The content must be closed, by whoever takes it. */
  readonly read: (caller: Caller, body: BodyOf<"Read">) => Effect.Effect<Reading, Refusal>
  readonly delete: (caller: Caller, body: BodyOf<"Delete">) => Effect.Effect<ResultOf<"Delete">, Refusal>
  readonly rename: (caller: Caller, body: BodyOf<"Rename">) => Effect.Effect<Written, Refusal>
  readonly copy: (caller: Caller, body: BodyOf<"Copy">) => Effect.Effect<Written, Refusal>
  readonly restore: (caller: Caller, body: BodyOf<"Restore">) => Effect.Effect<Written, Refusal>
  readonly queryFile: (caller: Caller, body: BodyOf<"QueryFile">) => Effect.Effect<ResultOf<"QueryFile">, Refusal>
  readonly queryVersions: (
    caller: Caller,
    body: BodyOf<"QueryVersions">
  ) => Effect.Effect<ResultOf<"QueryVersions">, Refusal>
  readonly list: (caller: Caller, body: BodyOf<"List">) => Effect.Effect<ResultOf<"List">, Refusal>
  readonly uploadBegin: (caller: Caller, body: BodyOf<"UploadBegin">) => Effect.Effect<UploadState, Refusal>
  readonly uploadPart: (
    caller: Caller,
    body: BodyOf<"UploadPart">,
    data: Data
  ) => Effect.Effect<ResultOf<"UploadPart">, Refusal>
  readonly uploadStatus: (
    caller: Caller,
    uploadId: UploadId,
    claim?: BodyOf<"UploadStatus">["claim"]
  ) => Effect.Effect<UploadState, Refusal>
  readonly uploadCommit: (caller: Caller, body: BodyOf<"UploadCommit">) => Effect.Effect<Written, Refusal>
  readonly uploadAbort: (caller: Caller, uploadId: UploadId) => Effect.Effect<void, Refusal>
  readonly queryUploads: (caller: Caller) => Effect.Effect<ResultOf<"QueryUploads">, Refusal>
}>()("fip/server/FileStore") {
  static readonly layerNoDeps = Layer.effect(
    FileStore,
    Effect.gen(function*() {
      const repo = yield* FileRepo
      const lookup = yield* FileLookup
      const committer = yield* Committer
      const segments = yield* SegmentStore
      const cache = yield* FileBufferCache
      const uploads = yield* Uploads
      const listing = yield* Listing
      const batches = { ...yield* WriteMany, ...yield* ReadMany }
      const grace = yield* GracePeriods
      const note = yield* NoteAccess
      const fork = yield* FiberSet.makeRuntime<never, unknown, unknown>()
      const promise = yield* FiberSet.makeRuntimePromise<never, unknown, unknown>()

      /** The file as it is now, to be changed; or `found` by reads, which may be from memory. */
      const locate = Effect.fnUntraced(function*(
        caller: Caller,
        body: Partial<Pick<LocateRequest, "owner">> & Pick<LocateRequest, "name">,
        find: FileRepo["Service"]["locate"] = repo.locate,
        range?: Pick<LocateRequest, "from" | "to">
      ): Effect.fn.Return<Located, Refusal> {
        const owner = body.owner ?? caller.username
        const located = yield* find({ callerId: caller.userId, owner, name: body.name, ...range })
        return located ?? (yield* noSuchFile(formatFileRef({ owner, name: body.name })))
      })

      const storeInline = Effect.fnUntraced(function*(
        mode: UploadMode,
        caller: Caller,
        body: BodyOf<"Write"> & Partial<Pick<BodyOf<"Patch">, "position">>,
        data: Data
      ): Effect.fn.Return<Written, Refusal> {
        const sha256 = hashOf(data)
        if (body.sha256 !== undefined && body.sha256 !== sha256) {
          return yield* refuse("2:sum", "what arrived is not what was sent: send it again", "sha256")
        }
        let length = 0
        for (const chunk of data) length += chunk.length
        const storing = { mode, length, position: body.position, expected: body.expected_version }
        // Refused early, so that what will be refused is not stored. What can be refused for want of room alone is not
        // looked up; all of it is decided under locks.
        const known = mode === "write" && storing.expected === undefined
          ? lookup.knownOwner(body.owner ?? caller.username)
          : undefined
        const isSure = known?.userId === caller.userId && hasRoom(known, length, 1)
        const place = isSure ? { owner: known } : yield* locate(caller, body, lookup.locateNow)
        if ("name" in place) yield* Effect.fromResult(store(place, storing))
        const location = length === 0 ? undefined : yield* segments.append(data, length)
        return yield* committer.commit({
          _tag: "Store",
          ...storing,
          caller,
          ownerId: place.owner.userId,
          name: body.name,
          sha256,
          segment: location?.segment,
          spans: location === undefined
            ? []
            : spansOf(location.segment, location.offset, length, checksumsOf(data, length)),
          attributes: body.attributes,
          upload: undefined
        }).pipe(Effect.tapError(() => Effect.sync(() => lookup.forgetOwner(place.owner.userId))))
      })

      const put = (...[mode, caller, body, data]: Parameters<typeof storeInline>): Effect.Effect<Written, Refusal> =>
        Effect.suspend(() => {
          const ticket = grace.enter()
          return Effect.ensuring(
            storeInline(mode, caller, body, data),
            Effect.sync(() => grace.leave(ticket))
          )
        })

      const change = Effect.fnUntraced(function*(
        caller: Caller,
        body: BodyOf<"Delete">,
        make: (subject: Pick<Change, "caller" | "ownerId" | "name" | "expected">) => Change
      ): Effect.fn.Return<Written, Refusal> {
        const place = yield* locate(caller, body)
        // Who may not see the file learns no more than that.
        yield* Effect.fromResult(permit(place, "read"))
        return yield* committer.commit(
          make({ caller, ownerId: place.owner.userId, name: body.name, expected: body.expected_version })
        )
      })

      const open = Effect.fnUntraced(function*(
        caller: Caller,
        body: BodyOf<"Read">,
        ticket: Ticket
      ): Effect.fn.Return<Reading, Refusal> {
        const from = body.position ?? 0
        const to = body.limit === undefined
          ? Number.MAX_SAFE_INTEGER
          : Math.min(from + body.limit, Number.MAX_SAFE_INTEGER)
        const place = yield* locate(caller, body, lookup.locate, { from, to })
        const file = yield* Effect.fromResult(permit(place, "read"))
        const version = body.version ?? file.version
        const isCurrent = version === file.version
        const row = isCurrent ? file : yield* repo.version(file.fileId, version)
        if (row === undefined) return yield* noSuchVersion(place, version)
        const { attributes, sha256, size } = row
        const length = Math.max(0, Math.min(to, size) - from)
        // What goes on elsewhere in the file is the same reading.
        if (from === 0) note.read(file.fileId)
        const extents = isCurrent ? place.extents : length === 0 ? [] : yield* repo.extents(file.fileId, version, from)
        const content = new ContentReader({
          cache,
          userId: caller.userId,
          file: labelOf(place),
          position: from,
          length,
          extents,
          more: (position) => promise(repo.extents(file.fileId, version, position)),
          onHash: sha256 === undefined && length === size
            ? (sha256) =>
              fork(
                repo.setHash(file.fileId, version, sha256).pipe(
                  Effect.tap(() => Effect.sync(() => lookup.forget(file.fileId))),
                  Effect.ignore({ log: "Warn" })
                )
              )
            : undefined,
          onClose: () => grace.leave(ticket)
        })
        grace.leaveWith(content, ticket)
        return {
          head: {
            owner: place.owner.username,
            name: file.name,
            size,
            version,
            position: from,
            length,
            ...(sha256 === undefined ? {} : { sha256 }),
            ...withAttributes(attributes)
          },
          content
        }
      })

      const read = (caller: Caller, body: BodyOf<"Read">): Effect.Effect<Reading, Refusal> =>
        Effect.suspend(() => {
          const ticket = grace.enter()
          return Effect.onError(open(caller, body, ticket), () => Effect.sync(() => grace.leave(ticket)))
        })

      return FileStore.of({
        create: (caller, body, data) => put("create", caller, body, data),
        write: (caller, body, data) => put("write", caller, body, data),
        replace: (caller, body, data) => put("replace", caller, body, data),
        append: (caller, body, data) => put("append", caller, body, data),
        patch: (caller, body, data) => put("patch", caller, body, data),
        read,
        writeMany: batches.write,
        readMany: batches.read,
        delete: (caller, body) =>
          Effect.map(
            change(caller, body, (subject) => ({ _tag: "Delete", ...subject })),
            ({ name, owner }) => ({ owner, name })
          ),
        rename: (caller, body) =>
          change(caller, body, (subject) => ({ _tag: "Rename", ...subject, newName: body.new_name })),
        copy: (caller, body) =>
          change(caller, body, (subject) => ({ _tag: "Copy", ...subject, newName: body.new_name })),
        restore: Effect.fnUntraced(function*(caller, body) {
          const { expected_version: expected, name, version } = body
          if (version !== undefined) {
            return yield* change(caller, body, (subject) => ({ _tag: "Restore", ...subject, version }))
          }
          const { owner } = yield* locate(caller, body)
          return yield* committer.commit({ _tag: "Undelete", caller, ownerId: owner.userId, name, expected })
        }),
        queryFile: Effect.fnUntraced(function*(caller, body) {
          const place = yield* locate(caller, body)
          const file = yield* Effect.fromResult(permit(place, "read"))
          const info = toFileInfo(place.owner.username, file, place.role ?? "READ")
          if (body.verbose !== true) return info
          const known = yield* note.readsOf(file.fileId)
          return known === undefined
            ? { ...info, reads: 0 }
            : { ...info, reads: known.reads, last_read_at: timestamp(known.lastAt) }
        }),
        queryVersions: Effect.fnUntraced(function*(caller, body) {
          const place = yield* locate(caller, body)
          const file = yield* Effect.fromResult(permit(place, "read"))
          const versions = yield* repo.versions(file.fileId, MAX_PAGE)
          return {
            owner: place.owner.username,
            name: file.name,
            versions: versions.map((row) => toVersionInfo(row, file.version))
          }
        }),
        list: listing.list,
        uploadBegin: uploads.begin,
        uploadPart: uploads.part,
        uploadStatus: uploads.status,
        uploadCommit: uploads.commit,
        uploadAbort: uploads.abort,
        queryUploads: uploads.list
      })
    })
  )

  static readonly layer = this.layerNoDeps.pipe(
    Layer.provide([Uploads.layer, Listing.layer, WriteMany.layer, ReadMany.layer]),
    Layer.provide(UploadSessions.layer),
    Layer.provide([
      Committer.layer.pipe(Layer.provide(FeedRepo.layer)),
      FileLookup.layer,
      FileRepo.layer,
      UploadRepo.layer
    ]),
    Layer.provide(GracePeriods.layer)
  )
}
