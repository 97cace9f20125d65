/**
 * Small files on their way here, many in one reply (ReadMany, docs/protocol.md): each is compared with its hash, and takes
 * its name when it is on disk (Publisher.ts).
 *
 * A server that does not know the request is asked for the files one by one.
 */
import { Effect, Result, Semaphore, Stream } from "effect"
import { createHash, hash } from "node:crypto"
import { dirname } from "node:path"
import { syncFolder } from "../platform/AtomicFile.ts"
import { systemErrorReason } from "../platform/systemError.ts"
import { MAX_BATCH_FILES, MAX_BODY_BYTES, MAX_DATA_BYTES } from "../protocol/Limits.ts"
import type { Refusal } from "../protocol/Refusal.ts"
import type { FileRead, Written } from "../protocol/Request.ts"
import { decodeAnswer } from "./Api.ts"
import { isUnknownRequest, mismatch, namesBytes, refusalIn } from "./batches.ts"
import type { Chunks } from "./Chunks.ts"
import { IntegrityError, LocalFileError, type TransferError } from "./ClientError.ts"
import type { Connection, RequestMessage } from "./Connection.ts"
import { FileFailed, type FileToFetch, type Reporting } from "./fileSetTypes.ts"
import { withRetry } from "./Link.ts"
import { attempt } from "./LocalFile.ts"
import type { ClientParts } from "./methods/parts.ts"
import { Publisher } from "./Publisher.ts"
import { ReplyStream, type Unanswered } from "./Reply.ts"
import { checkPlace } from "./Sink.ts"

/** Larger files are fetched by themselves. */
const SMALL_BYTES = 256 * 1024

/** What one counts for whose size is not known. */
const TYPICAL_BYTES = 16 * 1024

/** Batches under way. */
const BATCHES = 8

/** What waits of one reply before nothing more is read. */
const WAITING_BYTES = 2 * MAX_DATA_BYTES

/** From so many files on it is worth to sync a whole file system instead of each file. */
const MANY = 64

const BODY_BYTES = MAX_BODY_BYTES - 1024
const AT_ONCE = 64

interface Item {
  readonly index: number
  readonly one: FileToFetch
}

/** A file that was written and has no name yet. */
interface Fetched extends Item {
  readonly written: Written
}

type Job = { readonly _tag: "Batch"; readonly items: ReadonlyArray<Item> } | { readonly _tag: "Alone" } & Item

/** The files in their order: small ones of the same owner together. */
const jobsOf = function*(files: ReadonlyArray<FileToFetch>): Generator<Job> {
  let items: Array<Item> = []
  let bytes = 0
  let body = 0
  for (const [index, one] of files.entries()) {
    const size = one.size ?? TYPICAL_BYTES
    if (size > SMALL_BYTES) {
      yield { _tag: "Alone", index, one }
      continue
    }
    const name = namesBytes(one.file.name)
    if (
      items.length > 0 && (items.length === MAX_BATCH_FILES || bytes + size > MAX_DATA_BYTES ||
        body + name > BODY_BYTES || items[0]?.one.file.owner !== one.file.owner)
    ) {
      yield { _tag: "Batch", items }
      items = []
      bytes = body = 0
    }
    items.push({ index, one })
    bytes += size
    body += name
  }
  if (items.length > 0) yield { _tag: "Batch", items }
}

const hashOf = (chunks: Chunks): string => {
  const [first] = chunks
  if (first !== undefined && chunks.length === 1) return hash("sha256", first, "hex")
  const whole = createHash("sha256")
  for (const chunk of chunks) whole.update(chunk)
  return whole.digest("hex")
}

/** Takes bytes from the front of a message's data. */
class Data {
  private readonly chunks: Chunks
  private index = 0
  private at = 0

  constructor(chunks: Chunks) {
    this.chunks = chunks
  }

  take(bytes: number): Chunks {
    const taken: Array<Uint8Array> = []
    for (let missing = bytes; missing > 0;) {
      const chunk = this.chunks[this.index]
      if (chunk === undefined) break
      const count = Math.min(missing, chunk.length - this.at)
      if (count > 0) taken.push(chunk.subarray(this.at, this.at + count))
      missing -= count
      this.at += count
      if (this.at === chunk.length) {
        this.index++
        this.at = 0
      }
    }
    return taken
  }
}

const failed = ({ one }: Item, cause: TransferError) => new FileFailed({ file: one.file, cause })

const cannotWrite = (item: Item, cause: unknown) => {
  const { local: path } = item.one
  return failed(
    item,
    new LocalFileError({ path, message: `cannot write ${path}: ${systemErrorReason(cause)}`, cause })
  )
}

/** Fetches all files: those that are, or turn out to be, larger with `alone`. */
export const downloadSmall = Effect.fnUntraced(function*(
  { api, link }: ClientParts,
  files: ReadonlyArray<FileToFetch>,
  report: Reporting,
  options: { readonly syncFolders: boolean },
  alone: (index: number, size: number) => Effect.Effect<void, FileFailed>
): Effect.fn.Return<void, FileFailed> {
  const publisher = new Publisher<Fetched>(files.length >= MANY)
  const publishing = yield* Semaphore.make(1)
  const places = yield* Semaphore.make(BATCHES)
  const folders = new Set<string>()

  const publish = publishing.withPermits(1)(Effect.uninterruptible(Effect.gen(function*() {
    const { failed, items } = yield* Effect.promise(() => publisher.publish())
    yield* report.arrived(items)
    if (failed !== undefined) return yield* cannotWrite(failed.item, failed.cause)
  })))

  /** Fails unless files can be made in its folder. */
  const prepare = (item: Item): Effect.Effect<void, FileFailed> => {
    const folder = dirname(item.one.local)
    if (folders.has(folder)) return Effect.void
    folders.add(folder)
    return Effect.mapError(checkPlace(item.one.local), (cause) => failed(item, cause))
  }

  const write = (item: Item, owner: Written["owner"], file: FileRead, chunks: Chunks): FileFailed | undefined => {
    const { name, sha256, size, version } = file
    if (hashOf(chunks) !== sha256) {
      return failed(item, new IntegrityError({ message: `${name} did not arrive as it is stored. Try again` }))
    }
    try {
      publisher.write(
        { ...item, written: { owner, name, size, version, sha256 } },
        item.one.local,
        chunks,
        file.attributes
      )
    } catch (cause) {
      return cannotWrite(item, cause)
    }
    report.moved(size)
    return undefined
  }

  const fetch = Effect.fnUntraced(function*(items: ReadonlyArray<Item>): Effect.fn.Return<void, FileFailed> {
    const [first] = items
    if (first === undefined) return
    yield* Effect.forEach(items, prepare, { discard: true })
    const done = new Set<Item>()
    const larger: Array<Item> = []
    let failure: FileFailed | undefined

    /** Takes the next files of a reply; the number of those it was about. */
    const take = (message: { readonly body: Uint8Array; readonly data: Chunks }, from: number): number => {
      const answer = decodeAnswer("ReadMany", message.body)
      if (Result.isFailure(answer)) {
        failure ??= failed(first, answer.failure)
        return 0
      }
      const { files, owner } = answer.success
      const data = new Data(message.data)
      for (const [at, file] of files.entries()) {
        const item = items[from + at]
        if (item === undefined || item.one.file.name !== file.name) {
          failure ??= failed(item ?? first, mismatch("ReadMany"))
          break
        }
        const chunks = "code" in file ? [] : data.take(file.size)
        // It came before the connection broke.
        if (done.has(item)) continue
        done.add(item)
        if ("code" in file) {
          if (file.code === "2:big") larger.push(item)
          else failure ??= failed(item, refusalIn(file))
        } else failure ??= write(item, owner, file, chunks)
        if (failure !== undefined) break
      }
      return files.length
    }

    const gather = (connection: Connection, request: RequestMessage) =>
      Effect.suspend(() => {
        const stream = new ReplyStream(connection, request, { capacity: WAITING_BYTES, whenFull: "pause" })
        let at = 0
        const rest: Effect.Effect<void, Refusal | Unanswered> = Effect.flatMap(stream.next, (message) => {
          if (message === undefined) return Effect.void
          at += take(message, at)
          if (failure !== undefined) return Effect.void
          // What does not get to the disk is not read from the network either.
          return publisher.isFull ? Effect.andThen(flush, rest) : rest
        })
        const flush = Effect.catch(publish, (error) =>
          Effect.sync(() => {
            failure ??= error
          }))
        return Effect.ensuring(rest, Effect.sync(() => stream.abandon()))
      })

    const known = yield* api.authorised(
      "ReadMany",
      { owner: first.one.file.owner, names: items.map(({ one }) => one.file.name) },
      (request) => withRetry(link, "ReadMany", true, (connection) => gather(connection, request))
    ).pipe(
      Effect.as(true),
      Effect.catchIf(isUnknownRequest, () => Effect.succeed(false)),
      Effect.mapError((cause) => failed(first, cause))
    )
    if (failure !== undefined) return yield* failure
    const left = known ? larger : items
    if (known && done.size < items.length) return yield* failed(first, mismatch("ReadMany"))
    yield* Effect.forEach(left, ({ index, one }) => alone(index, one.size ?? SMALL_BYTES), {
      concurrency: AT_ONCE,
      discard: true
    })
  })

  const run = (job: Job): Effect.Effect<void, FileFailed> =>
    job._tag === "Alone" ? alone(job.index, job.one.size ?? SMALL_BYTES) : places.withPermits(1)(fetch(job.items))

  yield* Stream.fromIterable({ [Symbol.iterator]: () => jobsOf(files) }).pipe(
    Stream.mapEffect(run, { concurrency: AT_ONCE, unordered: true }),
    Stream.runDrain,
    // What is whole when another fails arrives all the same.
    Effect.tapError(() => Effect.ignore(publish)),
    Effect.andThen(publish),
    Effect.onExit(() => Effect.sync(() => publisher.discard()))
  )
  if (options.syncFolders) {
    for (const folder of folders) {
      const [item] = files
      if (item === undefined) continue
      yield* attempt(folder, "sync", () => syncFolder(folder)).pipe(
        Effect.mapError((cause) => new FileFailed({ file: item.file, cause }))
      )
    }
  }
})
