/**
 * What the words of a command name: files of this machine, or of the server. A pattern names what it matches, and its
 * matches keep the path that its wildcards stand for; one that matches nothing is an error. A folder is named with all
 * that is in it, where `--recursive` says so.
 */
import { Effect, Result, Stream } from "effect"
import path from "node:path"
import type { LocalFileError } from "../../client/ClientError.ts"
import { FipClient, type ListOptions } from "../../client/FipClient.ts"
import { parseFileRef } from "../../protocol/FileName.ts"
import type { Username } from "../../protocol/Identity.ts"
import { refuse } from "../../protocol/Refusal.ts"
import type { FileInfo } from "../../protocol/Request.ts"
import { UsageError } from "./Failure.ts"
import { everything, type Filter } from "./Filter.ts"
import { type Glob, isGlob, parseGlob, unquoteGlob } from "./Glob.ts"
import { kindOf, lastPart, type LocalFile, lookAt, walk } from "./localTree.ts"
import { KeepGoing } from "./moves.ts"
import { Patterns } from "./Patterns.ts"
import { parsePlace, type Place } from "./places.ts"
import { filesUnder } from "./remoteTree.ts"
import { inFolder, Workspace } from "./Workspace.ts"

/** A word of the line. */
export interface Source {
  readonly text: string
  readonly pattern: string
}

export const sourceOf = Effect.fnUntraced(function*(text: string): Effect.fn.Return<Source> {
  return { text, pattern: (yield* Patterns).get(text) ?? text }
})

/** Whether the word is a pattern; a file of this machine with just that name comes first. */
export const isLocalPattern = Effect.fnUntraced(function*({ pattern, text }: Source) {
  return isGlob(pattern) && (yield* kindOf(text)) === "none"
})

/** The same of the server. */
export const isRemotePattern = Effect.fnUntraced(function*({ pattern, text }: Source) {
  if (!isGlob(pattern)) return false
  const { folder } = yield* Workspace
  const literal = Result.flatMap(inFolder(folder, text), parseFileRef)
  if (Result.isFailure(literal)) return true
  const client = yield* FipClient
  return yield* client.queryFile(literal.success).pipe(
    Effect.as(false),
    Effect.catchIf((error) => error._tag === "Refusal" && error.code === "2:nf", () => Effect.succeed(true))
  )
})

/** A file that is named, and where it goes below the target folder. */
export interface Named<File> {
  readonly name: string
  readonly file: File
}

/** The pattern behind its base, and what of that takes part. */
const restOf = (pattern: string, base: number, filter: Filter, recursive: boolean) => {
  const glob = parseGlob(pattern.split("/").slice(base).join("/"))
  const keeps = (name: string): boolean => {
    const parts = name.split("/")
    return filter.keeps(name) &&
      (glob.matches(parts) || (recursive && parts.some((_, depth) => depth > 0 && glob.matches(parts.slice(0, depth)))))
  }
  const enters = (folder: string): boolean => {
    const parts = folder.split("/")
    return filter.enters(folder) &&
      (glob.reaches(parts) || (recursive && parts.some((_, depth) => glob.matches(parts.slice(0, depth + 1)))))
  }
  return { keeps, enters }
}

const noMatch = (text: string, recursive: boolean): string =>
  `no such file: nothing matches ${text}${recursive ? "" : " (folders are matched with --recursive)"}`

const localSource = Effect.fnUntraced(function*(source: Source, filter: Filter, recursive: boolean) {
  const keepsGoing = yield* KeepGoing
  const { pattern, text } = source
  if (yield* isLocalPattern(source)) {
    const { base } = parseGlob(pattern)
    const root = base.length === 0 ? "." : base.join("/") || "/"
    const { faults, files, skipped } = yield* walk(root, restOf(pattern, base.length, filter, recursive), keepsGoing)
    if (files.length === 0) return yield* new UsageError({ message: noMatch(text, recursive) })
    return { files: files.map((file) => ({ name: file.name, file })), skipped, faults }
  }
  if ((yield* kindOf(text)) !== "folder") {
    const file = yield* lookAt(text)
    return { files: filter.keeps(file.name) ? [{ name: file.name, file }] : [], skipped: 0, faults: [] }
  }
  if (!recursive) return yield* new UsageError({ message: `${text} is a folder: add --recursive` })
  const { faults, files, skipped } = yield* walk(text, filter, keepsGoing)
  const folder = path.basename(path.resolve(text))
  return { files: files.map((file) => ({ name: `${folder}/${file.name}`, file })), skipped, faults }
})

/** The files of this machine that the words name. */
export const localSources = Effect.fnUntraced(function*(
  sources: ReadonlyArray<Source>,
  filter: Filter,
  recursive: boolean
) {
  const keepsGoing = yield* KeepGoing
  const all: Array<Named<LocalFile>> = []
  const faults: Array<LocalFileError> = []
  let skipped = 0
  for (const source of sources) {
    const found = yield* localSource(source, filter, recursive).pipe(
      Effect.catchTag(
        "LocalFileError",
        (fault) => keepsGoing ? Effect.succeed({ files: [], skipped: 0, faults: [fault] }) : Effect.fail(fault)
      )
    )
    all.push(...found.files)
    faults.push(...found.faults)
    skipped += found.skipped
  }
  return { files: yield* withoutDoubles(all, ({ path }) => path), skipped, faults }
})

/** Two files of one name would replace each other. One that is named twice is one. */
const withoutDoubles = Effect.fnUntraced(function*<File>(
  all: ReadonlyArray<Named<File>>,
  labelOf: (file: File) => string
) {
  const byName = new Map<string, Named<File>>()
  for (const one of all) {
    const other = byName.get(one.name)
    if (other !== undefined && path.resolve(labelOf(other.file)) !== path.resolve(labelOf(one.file))) {
      const [first, second] = [labelOf(other.file), labelOf(one.file)]
      return yield* new UsageError({ message: `${first} and ${second} would both become ${one.name}` })
    }
    byName.set(one.name, one)
  }
  return [...byName.values()].sort((a, b) => a.name < b.name ? -1 : 1)
})

/** Which files of the server a pattern is looked for among. */
export type Among = Pick<ListOptions, "scope" | "deleted">

/** What is in a folder of the server; `deep`: every file below, and no folders. */
const listed = Effect.fnUntraced(function*(place: Pick<Place, "owner" | "prefix">, deep: boolean, among: Among) {
  const client = yield* FipClient
  const files: Array<FileInfo> = []
  const folders: Array<string> = []
  yield* Stream.runForEach(
    client.list({ owner: place.owner, prefix: place.prefix, ...(deep ? { recursive: true } : {}), ...among }),
    (entry) =>
      Effect.sync(() => {
        if (entry._tag === "File") files.push(entry.file)
        else folders.push(entry.name)
      })
  )
  return { files, folders }
})

const isDeep = (glob: Glob, pattern: string, recursive: boolean): boolean =>
  recursive || pattern.split("/").length > glob.base.length + 1 || pattern.endsWith("**")

const usageOf = (text: string) => (fault: string) => new UsageError({ message: `"${text}": ${fault}` })

/** A pattern for names of the server: where all matches are, and how they go on there. */
const parseRemotePattern = Effect.fnUntraced(function*(text: string, here: string) {
  const [, user, names = ""] = /^(?:~([^/]*)\/)?(.*)$/s.exec(here) ?? []
  const place = yield* Effect.mapError(
    Effect.fromResult(parsePlace(user === undefined ? "/" : `~${user}`)),
    usageOf(text)
  )
  const glob = parseGlob(names)
  return { owner: place.owner, prefix: glob.base.map((part) => `${part}/`).join(""), names, glob }
})

const below = (prefix: string, name: string): string => name.startsWith(prefix) ? name.slice(prefix.length) : ""

const remoteSource = Effect.fnUntraced(function*({ pattern, text }: Source, filter: Filter, recursive: boolean) {
  const { folder } = yield* Workspace
  const here = yield* Effect.mapError(Effect.fromResult(inFolder(folder, pattern)), usageOf(text))
  const client = yield* FipClient
  if (isGlob(pattern)) {
    const { glob, names, owner, prefix } = yield* parseRemotePattern(text, here)
    const { keeps } = restOf(names, glob.base.length, filter, recursive)
    const literal = unquoteGlob(names)
    const { files } = yield* listed({ owner, prefix }, isDeep(glob, names, recursive), {})
    const found = files.flatMap((file) => {
      const name = below(prefix, file.name)
      return keeps(name) || file.name === literal ? [{ name, file }] : []
    })
    return found.length === 0 ? yield* refuse("2:nf", noMatch(text, recursive)) : found
  }
  const place = yield* Effect.mapError(Effect.fromResult(parsePlace(unquoteGlob(here))), usageOf(text))
  if (place.file !== undefined && !recursive) {
    const file = yield* client.queryFile(place.file)
    return [{ name: lastPart(file.name), file }]
  }
  const name = formatName(place.prefix)
  if (!recursive) return yield* new UsageError({ message: `${text} is a folder: add --recursive` })
  const files = (yield* filesUnder(place)).flatMap((file) => {
    const rest = below(place.prefix, file.name)
    return filter.keeps(rest) ? [{ name: `${name}${rest}`, file }] : []
  })
  if (files.length > 0) return files
  if (place.file === undefined) return yield* refuse("2:nf", `there are no files under ${text}`)
  const file = yield* client.queryFile(place.file)
  return [{ name: lastPart(file.name), file }]
})

/** Files and folders of the server that a pattern matches; one that ends in `/` matches folders alone. */
export const remoteEntries = Effect.fnUntraced(function*(
  { pattern, text }: Source,
  recursive: boolean,
  among: Among = {}
) {
  const { folder } = yield* Workspace
  const foldersOnly = pattern.endsWith("/")
  const here = yield* Effect.mapError(
    Effect.fromResult(inFolder(folder, foldersOnly ? pattern.slice(0, -1) : pattern)),
    usageOf(text)
  )
  const { glob, names, owner, prefix } = yield* parseRemotePattern(text, here)
  const all = yield* listed({ owner, prefix }, isDeep(glob, names, recursive), among)
  const rest = restOf(names, glob.base.length, everything, recursive)
  const { matches } = parseGlob(names.split("/").slice(glob.base.length).join("/"))
  const folders = new Set(all.folders.filter((name) => matches(below(prefix, name).slice(0, -1).split("/"))))
  const files = all.files.filter(({ name }) => {
    const parts = below(prefix, name).split("/")
    // Of a listing without folders, those that match are in the names of its files.
    for (let depth = recursive ? parts.length : 1; depth < parts.length; depth++) {
      if (matches(parts.slice(0, depth))) folders.add(`${prefix}${parts.slice(0, depth).join("/")}/`)
    }
    const isBelow = recursive && parts.some((_, depth) => depth > 0 && matches(parts.slice(0, depth)))
    return foldersOnly ? isBelow : rest.keeps(parts.join("/"))
  })
  if (files.length + folders.size > 0) return { files, folders: [...folders] }
  return yield* refuse("2:nf", `no such file: nothing matches ${text}`)
})

const formatName = (prefix: string): string => prefix === "" ? "" : `${lastPart(prefix)}/`

/** The files of the server that the words name. */
export const remoteSources = Effect.fnUntraced(function*(
  sources: ReadonlyArray<Source>,
  filter: Filter,
  recursive: boolean
) {
  const all: Array<Named<FileInfo>> = []
  for (const source of sources) all.push(...yield* remoteSource(source, filter, recursive))
  return yield* withoutDoubles(all, (file) => `~${file.owner}/${file.name}`)
})

/** The same, each once, wherever it is. */
export const remoteFiles = Effect.fnUntraced(function*(sources: ReadonlyArray<Source>, recursive: boolean) {
  const files = new Map<string, FileInfo>()
  for (const source of sources) {
    for (const { file } of yield* remoteSource(source, everything, recursive)) {
      files.set(`~${file.owner}/${file.name}`, file)
    }
  }
  return [...files.values()]
})

/** The word as one of somebody's files. */
export const ownedBy = ({ pattern, text }: Source, owner: Username): Source => ({
  pattern: `~${owner}/${pattern}`,
  text: `~${owner}/${text}`
})
