/**
 * File names (docs/protocol.md, section 4): a relative path of `/`-separated parts under an owner.
 *
 * A name is checked here, once, on both ends, and lives only in the database: it never becomes a path on the server's
 * disk. Names are NFC, so the same name typed on two systems is the same file.
 */
import { Option, Result, Schema } from "effect"
import { Username } from "./Identity.ts"

const utf8 = new TextEncoder()
const MAX_NAME_BYTES = 1024
const MAX_PART_BYTES = 255
// Control characters (C0, DEL, C1), line and paragraph separators.
// oxlint-disable-next-line no-control-regex -- control characters are what it looks for
const FORBIDDEN = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/

/** Why `name` cannot be a file name, as a sentence; `undefined` when it can. */
const fault = (name: string): string | undefined => {
  if (name.length === 0) return "a file name must not be empty"
  if (!name.isWellFormed()) return "a file name must be well-formed Unicode"
  if (FORBIDDEN.test(name)) return "a file name must not contain control characters"
  if (name.length > MAX_NAME_BYTES || utf8.encode(name).length > MAX_NAME_BYTES) {
    return `a file name has at most ${MAX_NAME_BYTES} bytes`
  }
  if (name.startsWith("/")) return "a file name is relative: it must not start with /"
  for (const part of name.split("/")) {
    if (part.length === 0) return "a file name must not contain an empty part (// or a / at its end)"
    if (part === "." || part === "..") return `a file name must not contain the part "${part}"`
    if (utf8.encode(part).length > MAX_PART_BYTES) return `a part of a file name has at most ${MAX_PART_BYTES} bytes`
  }
  return name.normalize("NFC") === name ? undefined : "a file name must be in Unicode NFC"
}

/** A file name in NFC. Decoding refuses what is not NFC: the side that takes it from a person normalises. */
export const FileName = Schema.String.check(Schema.makeFilter(fault)).pipe(Schema.brand("FileName"))
export type FileName = typeof FileName.Type

const folderFault = (prefix: string): string | undefined =>
  prefix === "" ? undefined : prefix.endsWith("/") ? fault(prefix.slice(0, -1)) : "a folder ends with /"

/** A folder's name (NFC) with a `/` at its end, or the empty string for everything of an owner. */
export const FolderPrefix = Schema.String.check(Schema.makeFilter(folderFault)).pipe(Schema.brand("FolderPrefix"))
export type FolderPrefix = typeof FolderPrefix.Type

/** What can be shared: a file, or a folder with all that is under it. */
export type Shareable = FileName | FolderPrefix

const namesFolder = (name: string): boolean => name === "" || name.endsWith("/")

export const isFolder = (name: Shareable): name is FolderPrefix => namesFolder(name)

const isFileName = Schema.is(FileName)
const isFolderPrefix = Schema.is(FolderPrefix)
const isShareable = (name: string): name is Shareable => namesFolder(name) ? isFolderPrefix(name) : isFileName(name)

export const Shareable = Schema.String
  .check(Schema.makeFilter((name: string) => namesFolder(name) ? folderFault(name) : fault(name)))
  .pipe(Schema.refine(isShareable))

/** A file as a person names it: one's own, or somebody's. */
export interface FileRef {
  /** `undefined`: the caller's own. */
  readonly owner: Username | undefined
  readonly name: FileName
}

/** A file or a folder as a person names it. */
export interface ShareableRef {
  readonly owner: Username | undefined
  readonly name: Shareable
}

const asUsername = Schema.decodeUnknownOption(Username)

/** Checks and normalises a name that a person typed; the failure is a sentence. */
export const parseFileName = (text: string): Result.Result<FileName, string> => {
  const name = text.normalize("NFC")
  return isFileName(name) ? Result.succeed(name) : Result.fail(fault(name) ?? "this cannot be a file name")
}

/** Parses `notes.txt`, `docs/a.txt` or `~alice/notes.txt`; the failure is a sentence. */
export const parseFileRef = (text: string): Result.Result<FileRef, string> => {
  if (!text.startsWith("~")) return Result.map(parseFileName(text), (name) => ({ owner: undefined, name }))
  const slash = text.indexOf("/")
  if (slash < 0) return Result.fail(`"${text}" names no file: write ~user/file`)
  const owner = asUsername(text.slice(1, slash))
  if (Option.isNone(owner)) return Result.fail(`"${text.slice(1, slash)}" is not a user name`)
  return Result.map(parseFileName(text.slice(slash + 1)), (name) => ({ owner: owner.value, name }))
}

/** Parses what {@link parseFileRef} does, and folders: `docs/`, `~alice/docs/`, and `/` for everything of one's own. */
export const parseShareableRef = (text: string): Result.Result<ShareableRef, string> => {
  if (!text.endsWith("/")) return parseFileRef(text)
  const [, user, path = ""] = /^~([^/]*)\/(.*)$/s.exec(text) ?? [text, undefined, text === "/" ? "" : text]
  const owner = user === undefined ? undefined : Option.getOrUndefined(asUsername(user))
  if (user !== undefined && owner === undefined) return Result.fail(`"${user}" is not a user name`)
  const name = path.normalize("NFC")
  return isFolderPrefix(name)
    ? Result.succeed({ owner, name })
    : Result.fail(folderFault(name) ?? "this cannot be a folder")
}

/** The inverse of {@link parseFileRef} and {@link parseShareableRef}. */
export const formatFileRef = (ref: ShareableRef): string =>
  ref.owner !== undefined ? `~${ref.owner}/${ref.name}` : ref.name === "" ? "/" : ref.name
