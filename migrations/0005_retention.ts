/**
 * Files of which there may be more than is to be kept: older versions, or the file itself when it was deleted.
 *
 * Whatever changes a file puts it here, due at once, and whoever drops what is not kept puts off the next look until
 * the next version is too old. `has_dropped`: versions are gone, and the extents that were theirs alone still have to
 * be, when no read that may have begun before needs them.
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"

export default Effect.gen(function*() {
  const sql = yield* SqlClient

  yield* sql`
    create table outdated (
      file_id bigint primary key references files on delete cascade,
      due_at timestamptz not null,
      has_dropped boolean not null default false
    )`
  yield* sql`create index outdated_due_at on outdated (due_at)`
  yield* sql`create index outdated_has_dropped on outdated (file_id) where has_dropped`
  yield* sql`
    insert into outdated (file_id, due_at)
    select file_id, modified_at from files where version > 1 or deleted_at is not null`

  // To find what refers to a segment.
  yield* sql`create index extents_segment_id on extents (segment_id)`

  // A file that is deleted is nobody else's any more: should it come back, nobody sees it who is not told again.
  yield* sql`
    create or replace function change_files(
      ids bigint[], names text[], sizes bigint[], new_versions bigint[], hashes text[], instants timestamptz[],
      deleted boolean[], now timestamptz
    ) returns void language plpgsql as $$
    begin
      for i in 1 .. cardinality(ids) loop
        update files set
          name = names[i], size = sizes[i], version = new_versions[i], sha256 = decode(hashes[i], 'hex'),
          modified_at = instants[i], public = public and not deleted[i], deleted_at = case when deleted[i] then now end
        where file_id = ids[i];
        if deleted[i] then
          delete from grants where file_id = ids[i];
        end if;
        insert into outdated (file_id, due_at) values (ids[i], now)
        on conflict (file_id) do update set due_at = excluded.due_at where outdated.due_at > excluded.due_at;
      end loop;
    end
    $$`
})
