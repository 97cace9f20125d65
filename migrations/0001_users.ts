/**
 * Accounts, sessions, and what proves them.
 *
 * Secrets are kept only as hashes, except those of `signing_keys`, which are the server's own. Every instant is written
 * by the server from its own clock: no column takes the database's.
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"

export default Effect.gen(function*() {
  const sql = yield* SqlClient

  // Every write of a file moves the counters of its owner: room on the page keeps those updates off the indexes.
  yield* sql`
    create table users (
      user_id bigint generated always as identity primary key,
      username text not null,
      username_key text not null unique check (username_key = lower(username)),
      password_hash text not null,
      bytes_limit bigint check (bytes_limit >= 0),
      files_limit bigint check (files_limit >= 0),
      bytes_used bigint not null default 0 check (bytes_used >= 0),
      files_used bigint not null default 0 check (files_used >= 0),
      created_at timestamptz not null
    ) with (fillfactor = 70)`

  yield* sql`
    create table sessions (
      session_id uuid primary key,
      user_id bigint not null references users on delete cascade,
      device text not null,
      address text not null,
      generation integer not null default 0,
      digest_hash bytea not null unique check (octet_length(digest_hash) = 32),
      rotated_at timestamptz not null,
      created_at timestamptz not null,
      last_seen_at timestamptz not null,
      expires_at timestamptz not null,
      ended_at timestamptz,
      end_reason text,
      check ((ended_at is null) = (end_reason is null))
    )`
  yield* sql`create index sessions_user_id on sessions (user_id, last_seen_at)`
  yield* sql`create index sessions_over_at on sessions (coalesce(ended_at, expires_at))`

  // A digest that was used once. `key_id` is the signing key that its successor was derived with.
  yield* sql`
    create table retired_digests (
      digest_hash bytea primary key check (octet_length(digest_hash) = 32),
      session_id uuid not null references sessions on delete cascade,
      key_id integer not null,
      retired_at timestamptz not null
    )`
  yield* sql`create index retired_digests_session_id on retired_digests (session_id)`
  yield* sql`create index retired_digests_retired_at on retired_digests (retired_at)`

  // Sessions whose access tokens are dead although they have not expired. No foreign key: a row outlives its user.
  yield* sql`create table revoked_sessions (session_id uuid primary key, revoked_at timestamptz not null)`
  yield* sql`create index revoked_sessions_revoked_at on revoked_sessions (revoked_at)`

  // Whoever ends a session, and by whatever way, every server hears of it when the transaction commits.
  yield* sql`
    create function notify_session_revoked() returns trigger language plpgsql as $$
    begin
      perform pg_notify('fip_session_revoked', new.session_id::text);
      return null;
    end
    $$`
  yield* sql`
    create trigger session_revoked after insert on revoked_sessions
    for each row execute function notify_session_revoked()`

  yield* sql`
    create table signing_keys (
      key_id integer primary key check (key_id > 0),
      secret bytea not null check (octet_length(secret) = 32),
      created_at timestamptz not null,
      retired_at timestamptz
    )`
})
