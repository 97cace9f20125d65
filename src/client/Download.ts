/**
 * Fetching a file to this machine. What was at its place stays until the new content is whole, proven by its SHA-256 and
 * on disk.
 *
 * A download of more than one message can be taken up by another run: a journal (Journal.ts) knows the hash of what is
 * fetched, and what has arrived stays beside the target under a hidden name. The next run goes on behind it when the
 * file still has that hash, reads what is here beside what comes, and publishes nothing before the whole has the right
 * hash. After a loss of power only what was synced counts. What cannot be used is removed, and fetched anew.
 */
import { Data, Effect, Option, Schema, type Scope } from "effect"
import { createHash } from "node:crypto"
import { lstat, readFile, rm } from "node:fs/promises"
import { dirname, join, resolve } from "node:path"
import type { FileRef } from "../protocol/FileName.ts"
import { Sha256 } from "../protocol/Identity.ts"
import type { Api } from "./Api.ts"
import { bytesOf } from "./Chunks.ts"
import { type IntegrityError, ProtocolError, type TransferError } from "./ClientError.ts"
import type { DownloadOptions, Transferred } from "./FipClient.ts"
import type { Journal, Journals } from "./Journal.ts"
import type { Link } from "./Link.ts"
import { attempt, targetOf } from "./LocalFile.ts"
import { type OpenOptions, openReading, type Reading } from "./Reading.ts"
import { checkPlace, openSink, reopenSink, type Sink } from "./Sink.ts"

const MiB = 1024 * 1024

const decodeHead = Schema.decodeUnknownOption(Schema.Struct({
  kind: Schema.Literal("download"),
  partial: Schema.String,
  inode: Schema.String,
  sha256: Sha256,
  size: Schema.Finite,
  boot: Schema.String
}))
type Head = Exclude<ReturnType<typeof decodeHead>, Option.None<unknown>>["value"]

const decodeSynced = Schema.decodeUnknownOption(Schema.Struct({ synced: Schema.Finite }))

/** Another value after each start of the machine; empty where that cannot be told. */
const bootId = Effect.orElseSucceed(
  Effect.tryPromise(() => readFile("/proc/sys/kernel/random/boot_id", "utf8").then((text) => text.trim())),
  () => ""
)

export interface DownloadServices {
  readonly api: Api
  readonly link: Link
  readonly journals: Journals
  readonly onNotice: (message: string) => void
}

/** What an earlier run left is of no use; the sentence says why. */
class Unusable extends Data.TaggedError("Unusable")<{ readonly message: string }> {}

/** The hash of a file of which the beginning is on disk and the rest arrives: reads after what is not passed to it. */
class Follower {
  readonly hash = createHash("sha256")
  private hashed = 0
  private received: number
  private caughtUp = false
  private stopped = false
  private readonly sink: Sink
  private following: Promise<void>

  constructor(sink: Sink, position: number) {
    this.sink = sink
    this.received = position
    this.following = this.follow()
    this.following.catch(() => {})
  }

  private async follow(): Promise<void> {
    while (!this.stopped && this.hashed < this.received) {
      const to = Math.min(this.received, this.hashed + MiB)
      this.hash.update(await this.sink.read(this.hashed, to))
      this.hashed = to
    }
    this.caughtUp = true
  }

  /** These bytes have been handed to the sink. */
  take(chunks: ReadonlyArray<Uint8Array>): void {
    const bytes = bytesOf(chunks)
    this.received += bytes
    if (!this.caughtUp) return
    for (const chunk of chunks) this.hash.update(chunk)
    this.hashed += bytes
  }

  async digest(): Promise<Sha256> {
    await this.following
    return Sha256.make(this.hash.digest("hex"))
  }

  stop(): void {
    this.stopped = true
  }
}

const openOne = (
  { api, link }: DownloadServices,
  file: FileRef,
  options: OpenOptions
) =>
  Effect.acquireRelease(
    openReading(api, link, file, options),
    (reading) => Effect.sync(() => reading.close()),
    { interruptible: true }
  )

const receive = Effect.fnUntraced(function*(
  reading: Reading,
  sink: Sink,
  begin: number,
  onProgress: NonNullable<DownloadOptions["onProgress"]>,
  onChunks: (chunks: ReadonlyArray<Uint8Array>) => void = () => {}
) {
  let bytes = begin
  for (;;) {
    const chunks = yield* reading.next
    if (chunks === undefined) return
    yield* sink.write(chunks)
    onChunks(chunks)
    bytes += bytesOf(chunks)
    onProgress({ bytes, total: reading.head.size })
  }
})

const transferred = ({ head: { name, owner, size, version } }: Reading, sha256: Sha256): Transferred => ({
  owner,
  name,
  size,
  version,
  sha256
})

/** One download, as long as its journal is held. */
const downloadTo = Effect.fnUntraced(function*(
  services: DownloadServices,
  file: FileRef,
  target: string,
  { connections, onProgress = () => {}, syncFolder = true, version }: DownloadOptions
): Effect.fn.Return<Transferred, TransferError, Scope.Scope> {
  const { api, journals, onNotice } = services
  const user = Option.match(yield* api.session.identity, { onNone: () => "", onSome: ({ username }) => username })
  const key = ["download", user.toLowerCase(), file.owner ?? "", file.name, String(version ?? ""), resolve(target)]
  const partial = join(
    dirname(resolve(target)),
    `.fip-${createHash("sha256").update(key.join("\0")).digest("hex").slice(0, 16)}.part`
  )

  const keeping = (journal: Journal) => ({ name: partial, onSynced: (synced: number) => journal.add({ synced }) })

  /** Fetches all of it. */
  const anew = Effect.fnUntraced(function*(
    held: Journal | undefined
  ): Effect.fn.Return<Transferred, TransferError, Scope.Scope> {
    yield* checkPlace(target)
    const reading = yield* openOne(services, file, { version, connections: connections ?? "auto" })
    const { sha256, size } = reading.head
    // Of what has no hash yet, nobody can say later whether it is still the same.
    const journal = reading.incomplete && sha256 !== undefined ? held ?? (yield* journals.open(key)) : undefined
    const { inode, sink } = yield* openSink(target, journal === undefined ? undefined : keeping(journal))
    if (journal !== undefined) {
      yield* journal.begin({ kind: "download", partial, inode, sha256, size, boot: yield* bootId })
    }
    const giveUp = Effect.andThen(sink.discard, journal?.remove ?? Effect.void)
    yield* receive(reading, sink, 0, onProgress).pipe(
      Effect.tapError((error) => isFinal(error) ? giveUp : Effect.void)
    )
    if (reading.sha256 === undefined) {
      yield* giveUp
      return yield* new ProtocolError({ message: "the server sent a part of the file only" })
    }
    yield* sink.publish({ attributes: reading.head.attributes, syncsFolder: syncFolder })
    if (journal !== undefined) yield* journal.remove
    return transferred(reading, reading.sha256)
  }, Effect.scoped)

  /** Goes on behind what an earlier run left. */
  const goOn = Effect.fnUntraced(function*(
    journal: Journal,
    head: Head
  ): Effect.fn.Return<Transferred, TransferError | Unusable, Scope.Scope> {
    const boot = yield* bootId
    const synced = journal.found.reduce<number>(
      (most, line) => Option.match(decodeSynced(line), { onNone: () => most, onSome: ({ synced }) => synced }),
      0
    )
    const opened = yield* reopenSink(
      target,
      keeping(journal),
      head.inode,
      (bytes) => Math.min(head.size, boot !== "" && boot === head.boot ? bytes : synced)
    )
    if (opened === undefined || opened.position === 0) return yield* new Unusable({ message: "" })
    const { position, sink } = opened
    const reading = yield* openOne(services, file, { version, connections: connections ?? "auto", position })
    if (reading.head.sha256 !== head.sha256 || reading.head.size !== head.size) {
      return yield* new Unusable({ message: `${file.name} changed since its download was interrupted` })
    }
    onNotice(
      `going on with the download of ${file.name}: ` +
        `${Math.floor(position / MiB)} of ${Math.ceil(head.size / MiB)} MiB are here`
    )
    if (boot !== head.boot) {
      yield* journal.begin({ ...head, boot })
      journal.add({ synced: Math.min(synced, position) })
    }
    onProgress({ bytes: position, total: head.size })
    const follower = yield* Effect.acquireRelease(
      Effect.sync(() => new Follower(sink, position)),
      (follower) => Effect.sync(() => follower.stop())
    )
    yield* receive(reading, sink, position, onProgress, (chunks) => follower.take(chunks))
    if ((yield* attempt(target, "read", () => follower.digest())) !== head.sha256) {
      return yield* new Unusable({ message: `what was here of ${file.name} was damaged` })
    }
    yield* sink.publish({ attributes: reading.head.attributes, syncsFolder: syncFolder })
    yield* journal.remove
    return transferred(reading, head.sha256)
  }, Effect.scoped)

  // One look at the disk, so that a thousand small files do not open a journal each.
  const isThere = yield* Effect.promise(() => lstat(partial).then((found) => found.isFile(), () => false))
  if (!isThere) return yield* anew(undefined)
  const journal = yield* journals.open(key)
  if (journal === undefined) return yield* anew(undefined)
  const giveUp = Effect.andThen(
    Effect.promise(() => rm(partial, { force: true }).catch(() => {})),
    journal.remove
  )
  const head = Option.getOrUndefined(decodeHead(journal.found[0]))
  if (head === undefined) return yield* Effect.andThen(giveUp, anew(journal))
  return yield* goOn(journal, head).pipe(
    Effect.catchTag("Unusable", ({ message }) => {
      if (message !== "") onNotice(`${message}: it is fetched from its beginning`)
      return Effect.andThen(giveUp, anew(journal))
    }),
    Effect.tapError((error) => isFinal(error) ? giveUp : Effect.void)
  )
})

/** Whether a later run could not go on either. */
const isFinal = (error: TransferError | IntegrityError): boolean =>
  error._tag === "IntegrityError" || error._tag === "LocalFileError" ||
  (error._tag === "Refusal" && ["2:nf", "2:perm", "3:bad"].includes(error.code))

/** Fetches a file. */
export const download = Effect.fnUntraced(
  function*(
    services: DownloadServices,
    file: FileRef,
    localPath: string,
    options: DownloadOptions = {}
  ): Effect.fn.Return<Transferred, TransferError, Scope.Scope> {
    return yield* downloadTo(services, file, yield* targetOf(localPath, file.name), options)
  },
  Effect.scoped
)
