/**
 * Several servers on one database and one folder of segments: what they tell each other, which of them there are, and
 * what each of them is writing.
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"

export default Effect.gen(function*() {
  const sql = yield* SqlClient

  // All messages go over one channel: a line that says what it is about, who sent it and its number, then the messages.
  yield* sql`
    create or replace function notify_session_revoked() returns trigger language plpgsql as $$
    begin
      perform pg_notify('fip', 'session - 0' || chr(10) || new.session_id::text);
      return null;
    end
    $$`

  // The one row says which folder of segments goes with this database: the folder has the same id.
  yield* sql`
    create table store (
      store_id uuid not null,
      is_only boolean primary key default true check (is_only)
    )`

  // A server that is on a database which others can be on too. Its row is removed by itself, or by another one when the
  // kernel says that it is gone: never because it has not been heard of for a while.
  yield* sql`
    create table nodes (
      node_id uuid primary key,
      name text not null,
      started_at timestamptz not null,
      seen_at timestamptz not null,
      quiet bigint not null default 0
    )`

  // A grace period begins with a number of its own, and is over when each node's 'quiet' has reached it: every read
  // and every write that the node had begun before has ended.
  yield* sql`create sequence grace_periods`

  // Segments to which a node may still be adding what no version refers to yet.
  yield* sql`
    create table open_segments (
      segment_id uuid primary key,
      node_id uuid not null references nodes on delete cascade
    )`
  yield* sql`create index open_segments_node_id on open_segments (node_id)`
})
