/** A file store of its own for a test: real segments in a temporary folder, on a database that the test provides. */
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { randomUUID } from "node:crypto"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { FileName, FolderPrefix } from "../../../src/protocol/FileName.ts"
import { SessionId, Username } from "../../../src/protocol/Identity.ts"
import type { Caller } from "../../../src/server/Caller.ts"
import type { ContentSource } from "../../../src/server/ContentSource.ts"
import { FileBufferCache } from "../../../src/server/FileBufferCache.ts"
import { Disk } from "../../../src/server/files/Disk.ts"
import { SegmentStore } from "../../../src/server/files/SegmentStore.ts"
import { UploadRepo } from "../../../src/server/files/UploadRepo.ts"
import { UploadSessions } from "../../../src/server/files/UploadSessions.ts"
import { FileStore } from "../../../src/server/FileStore.ts"
import { defaults, ServerConfig, type ServerSettings } from "../../../src/server/ServerConfig.ts"

/** A folder that is removed when the scope closes. */
export const folder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "fip-files-"))),
  (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
)

export const config = (dataDir: string, settings: Partial<ServerSettings> = {}) =>
  Layer.succeed(ServerConfig, { ...defaults, dataDir, ...settings })

/** Counts what reaches the disk. */
export const countingDisk = () => {
  const node = Effect.runSync(Disk)
  const counts = { opened: 0, open: 0, reads: 0, syncs: 0 }
  const disk: Disk = {
    ...node,
    open: async (path, mode) => {
      const file = await node.open(path, mode)
      counts.open++
      if (mode === "read") counts.opened++
      return file
    },
    close: async (file) => {
      counts.open--
      await node.close(file)
    },
    read: (file, buffers, position) => {
      counts.reads++
      return node.read(file, buffers, position)
    },
    sync: (file) => {
      counts.syncs++
      return node.sync(file)
    }
  }
  return { counts, layer: Layer.succeed(Disk, disk) }
}

/** Everything above the database. Built again on the same folder, it is the store after a restart. */
export const layerIn = (dataDir: string, settings: Partial<ServerSettings> = {}) =>
  Layer.mergeAll(FileStore.layer, UploadSessions.layer.pipe(Layer.provide(UploadRepo.layer))).pipe(
    Layer.provideMerge(FileBufferCache.layer),
    Layer.provideMerge(SegmentStore.layer),
    Layer.provideMerge(config(dataDir, settings))
  )

export const layer = (settings: Partial<ServerSettings> = {}) =>
  Layer.unwrap(Effect.map(folder, (dataDir) => layerIn(dataDir, settings)))

let users = 0

/** A new user, and a caller that is this user. */
export const newUser = Effect.fnUntraced(function*(
  options?: { readonly name?: string; readonly bytesLimit?: number; readonly filesLimit?: number }
): Effect.fn.Return<Caller, never, SqlClient> {
  const sql = yield* SqlClient
  const username = Username.make(options?.name ?? `user_${process.pid}_${users++}`)
  const rows = yield* sql<{ readonly user_id: number }>`
    insert into users (username, username_key, password_hash, bytes_limit, files_limit, created_at)
    values (
      ${username}, ${username.toLowerCase()}, '', ${options?.bytesLimit ?? null}::bigint,
      ${options?.filesLimit ?? null}::bigint, now()
    )
    returning user_id`.pipe(Effect.orDie)
  const caller: Caller = {
    userId: rows[0]?.user_id ?? 0,
    username,
    sessionId: SessionId.make(randomUUID()),
    expiresAt: Number.MAX_SAFE_INTEGER,
    address: "127.0.0.1"
  }
  return caller
})

/** What the owner is charged for. */
export const usage = Effect.fnUntraced(function*(caller: Caller) {
  const sql = yield* SqlClient
  const rows = yield* sql<{ readonly bytes_used: number; readonly files_used: number }>`
    select bytes_used, files_used from users where user_id = ${caller.userId}::bigint`
  return { bytes: rows[0]?.bytes_used ?? -1, files: rows[0]?.files_used ?? -1 }
}, Effect.orDie)

export const name = (text: string): FileName => FileName.make(text)
export const folderName = (text: string): FolderPrefix => FolderPrefix.make(text)

/** Views of `bytes` in pieces of different lengths, as they would come from a socket. */
export const inPieces = (bytes: Uint8Array, size = 1000): ReadonlyArray<Uint8Array> => {
  const pieces: Array<Uint8Array> = []
  for (let at = 0; at < bytes.length; at += size) pieces.push(bytes.subarray(at, at + size))
  return pieces
}

/** Reads a source to its end and closes it. Rejects with a `Refusal`. */
export const drain = async (content: ContentSource): Promise<Buffer> => {
  const chunks: Array<Uint8Array> = []
  try {
    for (let chunk = await content.next(); chunk !== undefined; chunk = await content.next()) chunks.push(chunk)
  } finally {
    content.close()
  }
  return Buffer.concat(chunks)
}
