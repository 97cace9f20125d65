/** Recursive UPLOAD and DOWNLOAD: what is to move is settled first, then several files move at once. */
import { Effect } from "effect"
import path from "node:path"
import { FipClient } from "../../../client/FipClient.ts"
import type { FileFacts } from "../../../client/LocalFile.ts"
import { parseFileName } from "../../../protocol/FileName.ts"
import { refuse } from "../../../protocol/Refusal.ts"
import type { FileInfo } from "../../../protocol/Request.ts"
import { UsageError } from "../Failure.ts"
import { formatBytes, formatCount } from "../format.ts"
import { kindOf, lastPart, makeFolders, makeRoot, pathBelow, syncFolders, walk } from "../localTree.ts"
import { type Move, moveAll, type Moved } from "../moves.ts"
import { formatPlace, type Place } from "../places.ts"
import { filesUnder } from "../remoteTree.ts"
import { JsonMode, note } from "../Report.ts"
import { localFacts, openTreeNotes } from "../treeNotes.ts"
import { formatFolder, Workspace } from "../Workspace.ts"

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

export const uploadTree = Effect.fnUntraced(function*(local: string, place: Place | undefined) {
  if ((yield* kindOf(local)) === "file") {
    return yield* new UsageError({ message: `${local} is a file: leave out --recursive` })
  }
  const { folder } = yield* Workspace
  const owner = place === undefined ? folder.owner : place.owner
  const prefix = place?.prefix ?? `${folder.prefix}${path.basename(path.resolve(local))}/`
  const { files, skipped } = yield* walk(local)
  const client = yield* FipClient
  const notes = yield* openTreeNotes(client, ["upload", owner ?? "", prefix, path.resolve(local)])
  const remote = new Map(
    notes.count === 0 ? [] : (yield* filesUnder({ owner, prefix })).map((file) => [file.name, file])
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
      moves.push({ file: { owner, name }, local: file.path, size: file.facts.size })
    }
  }
  if (skipped > 0) yield* note(`left out ${skipped} under ${local}: links and devices are not sent`)
  const hash = (yield* JsonMode) ? true : undefined
  yield* sayWhatIsThere(there, files.length)
  const moved = yield* moveAll(moves, {
    direction: "up",
    hash,
    onMoved: ({ file }, written) =>
      Effect.sync(() => {
        const before = facts.get(file.name)
        if (before !== undefined) notes.add({ ...written, name: file.name }, before)
      })
  })
  yield* notes.remove
  const result = resultOf(there, moved)
  const target = formatFolder({ owner, prefix })
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
    moveAll(moves, {
      direction: "down",
      onMoved: ({ file, local }, written) =>
        Effect.map(localFacts(local), (facts) => {
          if (facts !== undefined) notes.add({ ...written, name: file.name }, facts)
        })
    }),
    () => Effect.ignore(syncFolders(root, moves.map((move) => path.dirname(move.local))))
  )
  yield* notes.remove
  const result = resultOf(there, moved)
  return { code: "1:read", message: `downloaded ${summary(result.totals)} from ${folder} to ${root}`, result }
}, Effect.scoped)
