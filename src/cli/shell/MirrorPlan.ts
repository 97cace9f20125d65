/**
 * What a mirror has to do so that one tree becomes like the other: decided before anything moves, and shown. Pure.
 *
 * A file is there already when its content is: sizes and times that are equal are taken for that, and where only the
 * sizes are equal, the hashes decide. So a file whose time alone differs is not sent again; on this machine it gets the
 * time, and on the server it keeps the one that its content came with, because a version never changes. The executable
 * bit counts as a difference.
 */
import type { FileName } from "../../protocol/FileName.ts"
import type { Sha256 } from "../../protocol/Identity.ts"
import type { Attributes, FileInfo } from "../../protocol/Request.ts"
import type { LocalFile } from "./localTree.ts"

export type Direction = "up" | "down"

/** A file of the side that is copied, and what has its name on the other. */
export interface Pair {
  /** Below the two roots. */
  readonly name: FileName
  readonly local: LocalFile | undefined
  readonly remote: FileInfo | undefined
}

export interface MirrorPlan {
  /** To be moved; of those that are on both sides already, the content is replaced. */
  readonly moves: ReadonlyArray<Pair>
  /** Here already, but for their attributes, which are set; down only. */
  readonly touched: ReadonlyArray<Pair & { readonly attributes: Attributes }>
  /** Only on the side that is made like the other. */
  readonly extra: ReadonlyArray<Pair>
  readonly same: number
}

/** How much is known of a pair without reading a file. */
const compare = ({ local, remote }: Pair, checksum: boolean): "same" | "other" | "unsure" => {
  if (local === undefined || remote === undefined || local.facts.size !== remote.size) return "other"
  const { modified_ms } = remote.attributes ?? {}
  if (!checksum && modified_ms !== undefined && modified_ms === local.attributes.modified_ms) return "same"
  // Nobody knows the hash after PATCH and APPEND, until somebody reads the whole.
  return remote.sha256 === undefined ? "other" : "unsure"
}

/** Files whose hash has to be known here. */
export const unsure = (pairs: ReadonlyArray<Pair>, checksum: boolean): ReadonlyArray<LocalFile> =>
  pairs.flatMap((pair) => pair.local !== undefined && compare(pair, checksum) === "unsure" ? [pair.local] : [])

/** What of the attributes that are wanted a file has not got. */
const missing = (wanted: Attributes | undefined, has: Attributes): Attributes | undefined => {
  const { executable, modified_ms } = wanted ?? {}
  const attributes: Attributes = {
    ...(modified_ms === undefined || modified_ms === has.modified_ms ? {} : { modified_ms }),
    ...(executable === undefined || has.executable === undefined || executable === has.executable ? {} : { executable })
  }
  return Object.keys(attributes).length === 0 ? undefined : attributes
}

/** What nobody said of a file on the server is taken for no. */
const differsInBit = ({ local, remote }: Pair): boolean => {
  const executable = local?.attributes.executable
  return executable !== undefined && executable !== (remote?.attributes?.executable ?? false)
}

export const planMirror = (
  direction: Direction,
  pairs: ReadonlyArray<Pair>,
  hashes: ReadonlyMap<string, Sha256>,
  checksum: boolean
): MirrorPlan => {
  const moves: Array<Pair> = []
  const touched: Array<Pair & { readonly attributes: Attributes }> = []
  const extra: Array<Pair> = []
  let same = 0
  for (const pair of pairs) {
    const { local, name, remote } = pair
    if ((direction === "up" ? local : remote) === undefined) {
      extra.push(pair)
      continue
    }
    const compared = compare(pair, checksum)
    const isSame = compared === "same" || (compared === "unsure" && hashes.get(name) === remote?.sha256)
    const attributes = local === undefined ? undefined : missing(remote?.attributes, local.attributes)
    if (!isSame || (direction === "up" && differsInBit(pair))) moves.push(pair)
    else if (direction === "down" && attributes !== undefined) touched.push({ ...pair, attributes })
    else same++
  }
  return { moves, touched, extra, same }
}

/** Files of both sides by name, in the order of their names. */
export const pairUp = (
  local: ReadonlyArray<LocalFile>,
  remote: ReadonlyArray<readonly [name: FileName, file: FileInfo]>
): ReadonlyArray<Pair> => {
  const pairs = new Map<FileName, Pair>(
    local.map((file) => [file.name, { name: file.name, local: file, remote: undefined }])
  )
  for (const [name, file] of remote) pairs.set(name, { name, local: pairs.get(name)?.local, remote: file })
  return [...pairs.values()].sort((a, b) => a.name < b.name ? -1 : 1)
}

/** Where a local file that is not wanted stands where a folder has to be, or is in a folder where a file has to be. */
export const inTheWay = (extra: ReadonlyArray<Pair>, moves: ReadonlyArray<Pair>): ReadonlySet<Pair> => {
  const files = new Set<string>(moves.map(({ name }) => name))
  const folders = new Set<string>(moves.flatMap(({ name }) => foldersOf(name)))
  return new Set(extra.filter(({ name }) => folders.has(name) || foldersOf(name).some((folder) => files.has(folder))))
}

/** The folders that a name is in: `a`, `a/b` of `a/b/c`. */
const foldersOf = (name: string): ReadonlyArray<string> => {
  const parts = name.split("/")
  return parts.slice(1).map((_, index) => parts.slice(0, index + 1).join("/"))
}
