/** LIST: files and folders, one's own, somebody else's, shared or public. */
import { Effect, Option, Stream } from "effect"
import { Argument, Flag } from "effect/cli"
import type { ListOptions } from "../../../client/FipClient.ts"
import { FipClient } from "../../../client/FipClient.ts"
import { formatFileRef } from "../../../protocol/FileName.ts"
import type { Username } from "../../../protocol/Identity.ts"
import type { FileInfo } from "../../../protocol/Request.ts"
import { UsageError } from "../Failure.ts"
import { formatBytes, formatCount, formatTable, formatTime } from "../format.ts"
import { recursive } from "../inputs.ts"
import { placeArgument } from "../places.ts"
import { printableLine } from "../printable.ts"
import { shellCommand } from "../ShellCommand.ts"

const path = placeArgument(
  "path",
  "a folder (docs/), a file, somebody's files (~alice) or a folder of theirs (~alice/docs/)"
).pipe(Argument.optional)

const collect = Effect.fnUntraced(function*(options: ListOptions) {
  const client = yield* FipClient
  const folders: Array<string> = []
  const files: Array<FileInfo> = []
  yield* Stream.runForEach(client.list(options), (entry) =>
    Effect.sync(() => {
      if (entry._tag === "Folder") folders.push(entry.name)
      else files.push(entry.file)
    }))
  return { files, folders }
})

/** A file as one would type it: with its owner when that is somebody else. */
const nameFor = (me: Option.Option<{ readonly username: Username }>) => (file: FileInfo): string =>
  formatFileRef({
    owner: Option.exists(me, ({ username }) => username.toLowerCase() === file.owner.toLowerCase())
      ? undefined
      : file.owner,
    name: file.name
  })

const COLUMNS = [
  { title: "ROLE" },
  { title: "PUBLIC" },
  { title: "SIZE", right: true },
  { title: "VERSION", right: true },
  { title: "MODIFIED" },
  { title: "NAME" }
]

const long = (folders: ReadonlyArray<string>, files: ReadonlyArray<FileInfo>, name: (file: FileInfo) => string) => {
  const total = files.reduce((sum, file) => sum + file.size, 0)
  const columns = COLUMNS.map((column) =>
    column.title === "MODIFIED" && files.some((file) => file.deleted_at !== undefined) ? { title: "DELETED" } : column
  )
  const rows = [
    ...folders.map((folder) => ["", "", "", "", "", folder]),
    ...files.map((file) => [
      file.role,
      file.public ? "yes" : "no",
      formatBytes(file.size),
      String(file.version),
      formatTime(file.deleted_at ?? file.modified_at),
      name(file)
    ])
  ]
  return `${formatTable(columns, rows)}\n${formatCount(files.length, "file")}, ${formatBytes(total)}`
}

export const list = shellCommand({
  name: "LIST",
  summary: "List files and folders",
  examples: [
    { command: "LIST" },
    { command: "LIST docs/ --long --recursive" },
    { command: "LIST --shared", description: "what others let you read or edit" },
    { command: "LIST --deleted --long", description: "what RESTORE can bring back, and when it was deleted" }
  ],
  json: "`files` (an array of `owner`, `name`, `size`, `version`, `created_at`, `modified_at`, `role`, `public`, " +
    "`sha256` where it is known, `deleted_at` with `--deleted`), `folders` (an array of names that end in `/`)",
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
      Flag.withDescription("with role, size, version and time"),
      Flag.withDefault(false)
    ),
    recursive: recursive("every file below, instead of one level and its folders")
  },
  run: Effect.fnUntraced(function*(input) {
    if (Number(input.shared) + Number(input.public) + Number(input.deleted) > 1) {
      return yield* new UsageError({ message: "choose one of --shared, --public and --deleted" })
    }
    const client = yield* FipClient
    const place = Option.getOrUndefined(input.path)
    let { files, folders } = yield* collect({
      owner: place?.owner,
      prefix: place?.prefix,
      recursive: input.recursive,
      scope: input.shared ? "shared" : input.public ? "public" : "own",
      deleted: input.deleted ? true : undefined
    })
    // Nothing below that name: it can still be the name of a file.
    if (
      place?.file !== undefined && !input.shared && !input.public && !input.deleted && files.length === 0 &&
      folders.length === 0
    ) {
      files = [yield* client.queryFile(place.file)]
    }
    const name = nameFor(yield* client.session)
    const text = input.long
      ? long(folders, files, name)
      : [...folders, ...files.map(name)].map(printableLine).join("\n")
    return {
      code: "1:qa",
      message: `${formatCount(files.length, "file")}, ${formatCount(folders.length, "folder")}`,
      result: { files, folders },
      text
    }
  })
})
