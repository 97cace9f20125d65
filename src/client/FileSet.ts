/**
 * Many files at once, between this machine and the server: small ones in batches of which several are under way, larger
 * ones beside them, each by itself (Transfer.ts, Download.ts). The first failure ends the others and names its file; what
 * has arrived by then stays.
 *
 * Memory is bounded by the batches under way, whatever the number of files.
 */
import { Effect, Semaphore } from "effect"
import { MAX_IN_FLIGHT } from "../protocol/Limits.ts"
import type { Written } from "../protocol/Request.ts"
import { download } from "./Download.ts"
import { FileFailed, type FileSetOptions, type FileToFetch, type FileToSend, type Reporting } from "./fileSetTypes.ts"
import type { ClientParts } from "./methods/parts.ts"
import type { OnProgress } from "./methods/transfers.ts"
import { downloadSmall } from "./SmallDownloads.ts"
import { uploadSmall } from "./SmallUploads.ts"
import { upload } from "./Transfer.ts"

/** A file takes one place for each so many bytes, and no more than a quarter of them: it has many parts in flight itself. */
const PLACE_BYTES = 256 * 1024
const PLACES = MAX_IN_FLIGHT

const placesOf = (size: number): number => Math.min(Math.max(1, Math.ceil(size / PLACE_BYTES)), PLACES / 4)

const reporting = (results: Array<Written>, { onMoved, onProgress }: FileSetOptions): Reporting => {
  let bytes = 0
  return {
    moved: (more) => {
      bytes += more
      onProgress?.({ bytes, total: undefined })
    },
    arrived: (files) => {
      for (const { index, written } of files) results[index] = written
      return onMoved?.(files) ?? Effect.void
    }
  }
}

/** For one file among others: what is new since the last call. */
const each = ({ moved }: Reporting, { onFileProgress }: FileSetOptions, index: number): OnProgress => {
  let seen = 0
  return (progress) => {
    moved(progress.bytes - seen)
    seen = progress.bytes
    onFileProgress?.(index, progress)
  }
}

/** Sends files; the results are in their order. */
export const uploadMany = Effect.fnUntraced(function*(
  services: ClientParts,
  files: ReadonlyArray<FileToSend>,
  options: FileSetOptions = {}
): Effect.fn.Return<ReadonlyArray<Written>, FileFailed> {
  const results: Array<Written> = []
  const report = reporting(results, options)
  const places = yield* Semaphore.make(PLACES)

  const alone = (index: number, size: number): Effect.Effect<void, FileFailed> => {
    const one = files[index]
    if (one === undefined) return Effect.void
    const { expectedVersion, file, local, mode } = one
    return places.withPermits(placesOf(size))(
      upload(services, local, file, {
        mode,
        expectedVersion,
        hash: options.hash,
        onProgress: each(report, options, index)
      })
    ).pipe(
      Effect.mapError((cause) => new FileFailed({ file, cause })),
      Effect.flatMap((written) => report.arrived([{ index, written }]))
    )
  }
  yield* uploadSmall(services.api, files, report, alone)
  return results
})

/** Fetches files; the results are in their order. The folders are there. */
export const downloadMany = Effect.fnUntraced(function*(
  services: ClientParts,
  files: ReadonlyArray<FileToFetch>,
  options: FileSetOptions = {}
): Effect.fn.Return<ReadonlyArray<Written>, FileFailed> {
  const results: Array<Written> = []
  const report = reporting(results, options)
  const places = yield* Semaphore.make(PLACES)

  const alone = (index: number, size: number): Effect.Effect<void, FileFailed> => {
    const one = files[index]
    if (one === undefined) return Effect.void
    const { file, local } = one
    const { syncFolders: syncFolder } = options
    return places.withPermits(placesOf(size))(
      download(services, file, local, { syncFolder, onProgress: each(report, options, index) })
    ).pipe(
      Effect.mapError((cause) => new FileFailed({ file, cause })),
      Effect.flatMap((written) => report.arrived([{ index, written }]))
    )
  }
  yield* downloadSmall(services, files, report, { syncFolders: options.syncFolders ?? true }, alone)
  return results
})
