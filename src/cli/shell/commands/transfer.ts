/** Commands that move content between this machine's disk and the server. */
import { Effect, Option } from "effect"
import { Argument, Flag } from "effect/cli"
import path from "node:path"
import type { ClientError } from "../../../client/ClientError.ts"
import type { UploadOptions } from "../../../client/FipClient.ts"
import { FipClient } from "../../../client/FipClient.ts"
import { type FileRef, formatFileRef, parseFileRef } from "../../../protocol/FileName.ts"
import type { Written } from "../../../protocol/Request.ts"
import { TransferFailed, UsageError } from "../Failure.ts"
import { formatBytes } from "../format.ts"
import { connections, ifVersion, localPath, position, recursive, target, targetOf, version } from "../inputs.ts"
import { kindOf, lastPart } from "../localTree.ts"
import { formatPlace, type Place, placeArgument } from "../places.ts"
import { Progress, withProgress } from "../Progress.ts"
import { JsonMode } from "../Report.ts"
import { shellCommand } from "../ShellCommand.ts"
import { formatFolder, Workspace } from "../Workspace.ts"
import { expected, writtenCode } from "./files.ts"
import { STANDARD_INPUT, uploadStandardInput } from "./standardInput.ts"
import { downloadTree, uploadTree } from "./trees.ts"

const SENT = "`owner`, `name`, `size`, `version`, `sha256` (hexadecimal, of the whole file)"
const TREE = "; with `--recursive`, `files` (an array of these, each with `local`), `totals` (`files`, `bytes`)"

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

const upload = shellCommand({
  name: "UPLOAD",
  summary: "Send a local file, or with --recursive a folder",
  examples: [
    { command: "UPLOAD report.pdf" },
    { command: "UPLOAD report.pdf docs/2026.pdf" },
    { command: "UPLOAD photos --recursive", description: "to photos/…" },
    { command: "UPLOAD photos backup/photos --recursive", description: "to backup/photos/…" }
  ],
  json: SENT + TREE,
  kind: "transfer",
  input: {
    local: localPath("the file or folder to send"),
    place: placeArgument("file", "its name on the server, or a folder that ends in /; the local name unless given")
      .pipe(
        Argument.optional
      ),
    recursive: recursive("a folder and every file under it"),
    connections,
    ifVersion
  },
  run: Effect.fnUntraced(function*(input) {
    const { ifVersion, local, recursive } = input
    const place = Option.getOrUndefined(input.place)
    if (local === STANDARD_INPUT) return yield* uploadStandardInput(place, expected(ifVersion))
    if (recursive) {
      if (Option.isSome(ifVersion)) return yield* new UsageError({ message: "--if-version is for one file" })
      return yield* uploadTree(local, place)
    }
    if ((yield* kindOf(local)) === "folder") {
      return yield* new UsageError({ message: `${local} is a folder: add --recursive` })
    }
    const file = yield* destination(local, place)
    const connections = Option.getOrUndefined(input.connections)
    return sent(local, file, yield* send(local, file, { mode: "write", connections, ...expected(ifVersion) }))
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

const download = shellCommand({
  name: "DOWNLOAD",
  summary: "Fetch a file to this machine, or with --recursive a folder; a file of that name is replaced",
  examples: [
    { command: "DOWNLOAD docs/report.pdf" },
    { command: "DOWNLOAD ~alice/report.pdf alice.pdf" },
    { command: "DOWNLOAD photos/ backup --recursive", description: "to backup/…" }
  ],
  json: `${SENT}, \`local\` (the path it was written to)${TREE}`,
  kind: "transfer",
  input: {
    place: placeArgument("file", "the file or folder to fetch"),
    local: localPath("where to write it, or a folder to write it in; its own name unless given").pipe(
      Argument.optional
    ),
    recursive: recursive("a folder and every file under it"),
    connections,
    version: version.pipe(Flag.optional)
  },
  run: Effect.fnUntraced(function*({ connections, local, place, recursive, version }) {
    if (recursive) {
      if (Option.isSome(version)) return yield* new UsageError({ message: "--version is for one file" })
      return yield* downloadTree(place, Option.getOrUndefined(local))
    }
    if (place.file === undefined) {
      return yield* new UsageError({ message: `${formatPlace(place)} is a folder: add --recursive` })
    }
    const client = yield* FipClient
    const { file } = place
    const destination = yield* localTarget(file, Option.getOrUndefined(local))
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
