/**
 * Files, their versions, and where the bytes of each version lie.
 *
 * A file's content is a set of extents with a lifetime: a row is part of every version from `from_version` up to, and
 * without, `until_version`. A change closes and adds only the rows it touches, so its cost does not depend on the size
 * of the file. Every instant is written by the server from its own clock.
 *
 * Rows are found by key, one row of a list at a time, and each way to find them has one index: nothing is left to a
 * planner that has no statistics, and that keeps the plan it made while the tables were empty. So a statement reaches a
 * table from `unnest` through `lateral (… offset 0)`, and an update of many rows is a function with a loop.
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"

export default Effect.gen(function*() {
  const sql = yield* SqlClient

  // Room on the page keeps changes of content off the indexes.
  yield* sql`
    create table files (
      file_id bigint generated always as identity primary key,
      owner_id bigint not null references users on delete cascade,
      name text collate "C" not null,
      public boolean not null default false,
      size bigint not null check (size >= 0),
      version bigint not null check (version > 0),
      sha256 bytea check (octet_length(sha256) = 32),
      created_at timestamptz not null,
      modified_at timestamptz not null,
      deleted_at timestamptz
    ) with (fillfactor = 80)`
  yield* sql`create unique index files_name on files (owner_id, name) where deleted_at is null`
  yield* sql`create index files_deleted on files (owner_id, deleted_at) where deleted_at is not null`
  yield* sql`create index files_public_owner on files (owner_id, name) where public and deleted_at is null`
  yield* sql`create index files_public on files (name, owner_id) where public and deleted_at is null`

  yield* sql`
    create table versions (
      file_id bigint not null references files on delete cascade,
      version bigint not null check (version > 0),
      size bigint not null check (size >= 0),
      sha256 bytea check (octet_length(sha256) = 32),
      author text not null,
      created_at timestamptz not null,
      primary key (file_id, version)
    )`

  // The bytes [segment_offset, segment_offset + length) of a segment. Checksums are of blocks of 64 KiB that begin at
  // checked_from, the last one ending at checked_to: the blocks that the extent touches, whole, as they were written.
  // What is part of the current version has the greatest until_version there is: a null would not be in an index's
  // order, and the current extents are wanted in the order of their positions.
  yield* sql`
    create table extents (
      file_id bigint not null references files on delete cascade,
      until_version bigint not null default 9223372036854775807,
      position bigint not null check (position >= 0),
      length bigint not null check (length > 0),
      segment_id uuid not null,
      segment_offset bigint not null check (segment_offset >= 0),
      checked_from bigint not null,
      checked_to bigint not null,
      checksums bytea not null,
      from_version bigint not null,
      primary key (file_id, until_version, position),
      check (from_version < until_version),
      check (checked_from <= segment_offset and segment_offset + length <= checked_to),
      check (octet_length(checksums) = 4 * ((checked_to - checked_from + 65535) / 65536))
    )`

  // An upload that was committed keeps its row, with the answer, until it expires: a repeated commit answers the same.
  yield* sql`
    create table uploads (
      upload_id uuid primary key,
      user_id bigint not null references users on delete cascade,
      owner_id bigint not null,
      name text collate "C" not null,
      mode text not null,
      size bigint check (size >= 0),
      position bigint check (position >= 0),
      expected_version bigint,
      segment_id uuid not null unique,
      outcome jsonb,
      expires_at timestamptz not null
    )`
  yield* sql`create index uploads_user on uploads (user_id)`
  yield* sql`create index uploads_expires_at on uploads (expires_at)`

  // What of an upload is on disk for certain, with the checksums of the blocks of 64 KiB that are whole in the run.
  yield* sql`
    create table upload_runs (
      upload_id uuid not null references uploads on delete cascade,
      position bigint not null check (position >= 0),
      length bigint not null check (length > 0),
      checksums bytea not null,
      primary key (upload_id, position),
      check (octet_length(checksums) = 4 * greatest(0, (position + length) / 65536 - (position + 65535) / 65536))
    )`

  yield* sql`
    create function change_files(
      ids bigint[], names text[], sizes bigint[], new_versions bigint[], hashes text[], instants timestamptz[],
      deleted boolean[], now timestamptz
    ) returns void language plpgsql as $$
    begin
      for i in 1 .. cardinality(ids) loop
        update files set
          name = names[i], size = sizes[i], version = new_versions[i], sha256 = decode(hashes[i], 'hex'),
          modified_at = instants[i], deleted_at = case when deleted[i] then now end
        where file_id = ids[i];
        if deleted[i] then
          delete from grants where file_id = ids[i];
        end if;
      end loop;
    end
    $$`

  // The current extents that begin in [range_froms, range_tos) are not part of the new version.
  yield* sql`
    create function close_extents(ids bigint[], range_froms bigint[], range_tos bigint[], new_versions bigint[])
    returns void language plpgsql as $$
    begin
      for i in 1 .. cardinality(ids) loop
        update extents set until_version = new_versions[i]
        where file_id = ids[i] and until_version = 9223372036854775807
          and position >= range_froms[i] and position < range_tos[i];
      end loop;
    end
    $$`

  yield* sql`
    create function charge_owners(ids bigint[], bytes bigint[], files bigint[]) returns void language plpgsql as $$
    begin
      for i in 1 .. cardinality(ids) loop
        update users set bytes_used = bytes[i], files_used = files[i] where user_id = ids[i];
      end loop;
    end
    $$`

  yield* sql`
    create function end_uploads(ids uuid[], outcomes jsonb[]) returns void language plpgsql as $$
    begin
      for i in 1 .. cardinality(ids) loop
        delete from upload_runs where upload_id = ids[i];
        update uploads set outcome = outcomes[i] where upload_id = ids[i];
      end loop;
    end
    $$`
})
