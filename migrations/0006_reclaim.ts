/**
 * Giving back what is not kept: versions first, then extents, then segments, each a step of its own.
 *
 * Every function here looks at a file only when it can have its row at once, and leaves the others for the next time:
 * nobody waits for these, and they wait for nobody. Whoever copies or cuts extents has locked the row of their file, so
 * an extent that is moved or removed here is not about to appear in another version.
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"

export default Effect.gen(function*() {
  const sql = yield* SqlClient

  // Drops the versions of files that are due: nobody can begin to read them then. What is left of a file's versions is
  // without holes, up to the current one. A deleted file that has none is gone for good. Returns how many it looked at.
  yield* sql`
    create function drop_versions(
      batch integer, keep bigint, now timestamptz, versions_before timestamptz, deleted_before timestamptz
    ) returns table (seen bigint, dropped bigint) language plpgsql as $$
    declare
      due bigint;
      f record;
      keep_from bigint;
      gone bigint;
      next_due timestamptz;
    begin
      seen := 0;
      dropped := 0;
      for due in select o.file_id from outdated o where o.due_at <= now order by o.due_at limit batch loop
        select x.version, x.deleted_at into f from files x where x.file_id = due for no key update skip locked;
        continue when not found;
        seen := seen + 1;
        if f.deleted_at <= deleted_before then
          keep_from := f.version + 1;
        else
          keep_from := greatest(
            f.version - keep,
            (select max(v.version) from versions v where v.file_id = due and v.created_at <= versions_before)
          );
        end if;
        delete from versions v where v.file_id = due and v.version < keep_from;
        get diagnostics gone = row_count;
        dropped := dropped + gone;
        -- The oldest version is out of date since the next one was made.
        select min(v.created_at) + (now - versions_before) into next_due
        from versions v
        where v.file_id = due and v.version > (select min(w.version) from versions w where w.file_id = due);
        if f.deleted_at > deleted_before then
          next_due := least(next_due, f.deleted_at + (now - deleted_before));
        end if;
        update outdated o set due_at = coalesce(next_due, 'infinity'), has_dropped = o.has_dropped or gone > 0
        where o.file_id = due;
        delete from outdated o where o.file_id = due and o.due_at = 'infinity' and not o.has_dropped;
      end loop;
      return next;
    end
    $$`

  // Removes the extents of these files that belong to no version that is left, at most so many, and deleted files of
  // which nothing is left. Returns the segments that have less to hold now.
  yield* sql`
    create function drop_extents(ids bigint[], most bigint) returns table (segment_id uuid) language plpgsql as $$
    declare
      id bigint;
      f record;
      keep_from bigint;
      room bigint := most;
      gone uuid[];
    begin
      foreach id in array ids loop
        select x.deleted_at into f from files x where x.file_id = id for no key update skip locked;
        continue when not found;
        select min(v.version) into keep_from from versions v where v.file_id = id;
        with chosen as (
          select e.until_version, e.position from extents e
          where e.file_id = id and e.until_version <= coalesce(keep_from, 9223372036854775807)
          order by e.until_version, e.position limit room
        ), removed as (
          delete from extents e using chosen c
          where e.file_id = id and e.until_version = c.until_version and e.position = c.position
          returning e.segment_id
        )
        select array_agg(r.segment_id) into gone from removed r;
        room := room - coalesce(cardinality(gone), 0);
        return query select distinct g from unnest(gone) as g;
        exit when room <= 0;
        update outdated o set has_dropped = false where o.file_id = id;
        delete from outdated o where o.file_id = id and o.due_at = 'infinity';
        if keep_from is null and f.deleted_at is not null then
          delete from files x where x.file_id = id;
        end if;
      end loop;
    end
    $$`

  // The bytes [froms, tos) of a segment lie in another one too, so much further on: makes the extents there refer to it.
  yield* sql`
    create function move_extents(
      old_segment uuid, froms bigint[], tos bigint[], new_segments uuid[], distances bigint[]
    ) returns bigint language plpgsql as $$
    declare
      id bigint;
      moved bigint := 0;
      count bigint;
    begin
      for id in
        select distinct e.file_id from extents e
        where e.segment_id = old_segment and e.checked_from >= froms[1] and e.checked_to <= tos[cardinality(tos)]
      loop
        perform 1 from files x where x.file_id = id for no key update skip locked;
        continue when not found;
        for i in 1 .. cardinality(froms) loop
          update extents e set
            segment_id = new_segments[i], segment_offset = e.segment_offset + distances[i],
            checked_from = e.checked_from + distances[i], checked_to = e.checked_to + distances[i]
          where e.segment_id = old_segment and e.file_id = id
            and e.checked_from >= froms[i] and e.checked_to <= tos[i];
          get diagnostics count = row_count;
          moved := moved + count;
        end loop;
      end loop;
      return moved;
    end
    $$`

  // Both of these in one: the extents of a segment in the order of their bytes, and those of a segment and a file.
  yield* sql`drop index extents_segment_id`
  yield* sql`create index extents_segment on extents (segment_id, checked_from)`
})
