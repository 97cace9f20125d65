/** `fip admin backup`, which asks the running server, and `fip admin restore`, for which none may run. */
import { Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { resolve } from "node:path"
import { resolveSettings } from "../serverSettings.ts"
import { UsageError } from "../shell/Failure.ts"
import { formatBytes, formatCount, formatTime } from "../shell/format.ts"
import { ask } from "./AdminClient.ts"
import { adminFlags, runAdmin } from "./adminCommand.ts"
import { wholeNumber } from "./inputs.ts"

const folder = Argument.String("folder").pipe(Argument.withDescription("the folder of the backups"))

const which = Flag.String("backup").pipe(
  Flag.withMetavar("name"),
  Flag.withDescription("which of the backups in the folder (default the latest)"),
  Flag.optional
)

// The server's modules load when they are needed, so that other commands do not pay for them.
const restoring = Effect.promise(() => import("../../server/backup/Restore.ts"))

const damagedOnServer = (count: number): ReadonlyArray<string> =>
  count === 0 ? [] : [`${formatCount(count, "block")} of it damaged on the server: run fip admin fsck there`]

export const backupCommand = Command.make(
  "backup",
  {
    folder,
    keep: Flag.String("keep").pipe(
      Flag.withMetavar("n"),
      Flag.filterMap(wholeNumber, () => "a whole number, 1 or more"),
      Flag.withDescription("remove all but the latest n backups from the folder afterwards (default: keep all)"),
      Flag.optional
    ),
    verify: Flag.Boolean("verify").pipe(
      Flag.withDescription("make none, but compare one that is there with its checksums; needs no server"),
      Flag.withDefault(false)
    ),
    which,
    common: adminFlags
  },
  ({ common, folder, keep, verify, which }) =>
    verify
      ? runAdmin(
        "backup",
        common,
        Effect.fnUntraced(function*(_, onProgress) {
          const { find, verify } = yield* restoring
          const backup = yield* find(resolve(folder), Option.getOrUndefined(which))
          yield* verify(resolve(folder), backup, onProgress)
          const { bytes, created_at, damaged, files, segments } = backup.manifest
          const message = [
            `the backup of ${formatTime(created_at)} is whole: ${formatCount(files, "file")}, ${formatBytes(bytes)}`,
            ...damagedOnServer(damaged.length)
          ].join("; ")
          const result = {
            folder: resolve(folder),
            backup: backup.name,
            created_at,
            files,
            bytes,
            segments: segments.length,
            damaged_blocks: damaged.length
          }
          return { result, said: { message } }
        })
      )
      : runAdmin(
        "backup",
        common,
        Effect.fnUntraced(function*(dataDir, onProgress) {
          if (Option.isSome(which)) return yield* new UsageError({ message: "--backup goes with --verify" })
          const input = { folder: resolve(folder), keep: Option.getOrNull(keep) }
          const result = yield* ask(dataDir, "backup", input, onProgress)
          const message = [
            `backup ${result.backup}: ${formatCount(result.files, "file")}, ${formatBytes(result.bytes)}, of which ${
              formatBytes(result.bytes_copied)
            } were new`,
            ...result.backups_removed === 0 ? [] : [`removed ${formatCount(result.backups_removed, "older backup")}`],
            ...damagedOnServer(result.damaged_blocks)
          ].join("; ")
          return { result, said: { message, ...result.damaged_blocks > 0 ? { failed: true as const } : {} } }
        })
      )
).pipe(Command.withDescription("Back up everything while the server runs: copies what is new since the last one"))

export const restoreCommand = Command.make(
  "restore",
  {
    folder,
    which,
    databaseUrl: Flag.String("database-url").pipe(
      Flag.withDescription("a PostgreSQL without tables, for names, versions and accounts (default: embedded)"),
      Flag.optional
    ),
    config: Flag.String("config").pipe(Flag.withDescription("settings file (TOML) of the server"), Flag.optional),
    common: adminFlags
  },
  ({ common, config, databaseUrl, folder, which }) =>
    runAdmin(
      "restore",
      common,
      Effect.fnUntraced(function*(_, onProgress) {
        const { server } = yield* resolveSettings(
          { data_dir: Option.getOrUndefined(common.dataDir), database_url: Option.getOrUndefined(databaseUrl) },
          config
        ).pipe(Effect.mapError(({ message }) => new UsageError({ message })))
        const { find, restore } = yield* restoring
        const backup = yield* find(resolve(folder), Option.getOrUndefined(which))
        yield* restore(resolve(folder), backup, server, onProgress)
        const { bytes, created_at, damaged, files } = backup.manifest
        const message = [
          `restored the backup of ${formatTime(created_at)} into ${server.dataDir}: ${formatCount(files, "file")}, ${
            formatBytes(bytes)
          }`,
          ...damagedOnServer(damaged.length)
        ].join("; ")
        const result = {
          data_dir: server.dataDir,
          backup: backup.name,
          created_at,
          files,
          bytes,
          damaged_blocks: damaged.length
        }
        return { result, said: { message } }
      })
    )
).pipe(
  Command.withDescription("Make a data folder out of a backup, which must be empty or not there yet; without a server")
)
