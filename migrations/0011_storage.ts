/**
 * Bounds of what users take of the disk besides their files: what is kept of earlier versions and deleted files, and
 * what has arrived of uploads that are not finished.
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"

export default Effect.gen(function*() {
  const sql = yield* SqlClient

  // The bytes of an upload count against the owner of the file that it is to become.
  yield* sql`create index uploads_owner on uploads (owner_id) where outcome is null`

  // Files of an owner of which there is more than the current version.
  yield* sql`
    create function outdated_files(owner bigint) returns table (file_id bigint, deleted_at timestamptz)
    language sql stable as $$
      select f.file_id, f.deleted_at
      from (
        select x.file_id, x.deleted_at from files x where x.owner_id = owner and x.deleted_at is null
        union all
        select x.file_id, x.deleted_at from files x where x.owner_id = owner and x.deleted_at is not null
      ) f
      where exists (select from outdated o where o.file_id = f.file_id)
    $$`

  // Drops the versions, and deleted files, of an owner that ceased to be current by then, whatever else is to be kept.
  // As drop_versions, it leaves files alone that are busy.
  yield* sql`
    create function trim_owner(owner bigint, ended_by timestamptz) returns bigint language plpgsql as $$
    declare
      due bigint;
      f record;
      keep_from bigint;
      gone bigint;
      dropped bigint := 0;
    begin
      for due in select o.file_id from outdated_files(owner) o loop
        select x.version, x.deleted_at into f from files x where x.file_id = due for no key update skip locked;
        continue when not found;
        if f.deleted_at <= ended_by then
          keep_from := f.version + 1;
        else
          keep_from := (select max(v.version) from versions v where v.file_id = due and v.created_at <= ended_by);
        end if;
        delete from versions v where v.file_id = due and v.version < keep_from;
        get diagnostics gone = row_count;
        if gone > 0 then
          update outdated o set has_dropped = true where o.file_id = due;
        end if;
        dropped := dropped + gone;
      end loop;
      return dropped;
    end
    $$`
})
