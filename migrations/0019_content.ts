/**
 * What belongs to a file or to a user and is written with every change goes with its owner by a trigger of the whole
 * statement, and not by a foreign key: the key was checked for each row that came, which was a third of the work for
 * many small files. Rows are written under the lock on the file, or the user, that they name; file ids are never used
 * again.
 *
 * Counting reads: all of a batch in one statement.
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"

export default Effect.gen(function*() {
  const sql = yield* SqlClient

  yield* sql`alter table files drop constraint files_owner_id_fkey`
  yield* sql`alter table changes drop constraint changes_user_id_fkey`
  yield* sql`alter table versions drop constraint versions_file_id_fkey`
  yield* sql`alter table extents drop constraint extents_file_id_fkey`
  yield* sql`alter table file_reads drop constraint file_reads_file_id_fkey`

  yield* sql`
    create function remove_of_users() returns trigger language plpgsql as $$
    declare
      id bigint;
    begin
      for id in select g.user_id from gone g loop
        delete from files where owner_id = id;
        delete from changes where user_id = id;
      end loop;
      return null;
    end
    $$`
  yield* sql`
    create trigger users_removed after delete on users referencing old table as gone
    for each statement execute function remove_of_users()`

  yield* sql`
    create function remove_of_files() returns trigger language plpgsql as $$
    declare
      id bigint;
    begin
      for id in select g.file_id from gone g loop
        delete from versions where file_id = id;
        delete from extents where file_id = id;
        delete from file_reads where file_id = id;
      end loop;
      return null;
    end
    $$`
  yield* sql`
    create trigger files_removed after delete on files referencing old table as gone
    for each statement execute function remove_of_files()`

  // Of files that are gone meanwhile, none. The lock keeps a file from going before its count can go with it.
  yield* sql`
    create or replace function note_reads(ids bigint[], counts bigint[], instants timestamptz[])
    returns void language plpgsql as $$
    begin
      insert into file_reads as r (file_id, reads, last_read_at)
      select f.file_id, c.reads, c.instant from unnest(ids, counts, instants) as c (id, reads, instant)
      cross join lateral (select f.file_id from files f where f.file_id = c.id offset 0 for key share) f
      on conflict (file_id) do update set
        reads = r.reads + excluded.reads, last_read_at = greatest(r.last_read_at, excluded.last_read_at);
    end
    $$`
})
