/**
 * What happened: the log of who did what to which file and from where, and how files and sessions are used.
 *
 * All of it is written in batches, some time after the fact (src/server/BatchedFlusher.ts). The log refers to nothing: it
 * outlives users, files and their names. Every instant is written by the server from its own clock.
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"

export default Effect.gen(function*() {
  const sql = yield* SqlClient

  // `origin` and `sequence` say which server wrote a record as its how manieth since its start: a batch whose answer was
  // lost is written again, and no record is there twice. `times`: it happened so often in a row, last at `at`.
  yield* sql`
    create table activity (
      activity_id bigint generated always as identity primary key,
      origin uuid not null,
      sequence bigint not null,
      at timestamptz not null,
      action text not null,
      code text not null,
      user_id bigint,
      username text,
      address text not null,
      owner_id bigint,
      owner text,
      file_id bigint,
      name text collate "C",
      times integer not null check (times > 0),
      duration_ms integer not null,
      suspicious boolean not null,
      detail text not null,
      unique (origin, sequence)
    )`
  yield* sql`create index activity_at on activity (at)`
  yield* sql`create index activity_username on activity (lower(username), activity_id)`
  yield* sql`create index activity_user_id on activity (user_id, activity_id) where user_id is not null`
  yield* sql`create index activity_owner_id on activity (owner_id, activity_id) where owner_id is not null`
  yield* sql`create index activity_file_id on activity (file_id, activity_id) where file_id is not null`
  yield* sql`create index activity_suspicious on activity (activity_id) where suspicious`

  // Beside the files, because they are read far more often than changed. Room on the page keeps the counting off the
  // index.
  yield* sql`
    create table file_reads (
      file_id bigint primary key references files on delete cascade,
      reads bigint not null check (reads > 0),
      last_read_at timestamptz not null
    ) with (fillfactor = 70)`

  // Counts reads; of files that are gone meanwhile, none.
  yield* sql`
    create function note_reads(ids bigint[], counts bigint[], instants timestamptz[]) returns void language plpgsql as $$
    begin
      for i in 1 .. cardinality(ids) loop
        insert into file_reads as r (file_id, reads, last_read_at)
        select f.file_id, counts[i], instants[i] from files f where f.file_id = ids[i] for key share
        on conflict (file_id) do update set
          reads = r.reads + excluded.reads, last_read_at = greatest(r.last_read_at, excluded.last_read_at);
      end loop;
    end
    $$`

  yield* sql`
    create function note_sessions(ids uuid[], instants timestamptz[]) returns void language plpgsql as $$
    begin
      for i in 1 .. cardinality(ids) loop
        update sessions set last_seen_at = instants[i] where session_id = ids[i] and last_seen_at < instants[i];
      end loop;
    end
    $$`
})
