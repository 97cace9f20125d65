/**
 * What must be true of the tables of files and of the segments at every moment, whatever happened: complaints, none when
 * all is well.
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"

interface Extent {
  readonly segment_id: string
  readonly end: number
}

/** `segments`: the length of each that is there. */
export const complaints = Effect.fnUntraced(function*(
  segments: ReadonlyMap<string, number>
): Effect.fn.Return<ReadonlyArray<string>, SqlError, SqlClient> {
  const sql = yield* SqlClient
  const found: Array<string> = []

  const holes = yield* sql<{ readonly file_id: number; readonly version: number }>`
    select v.file_id, v.version
    from versions v
    left join lateral (
      select e.position, e.length, lag(e.position + e.length, 1, 0::bigint) over (order by e.position) as expected
      from extents e
      where e.file_id = v.file_id and e.from_version <= v.version and e.until_version > v.version
    ) e on true
    group by v.file_id, v.version, v.size
    having coalesce(sum(e.length), 0) <> v.size or bool_or(e.position <> e.expected)`
  for (const { file_id, version } of holes) {
    found.push(`the extents of version ${version} of file ${file_id} do not cover it once`)
  }

  // Of a file that is deleted for good the versions go first.
  const strays = yield* sql<{ readonly file_id: number }>`
    select f.file_id from files f
    left join versions v on v.file_id = f.file_id and v.version = f.version and v.size = f.size
    where (v.file_id is null or v.sha256 is distinct from f.sha256
        or v.modified_ms is distinct from f.modified_ms or v.executable is distinct from f.executable)
      and (f.deleted_at is null or exists (select from versions w where w.file_id = f.file_id))`
  for (const { file_id } of strays) found.push(`file ${file_id} is not as its current version says`)

  const drifted = yield* sql<{ readonly username: string; readonly bytes_used: number; readonly bytes: number }>`
    select u.username, u.bytes_used, coalesce(sum(f.size), 0)::bigint as bytes
    from users u left join files f on f.owner_id = u.user_id and f.deleted_at is null
    group by u.user_id
    having u.bytes_used <> coalesce(sum(f.size), 0) or u.files_used <> count(f.file_id)`
  for (const { bytes, bytes_used, username } of drifted) {
    found.push(`the quota of ${username} has drifted: ${bytes_used} bytes are charged, and there are ${bytes}`)
  }

  const extents = yield* sql<Extent>`
    select segment_id, max(checked_to)::bigint as end from extents group by segment_id`
  for (const { end, segment_id } of extents) {
    const length = segments.get(segment_id)
    if (length === undefined) found.push(`segment ${segment_id} is missing`)
    else if (length < end) found.push(`segment ${segment_id} has ${length} bytes, and ${end} are in use`)
  }
  return found
})
