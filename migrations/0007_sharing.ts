/**
 * Sharing of folders, and locks.
 *
 * A grant on a folder is one on a name that ends with `/` (or is empty, for everything of an owner), not on files: it
 * covers what has such a name now and later, and what is renamed out of it is not covered any more. What covers a file
 * is found by its name alone, with one probe of an index for each folder that the name is in.
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"

export default Effect.gen(function*() {
  const sql = yield* SqlClient

  // The folders that a name is in, from all of an owner's on: of `a/b/c` they are ``, `a/` and `a/b/`. A folder is in
  // itself.
  yield* sql`
    create function folders_of(name text) returns text[] language plpgsql immutable strict parallel safe as $$
    declare
      parts text[];
      folder text collate "C" := '';
      folders text[] := array[''];
    begin
      if strpos(name, '/') = 0 then
        return folders;
      end if;
      parts := string_to_array(name, '/');
      for i in 1 .. cardinality(parts) - 1 loop
        folder := folder || parts[i] || '/';
        folders := folders || folder;
      end loop;
      return folders;
    end
    $$`

  yield* sql`
    create table folder_grants (
      user_id bigint not null references users on delete cascade,
      owner_id bigint not null references users on delete cascade,
      folder text collate "C" not null check (folder = '' or folder like '%/'),
      role text not null check (role in ('READ', 'EDIT', 'MANAGE')),
      granted_by text not null,
      granted_at timestamptz not null,
      expires_at timestamptz check (expires_at > granted_at),
      primary key (user_id, owner_id, folder)
    )`
  yield* sql`create index folder_grants_folder on folder_grants (owner_id, folder)`
  yield* sql`create index folder_grants_expires_at on folder_grants (expires_at) where expires_at is not null`

  yield* sql`
    create table public_folders (
      owner_id bigint not null references users on delete cascade,
      folder text collate "C" not null check (folder = '' or folder like '%/'),
      primary key (owner_id, folder)
    )`

  // Who alone may change a file for a while. It counts while it has not expired and its holder may edit the file.
  yield* sql`
    create table locks (
      file_id bigint primary key references files on delete cascade,
      user_id bigint not null references users on delete cascade,
      locked_at timestamptz not null,
      expires_at timestamptz not null check (expires_at > locked_at)
    )`
  yield* sql`create index locks_user_id on locks (user_id)`
  yield* sql`create index locks_expires_at on locks (expires_at)`
})
