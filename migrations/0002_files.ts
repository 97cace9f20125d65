/**
 * Files, their versions, and where the bytes of each version lie.
 *
 * A file's content is a set of extents with a lifetime: a row is part of every version from `from_version` up to, and
 * without, `until_version` (null: still part of the current one). A change closes and adds only the rows it touches, so
 * its cost does not depend on the size of the file. Every instant is written by the server from its own clock.
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
  yield* sql`create index files_owner on files (owner_id, deleted_at)`
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
  yield* sql`
    create table extents (
      file_id bigint not null references files on delete cascade,
      position bigint not null check (position >= 0),
      length bigint not null check (length > 0),
      segment_id uuid not null,
      segment_offset bigint not null check (segment_offset >= 0),
      checked_from bigint not null,
      checked_to bigint not null,
      checksums bytea not null,
      from_version bigint not null,
      until_version bigint check (until_version > from_version),
      primary key (file_id, position, from_version),
      check (checked_from <= segment_offset and segment_offset + length <= checked_to),
      check (octet_length(checksums) = 4 * ((checked_to - checked_from + 65535) / 65536))
    )`
  yield* sql`create index extents_current on extents (file_id, position) where until_version is null`
  yield* sql`create index extents_closed on extents (file_id, until_version) where until_version is not null`

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
})
