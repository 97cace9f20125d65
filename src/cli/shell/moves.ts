/**
 * Moves many files between this machine and the server. The first failure ends the others and names its file,
 * unless somebody said to keep going. Every command that moves more than one file moves them through here.
 */
import { Context, Effect, Result } from "effect"
import type { LocalFileError } from "../../client/ClientError.ts"
import type { FileFailed } from "../../client/fileSetTypes.ts"
import { type FileInput, FipClient, type OnProgress } from "../../client/FipClient.ts"
import { type FileRef, formatFileRef } from "../../protocol/FileName.ts"
import type { Written } from "../../protocol/Request.ts"
import { type ExitStatus, failureOf, InnerFailed, TransferFailed } from "./Failure.ts"
import { formatCount } from "./format.ts"
import { Progress, withProgress } from "./Progress.ts"
import { note } from "./Report.ts"

/** A file to move: `local` is its path here. */
export interface Move {
  readonly file: FileRef
  readonly local: string
  readonly size: number
  /** Up: what becomes of the file on the server, `write` unless given, and the version that it must have for that. */
  readonly mode?: "create" | "write" | "replace" | undefined
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

/** `--keep-going`: what is wrong with one file is no reason to leave the others. */
export const KeepGoing = Context.Reference<boolean>("fip/cli/shell/KeepGoing", { defaultValue: () => false })

/** Says what is wrong with a file that is left out; the result is the status that the command then ends with. */
export const leaveOut = Effect.fnUntraced(function*(error: LocalFileError | TransferFailed) {
  const { message, status } = failureOf(error, "transfer")
  yield* note(message)
  return status
})

/** The failure of a command that has left files out, once it has done the rest. */
export const leftOut = (statuses: ReadonlyArray<ExitStatus>): Effect.Effect<void, InnerFailed> => {
  const [status] = statuses
  return status === undefined
    ? Effect.void
    : Effect.fail(new InnerFailed({ status, message: `${formatCount(statuses.length, "file")} left out: see above` }))
}

/** Whether the next file may fare better. */
const isOfOneFile = ({ cause }: FileFailed): boolean => cause._tag === "LocalFileError" || cause._tag === "Refusal"

/** Moves files; the results are in their order. */
export const moveAll = Effect.fnUntraced(function*(moves: ReadonlyArray<Move>, options: MoveOptions) {
  const client = yield* FipClient
  const keepsGoing = yield* KeepGoing
  const progress = new Progress(moves.reduce((sum, move) => sum + move.size, 0), moves.length)
  const { direction, hash, onMoved } = options
  const written = new Map<Move, Written>()
  const move = (some: ReadonlyArray<Move>) => {
    const set = {
      hash,
      // One sync for all the files of a folder, by whoever asked for them.
      syncFolders: false,
      onProgress: progress.forFile(),
      onFileProgress: (index: number, { bytes, total }: Parameters<OnProgress>[0]) => {
        const name = some[index]?.file.name
        if (name !== undefined) progress.active.set(name, total === undefined || total === 0 ? 0 : bytes / total)
      },
      onMoved: (files: ReadonlyArray<{ readonly index: number; readonly written: Written }>) =>
        Effect.forEach(files, (file) => {
          const one = some[file.index]
          progress.fileDone(one?.file.name)
          if (one === undefined) return Effect.void
          written.set(one, file.written)
          return onMoved === undefined ? Effect.void : onMoved(one, file.written)
        }, { discard: true })
    }
    return direction === "up"
      ? client.uploadMany(some.map((one) => ({ mode: "write" as const, ...one })), set)
      : client.downloadMany(some, set)
  }
  const failed = ({ cause, file }: FileFailed) =>
    new TransferFailed({
      file: typeof file === "string" ? file : formatFileRef(file),
      moved: progress.moved,
      goesOn: true,
      cause
    })
  const statuses: Array<ExitStatus> = []
  const moveWhatMoves = Effect.gen(function*() {
    let left = moves
    while (left.length > 0) {
      const result = yield* Effect.result(move(left))
      if (Result.isSuccess(result)) return
      const error = result.failure
      if (!keepsGoing || !isOfOneFile(error)) return yield* failed(error)
      statuses.push(yield* leaveOut(failed(error)))
      // The failure of one has ended those that were under way: they begin again.
      left = left.filter((one) => !written.has(one) && !isFile(one.file, error.file))
    }
  })
  yield* withProgress(progress, moveWhatMoves)
  yield* leftOut(statuses)
  return moves.flatMap((one): ReadonlyArray<Moved> => {
    const result = written.get(one)
    return result === undefined ? [] : [{ ...result, local: one.local }]
  })
})

const isFile = (a: FileRef, b: FileInput): boolean => typeof b !== "string" && a.name === b.name && a.owner === b.owner
