/**
 * Small files on their way to the server, many in one request (WriteMany, docs/protocol.md). They are read synchronously,
 * straight into the request's data: thousands of promises would cost more than the reads.
 *
 * A server that does not know the request is sent the files one by one.
 */
import { Effect, Result, Semaphore, Stream } from "effect"
import { hash } from "node:crypto"
import * as Fs from "node:fs"
import { setImmediate } from "node:timers/promises"
import { systemErrorReason } from "../platform/systemError.ts"
import type { FileRef } from "../protocol/FileName.ts"
import { Sha256 } from "../protocol/Identity.ts"
import { MAX_BATCH_FILES, MAX_BODY_BYTES, MAX_DATA_BYTES } from "../protocol/Limits.ts"
import type { Attributes, ResultOf } from "../protocol/Request.ts"
import type { Api } from "./Api.ts"
import { isUnknownRequest, mismatch, namesBytes, refusalIn } from "./batches.ts"
import { IntegrityError, LocalFileError, type TransferError } from "./ClientError.ts"
import { FileFailed, type FileToSend, type MovedFile, type Reporting } from "./fileSetTypes.ts"
import { attributesOf, changedWhileSent } from "./LocalFile.ts"

/** Larger files are sent by themselves. */
const SMALL_BYTES = 256 * 1024

/** Batches under way: at a mebibyte each, as many as a server takes of one connection, and as many again on the line. */
const BATCHES = 8

/** What an entry takes in the request's body, besides its name. */
const ENTRY_BYTES = 220
const BODY_BYTES = MAX_BODY_BYTES - 1024

/** Files that are known to be sent by themselves and wait for a place. */
const AT_ONCE = 64

interface Entry {
  readonly index: number
  readonly one: FileToSend
  readonly size: number
  readonly sha256: Sha256
  readonly attributes: Attributes
}

interface Batch {
  readonly _tag: "Batch"
  readonly entries: ReadonlyArray<Entry>
  readonly buffer: Uint8Array
  readonly bytes: number
}

type Job = Batch | { readonly _tag: "Alone"; readonly index: number; readonly size: number }

const ownerOf = ({ owner }: FileRef): string => owner ?? ""

type Read = { readonly size: number; readonly attributes: Attributes } | "full" | { readonly larger: number }

/** Reads a whole file to `at`, when it has room there. Throws what the system says. */
const readInto = (path: string, buffer: Uint8Array, at: number): Read => {
  // Not blocking: to open a pipe would be to wait for its other end.
  const file = Fs.openSync(path, Fs.constants.O_RDONLY | Fs.constants.O_NONBLOCK)
  try {
    const before = Fs.fstatSync(file, { bigint: true })
    if (!before.isFile()) {
      throw new LocalFileError({
        path,
        message: `${path} is ${before.isDirectory() ? "a folder" : "not a regular file"}`
      })
    }
    const size = Number(before.size)
    if (size > SMALL_BYTES) return { larger: size }
    if (size > buffer.length - at) return "full"
    for (let filled = 0; filled < size;) {
      const count = Fs.readSync(file, buffer, at + filled, size - filled, filled)
      if (count === 0) throw changedWhileSent(path)
      filled += count
    }
    const after = Fs.fstatSync(file, { bigint: true })
    if (after.size !== before.size || after.mtimeNs !== before.mtimeNs) throw changedWhileSent(path)
    return { size, attributes: attributesOf(before) }
  } finally {
    Fs.closeSync(file)
  }
}

const tryToRead = ({ file, local: path }: FileToSend, buffer: Uint8Array, at: number): Read | FileFailed => {
  try {
    return readInto(path, buffer, at)
  } catch (cause) {
    const error = cause instanceof LocalFileError
      ? cause
      : new LocalFileError({ path, message: `cannot read ${path}: ${systemErrorReason(cause)}`, cause })
    return new FileFailed({ file, cause: error })
  }
}

/** Puts files into batches, in their order. */
class Packer {
  private readonly files: ReadonlyArray<FileToSend>
  private index = 0
  private readonly alone: Array<Job> = []
  private readonly free: Array<Uint8Array> = []

  constructor(files: ReadonlyArray<FileToSend>) {
    this.files = files
  }

  private get at(): FileToSend | undefined {
    return this.files[this.index]
  }

  next(): Result.Result<Job | undefined, FileFailed> {
    const large = this.alone.shift()
    const first = this.at
    if (large !== undefined || first === undefined) return Result.succeed(large)
    const buffer = this.free.pop() ?? Buffer.allocUnsafeSlow(MAX_DATA_BYTES)
    const entries: Array<Entry> = []
    let bytes = 0
    let body = 0
    for (let one = this.at; one !== undefined && entries.length < MAX_BATCH_FILES; one = this.at) {
      if (ownerOf(one.file) !== ownerOf(first.file) || one.mode !== first.mode) break
      body += namesBytes(one.file.name) + ENTRY_BYTES
      if (body > BODY_BYTES) break
      const read = tryToRead(one, buffer, bytes)
      if (read instanceof FileFailed) return Result.fail(read)
      if (read === "full") break
      const index = this.index++
      if ("larger" in read) {
        this.alone.push({ _tag: "Alone", index, size: read.larger })
        continue
      }
      const sha256 = Sha256.make(hash("sha256", buffer.subarray(bytes, bytes + read.size), "hex"))
      entries.push({ index, one, sha256, ...read })
      bytes += read.size
    }
    if (entries.length > 0) return Result.succeed({ _tag: "Batch", entries, buffer, bytes })
    this.free.push(buffer)
    return Result.succeed(this.alone.shift())
  }

  /** The batch has been sent: its memory is used again. */
  release({ buffer }: Batch): void {
    this.free.push(buffer)
  }
}

/** What the server says became of a batch; fails for the first file that was not written as it was sent. */
const settle = (
  { entries }: Batch,
  { files, owner }: ResultOf<"WriteMany">
): { readonly moved: ReadonlyArray<MovedFile>; readonly failure: FileFailed | undefined } => {
  const moved: Array<MovedFile> = []
  let failure: FileFailed | undefined
  for (const [at, { index, one, sha256, size }] of entries.entries()) {
    const file = files[at]
    let cause: TransferError | undefined
    if (file === undefined || file.name !== one.file.name) cause = mismatch("WriteMany")
    else if ("code" in file) cause = refusalIn(file)
    else if (file.size !== size || (file.sha256 !== undefined && file.sha256 !== sha256)) {
      cause = new IntegrityError({ message: `${file.name} did not arrive as it was sent. Send it again` })
    } else moved.push({ index, written: { owner, ...file, sha256 } })
    if (cause !== undefined) failure ??= new FileFailed({ file: one.file, cause })
  }
  return { moved, failure }
}

/** Sends all files: those that turn out to be larger with `alone`. */
export const uploadSmall = Effect.fnUntraced(function*(
  api: Api,
  files: ReadonlyArray<FileToSend>,
  report: Reporting,
  alone: (index: number, size: number) => Effect.Effect<void, FileFailed>
): Effect.fn.Return<void, FileFailed> {
  const packer = new Packer(files)
  const places = yield* Semaphore.make(BATCHES)

  const pack: Effect.Effect<Job | undefined, FileFailed> = Effect.gen(function*() {
    // Others have their turn between two batches.
    yield* Effect.promise(() => setImmediate())
    return yield* Effect.fromResult(packer.next())
  })

  /** A batch has a place of its own until it has been sent. */
  const nextJob: Effect.Effect<Job | undefined, FileFailed> = Effect.gen(function*() {
    yield* places.take(1)
    const job = yield* Effect.onError(pack, () => places.release(1))
    if (job?._tag !== "Batch") yield* places.release(1)
    return job
  })

  const send = Effect.fnUntraced(function*(batch: Batch): Effect.fn.Return<void, FileFailed> {
    const [first] = batch.entries
    if (first === undefined) return
    const { one: { file, mode } } = first
    const answer = yield* api.call("WriteMany", {
      owner: file.owner,
      mode,
      files: batch.entries.map(({ attributes, one, sha256, size }) => ({
        name: one.file.name,
        size,
        sha256,
        attributes,
        ...(one.expectedVersion === undefined ? {} : { expected_version: one.expectedVersion })
      }))
    }, { data: batch.buffer.subarray(0, batch.bytes) }).pipe(
      Effect.map((result) => settle(batch, result)),
      Effect.catchIf(isUnknownRequest, () => Effect.undefined),
      Effect.mapError((cause) => new FileFailed({ file, cause }))
    )
    if (answer === undefined) {
      return yield* Effect.forEach(batch.entries, ({ index, size }) => alone(index, size), {
        concurrency: AT_ONCE,
        discard: true
      })
    }
    report.moved(batch.bytes)
    yield* report.arrived(answer.moved)
    if (answer.failure !== undefined) return yield* answer.failure
  })

  yield* Stream.unfold(
    undefined,
    () => Effect.map(nextJob, (job) => job === undefined ? undefined : [job, undefined] as const)
  ).pipe(
    Stream.mapEffect(
      (job) =>
        job._tag === "Alone"
          ? alone(job.index, job.size)
          : Effect.ensuring(
            send(job),
            Effect.suspend(() => {
              packer.release(job)
              return places.release(1)
            })
          ),
      { concurrency: AT_ONCE, unordered: true }
    ),
    Stream.runDrain
  )
})
