/**
 * The id that a database and its folder of segments have in common, so that a server that was given the wrong one of
 * either says so at its start, instead of taking content for lost and segments for garbage.
 *
 * A store that was made before there were ids gets one at its next start; so does one whose folder was copied without
 * the file. Then a segment that the database refers to must be there.
 */
import { Data, Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { randomUUID } from "node:crypto"
import { access, readFile } from "node:fs/promises"
import { join } from "node:path"
import { writeAtomically } from "../../platform/AtomicFile.ts"
import { makeFolder } from "../../platform/makeFolder.ts"
import { systemErrorCode, systemErrorReason } from "../../platform/systemError.ts"

/** The store cannot be used. `message` is a sentence for the person who starts the server. */
export class StoreError extends Data.TaggedError("StoreError")<{ readonly message: string }> {}

/** In the folder of segments. */
const FILE = "store.id"

const unusable = (folder: string) => (cause: unknown): StoreError =>
  new StoreError({ message: `cannot use the folder of segments ${folder}: ${systemErrorReason(cause)}` })

const idIn = async (folder: string): Promise<string | undefined> => {
  await makeFolder(folder, 0o700)
  try {
    return (await readFile(join(folder, FILE), "utf8")).trim()
  } catch (cause) {
    if (systemErrorCode(cause) === "ENOENT") return undefined
    throw cause
  }
}

const exists = (path: string): Promise<boolean> => access(path).then(() => true, () => false)

const strange = (folder: string): StoreError =>
  new StoreError({
    message: `${folder} is not where the content of this database is: give the folder of segments that belongs to it ` +
      "(--segments-dir), or the database that belongs to the folder (--database-url, --data-dir)"
  })

/** Fails unless the folder and the database belong together. */
export const check = Effect.fnUntraced(
  function*(folder: string): Effect.fn.Return<void, StoreError | SqlError, SqlClient> {
    const sql = yield* SqlClient
    const inFolder = yield* Effect.tryPromise({ try: () => idIn(folder), catch: unusable(folder) })
    const [known] = yield* sql<{ readonly store_id: string }>`select store_id from store`
    if (inFolder !== undefined && inFolder === known?.store_id) return
    // A database that knows nothing of what is in the folder would let it be removed.
    if (inFolder !== undefined) return yield* strange(folder)
    const [sample] = yield* sql<{ readonly segment_id: string }>`select segment_id from extents limit 1`
    if (sample !== undefined) {
      const { segment_id } = sample
      const path = join(folder, segment_id.slice(0, 2), segment_id)
      if (!(yield* Effect.promise(() => exists(path)))) return yield* strange(folder)
    }
    // Another server may be doing the same at this moment: both write the id that one of them has put into the database.
    yield* sql`insert into store (store_id) values (${known?.store_id ?? randomUUID()}::uuid) on conflict do nothing`
    const [settled] = yield* sql<{ readonly store_id: string }>`select store_id from store`
    yield* Effect.mapError(writeAtomically(join(folder, FILE), `${settled?.store_id ?? ""}\n`), unusable(folder))
  }
)
