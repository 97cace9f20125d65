/**
 * Moves many files between this machine and the server. The first failure ends the others and names its file. Every
 * command that moves more than one file moves them through here.
 */
import { Effect } from "effect"
import { FipClient, type OnProgress } from "../../client/FipClient.ts"
import { type FileRef, formatFileRef } from "../../protocol/FileName.ts"
import type { Written } from "../../protocol/Request.ts"
import { TransferFailed } from "./Failure.ts"
import { Progress, withProgress } from "./Progress.ts"

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

/** Moves files; the results are in their order. */
export const moveAll = Effect.fnUntraced(function*(moves: ReadonlyArray<Move>, options: MoveOptions) {
  const client = yield* FipClient
  const progress = new Progress(moves.reduce((sum, move) => sum + move.size, 0), moves.length)
  const { direction, hash, onMoved } = options
  const set = {
    hash,
    // One sync for all the files of a folder, by whoever asked for them.
    syncFolders: false,
    onProgress: progress.forFile(),
    onFileProgress: (index: number, { bytes, total }: Parameters<OnProgress>[0]) => {
      const name = moves[index]?.file.name
      if (name !== undefined) progress.active.set(name, total === undefined || total === 0 ? 0 : bytes / total)
    },
    onMoved: (files: ReadonlyArray<{ readonly index: number; readonly written: Written }>) =>
      Effect.forEach(files, ({ index, written }) => {
        const move = moves[index]
        progress.fileDone(move?.file.name)
        return move === undefined || onMoved === undefined ? Effect.void : onMoved(move, written)
      }, { discard: true })
  }
  const moving = direction === "up"
    ? client.uploadMany(moves.map((move) => ({ mode: "write" as const, ...move })), set)
    : client.downloadMany(moves, set)
  const written = yield* withProgress(progress, moving).pipe(
    Effect.mapError(({ cause, file }) =>
      new TransferFailed({ file: formatFileRef(file), moved: progress.moved, goesOn: true, cause })
    )
  )
  return moves.flatMap(({ local }, index): ReadonlyArray<Moved> => {
    const one = written[index]
    return one === undefined ? [] : [{ ...one, local }]
  })
})
