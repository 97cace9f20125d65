/** Stores to back up, and what a restored one has. */
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { Backup } from "../../../src/server/backup/Backup.ts"
import { find, restore } from "../../../src/server/backup/Restore.ts"
import type { Caller } from "../../../src/server/Caller.ts"
import { Database } from "../../../src/server/Database.ts"
import { Fsck } from "../../../src/server/files/Fsck.ts"
import { FileStore } from "../../../src/server/FileStore.ts"
import { ServerIdentity } from "../../../src/server/Identity.ts"
import { defaults } from "../../../src/server/ServerConfig.ts"
import * as Storage from "../files/Storage.ts"

/** What a server has in a data folder, above its database. */
export const storeIn = (dataDir: string) =>
  Layer.fresh(
    Layer.mergeAll(Backup.layer, Fsck.layer).pipe(
      Layer.provideMerge(ServerIdentity.layer),
      Layer.provideMerge(Storage.layerIn(dataDir))
    )
  )

/** The same with the database of a data folder, or a PostgreSQL. */
export const serverIn = (dataDir: string, databaseUrl?: string) =>
  storeIn(dataDir).pipe(
    Layer.provideMerge(Database.layer),
    Layer.provide(Storage.config(dataDir, { databaseUrl })),
    Layer.orDie
  )

export const backUp = (folder: string, keep: number | null = null) =>
  Effect.flatMap(Backup, (backup) => backup.run({ folder, keep }))

export const restoreInto = Effect.fnUntraced(function*(
  folder: string,
  dataDir: string,
  options: { readonly name?: string; readonly databaseUrl?: string } = {}
) {
  const backup = yield* find(folder, options.name)
  yield* restore(folder, backup, { ...defaults, dataDir, databaseUrl: options.databaseUrl }, () => {})
})

export const contentOf = Effect.fnUntraced(function*(caller: Caller, name: string) {
  const files = yield* FileStore
  const { content } = yield* files.read(caller, { name: Storage.name(name) })
  return yield* Effect.promise(() => Storage.drain(content))
})

/** The files of a user by name. */
export const allOf = Effect.fnUntraced(function*(caller: Caller) {
  const sql = yield* SqlClient
  const rows = yield* sql<{ readonly name: string }>`
    select name from files where owner_id = ${caller.userId}::bigint and deleted_at is null order by name`
  const contents = new Map<string, string>()
  for (const { name } of rows) contents.set(name, (yield* contentOf(caller, name)).toString("latin1"))
  return contents
})
