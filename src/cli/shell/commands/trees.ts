/** UPLOAD and DOWNLOAD of several files: what is to move is settled first, then several files move at once. */
import { Effect } from "effect"
import path from "node:path"
import type { LocalFileError } from "../../../client/ClientError.ts"
import { FipClient } from "../../../client/FipClient.ts"
import type { FileFacts } from "../../../client/LocalFile.ts"
import type { FileName } from "../../../protocol/FileName.ts"
import { formatFileRef, parseFileName } from "../../../protocol/FileName.ts"
import { refuse } from "../../../protocol/Refusal.ts"
import type { FileInfo } from "../../../protocol/Request.ts"
import { type ExitStatus, UsageError } from "../Failure.ts"
import { makeFilter } from "../Filter.ts"
import { formatBytes, formatCount, formatTable } from "../format.ts"
import {
  kindOf,
  lastPart,
  type LocalFile,
  localFile,
  makeFolders,
  makeRoot,
  pathBelow,
  syncFolders,
  walk
} from "../localTree.ts"
import { KeepGoing, leaveOut, leftOut, type Move, moveAll, type Moved } from "../moves.ts"
import { localTimeOf, makeOverwrite, type Overwrite, timeOf } from "../overwrite.ts"
import { formatPlace, type Place } from "../places.ts"
import { filesUnder } from "../remoteTree.ts"
import { JsonMode, note, type Outcome } from "../Report.ts"
import { localSources, type Named, remoteSources, type Source } from "../sources.ts"
import { localFacts, openTreeNotes } from "../treeNotes.ts"
import { formatFolder, type RemoteFolder, Workspace } from "../Workspace.ts"

export interface TransferOptions {
  readonly recursive: boolean
  readonly exclude: ReadonlyArray<string>
  readonly include: ReadonlyArray<string>
  readonly overwrite: Overwrite
  readonly dryRun: boolean
}

/** Files of the server that are asked about one by one; of more, the folder is listed. */
const ASKED_ABOUT = 32

/** What the command came to: files that were there already are among the others. */
const resultOf = (there: ReadonlyArray<Moved>, moved: ReadonlyArray<Moved>, kept: number) => {
  const files = there.length === 0 ? moved : [...there, ...moved].sort((a, b) => a.local < b.local ? -1 : 1)
  const bytes = files.reduce((sum, file) => sum + file.size, 0)
  return { files, totals: { files: files.length, bytes, ...(kept === 0 ? {} : { kept }) } }
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

const summary = (
  totals: { readonly files: number; readonly bytes: number; readonly kept?: number },
  where: string
): string =>
  `${formatCount(totals.files, "file")} (${formatBytes(totals.bytes)}) ${where}${
    totals.kept === undefined ? "" : `, kept ${totals.kept} that were there`
  }`

/** What a transfer would do. */
const wouldMove = (
  moves: ReadonlyArray<Move>,
  kept: number,
  direction: "up" | "down",
  where: string
): Outcome => {
  const bytes = moves.reduce((sum, { size }) => sum + size, 0)
  const totals = { files: moves.length, bytes, ...(kept === 0 ? {} : { kept }) }
  const message = `would ${direction === "up" ? "upload" : "download"} ${summary(totals, where)}`
  const rows = moves.map(({ file, local, size }) => {
    const [from, to] = direction === "up" ? [local, formatFileRef(file)] : [formatFileRef(file), local]
    return [formatBytes(size), from, "to", to]
  })
  const columns = [{ title: "", right: true }, { title: "" }, { title: "" }, { title: "" }]
  return {
    code: "local:ok",
    message,
    result: {
      dry_run: true,
      files: moves.map(({ file, local, size }) => ({
        ...(file.owner === undefined ? {} : { owner: file.owner }),
        name: file.name,
        size,
        local
      })),
      totals
    },
    text: [...(rows.length === 0 ? [] : [formatTable(columns, rows)]), message].join("\n")
  }
}

/** What the server has of these names. */
const remoteOf = Effect.fnUntraced(function*(
  { owner, prefix }: RemoteFolder,
  names: ReadonlyArray<FileName>,
  isTree: boolean
) {
  const client = yield* FipClient
  const files = isTree || names.length > ASKED_ABOUT
    ? yield* filesUnder({ owner, prefix })
    : yield* Effect.forEach(names, (name) =>
      client.queryFile({ owner, name }).pipe(
        Effect.map((file): FileInfo | undefined => file),
        Effect.catchIf((error) => error._tag === "Refusal" && error.code === "2:nf", () => Effect.undefined)
      ), { concurrency: 8 })
  return new Map(files.flatMap((file) => file === undefined ? [] : [[file.name, file]]))
})

/** Sends files into a folder; `key` tells this transfer from others, so that it can be taken up. */
const sendAll = Effect.fnUntraced(function*(
  files: ReadonlyArray<Named<LocalFile>>,
  target: RemoteFolder,
  key: ReadonlyArray<string>,
  from: string,
  { dryRun, overwrite }: TransferOptions
) {
  const { owner, prefix } = target
  const client = yield* FipClient
  const notes = yield* openTreeNotes(client, ["upload", owner ?? "", prefix, ...key])
  const named: Array<readonly [FileName, LocalFile]> = []
  for (const { file, name } of files) {
    const full = parseFileName(prefix + name)
    if (full._tag === "Failure") return yield* new UsageError({ message: `${file.path}: ${full.failure}` })
    named.push([full.success, file])
  }
  const isLooked = notes.count > 0 || overwrite !== "always"
  const remote = isLooked
    ? yield* remoteOf(target, named.map(([name]) => name), notes.count > 0)
    : new Map<FileName, FileInfo>()
  const replaces = yield* makeOverwrite(overwrite)
  const moves: Array<Move> = []
  const facts = new Map<string, FileFacts>()
  const there: Array<Moved> = []
  let kept = 0
  for (const [name, file] of named) {
    const known = remote.get(name)
    const conflict = known === undefined
      ? undefined
      : { target: formatFileRef({ owner, name }), sourceTime: localTimeOf(file), targetTime: timeOf(known) }
    if (known !== undefined && notes.has(known, file.facts)) {
      there.push(asMoved(known, file.path))
    } else if (conflict !== undefined && !(yield* replaces(conflict))) {
      kept++
    } else {
      facts.set(name, file.facts)
      moves.push({
        file: { owner, name },
        local: file.path,
        size: file.facts.size,
        // Only what was looked at is replaced.
        ...(overwrite === "always" ? {} : known === undefined ? { mode: "create" } : { expectedVersion: known.version })
      })
    }
  }
  const where = `from ${from} to ${formatFolder(target)}`
  if (dryRun) return wouldMove(moves, kept, "up", where)
  yield* sayWhatIsThere(there, files.length)
  const moved = yield* moveAll(moves, {
    direction: "up",
    hash: (yield* JsonMode) ? true : undefined,
    onMoved: ({ file }, written) =>
      Effect.sync(() => {
        const before = facts.get(file.name)
        if (before !== undefined) notes.add({ ...written, name: file.name }, before)
      })
  })
  yield* notes.remove
  const result = resultOf(there, moved, kept)
  const outcome: Outcome = { code: "1:amnd", message: `uploaded ${summary(result.totals, where)}`, result }
  return outcome
}, Effect.scoped)

const sayWhatIsLeftOut = (skipped: number, where: string) =>
  skipped === 0 ? Effect.void : note(`left out ${skipped} under ${where}: links and devices are not sent`)

/** Says what could not be read, does the rest, and fails all the same. */
const withFaults = Effect.fnUntraced(function*<A, E, R>(
  faults: ReadonlyArray<LocalFileError>,
  transfer: Effect.Effect<A, E, R>
) {
  const statuses = yield* Effect.forEach(faults, leaveOut)
  const done = yield* transfer
  yield* leftOut(statuses)
  return done
})

/** What is in one folder goes under the place. */
export const uploadTree = Effect.fnUntraced(function*(
  local: string,
  place: Place | undefined,
  options: TransferOptions
) {
  if ((yield* kindOf(local)) === "file") {
    return yield* new UsageError({ message: `${local} is a file: leave out --recursive` })
  }
  const { folder } = yield* Workspace
  const owner = place === undefined ? folder.owner : place.owner
  const prefix = place?.prefix ?? `${folder.prefix}${path.basename(path.resolve(local))}/`
  const { faults, files, skipped } = yield* walk(local, makeFilter(options), yield* KeepGoing)
  yield* sayWhatIsLeftOut(skipped, local)
  const named = files.map((file) => ({ name: file.name, file }))
  return yield* withFaults(faults, sendAll(named, { owner, prefix }, [path.resolve(local)], local, options))
})

/** What the words name goes into the folder. */
export const uploadSeveral = Effect.fnUntraced(function*(
  sources: ReadonlyArray<Source>,
  target: RemoteFolder,
  options: TransferOptions
) {
  const { faults, files, skipped } = yield* localSources(sources, makeFilter(options), options.recursive)
  const texts = sources.map(({ text }) => text)
  yield* sayWhatIsLeftOut(skipped, texts.join(", "))
  return yield* withFaults(
    faults,
    sendAll(files, target, ["several", process.cwd(), ...texts], texts.join(", "), options)
  )
})

/** Fetches files into a folder of this machine. */
const fetchAll = Effect.fnUntraced(function*(
  files: ReadonlyArray<Named<FileInfo>>,
  root: string,
  key: ReadonlyArray<string>,
  from: string,
  { dryRun, overwrite }: TransferOptions
) {
  const client = yield* FipClient
  const notes = yield* openTreeNotes(client, ["download", ...key, path.resolve(root)])
  const replaces = yield* makeOverwrite(overwrite)
  const moves: Array<Move> = []
  const there: Array<Moved> = []
  let kept = 0
  for (const { file, name } of files) {
    // Only names below the target: a server can send any.
    const local = path.join(root, path.relative(root, yield* pathBelow(root, name)))
    const here = overwrite === "always" ? undefined : yield* localFile(local)
    const conflict = here === undefined
      ? undefined
      : { target: local, sourceTime: timeOf(file), targetTime: localTimeOf(here) }
    if (notes.count > 0 && notes.has(file, yield* localFacts(local))) there.push(asMoved(file, local))
    else if (conflict !== undefined && !(yield* replaces(conflict))) kept++
    else moves.push({ file: { owner: file.owner, name: file.name }, local, size: file.size })
  }
  const where = `from ${from} to ${root}`
  if (dryRun) return wouldMove(moves, kept, "down", where)
  yield* sayWhatIsThere(there, files.length)
  yield* makeRoot(root)
  const folders = makeFolders(root)
  const keepsGoing = yield* KeepGoing
  const statuses: Array<ExitStatus> = []
  const possible: Array<Move> = []
  for (const move of moves) {
    const parts = path.relative(root, path.dirname(move.local)).split(path.sep).filter((part) => part !== "")
    yield* folders(parts).pipe(
      Effect.tap(() => Effect.sync(() => possible.push(move))),
      Effect.catch((fault) =>
        keepsGoing
          ? Effect.map(leaveOut(fault), (status) => {
            statuses.push(status)
          })
          : Effect.fail(fault)
      )
    )
  }
  // One sync for all the files of a folder. What has taken its name stays also when the rest fails.
  const moved = yield* Effect.onExit(
    moveAll(possible, {
      direction: "down",
      onMoved: ({ file, local }, written) =>
        Effect.map(localFacts(local), (facts) => {
          if (facts !== undefined) notes.add({ ...written, name: file.name }, facts)
        })
    }),
    () => Effect.ignore(syncFolders(root, possible.map((move) => path.dirname(move.local))))
  )
  yield* leftOut(statuses)
  yield* notes.remove
  const result = resultOf(there, moved, kept)
  const outcome: Outcome = { code: "1:read", message: `downloaded ${summary(result.totals, where)}`, result }
  return outcome
}, Effect.scoped)

/** What is under the place goes into one folder. */
export const downloadTree = Effect.fnUntraced(function*(
  place: Place,
  local: string | undefined,
  options: TransferOptions
) {
  const { keeps } = makeFilter(options)
  const files = (yield* filesUnder(place)).flatMap((file) => {
    const name = file.name.startsWith(place.prefix) ? file.name.slice(place.prefix.length) : ""
    return keeps(name) ? [{ name, file }] : []
  })
  const folder = formatPlace({ ...place, file: undefined })
  if (files.length === 0) return yield* refuse("2:nf", `there are no files under ${folder}`)
  const root = local ?? (lastPart(place.prefix) || (place.owner ?? "."))
  return yield* fetchAll(files, root, [place.owner ?? "", place.prefix], folder, options)
})

/** What the words name goes into the folder. */
export const downloadSeveral = Effect.fnUntraced(function*(
  sources: ReadonlyArray<Source>,
  root: string,
  options: TransferOptions
) {
  const files = yield* remoteSources(sources, makeFilter(options), options.recursive)
  const texts = sources.map(({ text }) => text)
  const { folder } = yield* Workspace
  return yield* fetchAll(files, root, ["several", formatFolder(folder), ...texts], texts.join(", "), options)
})
