/**
 * Moving extents one by one, with checksums of their own: so a segment gives up what no version needs, and not only
 * blocks of which nobody needs a byte. Supersedes `move_extents`.
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"

export default Effect.gen(function*() {
  const sql = yield* SqlClient

  // Each extent of a segment that is described by its first checked byte, its offset and its length lies elsewhere, too:
  // makes the rows refer to that. An extent that has changed since it was found stays where it is.
  yield* sql`
    create function rehome_extents(
      old_segment uuid, old_froms bigint[], old_offsets bigint[], old_lengths bigint[],
      new_segments uuid[], new_offsets bigint[], new_froms bigint[], new_tos bigint[], new_checksums bytea[]
    ) returns bigint language plpgsql as $$
    declare
      r record;
      locked bigint;
      moved bigint := 0;
      count bigint;
    begin
      for r in
        select e.file_id, e.until_version, e.position, q.i
        from unnest(old_froms, old_offsets, old_lengths) with ordinality as q (checked_from, segment_offset, length, i)
        cross join lateral (
          select x.file_id, x.until_version, x.position from extents x
          where x.segment_id = old_segment and x.checked_from = q.checked_from
            and x.segment_offset = q.segment_offset and x.length = q.length
          offset 0
        ) e
        order by e.file_id
      loop
        if locked is distinct from r.file_id then
          perform 1 from files x where x.file_id = r.file_id for no key update skip locked;
          continue when not found;
          locked := r.file_id;
        end if;
        update extents e set
          segment_id = new_segments[r.i], segment_offset = new_offsets[r.i],
          checked_from = new_froms[r.i], checked_to = new_tos[r.i], checksums = new_checksums[r.i]
        where e.file_id = r.file_id and e.until_version = r.until_version and e.position = r.position
          and e.segment_id = old_segment and e.checked_from = old_froms[r.i]
          and e.segment_offset = old_offsets[r.i] and e.length = old_lengths[r.i];
        get diagnostics count = row_count;
        moved := moved + count;
      end loop;
      return moved;
    end
    $$`
})
