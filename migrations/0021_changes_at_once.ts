/**
 * What changes of files and extents that are there, all of a group in one statement: a loop over rows paid for a
 * statement with each. A join could be planned as a scan of the whole table while that is small, and stay so: these
 * functions leave the planner nothing but the index. The counts of reads, likewise.
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"

export default Effect.gen(function*() {
  const sql = yield* SqlClient

  yield* sql`
    create or replace function change_files(
      ids bigint[], names text[], sizes bigint[], new_versions bigint[], hashes text[], instants timestamptz[],
      local_instants bigint[], executables boolean[], deleted boolean[], now timestamptz
    ) returns void language plpgsql
    set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
    begin
      with changed as (
        update files f set
          name = c.name, size = c.size, version = c.version, sha256 = decode(c.hash, 'hex'), modified_at = c.instant,
          modified_ms = c.local_instant, executable = c.executable, public = f.public and not c.deleted,
          deleted_at = case when c.deleted then now end
        from unnest(
          ids, names, sizes, new_versions, hashes, instants, local_instants, executables, deleted
        ) as c (id, name, size, version, hash, instant, local_instant, executable, deleted)
        where f.file_id = c.id
        returning f.file_id, f.owner_id
      )
      insert into outdated (file_id, owner_id, due_at) select file_id, owner_id, now from changed
      on conflict (file_id) do update set due_at = excluded.due_at where outdated.due_at > excluded.due_at;
      if true = any (deleted) then
        delete from grants g using unnest(ids, deleted) as c (id, deleted) where c.deleted and g.file_id = c.id;
      end if;
    end
    $$`

  // The current extents that begin in [range_froms, range_tos) are not part of the new version.
  yield* sql`
    create or replace function close_extents(
      ids bigint[], range_froms bigint[], range_tos bigint[], new_versions bigint[]
    ) returns void language plpgsql
    set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
    begin
      update extents e set until_version = c.version
      from unnest(ids, range_froms, range_tos, new_versions) as c (id, range_from, range_to, version)
      where e.file_id = c.id and e.until_version = 9223372036854775807
        and e.position >= c.range_from and e.position < c.range_to;
    end
    $$`

  // Most files were read before: their counts are changed without a look at the file, which would be locked and written
  // for that. A file that is gone took its count along.
  yield* sql`
    create or replace function note_reads(ids bigint[], counts bigint[], instants timestamptz[])
    returns void language plpgsql
    set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
    begin
      update file_reads r set reads = r.reads + c.reads, last_read_at = greatest(r.last_read_at, c.instant)
      from unnest(ids, counts, instants) as c (id, reads, instant) where r.file_id = c.id;
      insert into file_reads as r (file_id, reads, last_read_at)
      select f.file_id, c.reads, c.instant from unnest(ids, counts, instants) as c (id, reads, instant)
      cross join lateral (select f.file_id from files f where f.file_id = c.id offset 0 for key share) f
      where not exists (select from file_reads r where r.file_id = c.id)
      on conflict (file_id) do update set
        reads = r.reads + excluded.reads, last_read_at = greatest(r.last_read_at, excluded.last_read_at);
    end
    $$`
})
