/**
 * What is known of users, files and rights without asking the database: enough to begin a read.
 *
 * Three caches, because they change at different times: who has a name, what a file is and where its bytes are, and
 * what somebody may do to it. A lookup that went to the database while something it found was changed is not kept.
 * Whether any of it may be used is not decided here (Coherence).
 */
import type { FileName } from "../../protocol/FileName.ts"
import type { Username } from "../../protocol/Identity.ts"
import type { Role } from "../../protocol/Permission.ts"
import type { Extent } from "../files/Extent.ts"
import { EXTENTS_PER_BATCH, type Located, type LocateRequest } from "../files/FileRepo.ts"
import type { FileRow, Owner } from "../files/Rules.ts"
import { roleOf } from "../permissions/Policy.ts"
import { type Bounds, TaggedCache } from "./TaggedCache.ts"
import { contentOf, fileOf, ownerOf, segmentOf, userOf } from "./tags.ts"

const MINUTES = 60_000

const USERS: Bounds = { maxEntries: 16_384, maxBytes: 8 * 1024 ** 2, timeToLive: 5 * MINUTES }
const FILES: Bounds = { maxEntries: 65_536, maxBytes: 64 * 1024 ** 2, timeToLive: 5 * MINUTES }
const RIGHTS: Bounds = { maxEntries: 65_536, maxBytes: 32 * 1024 ** 2, timeToLive: 5 * MINUTES }

interface CachedFile {
  readonly row: FileRow
  /** Those that are known, in order; there may be others between them. */
  readonly extents: ReadonlyArray<Extent>
}

interface Right {
  readonly role: Role
  /** In milliseconds since 1970. */
  readonly until: number
}

/** A lookup that is under way. */
export interface Fill {
  readonly dropped: Set<string>
  isVoid: boolean
}

const EXTENT_BYTES = 200
const FILE_BYTES = 400

const fileKey = (ownerId: number, name: FileName): string => `${ownerId}/${name}`
const rightKey = (fileId: number, userId: number): string => `${fileId}/${userId}`

/** Of a file with more, only those that were asked for last are kept. */
const MAX_EXTENTS = 1024

/** Index of the last extent that begins at `position` or before; -1 when there is none. */
const lastBegun = (extents: ReadonlyArray<Extent>, position: number): number => {
  let low = 0
  let high = extents.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((extents[middle]?.position ?? Infinity) <= position) low = middle + 1
    else high = middle
  }
  return low - 1
}

/** The extents of a range, when all of them are known, or as many as a lookup gives. */
const cover = (extents: ReadonlyArray<Extent>, from: number, to: number): ReadonlyArray<Extent> | undefined => {
  if (from >= to) return []
  const first = lastBegun(extents, from)
  if (first === -1) return undefined
  let index = first
  let at = from
  while (at < to && index - first < EXTENTS_PER_BATCH) {
    const extent = extents[index]
    if (extent === undefined || extent.position > at) return undefined
    at = extent.position + extent.length
    index++
  }
  return extents.slice(first, index)
}

/** Both lists, in order and without repetitions; of one version, whose extents never change. */
const merge = (known: ReadonlyArray<Extent>, found: ReadonlyArray<Extent>): ReadonlyArray<Extent> => {
  if (found.length === 0) return known
  if (known.length === 0 || known.length + found.length > MAX_EXTENTS) return found
  const byPosition = new Map([...known, ...found].map((extent) => [extent.position, extent]))
  return [...byPosition.values()].toSorted((a, b) => a.position - b.position)
}

export class FileMetadata {
  /** Their counters are for whoever measures. */
  readonly users = new TaggedCache<Owner>(USERS)
  readonly files = new TaggedCache<CachedFile>(FILES)
  readonly rights = new TaggedCache<Right>(RIGHTS)
  private readonly fills = new Set<Fill>()

  /** What the database would say, but for what the owner has used and who holds a lock: those may be older. */
  find({ callerId, from = 0, name, owner, to = 0 }: LocateRequest, now: number): Located | undefined {
    const user = this.users.get(owner.toLowerCase(), now)
    if (user === undefined) return undefined
    let extents: ReadonlyArray<Extent> | undefined
    const file = this.files.get(fileKey(user.userId, name), now, (file) => {
      extents = cover(file.extents, from, Math.min(to, file.row.size))
      return extents !== undefined
    })
    if (file === undefined || extents === undefined) return undefined
    const { row } = file
    const found = { callerId, owner: user, name, file: row, extents }
    if (callerId === user.userId) {
      const role = roleOf({ callerId, ownerId: user.userId, isPublic: row.isPublic, granted: [] })
      return { ...found, role, roleUntil: Infinity }
    }
    const right = this.rights.get(rightKey(row.fileId, callerId), now, ({ until }) => until > now)
    return right === undefined ? undefined : { ...found, role: right.role, roleUntil: right.until }
  }

  /** An owner; what they have used may be older. */
  owner(name: Username, now: number): Owner | undefined {
    return this.users.get(name.toLowerCase(), now)
  }

  /** To be called before the database is asked. */
  begin(): Fill {
    const fill: Fill = { dropped: new Set(), isVoid: false }
    this.fills.add(fill)
    return fill
  }

  /** Keeps what the database said, unless it has changed since it was asked. */
  end(fill: Fill, located: Located | undefined, now: number): void {
    this.fills.delete(fill)
    if (fill.isVoid || located === undefined) return
    const { callerId, extents, file, owner, role, roleUntil } = located
    const ofUser = userOf(owner.userId)
    const isValid = (...tags: ReadonlyArray<string>) => tags.every((tag) => !fill.dropped.has(tag))
    if (isValid(ofUser)) this.users.set(owner.username.toLowerCase(), owner, [ofUser], 200, now)
    // Who may not see the file may ask for it again and again: the database knows at once when that changes.
    if (file === undefined || role === undefined) return
    const content = contentOf(file.fileId)
    const whole = fileOf(file.fileId)
    const ofOwner = ownerOf(owner.userId)
    const segments = extents.map(({ segment }) => segmentOf(segment))
    if (isValid(content, whole, ofOwner, ...segments)) {
      const key = fileKey(owner.userId, file.name)
      const known = this.files.peek(key, now)
      const all = known?.row.version === file.version ? merge(known.extents, extents) : extents
      const bytes = all.reduce((sum, { checksums }) => sum + checksums.length + EXTENT_BYTES, FILE_BYTES)
      const tags = new Set([content, whole, ofOwner, ...all.map(({ segment }) => segmentOf(segment))])
      this.files.set(key, { row: file, extents: all }, [...tags], bytes, now)
    }
    if (callerId !== owner.userId && isValid(whole, ofOwner, userOf(callerId))) {
      const tags = [whole, ofOwner, userOf(callerId)]
      this.rights.set(rightKey(file.fileId, callerId), { role, until: roleUntil }, tags, 100, now)
    }
  }

  drop(tags: ReadonlyArray<string>): void {
    for (const tag of tags) {
      this.users.drop(tag)
      this.files.drop(tag)
      this.rights.drop(tag)
    }
    for (const { dropped } of this.fills) {
      for (const tag of tags) dropped.add(tag)
    }
  }

  clear(): void {
    this.users.clear()
    this.files.clear()
    this.rights.clear()
    for (const fill of this.fills) fill.isVoid = true
  }
}
