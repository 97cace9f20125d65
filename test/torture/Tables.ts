/** The tables and the segments of a server that is tortured, looked at from beside it. */
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { cp, mkdir, readdir, rm, stat } from "node:fs/promises"
import { join } from "node:path"
import { systemErrorCode } from "../../src/platform/systemError.ts"
import { Database } from "../../src/server/Database.ts"
import { defaults, ServerConfig } from "../../src/server/ServerConfig.ts"
import { complaints } from "../support/tableInvariants.ts"

/** Other files in the folder are not content. */
const SEGMENT_NAME = /^[0-9a-f-]{36}$/

/** The length of every segment. A server that runs may remove one between its listing and the look at it. */
export const segmentsIn = async (dataDir: string): Promise<ReadonlyMap<string, number>> => {
  const root = join(dataDir, "segments")
  const found = new Map<string, number>()
  for (const entry of await readdir(root, { withFileTypes: true, recursive: true })) {
    if (!entry.isFile() || !SEGMENT_NAME.test(entry.name)) continue
    try {
      found.set(entry.name, (await stat(join(entry.parentPath, entry.name))).size)
    } catch (cause) {
      if (systemErrorCode(cause) !== "ENOENT") throw cause
    }
  }
  return found
}

export interface Looked {
  readonly complaints: ReadonlyArray<string>
  /** Bytes that some version consists of. */
  readonly usedBytes: number
  /** Segments that a version or an upload needs. */
  readonly needed: ReadonlySet<string>
}

const look = (segments: ReadonlyMap<string, number>) =>
  Effect.gen(function*() {
    const sql = yield* SqlClient
    const [used] = yield* sql<{ readonly bytes: number }>`
      select coalesce(sum(upper(r) - lower(r)), 0)::bigint as bytes from (
        select unnest(range_agg(int8range(segment_offset, segment_offset + length))) as r
        from extents group by segment_id
      ) ranges`
    const needed = yield* sql<{ readonly segment_id: string }>`
      select segment_id from extents union select segment_id from uploads where outcome is null`
    return {
      complaints: yield* complaints(segments),
      usedBytes: used?.bytes ?? 0,
      needed: new Set(needed.map((row) => row.segment_id))
    }
  })

/** Looks at them while no server uses them; at the embedded database in a copy, which recovers as a server would. */
export const lookAt = async (dataDir: string, databaseUrl: string | undefined, copy: string): Promise<Looked> => {
  const segments = await segmentsIn(dataDir)
  if (databaseUrl === undefined) {
    await mkdir(copy)
    await cp(join(dataDir, "database"), join(copy, "database"), { recursive: true })
  }
  try {
    return await Effect.runPromise(
      look(segments).pipe(
        Effect.provide(Database.layer),
        Effect.provideService(ServerConfig, { ...defaults, dataDir: copy, databaseUrl }),
        Effect.scoped
      )
    )
  } finally {
    await rm(copy, { recursive: true, force: true })
  }
}
