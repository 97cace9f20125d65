/**
 * What a file was on the machine that it came from: when its content was last changed there, and whether it is a
 * program. A part of each version; null where nobody said. `modified_at` stays the server's own time.
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"

export default Effect.gen(function*() {
  const sql = yield* SqlClient

  yield* sql`alter table files add column modified_ms bigint, add column executable boolean`
  yield* sql`alter table versions add column modified_ms bigint, add column executable boolean`
  yield* sql`alter table uploads add column modified_ms bigint, add column executable boolean`

  yield* sql`
    drop function change_files(
      bigint[], text[], bigint[], bigint[], text[], timestamptz[], boolean[], timestamptz
    )`
  yield* sql`
    create function change_files(
      ids bigint[], names text[], sizes bigint[], new_versions bigint[], hashes text[], instants timestamptz[],
      local_instants bigint[], executables boolean[], deleted boolean[], now timestamptz
    ) returns void language plpgsql as $$
    begin
      for i in 1 .. cardinality(ids) loop
        update files set
          name = names[i], size = sizes[i], version = new_versions[i], sha256 = decode(hashes[i], 'hex'),
          modified_at = instants[i], modified_ms = local_instants[i], executable = executables[i],
          public = public and not deleted[i], deleted_at = case when deleted[i] then now end
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
