/**
 * DELETE: one file at once; several, what a pattern matches or a folder only when all of it is known. What is named
 * without being spelled out is shown, and deleted when somebody says so: a person, or `--yes`.
 */
import { Effect, Option, Schema } from "effect"
import { Argument, Flag } from "effect/cli"
import { FipClient } from "../../../client/FipClient.ts"
import { type FileRef, formatFileRef, parseFileRef } from "../../../protocol/FileName.ts"
import { Username } from "../../../protocol/Identity.ts"
import type { FileInfo } from "../../../protocol/Request.ts"
import { UsageError } from "../Failure.ts"
import { formatBytes, formatCount } from "../format.ts"
import { quoteGlob } from "../Glob.ts"
import { dryRun, ifVersion, parsedHere, recursive } from "../inputs.ts"
import { Progress, withProgress } from "../Progress.ts"
import { Questions } from "../Questions.ts"
import { deleteAll } from "../removal.ts"
import { note, type Outcome } from "../Report.ts"
import { shellCommand } from "../ShellCommand.ts"
import { isRemotePattern, ownedBy, remoteFiles, type Source, sourceOf } from "../sources.ts"
import { ValueKind } from "../ValueKind.ts"
import { expected } from "./files.ts"

/** More names than this are counted, before somebody is asked about them. */
const SHOWN = 20

const isUsername = Schema.is(Username)

const nameOf = ({ name, owner }: FileInfo): string => formatFileRef({ owner, name })

const refHere = (text: string) =>
  Effect.mapError(parsedHere(text, parseFileRef), ({ message }) => new UsageError({ message }))

const isThere = Effect.fnUntraced(function*(file: FileRef) {
  const client = yield* FipClient
  return yield* client.queryFile(file).pipe(
    Effect.as(true),
    Effect.catchIf((error) => error._tag === "Refusal" && error.code === "2:nf", () => Effect.succeed(false))
  )
})

/** The words, of which a second and last one may be the owner of the first: of one file for certain, else never by a guess. */
const sourcesOf = Effect.fnUntraced(function*(first: string, more: ReadonlyArray<string>, isOne: boolean) {
  const sources = yield* Effect.forEach([first, ...more], sourceOf)
  const [file, last] = sources
  if (file === undefined || last === undefined || sources.length !== 2 || file.text.startsWith("~")) return sources
  if (!isUsername(last.text)) return sources
  if (isOne || !(yield* isThere(yield* refHere(last.text)))) return [ownedBy(file, last.text)]
  return yield* new UsageError({
    message: `"${last.text}" may be a file or a user: write ./${last.text}, or ~${last.text}/${file.text}`
  })
})

const inAll = (files: ReadonlyArray<FileInfo>): { readonly files: number; readonly bytes: number } => ({
  files: files.length,
  bytes: files.reduce((sum, { size }) => sum + size, 0)
})

const counted = (files: ReadonlyArray<FileInfo>): string =>
  `${formatCount(files.length, "file")} (${formatBytes(inAll(files).bytes)})`

const agreed = Effect.fnUntraced(function*(files: ReadonlyArray<FileInfo>) {
  const questions = yield* Questions
  const what = counted(files)
  if (!questions.attended) {
    return yield* new UsageError({ message: `nobody is there to ask: --yes deletes ${what}, --dry-run lists them` })
  }
  for (const file of files.slice(0, SHOWN)) yield* note(nameOf(file))
  if (files.length > SHOWN) yield* note(`and ${files.length - SHOWN} more (--dry-run lists them all)`)
  if (!(yield* questions.confirm(`delete ${what}?`))) return yield* new UsageError({ message: "nothing was deleted" })
})

const one = Effect.fnUntraced(function*(
  source: Source,
  ifVersion: Parameters<typeof expected>[0]
): Effect.fn.Return<
  Outcome,
  Effect.Error<ReturnType<typeof refHere>> | Effect.Error<ReturnType<typeof isThere>>,
  FipClient
> {
  const client = yield* FipClient
  const file = yield* refHere(source.text)
  const result = yield* client.delete(file, expected(ifVersion))
  return { code: "1:fdel", message: `deleted ${formatFileRef(file)}`, result }
})

const several = Effect.fnUntraced(function*(
  sources: ReadonlyArray<Source>,
  options: { readonly recursive: boolean; readonly dryRun: boolean; readonly asks: boolean }
) {
  const files = yield* remoteFiles(sources, options.recursive)
  const result = { files: files.map(({ name, owner }) => ({ owner, name })), totals: inAll(files) }
  if (options.dryRun) {
    const message = `would delete ${counted(files)}`
    const outcome: Outcome = {
      code: "local:ok",
      message,
      result: { dry_run: true, ...result },
      text: [...files.map((file) => `${nameOf(file)}  ${formatBytes(file.size)}`), message].join("\n")
    }
    return outcome
  }
  if (options.asks) yield* agreed(files)
  const progress = new Progress(result.totals.bytes, files.length, "deleting")
  yield* withProgress(
    progress,
    deleteAll(files, ({ size }) => {
      progress.bytes += size
      progress.fileDone()
    })
  ).pipe(
    Effect.tapError(() =>
      progress.files === 0 ? Effect.void : note(`deleted ${progress.files} of ${formatCount(files.length, "file")}`)
    )
  )
  const outcome: Outcome = { code: "1:fdel", message: `deleted ${counted(files)}`, result }
  return outcome
})

const remove = shellCommand({
  name: "DELETE",
  summary: "Delete files, or with --recursive folders; RESTORE brings back one of yours",
  examples: [
    { command: "DELETE notes.txt" },
    { command: "DELETE a.txt docs/b.txt" },
    { command: "DELETE docs/*.tmp --dry-run", description: "lists what the pattern matches" },
    { command: "DELETE old/ --recursive --yes", description: "a folder with all that is in it, without a question" }
  ],
  json: "`owner`, `name`; of several, of a pattern or with `--recursive`, `files` (an array of these) and `totals` " +
    "(`files`, `bytes`), with `--dry-run` also `dry_run`",
  input: {
    file: Argument.String("file").pipe(
      Argument.filter((text) => text !== "", () => "a file"),
      Argument.withMetavar(ValueKind.FILE),
      Argument.withDescription("file on the server, or a pattern: notes.txt, docs/*.tmp, ~alice/notes.txt for Alice's")
    ),
    more: Argument.String("more").pipe(
      Argument.withMetavar(ValueKind.FILE),
      Argument.withDescription("more files; a single user name is the owner of the one file, instead of ~owner/"),
      Argument.variadic()
    ),
    recursive: recursive("folders and every file under them"),
    dryRun,
    yes: Flag.Boolean("yes").pipe(
      Flag.withAlias("y"),
      Flag.withDescription("ask nothing: a script needs it for a pattern and for --recursive"),
      Flag.withDefault(false)
    ),
    ifVersion
  },
  run: Effect.fnUntraced(function*({ dryRun, file, ifVersion, more, recursive, yes }) {
    const sources: Array<Source> = []
    let isPattern = false
    for (const source of yield* sourcesOf(file, more, Option.isSome(ifVersion))) {
      const matches = yield* isRemotePattern(source)
      // A file of just that name is all that is meant.
      sources.push(matches ? source : { ...source, pattern: quoteGlob(source.text) })
      isPattern ||= matches
    }
    const [first] = sources
    const isFolder = first?.text.endsWith("/") === true
    if (first !== undefined && sources.length === 1 && !isPattern && !isFolder && !recursive && !dryRun) {
      return yield* one(first, ifVersion)
    }
    if (Option.isSome(ifVersion)) return yield* new UsageError({ message: "--if-version is for one file" })
    return yield* several(sources, { recursive, dryRun, asks: !yes && (recursive || isPattern) })
  })
})

export const removeCommands = [remove] as const
