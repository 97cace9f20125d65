/** Recursive UPLOAD and DOWNLOAD: what is to move is settled first, then several files move at once. */
import { Effect, Semaphore, Stream } from "effect"
import path from "node:path"
import type { ClientError } from "../../../client/ClientError.ts"
import { FipClient } from "../../../client/FipClient.ts"
import type { FileFacts } from "../../../client/LocalFile.ts"
import { type FileRef, formatFileRef, parseFileName } from "../../../protocol/FileName.ts"
import { MAX_IN_FLIGHT } from "../../../protocol/Limits.ts"
import { refuse } from "../../../protocol/Refusal.ts"
import type { FileInfo, Written } from "../../../protocol/Request.ts"
import { TransferFailed, UsageError } from "../Failure.ts"
import { formatBytes, formatCount } from "../format.ts"
import { kindOf, lastPart, makeFolders, makeRoot, pathBelow, syncFolders, walk } from "../localTree.ts"
import { formatPlace, type Place } from "../places.ts"
import { Progress, withProgress } from "../Progress.ts"
import { JsonMode, note } from "../Report.ts"
import { localFacts, openTreeNotes } from "../treeNotes.ts"

/** Small files that move at once: as many as a connection has requests in flight. */
const AT_ONCE = MAX_IN_FLIGHT

/** A file takes one place for each so many bytes, and no more than a quarter of them: it has many parts in flight itself. */
const PLACE_BYTES = 256 * 1024

const placesOf = ({ size }: Move): number => Math.min(Math.max(1, Math.ceil(size / PLACE_BYTES)), AT_ONCE / 4)

interface Move {
  readonly file: FileRef
  readonly local: string
  readonly size: number
}

const total = (moves: ReadonlyArray<Move>): number => moves.reduce((sum, move) => sum + move.size, 0)

/** A file that has arrived: `local` is its path here. */
type Moved = Written & { readonly local: string }

/** Moves files, several at once; the first failure ends the others and names its file. */
const moveAll = Effect.fnUntraced(function*(
  moves: ReadonlyArray<Move>,
  move: (
    client: FipClient["Service"],
    move: Move,
    onProgress: ReturnType<Progress["forFile"]>
  ) => Effect.Effect<Written, ClientError>
) {
  const client = yield* FipClient
  const places = yield* Semaphore.make(AT_ONCE)
  const progress = new Progress(total(moves), moves.length)
  return yield* withProgress(
    progress,
    Effect.forEach(
      moves,
      (one) =>
        Effect.matchEffect(places.withPermits(placesOf(one))(move(client, one, progress.forFile())), {
          onFailure: (cause) =>
            Effect.fail(
              new TransferFailed({ file: formatFileRef(one.file), moved: progress.moved, goesOn: true, cause })
            ),
          onSuccess: (result) => {
            progress.fileDone()
            return Effect.succeed<Moved>({ ...result, local: one.local })
          }
        }),
      { concurrency: AT_ONCE }
    )
  )
})

/** What the command came to: files that were there already are among the others. */
const resultOf = (there: ReadonlyArray<Moved>, moved: ReadonlyArray<Moved>) => {
  const files = there.length === 0 ? moved : [...there, ...moved].sort((a, b) => a.local < b.local ? -1 : 1)
  return { files, totals: { files: files.length, bytes: files.reduce((sum, file) => sum + file.size, 0) } }
}

const asMoved = ({ name, owner, sha256, size, version }: FileInfo, local: string): Moved => ({
  owner,
  name,
  size,
  version,
  ...(sha256 === undefined ? {} : { sha256 }),
  local
})

const sayWhatIsThere = (there: ReadonlyArray<Moved>, all: number) =>
  there.length === 0
    ? Effect.void
    : note(`going on: ${there.length} of ${formatCount(all, "file")} moved before the interruption, unchanged since`)

const summary = (totals: { readonly files: number; readonly bytes: number }): string =>
  `${formatCount(totals.files, "file")} (${formatBytes(totals.bytes)})`

const filesUnder = Effect.fnUntraced(function*(place: Pick<Place, "owner" | "prefix">) {
  const client = yield* FipClient
  const files: Array<FileInfo> = []
  yield* Stream.runForEach(
    client.list({ owner: place.owner, prefix: place.prefix, recursive: true }),
    (entry) =>
      Effect.sync(() => {
        if (entry._tag === "File") files.push(entry.file)
      })
  )
  return files
})

export const uploadTree = Effect.fnUntraced(function*(local: string, place: Place | undefined) {
  if ((yield* kindOf(local)) === "file") {
    return yield* new UsageError({ message: `${local} is a file: leave out --recursive` })
  }
  const prefix = place?.prefix ?? `${path.basename(path.resolve(local))}/`
  const { files, skipped } = yield* walk(local)
  const client = yield* FipClient
  const notes = yield* openTreeNotes(client, ["upload", place?.owner ?? "", prefix, path.resolve(local)])
  const remote = new Map(
    notes.count === 0 ? [] : (yield* filesUnder({ owner: place?.owner, prefix })).map((file) => [file.name, file])
  )
  const moves: Array<Move> = []
  const facts = new Map<string, FileFacts>()
  const there: Array<Moved> = []
  for (const file of files) {
    const full = parseFileName(prefix + file.name)
    if (full._tag === "Failure") return yield* new UsageError({ message: `${file.path}: ${full.failure}` })
    const name = full.success
    const known = remote.get(name)
    if (known !== undefined && notes.has(known, file.facts)) {
      there.push(asMoved(known, file.path))
    } else {
      facts.set(name, file.facts)
      moves.push({ file: { owner: place?.owner, name }, local: file.path, size: file.facts.size })
    }
  }
  if (skipped > 0) yield* note(`left out ${skipped} under ${local}: links and devices are not sent`)
  const hash = (yield* JsonMode) ? true : undefined
  yield* sayWhatIsThere(there, files.length)
  const moved = yield* moveAll(moves, (client, move, onProgress) =>
    Effect.tap(
      client.upload(move.local, move.file, { mode: "write", hash, onProgress }),
      (written) =>
        Effect.sync(() => {
          const before = facts.get(move.file.name)
          if (before !== undefined) notes.add({ ...written, name: move.file.name }, before)
        })
    ))
  yield* notes.remove
  const result = resultOf(there, moved)
  const target = place === undefined ? prefix : formatPlace({ ...place, file: undefined })
  return { code: "1:amnd", message: `uploaded ${summary(result.totals)} from ${local} to ${target}`, result }
}, Effect.scoped)

export const downloadTree = Effect.fnUntraced(function*(place: Place, local: string | undefined) {
  const files = yield* filesUnder(place)
  const folder = formatPlace({ ...place, file: undefined })
  if (files.length === 0) return yield* refuse("2:nf", `there are no files under ${folder}`)
  const root = local ?? (lastPart(place.prefix) || (place.owner ?? "."))
  const client = yield* FipClient
  const notes = yield* openTreeNotes(client, ["download", place.owner ?? "", place.prefix, path.resolve(root)])
  const moves: Array<Move> = []
  const there: Array<Moved> = []
  for (const file of files) {
    // Only names under the folder that was asked for: a server can send any.
    const name = file.name.startsWith(place.prefix) ? file.name.slice(place.prefix.length) : ""
    const local = path.join(root, path.relative(root, yield* pathBelow(root, name)))
    if (notes.count > 0 && notes.has(file, yield* localFacts(local))) there.push(asMoved(file, local))
    else moves.push({ file: { owner: file.owner, name: file.name }, local, size: file.size })
  }
  yield* sayWhatIsThere(there, files.length)
  yield* makeRoot(root)
  const folders = makeFolders(root)
  for (const move of moves) {
    yield* folders(path.relative(root, path.dirname(move.local)).split(path.sep).filter((part) => part !== ""))
  }
  // One sync for all the files of a folder. What has taken its name stays also when the rest fails.
  const moved = yield* Effect.onExit(
    moveAll(moves, (client, move, onProgress) =>
      Effect.tap(
        client.download(move.file, move.local, { onProgress, syncFolder: false }),
        (written) =>
          Effect.map(localFacts(move.local), (facts) => {
            if (facts !== undefined) notes.add({ ...written, name: move.file.name }, facts)
          })
      )),
    () => Effect.ignore(syncFolders(root, moves.map((move) => path.dirname(move.local))))
  )
  yield* notes.remove
  const result = resultOf(there, moved)
  return { code: "1:read", message: `downloaded ${summary(result.totals)} from ${folder} to ${root}`, result }
}, Effect.scoped)
