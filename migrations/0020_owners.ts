/**
 * Whose a file is of which there may be more than is to be kept, beside it: what an owner keeps is found without a look at
 * all of the owner's files, which a sweep had for everybody whose files had changed.
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"

export default Effect.gen(function*() {
  const sql = yield* SqlClient

  // A file never changes its owner, and takes its row here with it.
  yield* sql`alter table outdated add column owner_id bigint`
  yield* sql`update outdated o set owner_id = f.owner_id from files f where f.file_id = o.file_id`
  yield* sql`alter table outdated alter column owner_id set not null`
  yield* sql`create index outdated_owner_id on outdated (owner_id, file_id)`

  yield* sql`
    create or replace function outdated_files(owner bigint) returns table (file_id bigint, deleted_at timestamptz)
    language sql stable as $$
      select f.file_id, f.deleted_at
      from outdated o
      cross join lateral (select x.file_id, x.deleted_at from files x where x.file_id = o.file_id offset 0) f
      where o.owner_id = owner
    $$`

  yield* sql`
    create or replace function change_files(
      ids bigint[], names text[], sizes bigint[], new_versions bigint[], hashes text[], instants timestamptz[],
      local_instants bigint[], executables boolean[], deleted boolean[], now timestamptz
    ) returns void language plpgsql as $$
    declare
      owner bigint;
    begin
      for i in 1 .. cardinality(ids) loop
        update files set
          name = names[i], size = sizes[i], version = new_versions[i], sha256 = decode(hashes[i], 'hex'),
          modified_at = instants[i], modified_ms = local_instants[i], executable = executables[i],
          public = public and not deleted[i], deleted_at = case when deleted[i] then now end
        where file_id = ids[i]
        returning owner_id into owner;
        if deleted[i] then
          delete from grants where file_id = ids[i];
        end if;
        insert into outdated (file_id, owner_id, due_at) values (ids[i], owner, now)
        on conflict (file_id) do update set due_at = excluded.due_at where outdated.due_at > excluded.due_at;
      end loop;
    end
    $$`
})
