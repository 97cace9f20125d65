/** Commands for the two folders that names are relative to: one on the server, one of this machine. */
import { Effect, Option, Stream } from "effect"
import { Argument, Flag } from "effect/cli"
import { readdir, stat } from "node:fs/promises"
import { homedir } from "node:os"
import path from "node:path"
import { FipClient } from "../../../client/FipClient.ts"
import { systemErrorReason } from "../../../platform/systemError.ts"
import { formatFileRef } from "../../../protocol/FileName.ts"
import { UsageError } from "../Failure.ts"
import { formatBytes, formatTable, formatTime } from "../format.ts"
import { parsedHere } from "../inputs.ts"
import { Jobs } from "../Jobs.ts"
import { Output } from "../Output.ts"
import { parsePlace } from "../places.ts"
import { printableLine } from "../printable.ts"
import { note } from "../Report.ts"
import { shellCommand } from "../ShellCommand.ts"
import { ValueKind } from "../ValueKind.ts"
import { formatFolder, type RemoteFolder, TOP, Workspace } from "../Workspace.ts"

const folderResult = (folder: RemoteFolder) => ({ owner: folder.owner, folder: folder.prefix })

/** The first thing that is in a folder. */
const somethingIn = Effect.fnUntraced(function*({ owner, prefix }: RemoteFolder) {
  const client = yield* FipClient
  return yield* Stream.runHead(client.list({ owner, prefix: prefix === "" ? undefined : prefix }))
})

const cd = shellCommand({
  name: "CD",
  summary: "Go to a folder on the server: names are relative to it from then on; without a folder, to the top",
  examples: [
    { command: "CD docs/2026" },
    { command: "CD ~alice_smith/docs", description: "a folder of Alice's" },
    { command: "CD ..", description: "one up" },
    { command: "CD", description: "the top of your own files" },
    { command: "CD -", description: "where you were before" }
  ],
  json: "`folder` (empty for everything), `owner` unless it is your own",
  input: {
    folder: Argument.String("folder").pipe(
      Argument.mapEffect((text) =>
        text === "-"
          ? Effect.map(Workspace, ({ previous }) => ({ folder: previous, file: undefined }))
          : Effect.map(parsedHere(text, parsePlace), ({ file, owner, prefix }) => ({ folder: { owner, prefix }, file }))
      ),
      Argument.withMetavar(ValueKind.FOLDER),
      Argument.withDescription("a folder of yours (docs), somebody's (~alice/docs), .. for one up, - for the last one"),
      Argument.optional
    )
  },
  run: Effect.fnUntraced(function*(input) {
    const workspace = yield* Workspace
    const target = Option.getOrUndefined(input.folder)
    const folder = target?.folder ?? TOP
    // Folders are implied by names: one in which there is nothing yet is as good as any other, unless it is a file.
    if (folder.prefix !== "" && Option.isNone(yield* somethingIn(folder))) {
      const client = yield* FipClient
      const file = target?.file
      const isFile = file !== undefined && Option.isSome(yield* Effect.option(client.queryFile(file)))
      if (isFile) return yield* new UsageError({ message: `${formatFileRef(file)} is a file, not a folder` })
      yield* note(`there is nothing in ${formatFolder(folder)} yet`)
    }
    workspace.previous = workspace.folder
    workspace.folder = folder
    return { code: "local:ok", message: `in ${formatFolder(folder)}`, result: folderResult(folder) }
  })
})

const pwd = shellCommand({
  name: "PWD",
  session: false,
  summary: "Say which folder on the server names are relative to",
  examples: [{ command: "PWD" }],
  json: "`folder` (empty for everything), `owner` unless it is your own",
  input: {},
  run: Effect.fnUntraced(function*() {
    const { folder } = yield* Workspace
    const text = formatFolder(folder)
    return { code: "local:ok", message: `in ${text}`, result: folderResult(folder), text }
  })
})

const localFolder = (description: string) =>
  Argument.String("local").pipe(
    // A terminal's own shell would do it; a path here is never a pattern.
    Argument.map((text) => text.replace(/^~(?=$|\/)/, homedir())),
    Argument.withMetavar(ValueKind.LOCAL_FOLDER),
    Argument.withDescription(description),
    Argument.optional
  )

const local = <A>(what: string, run: () => Promise<A>): Effect.Effect<A, UsageError> =>
  Effect.tryPromise({
    try: run,
    catch: (cause) => new UsageError({ message: `${what}: ${systemErrorReason(cause)}` })
  })

const lcd = shellCommand({
  name: "LCD",
  session: false,
  summary: "Go to a folder of this machine; without one, to your home folder",
  examples: [{ command: "LCD /tmp" }, { command: "LCD" }],
  json: "`folder`",
  input: { folder: localFolder("a folder of this machine") },
  run: Effect.fnUntraced(function*(input) {
    const folder = Option.getOrElse(input.folder, homedir)
    const running = (yield* Jobs).running
    // What it reads and writes is named from the folder that it was started in.
    if (running > 0) return yield* new UsageError({ message: "jobs are running in this folder: WAIT, or CANCEL them" })
    yield* local(`cannot go to ${folder}`, async () => process.chdir(folder))
    const result = { folder: process.cwd() }
    return { code: "local:ok", message: `in ${result.folder}`, result }
  })
})

const lpwd = shellCommand({
  name: "LPWD",
  session: false,
  summary: "Say which folder of this machine local names are relative to",
  examples: [{ command: "LPWD" }],
  json: "`folder`",
  input: {},
  run: () =>
    Effect.sync(() => {
      const folder = process.cwd()
      return { code: "local:ok", message: `in ${folder}`, result: { folder }, text: folder }
    })
})

interface LocalEntry {
  readonly name: string
  readonly size: number
  readonly modified_at: string
  readonly folder: boolean
}

/** What is in a folder of this machine, by name; a link counts as what it leads to. */
const localEntries = async (folder: string): Promise<ReadonlyArray<LocalEntry>> => {
  const names = (await readdir(folder)).sort()
  const entries = await Promise.all(names.map(async (name) => {
    const found = await stat(path.join(folder, name)).catch(() => undefined)
    return {
      name,
      size: found?.size ?? 0,
      modified_at: (found?.mtime ?? new Date(0)).toISOString(),
      folder: found?.isDirectory() ?? false
    }
  }))
  return entries.sort((a, b) => Number(b.folder) - Number(a.folder))
}

const nameOf = (entry: LocalEntry): string => printableLine(entry.folder ? `${entry.name}/` : entry.name)

const lls = shellCommand({
  name: "LLS",
  session: false,
  summary: "List a folder of this machine",
  examples: [{ command: "LLS" }, { command: "LLS /tmp --long" }],
  json: "`files` (an array of `name`, `size`, `modified_at`, `folder`: true for a folder)",
  input: {
    folder: localFolder("a folder of this machine; the one that you are in unless given"),
    long: Flag.Boolean("long").pipe(
      Flag.withAlias("l"),
      Flag.withDescription("with size and time"),
      Flag.withDefault(false)
    )
  },
  run: Effect.fnUntraced(function*(input) {
    const folder = Option.getOrElse(input.folder, () => ".")
    const files = yield* local(`cannot list ${folder}`, () => localEntries(folder))
    const { colorsResults } = yield* Output
    const shown = (entry: LocalEntry) =>
      entry.folder && colorsResults ? `\u001b[1;34m${nameOf(entry)}\u001b[0m` : nameOf(entry)
    const text = input.long
      ? formatTable(
        [{ title: "SIZE", right: true }, { title: "MODIFIED" }, { title: "NAME" }],
        files.map((entry) => [
          entry.folder ? "" : formatBytes(entry.size),
          formatTime(entry.modified_at),
          nameOf(entry)
        ])
      )
      : files.map(shown).join("\n")
    return { code: "local:ok", message: `${files.length} names in ${folder}`, result: { files }, text }
  })
})

export const folderCommands = [cd, pwd, lcd, lpwd, lls] as const
