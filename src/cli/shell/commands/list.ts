/**
 * LIST: files and folders, one's own, somebody else's, shared or public.
 *
 * A listing in the order of names is written page by page, as it comes: its length costs no memory. In another order,
 * and with `--json`, it is held until all of it is there.
 */
import { Clock, Effect, Option, Stream } from "effect"
import { Argument, Flag } from "effect/cli"
import type { ListEntry, ListOptions } from "../../../client/FipClient.ts"
import { FipClient } from "../../../client/FipClient.ts"
import { formatFileRef } from "../../../protocol/FileName.ts"
import type { FileInfo } from "../../../protocol/Request.ts"
import { UsageError } from "../Failure.ts"
import { formatAgo, formatBytes, formatCount, formatTable } from "../format.ts"
import { isGlob } from "../Glob.ts"
import { parsedHere, recursive } from "../inputs.ts"
import { Output } from "../Output.ts"
import { parsePlace } from "../places.ts"
import { printableLine } from "../printable.ts"
import { JsonMode } from "../Report.ts"
import { shellCommand } from "../ShellCommand.ts"
import { isRemotePattern, remoteEntries, sourceOf } from "../sources.ts"
import { ValueKind } from "../ValueKind.ts"
import { Workspace } from "../Workspace.ts"

const path = Argument.String("path").pipe(
  Argument.mapEffect((text) => Effect.map(parsedHere(text, parsePlace), (place) => ({ text, place }))),
  Argument.withMetavar(ValueKind.FILE),
  Argument.withDescription(
    "a folder (docs/), a file, a pattern (docs/*.md), somebody's files (~alice) or a folder of theirs (~alice/docs/)"
  ),
  Argument.optional
)

const ORDERS = {
  name: () => 0,
  size: (a: FileInfo, b: FileInfo) => b.size - a.size,
  time: (a: FileInfo, b: FileInfo) => (b.deleted_at ?? b.modified_at).localeCompare(a.deleted_at ?? a.modified_at)
} as const

const collect = Effect.fnUntraced(function*(options: ListOptions, order: keyof typeof ORDERS) {
  const client = yield* FipClient
  const folders: Array<string> = []
  const files: Array<FileInfo> = []
  yield* Stream.runForEach(client.list(options), (entry) =>
    Effect.sync(() => {
      if (entry._tag === "Folder") folders.push(entry.name)
      else files.push(entry.file)
    }))
  return { files: order === "name" ? files : files.sort(ORDERS[order]), folders }
})

/** What people see of entries, in parts: each is a text of whole lines. */
const makeView = Effect.fnUntraced(function*(options: { readonly long: boolean; readonly deleted: boolean }) {
  const client = yield* FipClient
  const output = yield* Output
  const now = yield* Clock.currentTimeMillis
  const me = Option.getOrUndefined(Option.map(yield* client.session, ({ username }) => username.toLowerCase()))
  const width = yield* output.resultColumns
  /** As one would type it: with its owner when that is somebody else. */
  const nameOf = ({ name, owner }: FileInfo): string =>
    formatFileRef({ owner: owner.toLowerCase() === me ? undefined : owner, name })
  const folder = (name: string): string => output.colorsResults ? `\u001b[1;34m${name}\u001b[0m` : name
  const columns = [
    { title: "ROLE", least: 6 },
    { title: "PUBLIC", least: 6 },
    { title: "SIZE", right: true, least: 8 },
    { title: "VERSION", right: true, least: 7 },
    { title: options.deleted ? "DELETED" : "MODIFIED", least: 16 },
    { title: "NAME", cuts: true }
  ]
  const untitled = columns.map((column) => ({ ...column, title: "" }))
  let isFirst = true
  const long = (entries: ReadonlyArray<ListEntry>): string => {
    const rows = entries.map((entry) => {
      if (entry._tag === "Folder") return ["", "", "", "", "", entry.name]
      const { file } = entry
      const lock = file.locked_by === undefined ? "" : `  (locked by ${file.locked_by})`
      return [
        file.role,
        file.public ? "yes" : "no",
        formatBytes(file.size),
        String(file.version),
        formatAgo(file.deleted_at ?? file.modified_at, now),
        `${nameOf(file)}${lock}`
      ]
    })
    const table = formatTable(isFirst ? columns : untitled, rows, width)
    isFirst = false
    return table
  }
  const short = (entries: ReadonlyArray<ListEntry>): string =>
    entries.map((entry) =>
      entry._tag === "Folder" ? folder(printableLine(entry.name)) : printableLine(nameOf(entry.file))
    ).join("\n")
  return options.long ? long : short
})

const counted = (files: number, folders: number): string =>
  `${formatCount(files, "file")}, ${formatCount(folders, "folder")}`

export const list = shellCommand({
  name: "LIST",
  summary: "List files and folders",
  examples: [
    { command: "LIST" },
    { command: "LIST docs/ --long --recursive" },
    { command: "LIST docs/*.md --long", description: "what matches; a name in quotes is no pattern" },
    { command: "LIST --recursive --long --sort size", description: "the largest files first" },
    { command: "LIST --shared", description: "what others let you read or edit" },
    { command: "LIST --deleted --long", description: "what RESTORE can bring back, and when it was deleted" }
  ],
  json: "`files` (an array of `owner`, `name`, `size`, `version`, `created_at`, `modified_at`, `role`, `public`, " +
    "`locked_by` and `locked_until` while it is locked, `sha256` where it is known, `deleted_at` with `--deleted`), " +
    "`folders` (an array of names that end in `/`)",
  input: {
    path,
    shared: Flag.Boolean("shared").pipe(
      Flag.withDescription("files of others that you were granted a role on"),
      Flag.withDefault(false)
    ),
    public: Flag.Boolean("public").pipe(
      Flag.withDescription("files of anybody that are public"),
      Flag.withDefault(false)
    ),
    deleted: Flag.Boolean("deleted").pipe(
      Flag.withDescription("your own files that were deleted and can still be restored"),
      Flag.withDefault(false)
    ),
    long: Flag.Boolean("long").pipe(
      Flag.withAlias("l"),
      Flag.withDescription("with role, size, version, time and lock"),
      Flag.withDefault(false)
    ),
    recursive: recursive("every file below, instead of one level and its folders"),
    sort: Flag.Literals("sort", ["name", "size", "time"]).pipe(
      Flag.withMetavar("name|size|time"),
      Flag.withDescription("by name (the default), by size, or by time: the largest or the newest first"),
      Flag.withDefault("name" as const)
    )
  },
  run: Effect.fnUntraced(function*(input) {
    if (Number(input.shared) + Number(input.public) + Number(input.deleted) > 1) {
      return yield* new UsageError({ message: "choose one of --shared, --public and --deleted" })
    }
    const client = yield* FipClient
    const output = yield* Output
    const { place, text } = Option.getOrElse(input.path, () => ({ place: undefined, text: "" }))
    const here = input.shared || input.public || input.deleted ? undefined : (yield* Workspace).folder
    const options: ListOptions = {
      owner: place === undefined ? here?.owner : place.owner,
      prefix: place === undefined ? here?.prefix || undefined : place.prefix,
      recursive: input.recursive,
      scope: input.shared ? "shared" : input.public ? "public" : "own",
      deleted: input.deleted ? true : undefined
    }
    /** Nothing below that name: it can still be the name of a file. */
    const file = place?.file !== undefined && !input.shared && !input.public && !input.deleted ? place.file : undefined

    const source = yield* sourceOf(text)
    /** All of it at once: of a pattern, and what is not in the order of names. */
    const whole = Effect.gen(function*() {
      // A file or folder with just that name comes first, and among others' files there is none to ask for.
      if (!isGlob(source.pattern) || (file !== undefined && !(yield* isRemotePattern(source)))) {
        return yield* collect(options, input.sort)
      }
      const { deleted, scope } = options
      const { files, folders } = yield* remoteEntries(source, input.recursive, { deleted, scope })
      return { files: input.sort === "name" ? files : files.sort(ORDERS[input.sort]), folders }
    })

    if (yield* JsonMode) {
      let { files, folders } = yield* whole
      if (file !== undefined && files.length + folders.length === 0) files = [yield* client.queryFile(file)]
      return { code: "1:qa", message: counted(files.length, folders.length), result: { files, folders } }
    }

    const view = yield* makeView(input)
    let [files, folders, bytes] = [0, 0, 0]
    const show = (entries: ReadonlyArray<ListEntry>) => {
      for (const entry of entries) {
        if (entry._tag === "Folder") folders++
        else {
          files++
          bytes += entry.file.size
        }
      }
      return entries.length === 0 ? Effect.void : output.write(`${view(entries)}\n`)
    }
    if (input.sort === "name" && !isGlob(source.pattern)) {
      yield* Stream.runForEach(Stream.chunks(client.list(options)), show)
    } else {
      const all = yield* whole
      yield* show([
        ...all.folders.map((name) => ({ _tag: "Folder" as const, name })),
        ...all.files.map((file) => ({ _tag: "File" as const, file }))
      ])
    }
    if (file !== undefined && files + folders === 0) {
      yield* show([{ _tag: "File", file: yield* client.queryFile(file) }])
    }
    if (input.long) yield* output.write(`${formatCount(files, "file")}, ${formatBytes(bytes)}\n`)
    return { code: "1:qa", message: counted(files, folders), result: {}, text: "" }
  })
})
