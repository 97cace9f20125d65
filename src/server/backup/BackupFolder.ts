/**
 * A folder of backups: each is a list of what was stored at one instant, and they share the segments.
 *
 *     fip-backup.json            whose backups these are
 *     segments/ab/abcdef01-…     content; a segment only grows, so a later backup adds what is new
 *     backups/<name>/            manifest.json, tables.jsonl.gz, identity.pem
 *
 * A backup is there when its folder has its name: it is made under another one, synced, and renamed. What was cut off
 * is taken for nothing, and what it has copied of segments is compared with its checksums before it is used again.
 * Everything is 0600 in folders of 0700: it holds the server's key, password hashes, and all content.
 */
import { Effect, Result, Schema, type Scope } from "effect"
import { createHash } from "node:crypto"
import { createReadStream, existsSync } from "node:fs"
import { readdir, readFile, rename, rm, stat } from "node:fs/promises"
import { join } from "node:path"
import { syncFolder, writeAtomically } from "../../platform/AtomicFile.ts"
import * as FileLock from "../../platform/FileLock.ts"
import { makeFolder } from "../../platform/makeFolder.ts"
import { systemErrorCode, systemErrorReason } from "../../platform/systemError.ts"
import { Sha256, Timestamp } from "../../protocol/Identity.ts"
import { makeDecoder } from "../../protocol/Json.ts"
import { Refusal, refuse } from "../../protocol/Refusal.ts"
import { Count } from "../../protocol/Request.ts"
import type { SegmentId } from "../files/Extent.ts"

const SEGMENT_NAME = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

export const Manifest = Schema.Struct({
  format: Schema.Literal(1),
  server_id: Schema.String,
  created_at: Timestamp,
  /** The last migration of the tables. */
  migration: Count,
  rows: Count,
  files: Count,
  /** Content that versions need, and how much of each segment holds it. */
  bytes: Count,
  segments: Schema.Array(Schema.Struct({
    id: Schema.String.check(Schema.isPattern(SEGMENT_NAME)),
    bytes: Count
  })),
  /** Blocks that were damaged on the server already. */
  damaged: Schema.Array(Schema.Struct({ segment: Schema.String, from: Count })),
  tables_sha256: Sha256,
  identity_sha256: Sha256
})
export type Manifest = typeof Manifest.Type

const decodeManifest = makeDecoder(Manifest, "3:bad")
const decodeMark = makeDecoder(Schema.Struct({ format: Schema.Literal(1), server_id: Schema.String }), "3:bad")

export interface PublishedBackup {
  readonly name: string
  readonly folder: string
  readonly manifest: Manifest
}

export const segmentPath = (root: string, segment: string): string =>
  join(root, "segments", segment.slice(0, 2), segment)
export const tablesPath = (backup: string): string => join(backup, "tables.jsonl.gz")
export const identityPath = (backup: string): string => join(backup, "identity.pem")
const manifestPath = (backup: string): string => join(backup, "manifest.json")

/** A failure of the file system at a backup, in words. */
export const backupRefusal = (folder: string) => (cause: unknown): Refusal => {
  if (cause instanceof Refusal) return cause
  const refusal = refuse("3:disk", `the backup in ${folder} failed: ${systemErrorReason(cause)}`)
  refusal.cause = cause
  return refusal
}

export const hashOf = async (path: string): Promise<Sha256> => {
  const hash = createHash("sha256")
  for await (const chunk of createReadStream(path)) hash.update(chunk)
  return Sha256.make(hash.digest("hex"))
}

const damagedManifest = (folder: string, reason: string) =>
  refuse("3:bad", `the backup ${folder} is damaged: its manifest ${reason}`)

const readManifest = async (folder: string): Promise<Manifest> => {
  const text = await readFile(manifestPath(folder), "utf8").catch((cause: unknown) => {
    throw systemErrorCode(cause) === "ENOENT" ? damagedManifest(folder, "is missing") : cause
  })
  const [line = "", seal] = text.split("\n")
  if (createHash("sha256").update(line).digest("hex") !== seal) {
    throw damagedManifest(folder, "is not what was written")
  }
  const decoded = decodeManifest(Buffer.from(line))
  if (Result.isFailure(decoded)) {
    throw refuse("3:bad", `the backup ${folder} was made by another version of fip: ${decoded.failure.message}`)
  }
  return decoded.success
}

const namesIn = async (folder: string): Promise<ReadonlyArray<string>> => {
  try {
    return (await readdir(folder)).toSorted()
  } catch (cause) {
    if (systemErrorCode(cause) === "ENOENT") return []
    throw cause
  }
}

/** Whether a name in `backups/` is that of one that was finished. */
const isFinished = (name: string): boolean => !name.startsWith(".")

/** The backups in a folder, oldest first. Rejects with a `Refusal` when one is damaged, or there is no such folder. */
export const publishedBackups = async (root: string): Promise<ReadonlyArray<PublishedBackup>> => {
  if (!existsSync(join(root, "fip-backup.json"))) {
    throw refuse("2:nf", `there is no backup in ${root}`)
  }
  const backups: Array<PublishedBackup> = []
  for (const name of (await namesIn(join(root, "backups"))).filter(isFinished)) {
    const folder = join(root, "backups", name)
    backups.push({ name, folder, manifest: await readManifest(folder) })
  }
  return backups
}

const prepare = async (root: string, serverId: string): Promise<void> => {
  const mark = join(root, "fip-backup.json")
  await makeFolder(root, 0o700)
  if (existsSync(mark)) {
    const whose = decodeMark(await readFile(mark))
    if (Result.isFailure(whose)) throw refuse("3:bad", `${mark} is damaged: choose another folder`)
    if (whose.success.server_id !== serverId) {
      throw refuse("2:opcf", `${root} has the backups of another server: choose another folder`)
    }
    return
  }
  const others = (await readdir(root)).filter((name) => !name.startsWith("lock"))
  if (others.length > 0) throw refuse("2:opcf", `${root} is not empty and holds no backups: choose another folder`)
  const written = await Effect.runPromise(
    Effect.result(writeAtomically(mark, `${JSON.stringify({ format: 1, server_id: serverId })}\n`))
  )
  if (Result.isFailure(written)) throw written.failure.cause
}

/** Prepares a folder for another backup, alone until the scope closes. */
export const openForBackup = Effect.fnUntraced(
  function*(root: string, serverId: string): Effect.fn.Return<void, Refusal, Scope.Scope> {
    yield* Effect.tryPromise({ try: () => makeFolder(root, 0o700), catch: backupRefusal(root) })
    yield* FileLock.acquire(join(root, "lock")).pipe(Effect.mapError((error) =>
      error.reason === "held"
        ? refuse("2:opcf", `another backup into ${root} is under way`)
        : refuse("3:disk", error.message)
    ))
    yield* Effect.tryPromise({ try: () => prepare(root, serverId), catch: backupRefusal(root) })
  }
)

/** An empty folder for a new backup, and what was left of one that was cut off removed. */
export const beginBackup = async (root: string): Promise<string> => {
  const backups = join(root, "backups")
  await makeFolder(backups, 0o700)
  for (const name of await readdir(backups)) {
    if (!isFinished(name)) await rm(join(backups, name), { recursive: true, force: true })
  }
  const folder = join(backups, ".new")
  await makeFolder(folder, 0o700)
  return folder
}

/** Syncs the names of all segments that there may be new ones of. */
const syncSegmentFolders = async (root: string, segments: ReadonlyArray<{ readonly id: string }>): Promise<void> => {
  await makeFolder(join(root, "segments"), 0o700)
  for (const part of new Set(segments.map(({ id }) => id.slice(0, 2)))) {
    await syncFolder(join(root, "segments", part))
  }
  await syncFolder(join(root, "segments"))
}

/** Gives a backup that is complete its name. */
export const publish = async (root: string, folder: string, manifest: Manifest): Promise<PublishedBackup> => {
  await syncSegmentFolders(root, manifest.segments)
  const line = JSON.stringify(manifest)
  const seal = createHash("sha256").update(line).digest("hex")
  const written = await Effect.runPromise(Effect.result(writeAtomically(manifestPath(folder), `${line}\n${seal}\n`)))
  if (Result.isFailure(written)) throw written.failure.cause
  const name = manifest.created_at.replaceAll(":", "-")
  const published = join(root, "backups", name)
  await rename(folder, published)
  await syncFolder(join(root, "backups"))
  await syncFolder(root)
  return { name, folder: published, manifest }
}

/** Removes all but the latest `keep` backups, and the segments that only those had. How many backups. */
export const prune = async (root: string, keep: number): Promise<number> => {
  const backups = await publishedBackups(root)
  const removed = backups.slice(0, Math.max(0, backups.length - keep))
  if (removed.length === 0) return 0
  for (const { folder, name } of removed) {
    // Under a name of something unfinished first: half a backup is none.
    const hidden = join(root, "backups", `.old-${name}`)
    await rename(folder, hidden)
    await rm(hidden, { recursive: true })
  }
  const needed = new Set(backups.slice(removed.length).flatMap(({ manifest }) => manifest.segments.map(({ id }) => id)))
  for (const part of await namesIn(join(root, "segments"))) {
    for (const name of await readdir(join(root, "segments", part))) {
      if (!needed.has(name)) await rm(join(root, "segments", part, name))
    }
  }
  return removed.length
}

/** How much of each segment the published backups vouch for. */
export const copiedBefore = (backups: ReadonlyArray<PublishedBackup>): ReadonlyMap<SegmentId | string, number> => {
  const copied = new Map<string, number>()
  for (const { manifest } of backups) {
    for (const { bytes, id } of manifest.segments) copied.set(id, Math.max(bytes, copied.get(id) ?? 0))
  }
  return copied
}

/** The size of a file; 0 when it is not there. */
export const sizeOf = async (path: string): Promise<number> => {
  try {
    return (await stat(path)).size
  } catch (cause) {
    if (systemErrorCode(cause) === "ENOENT") return 0
    throw cause
  }
}
