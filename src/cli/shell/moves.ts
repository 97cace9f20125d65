/**
 * Moves many files between this machine and the server: several at once, the small ones side by side, and a large one
 * beside few others. The first failure ends the others and names its file. Every command that moves more than one file
 * moves them through here.
 */
import { Effect, Semaphore } from "effect"
import type { ClientError } from "../../client/ClientError.ts"
import { FipClient, type OnProgress } from "../../client/FipClient.ts"
import { type FileRef, formatFileRef } from "../../protocol/FileName.ts"
import { MAX_IN_FLIGHT } from "../../protocol/Limits.ts"
import type { UploadMode, Written } from "../../protocol/Request.ts"
import { TransferFailed } from "./Failure.ts"
import { Progress, withProgress } from "./Progress.ts"

/** Small files that move at once: as many as a connection has requests in flight. */
const AT_ONCE = MAX_IN_FLIGHT

/** A file takes one place for each so many bytes, and no more than a quarter of them: it has many parts in flight itself. */
const PLACE_BYTES = 256 * 1024

const placesOf = ({ size }: Move): number => Math.min(Math.max(1, Math.ceil(size / PLACE_BYTES)), AT_ONCE / 4)

/** A file to move: `local` is its path here. */
export interface Move {
  readonly file: FileRef
  readonly local: string
  readonly size: number
  /** Up: what becomes of the file on the server, `write` unless given, and the version that it must have for that. */
  readonly mode?: UploadMode | undefined
  readonly expectedVersion?: number | undefined
}

/** A file that has arrived. */
export type Moved = Written & { readonly local: string }

export interface MoveOptions {
  readonly direction: "up" | "down"
  /** Up: every result has a hash. */
  readonly hash?: boolean | undefined
  /** Called for each file when it has arrived. */
  readonly onMoved?: ((move: Move, written: Written) => Effect.Effect<void>) | undefined
}

const moveOne = (
  client: FipClient["Service"],
  { expectedVersion, file, local, mode = "write" }: Move,
  { direction, hash }: MoveOptions,
  onProgress: OnProgress
): Effect.Effect<Written, ClientError> =>
  direction === "up"
    ? client.upload(local, file, { mode, expectedVersion, hash, onProgress })
    // One sync for all the files of a folder, by whoever asked for them.
    : client.download(file, local, { onProgress, syncFolder: false })

/** Moves files; the results are in their order. */
export const moveAll = Effect.fnUntraced(function*(moves: ReadonlyArray<Move>, options: MoveOptions) {
  const client = yield* FipClient
  const places = yield* Semaphore.make(AT_ONCE)
  const progress = new Progress(moves.reduce((sum, move) => sum + move.size, 0), moves.length)
  const { onMoved = () => Effect.void } = options
  return yield* withProgress(
    progress,
    Effect.forEach(
      moves,
      (move) =>
        places.withPermits(placesOf(move))(moveOne(client, move, options, progress.forFile(move.file.name))).pipe(
          Effect.tap((written) => onMoved(move, written)),
          Effect.mapBoth({
            onFailure: (cause) =>
              new TransferFailed({ file: formatFileRef(move.file), moved: progress.moved, goesOn: true, cause }),
            onSuccess: (written): Moved => {
              progress.fileDone(move.file.name)
              return { ...written, local: move.local }
            }
          })
        ),
      { concurrency: AT_ONCE }
    )
  )
})
