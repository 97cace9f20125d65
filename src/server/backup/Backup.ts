/**
 * Backs up everything that this server keeps, while it serves: accounts, files, versions, grants, its key.
 *
 * The tables are read at one moment; the segments that they refer to are copied after that, from where the backups that
 * are in the folder already end. Nothing that they refer to is removed meanwhile (GracePeriods). Each new block is
 * compared with its checksum in the copy. Only then does the backup get its name.
 */
import { Clock, Context, DateTime, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { readFile } from "node:fs/promises"
import { isAbsolute, join, relative } from "node:path"
import { writeAtomically } from "../../platform/AtomicFile.ts"
import { Timestamp } from "../../protocol/Identity.ts"
import { type Refusal, refuse } from "../../protocol/Refusal.ts"
import type { AdminBackup } from "../admin/Commands.ts"
import type { Report } from "../admin/Handler.ts"
import { databaseRefusal } from "../Database.ts"
import { GracePeriods } from "../files/GracePeriods.ts"
import { ReclaimRepo } from "../files/ReclaimRepo.ts"
import { SegmentStore } from "../files/SegmentStore.ts"
import { ServerIdentity } from "../Identity.ts"
import { identityDirOf, segmentsDirOf, ServerConfig } from "../ServerConfig.ts"
import * as Folder from "./BackupFolder.ts"
import { dump } from "./Dump.ts"
import { writeLines } from "./Lines.ts"
import { copySegment, type DumpedSegment, dumpedSegments } from "./SegmentCopy.ts"

export interface BackupOptions {
  readonly folder: string
  /** How many backups there are to be in the folder afterwards, at most; `null`: however many. */
  readonly keep: number | null
}

const isInside = (folder: string, outer: string): boolean => {
  const path = relative(outer, folder)
  return !path.startsWith("..") && !isAbsolute(path)
}

export class Backup extends Context.Service<Backup, {
  /** It can be interrupted at any point; the next one goes on where it was. */
  readonly run: (options: BackupOptions, report?: Report) => Effect.Effect<AdminBackup, Refusal>
}>()("fip/server/backup/Backup") {
  static readonly layerNoDeps = Layer.effect(
    Backup,
    Effect.gen(function*() {
      const sql = yield* SqlClient
      const store = yield* SegmentStore
      const grace = yield* GracePeriods
      const repo = yield* ReclaimRepo
      const identity = yield* ServerIdentity
      const config = yield* ServerConfig
      const ownFolders = [config.dataDir, segmentsDirOf(config), identityDirOf(config)]

      const copy = Effect.fnUntraced(function*(root: string, dumped: DumpedSegment, copied: number) {
        const { segment } = dumped
        const failed = Folder.backupRefusal(root)
        const path = Folder.segmentPath(root, segment)
        const size = yield* Effect.tryPromise({ try: () => Folder.sizeOf(path), catch: failed })
        if (Math.min(copied, size) >= dumped.bytes) return { bytes: 0, damaged: [] }
        return yield* Effect.acquireUseRelease(
          Effect.result(Effect.tryPromise({ try: () => store.open(segment), catch: failed })),
          (reader) => {
            if (reader._tag === "Failure") {
              return reader.failure.code === "3:bad"
                ? missing(dumped, reader.failure)
                : Effect.fail(reader.failure)
            }
            return Effect.callback<{ readonly bytes: number; readonly damaged: DumpedSegment["blocks"] }, Refusal>(
              (resume, signal) => {
                const work = copySegment(reader.success, path, dumped, copied, signal)
                work.then(
                  (result) => resume(Effect.succeed(result)),
                  (cause: unknown) => resume(Effect.fail(failed(cause)))
                )
                // The reader is closed when it has stopped.
                return Effect.promise(() => work.then(() => undefined, () => undefined))
              }
            )
          },
          (reader) => reader._tag === "Failure" ? Effect.void : Effect.promise(() => reader.success.close())
        )
      })

      /** A segment that is not there: damage, unless another server has moved what was in it meanwhile. */
      const missing = Effect.fnUntraced(function*({ blocks, segment }: DumpedSegment, failure: Refusal) {
        if ((yield* repo.unreferenced([segment])).length > 0) {
          return yield* refuse("2:opcf", "what was to be copied has been moved meanwhile: run it again, it goes on")
        }
        yield* Effect.annotateLogs(Effect.logError("a segment is missing", failure), { segment, suspicious: true })
        return { bytes: 0, damaged: blocks }
      })

      const run = Effect.fnUntraced(function*({ folder: root, keep }: BackupOptions, report: Report = () => {}) {
        if (!isAbsolute(root)) return yield* refuse("2:ibv", "the folder must be an absolute path", "folder")
        const around = ownFolders.find((own) => isInside(root, own))
        if (around !== undefined) {
          return yield* refuse("2:ibv", `choose a folder outside of the data folder ${around}`, "folder")
        }
        const failed = Folder.backupRefusal(root)
        const attempt = <A>(work: () => Promise<A>) => Effect.tryPromise({ try: work, catch: failed })
        const { record: { serverId } } = yield* identity.state
        yield* Folder.openForBackup(root, serverId)
        const before = yield* attempt(() => Folder.publishedBackups(root))
        const copiedBefore = Folder.copiedBefore(before)
        const damagedBefore = new Set(
          before.flatMap(({ manifest }) => manifest.damaged.map(({ from, segment }) => `${segment}/${from}`))
        )
        const folder = yield* attempt(() => Folder.beginBackup(root))
        // To be held before anything is looked up, until everything is copied.
        const ticket = yield* Effect.acquireRelease(
          Effect.sync(() => grace.enter()),
          (ticket) => Effect.sync(() => grace.leave(ticket))
        )

        const key = yield* attempt(() => readFile(join(identityDirOf(config), "current.pem")))
        yield* Effect.mapError(writeAtomically(Folder.identityPath(folder), key), (error) => failed(error.cause))
        const createdAt = yield* Clock.currentTimeMillis
        const tables = Folder.tablesPath(folder)
        const writer = yield* Effect.acquireRelease(
          Effect.sync(() => writeLines(tables)),
          (writer) => Effect.sync(() => writer.abort())
        )
        const dumped = yield* Effect.mapError(
          dump(sql, writer, (done) => report({ doing: "saving rows", done })),
          databaseRefusal
        )
        yield* attempt(() => writer.end())

        const segments: Array<Folder.Manifest["segments"][number]> = []
        const damaged: Array<Folder.Manifest["damaged"][number]> = []
        let bytes = 0
        let bytesCopied = 0
        let segmentsCopied = 0
        const each = dumpedSegments(tables)
        const next = attempt(() => each.next())
        for (let step = yield* next; step.done !== true; step = yield* next) {
          const { blocks, segment } = step.value
          const copied = yield* copy(root, step.value, copiedBefore.get(segment) ?? 0)
          segments.push({ id: segment, bytes: step.value.bytes })
          const bad = new Set(copied.damaged)
          for (const block of blocks) {
            if (bad.has(block) || damagedBefore.has(`${segment}/${block.from}`)) {
              damaged.push({ segment, from: block.from })
            }
          }
          bytes += step.value.bytes
          bytesCopied += copied.bytes
          if (copied.bytes > 0) segmentsCopied++
          report({ doing: "copying bytes", done: bytes, of: Math.max(bytes, dumped.segmentBytes) })
        }
        grace.leave(ticket)

        const published = yield* attempt(async () =>
          Folder.publish(root, folder, {
            format: 1,
            server_id: serverId,
            created_at: Timestamp.make(DateTime.formatIso(DateTime.makeUnsafe(createdAt))),
            migration: dumped.migration,
            rows: dumped.rows,
            files: dumped.files,
            bytes,
            segments,
            damaged,
            tables_sha256: await Folder.hashOf(tables),
            identity_sha256: await Folder.hashOf(Folder.identityPath(folder))
          })
        )
        return {
          folder: root,
          backup: published.name,
          created_at: published.manifest.created_at,
          rows: dumped.rows,
          files: dumped.files,
          bytes,
          segments: segments.length,
          bytes_copied: bytesCopied,
          segments_copied: segmentsCopied,
          damaged_blocks: damaged.length,
          backups_removed: keep === null ? 0 : yield* attempt(() => Folder.prune(root, keep))
        }
      }, Effect.scoped)

      return Backup.of({ run })
    })
  )

  static readonly layer = this.layerNoDeps.pipe(Layer.provide([ReclaimRepo.layer, GracePeriods.layer]))
}
