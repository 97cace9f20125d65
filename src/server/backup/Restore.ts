/**
 * Makes a server's data folder, and its database, out of a backup. No server runs meanwhile: nothing is ever put where
 * something is, so the folder must be empty or not there, and a PostgreSQL without tables.
 *
 * Everything is made beside its place and compared with its checksums there; then it gets its name in one step. What was
 * cut off has changed nothing, and what is damaged is refused by name.
 */
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { copyFile, open, readdir, rename, rm } from "node:fs/promises"
import { dirname, join } from "node:path"
import { syncFolder } from "../../platform/AtomicFile.ts"
import { makeFolder } from "../../platform/makeFolder.ts"
import { systemErrorCode, systemErrorReason } from "../../platform/systemError.ts"
import { Refusal, refuse } from "../../protocol/Refusal.ts"
import { Database } from "../Database.ts"
import { ServerConfig, type ServerSettings } from "../ServerConfig.ts"
import * as Folder from "./BackupFolder.ts"
import { load } from "./Dump.ts"
import { copySegment, dumpedSegments, verifySegment } from "./SegmentCopy.ts"

type OnProgress = (progress: { readonly doing: string; readonly done: number; readonly of?: number }) => void

/** Finds a backup in a folder: the one of that name, or the latest. */
export const find = Effect.fnUntraced(
  function*(root: string, name: string | undefined): Effect.fn.Return<Folder.PublishedBackup, Refusal> {
    const backups = yield* Effect.tryPromise({
      try: () => Folder.publishedBackups(root),
      catch: Folder.backupRefusal(root)
    })
    const found = name === undefined ? backups.at(-1) : backups.find((backup) => backup.name === name)
    if (found === undefined) {
      const names = backups.map((backup) => backup.name).join(", ")
      return yield* refuse(
        "2:nf",
        name === undefined
          ? `there is no finished backup in ${root}`
          : `there is no backup ${name} in ${root}; there are ${names}`
      )
    }
    if (found.manifest.migration > Database.version) {
      return yield* refuse("2:opcf", `${found.folder} was made by a newer version of fip: restore it with that one`)
    }
    return found
  }
)

const damaged = (path: string) => refuse("3:bad", `the backup is damaged: ${path} is not what was written`)

/** The files beside the segments. Rejects with a `Refusal`. */
const verifyFiles = async ({ folder, manifest }: Folder.PublishedBackup): Promise<void> => {
  for (
    const [path, expected] of [
      [Folder.tablesPath(folder), manifest.tables_sha256],
      [Folder.identityPath(folder), manifest.identity_sha256]
    ] as const
  ) {
    const hash = await Folder.hashOf(path).catch((cause: unknown) => {
      throw systemErrorCode(cause) === "ENOENT" ? refuse("3:bad", `the backup is damaged: ${path} is missing`) : cause
    })
    if (hash !== expected) throw damaged(path)
  }
}

/** Goes through the segments of a backup; `path` gives the file in which each has to be whole. */
const verifySegments = async (
  root: string,
  { folder, manifest }: Folder.PublishedBackup,
  progress: (bytes: number) => void,
  bring: (segment: Parameters<typeof verifySegment>[1]) => Promise<string>
): Promise<void> => {
  const known = new Set(manifest.damaged.map(({ from, segment }) => `${segment}/${from}`))
  let bytes = 0
  for await (const dumped of dumpedSegments(Folder.tablesPath(folder))) {
    const bad = (await verifySegment(await bring(dumped), dumped)).filter(({ from }) =>
      !known.has(`${dumped.segment}/${from}`)
    )
    const [first] = bad
    if (first !== undefined) {
      throw refuse(
        "3:bad",
        `the backup is damaged: ${
          Folder.segmentPath(root, dumped.segment)
        } is not what was written from byte ${first.from} on (${bad.length} of ${dumped.blocks.length} blocks)`
      )
    }
    bytes += dumped.bytes
    progress(bytes)
  }
}

/** Compares a backup with its checksums, all of it, and changes nothing. */
export const verify = Effect.fnUntraced(function*(
  root: string,
  backup: Folder.PublishedBackup,
  onProgress: OnProgress
): Effect.fn.Return<void, Refusal> {
  yield* Effect.tryPromise({
    try: async () => {
      await verifyFiles(backup)
      await verifySegments(
        root,
        backup,
        (done) => onProgress({ doing: "verifying bytes", done, of: backup.manifest.bytes }),
        async ({ segment }) => Folder.segmentPath(root, segment)
      )
    },
    catch: Folder.backupRefusal(root)
  })
})

/** Puts the identity and the segments of a backup into a folder, verified there. */
const bringFiles = async (
  root: string,
  backup: Folder.PublishedBackup,
  target: string,
  onProgress: OnProgress,
  signal: AbortSignal
): Promise<void> => {
  await verifyFiles(backup)
  const identity = join(target, "identity")
  await makeFolder(identity, 0o700)
  const key = join(identity, "current.pem")
  await copyFile(Folder.identityPath(backup.folder), key)
  const handle = await open(key, "r+")
  await handle.chmod(0o600)
  await handle.sync()
  await handle.close()
  await syncFolder(identity)
  await makeFolder(join(target, "segments"), 0o700)
  await verifySegments(
    root,
    backup,
    (done) => onProgress({ doing: "restoring bytes", done, of: backup.manifest.bytes }),
    async (dumped) => {
      const path = Folder.segmentPath(target, dumped.segment)
      const source = await open(Folder.segmentPath(root, dumped.segment), "r").catch(() => {
        throw refuse("3:bad", `the backup is damaged: ${Folder.segmentPath(root, dumped.segment)} is missing`)
      })
      try {
        await copySegment(
          {
            read: async (offset, buffers) => {
              const { bytesRead } = await source.readv([...buffers], offset)
              const wanted = buffers.reduce((sum, buffer) => sum + buffer.length, 0)
              if (bytesRead < wanted) throw refuse("3:bad", "it is cut short")
            }
          },
          path,
          dumped,
          0,
          signal
        )
      } finally {
        await source.close()
      }
      return path
    }
  )
  for (const part of await readdir(join(target, "segments"))) await syncFolder(join(target, "segments", part))
  await syncFolder(join(target, "segments"))
  await syncFolder(target)
}

const databaseFailed = (error: SqlError | Refusal): Refusal =>
  error._tag === "Refusal"
    ? error
    : refuse("3:db", `the database did not take the backup: ${systemErrorReason(error.reason.cause)}`)

const mustBeEmpty = async (dataDir: string): Promise<void> => {
  const names = await readdir(dataDir).catch((cause: unknown) => {
    if (systemErrorCode(cause) === "ENOENT") return []
    throw cause
  })
  if (names.length > 0) {
    throw refuse(
      "2:opcf",
      `${dataDir} is not empty: a backup is restored into a folder that is empty, or not there yet`
    )
  }
}

/** Restores a backup into the data folder of these settings, and into their PostgreSQL if they name one. */
export const restore = Effect.fnUntraced(function*(
  root: string,
  backup: Folder.PublishedBackup,
  settings: ServerSettings,
  onProgress: OnProgress
): Effect.fn.Return<void, Refusal> {
  const { dataDir, databaseUrl } = settings
  if (settings.segmentsDir !== undefined || settings.identityDir !== undefined) {
    return yield* refuse(
      "2:opcf",
      "a backup is restored into a data folder: leave segments_dir and identity_dir away, and move both afterwards"
    )
  }
  const failed = (cause: unknown): Refusal =>
    cause instanceof Refusal
      ? cause
      : refuse("3:disk", `the backup cannot be restored into ${dataDir}: ${systemErrorReason(cause)}`)
  const attempt = <A>(work: (signal: AbortSignal) => Promise<A>) => Effect.tryPromise({ try: work, catch: failed })
  const staging = `${dataDir}.restoring`
  const putInPlace = async (): Promise<void> => {
    await rename(staging, dataDir)
    await syncFolder(dirname(dataDir))
  }
  /** The tables, in a database that has none. */
  const bringTables = Effect.fnUntraced(function*(sql: SqlClient) {
    const [present] = yield* sql<{ readonly tables: number }>`
      select count(*) as tables from pg_class
      where relnamespace = current_schema()::regnamespace and relkind in ('r', 'p', 'v', 'm')`
    if ((present?.tables ?? 0) > 0) {
      return yield* refuse("2:opcf", "the database is not empty: a backup is restored into one without tables")
    }
    yield* Database.migrateTo(backup.manifest.migration).pipe(
      Effect.provideService(SqlClient, sql),
      Effect.mapError(({ message }) => refuse("3:db", message))
    )
    yield* load(
      sql,
      Folder.tablesPath(backup.folder),
      (done) => onProgress({ doing: "restoring rows", done, of: backup.manifest.rows })
    )
  })
  const database = Layer.build(Database.layer).pipe(
    Effect.provideService(ServerConfig, {
      ...settings,
      dataDir: staging,
      segmentsDir: undefined,
      identityDir: undefined,
      durability: "full"
    }),
    Effect.provideService(Database.Migrations, {}),
    Effect.mapError(({ message }) => refuse("3:db", message))
  )

  yield* attempt(async () => {
    await mustBeEmpty(dataDir)
    await rm(staging, { recursive: true, force: true })
    await makeFolder(staging, 0o700)
  })
  yield* attempt((signal) => bringFiles(root, backup, staging, onProgress, signal))
  yield* Effect.scoped(Effect.gen(function*() {
    const sql = yield* Effect.provide(SqlClient, yield* database)
    // Tables and folder come together: what fails after the folder has its name takes it away again.
    yield* sql.withTransaction(
      databaseUrl === undefined ? bringTables(sql) : Effect.andThen(bringTables(sql), attempt(putInPlace))
    ).pipe(
      Effect.mapError(databaseFailed),
      Effect.onError(() =>
        Effect.ignore(attempt(() => databaseUrl === undefined ? Promise.resolve() : rename(dataDir, staging)))
      )
    )
  }))
  if (databaseUrl === undefined) yield* attempt(putInPlace)
})
