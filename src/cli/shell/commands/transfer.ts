/** Commands that move content between this machine's disk and the server. */
import { Effect, Option } from "effect"
import { Argument, Flag } from "effect/cli"
import path from "node:path"
import type { ClientError } from "../../../client/ClientError.ts"
import type { UploadOptions } from "../../../client/FipClient.ts"
import { FipClient } from "../../../client/FipClient.ts"
import { type FileRef, formatFileRef, parseFileRef } from "../../../protocol/FileName.ts"
import type { FileInfo, Written } from "../../../protocol/Request.ts"
import { TransferFailed, UsageError } from "../Failure.ts"
import { filterFlags } from "../Filter.ts"
import { formatBytes } from "../format.ts"
import {
  connections,
  dryRun,
  ifVersion,
  localPath,
  parsedHere,
  position,
  recursive,
  target,
  targetOf,
  version
} from "../inputs.ts"
import { kindOf, lastPart, localFile, lookAt } from "../localTree.ts"
import { localTimeOf, makeOverwrite, overwriteFlag, timeOf } from "../overwrite.ts"
import { formatPlace, parsePlace, type Place } from "../places.ts"
import { Progress, withProgress } from "../Progress.ts"
import { JsonMode, type Outcome } from "../Report.ts"
import { shellCommand } from "../ShellCommand.ts"
import { isLocalPattern, isRemotePattern, sourceOf } from "../sources.ts"
import { ValueKind } from "../ValueKind.ts"
import { formatFolder, Workspace } from "../Workspace.ts"
import { expected, writtenCode } from "./files.ts"
import { STANDARD_INPUT, uploadStandardInput } from "./standardInput.ts"
import { downloadSeveral, downloadTree, uploadSeveral, uploadTree } from "./trees.ts"

const SENT = "`owner`, `name`, `size`, `version`, `sha256` (hexadecimal, of the whole file)"
const TREE =
  "; of several files, `files` (an array of these, each with `local`), `totals` (`files`, `bytes`; `kept` where `--overwrite` left some). With `--dry-run`, `dry_run` and what would move; `kept` of one that `--overwrite` left"

const writtenOf = ({ name, owner, sha256, size, version }: FileInfo): Written => ({
  owner,
  name,
  size,
  version,
  ...(sha256 === undefined ? {} : { sha256 })
})

const failed = (progress: Progress) => (cause: ClientError) =>
  new TransferFailed({ moved: progress.moved, goesOn: true, cause })

/** One local file to one file on the server. */
const send = Effect.fnUntraced(function*(local: string, file: FileRef, options: UploadOptions) {
  const client = yield* FipClient
  const progress = new Progress()
  return yield* withProgress(
    progress,
    client.upload(local, file, {
      ...options,
      hash: (yield* JsonMode) ? true : undefined,
      onProgress: progress.forFile()
    })
  ).pipe(Effect.mapError(failed(progress)))
})

const sent = (local: string, file: FileRef, result: Written) => ({
  code: writtenCode(result),
  message: `uploaded ${local} to ${formatFileRef(file)} (${formatBytes(result.size)}, version ${result.version})`,
  result
})

/** Where an upload of one file goes: the name given, or the local name in the folder given. */
const destination = Effect.fnUntraced(function*(local: string, place: Place | undefined) {
  if (place?.file !== undefined) return place.file
  const name = path.basename(path.resolve(local))
  const folder = formatFolder(place ?? (yield* Workspace).folder)
  const text = folder === "/" ? name : `${folder}${name}`
  return yield* Effect.mapError(
    Effect.fromResult(parseFileRef(text)),
    (fault) => new UsageError({ message: `"${text}": ${fault}` })
  )
})

/** The folder on the server that several files go into. */
const folderOf = Effect.fnUntraced(function*(place: Place | undefined, recursive: boolean) {
  if (place === undefined) return (yield* Workspace).folder
  if (place.file !== undefined && !recursive) {
    const message = `several files go into a folder: write ${formatPlace(place)}/`
    return yield* new UsageError({ message })
  }
  return { owner: place.owner, prefix: place.prefix }
})

const placeOf = (text: string) =>
  Effect.mapError(parsedHere(text, parsePlace), ({ message }) => new UsageError({ message }))

const treeFlags = {
  ...filterFlags,
  overwrite: overwriteFlag,
  dryRun
}

/** What is said of a file that stays as it is, or would be moved. */
const notMoved = (
  { kept, local, place, size }: {
    readonly kept: boolean
    readonly local: string
    readonly place: string
    readonly size: number
  },
  doing: string,
  result: object
): Outcome => ({
  code: "local:ok",
  message: kept ? `kept what is there: ${place}` : `would ${doing} ${local} to ${place} (${formatBytes(size)})`,
  result: kept ? { ...result, kept } : { ...result, dry_run: true }
})

const upload = shellCommand({
  name: "UPLOAD",
  summary: "Send local files, or with --recursive folders",
  examples: [
    { command: "UPLOAD report.pdf" },
    { command: "UPLOAD report.pdf docs/2026.pdf" },
    { command: "UPLOAD *.md *.json docs/", description: "into docs/; a name in quotes is no pattern" },
    { command: "UPLOAD photos --recursive", description: "to photos/…" },
    { command: "UPLOAD photos backup/photos --recursive --exclude *.raw --overwrite older" }
  ],
  json: SENT + TREE,
  kind: "transfer",
  input: {
    local: localPath("the file or folder to send, or a pattern: *.txt, docs/**/*.md"),
    more: Argument.String("file").pipe(
      Argument.withMetavar(ValueKind.FILE),
      Argument.withDescription(
        "the last word is its name on the server, or a folder that ends in /; words before it are more files to send"
      ),
      Argument.variadic()
    ),
    recursive: recursive("folders and every file under them"),
    connections,
    ifVersion,
    ...treeFlags
  },
  run: Effect.fnUntraced(function*({ connections, ifVersion, local, more, ...options }) {
    const { dryRun, overwrite, recursive } = options
    const target = more.at(-1)
    const place = target === undefined ? undefined : yield* placeOf(target)
    if (local === STANDARD_INPUT && more.length < 2) {
      if (dryRun || overwrite !== "always") {
        return yield* new UsageError({
          message: "--dry-run and --overwrite are for files: standard input is read once"
        })
      }
      return yield* uploadStandardInput(place, expected(ifVersion))
    }
    const first = yield* sourceOf(local)
    const sources = [first, ...yield* Effect.forEach(more.slice(0, -1), sourceOf)]
    const several = sources.length > 1 || (yield* isLocalPattern(first))
    if ((several || recursive) && Option.isSome(ifVersion)) {
      return yield* new UsageError({ message: "--if-version is for one file" })
    }
    if (several) return yield* uploadSeveral(sources, yield* folderOf(place, recursive), options)
    if (recursive) return yield* uploadTree(local, place, options)
    if ((yield* kindOf(local)) === "folder") {
      return yield* new UsageError({ message: `${local} is a folder: add --recursive` })
    }
    const file = yield* destination(local, place)
    const write: UploadOptions = {
      mode: "write",
      connections: Option.getOrUndefined(connections),
      ...expected(ifVersion)
    }
    if (overwrite === "always" && !dryRun) return sent(local, file, yield* send(local, file, write))
    const client = yield* FipClient
    const here = yield* lookAt(local)
    const there = yield* client.queryFile(file).pipe(
      Effect.map((found): FileInfo | undefined => found),
      Effect.catchIf((error) => error._tag === "Refusal" && error.code === "2:nf", () => Effect.undefined)
    )
    const replaces = yield* makeOverwrite(overwrite)
    const label = formatFileRef(file)
    const kept = there !== undefined &&
      !(yield* replaces({ target: label, sourceTime: localTimeOf(here), targetTime: timeOf(there) }))
    const { size } = here.facts
    if (kept) return notMoved({ kept, local, place: label, size }, "upload", writtenOf(there))
    if (dryRun) return notMoved({ kept, local, place: label, size }, "upload", { name: file.name, size, local })
    // Only what was looked at is replaced.
    const seen: UploadOptions = there === undefined
      ? { mode: "create" }
      : { expectedVersion: write.expectedVersion ?? there.version }
    return sent(local, file, yield* send(local, file, { ...write, ...seen }))
  })
})

/** The path of a download of one file: the one given, or the remote name in the folder given. */
const localTarget = Effect.fnUntraced(function*(file: FileRef, local: string | undefined) {
  const name = lastPart(file.name)
  if (local === undefined) return name
  return local.endsWith("/") || local.endsWith(path.sep) || (yield* kindOf(local)) === "folder"
    ? path.join(local, name)
    : local
})

/** The folder of this machine that several files go into. */
const localFolder = Effect.fnUntraced(function*(local: string | undefined, recursive: boolean) {
  if (local === undefined) return "."
  if (local.endsWith("/") || local.endsWith(path.sep) || recursive || (yield* kindOf(local)) === "folder") return local
  return yield* new UsageError({ message: `several files go into a folder: write ${local}/` })
})

const download = shellCommand({
  name: "DOWNLOAD",
  summary: "Fetch files to this machine, or with --recursive folders; files of their names are replaced",
  examples: [
    { command: "DOWNLOAD docs/report.pdf" },
    { command: "DOWNLOAD ~alice/report.pdf alice.pdf" },
    { command: "DOWNLOAD docs/*.pdf papers/", description: "a name in quotes is no pattern" },
    { command: "DOWNLOAD photos/ backup --recursive --overwrite never", description: "to backup/…" }
  ],
  json: `${SENT}, \`local\` (the path it was written to)${TREE}`,
  kind: "transfer",
  input: {
    place: Argument.String("file").pipe(
      Argument.filter((text) => text !== "", () => "a file"),
      Argument.withMetavar(ValueKind.FILE),
      Argument.withDescription("the file or folder to fetch, or a pattern: docs/*.pdf, ~alice/**/*.md")
    ),
    more: Argument.String("local").pipe(
      Argument.withMetavar(ValueKind.LOCAL),
      Argument.withDescription(
        "the last word is where to write it, or a folder to write it in; words before it are more files to fetch"
      ),
      Argument.variadic()
    ),
    recursive: recursive("folders and every file under them"),
    connections,
    version: version.pipe(Flag.optional),
    ...treeFlags
  },
  run: Effect.fnUntraced(function*({ connections, more, place: text, version, ...options }) {
    const { dryRun, overwrite, recursive } = options
    const local = more.at(-1)
    if (local === "") return yield* new UsageError({ message: "<local> must be a path on this machine, not \"\"" })
    const first = yield* sourceOf(text)
    const sources = [first, ...yield* Effect.forEach(more.slice(0, -1), sourceOf)]
    const several = sources.length > 1 || (yield* isRemotePattern(first))
    if ((several || recursive) && Option.isSome(version)) {
      return yield* new UsageError({ message: "--version is for one file" })
    }
    if (several) return yield* downloadSeveral(sources, yield* localFolder(local, recursive), options)
    const place = yield* placeOf(text)
    if (recursive) return yield* downloadTree(place, local, options)
    if (place.file === undefined) {
      return yield* new UsageError({ message: `${formatPlace(place)} is a folder: add --recursive` })
    }
    const client = yield* FipClient
    const { file } = place
    const destination = yield* localTarget(file, local)
    if (overwrite !== "always" || dryRun) {
      const there = yield* client.queryFile(file)
      const here = yield* localFile(destination)
      const replaces = yield* makeOverwrite(overwrite)
      const kept = here !== undefined &&
        !(yield* replaces({ target: destination, sourceTime: timeOf(there), targetTime: localTimeOf(here) }))
      const moving = { kept, local: formatFileRef(file), place: destination, size: there.size }
      if (kept || dryRun) return notMoved(moving, "download", { ...writtenOf(there), local: destination })
    }
    const progress = new Progress()
    const result = yield* withProgress(
      progress,
      client.download(file, destination, {
        version: Option.getOrUndefined(version),
        connections: Option.getOrUndefined(connections),
        onProgress: progress.forFile()
      })
    ).pipe(Effect.mapError(failed(progress)))
    return {
      code: "1:read",
      message: `downloaded ${formatFileRef(file)} to ${destination} (${formatBytes(result.size)})`,
      result: { ...result, local: destination }
    }
  })
})

const replaceFrom = shellCommand({
  name: "REPLACEFROM",
  summary: "Replace the content of a file that is there by that of a local file",
  examples: [{ command: "REPLACEFROM report-final.pdf docs/report.pdf" }],
  json: SENT,
  kind: "transfer",
  input: { local: localPath("the local file"), ...target, ifVersion },
  run: Effect.fnUntraced(function*(input) {
    const file = yield* targetOf(input)
    return sent(
      input.local,
      file,
      yield* send(input.local, file, { mode: "replace", ...expected(input.ifVersion) })
    )
  })
})

const patchFrom = shellCommand({
  name: "PATCHFROM",
  summary: "Overwrite bytes from a position on by the content of a local file",
  examples: [{ command: "PATCHFROM block.bin disk.img --position 4096" }],
  json: SENT,
  kind: "transfer",
  input: { local: localPath("the local file"), ...target, position, ifVersion },
  run: Effect.fnUntraced(function*(input) {
    const file = yield* targetOf(input)
    const options: UploadOptions = { mode: "patch", position: input.position, ...expected(input.ifVersion) }
    return sent(input.local, file, yield* send(input.local, file, options))
  })
})

const appendFrom = shellCommand({
  name: "APPENDFROM",
  summary: "Add the content of a local file to the end of a file",
  examples: [{ command: "APPENDFROM today.log logs/all.log" }],
  json: SENT,
  kind: "transfer",
  input: { local: localPath("the local file"), ...target, ifVersion },
  run: Effect.fnUntraced(function*(input) {
    const file = yield* targetOf(input)
    return sent(
      input.local,
      file,
      yield* send(input.local, file, { mode: "append", ...expected(input.ifVersion) })
    )
  })
})

export const transferCommands = [upload, download, replaceFrom, patchFrom, appendFrom] as const
