/**
 * What keeps strangers out: wrong guesses counted, bans, invitations, and codes that reset a password. Codes are kept
 * only as hashes. Every instant is written by the server from its own clock.
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"

export default Effect.gen(function*() {
  const sql = yield* SqlClient

  // What a login is decided by; `bans` is the history. In the user's own row, so that the lock which orders a login
  // against a change of the password orders it against a ban too.
  yield* sql`alter table users add column banned_until timestamptz`

  // No cascade: the history outlives the account.
  yield* sql`
    create table bans (
      ban_id bigint generated always as identity primary key,
      user_id bigint references users on delete set null,
      username text not null,
      reason text not null,
      banned_at timestamptz not null,
      expires_at timestamptz,
      lifted_at timestamptz
    )`
  yield* sql`create index bans_user_id on bans (user_id)`

  yield* sql`
    create table invites (
      invite_id bigint generated always as identity primary key,
      code_hash bytea not null unique check (octet_length(code_hash) = 32),
      uses_left integer not null check (uses_left >= 0),
      uses integer not null check (uses > 0),
      created_at timestamptz not null,
      expires_at timestamptz,
      revoked_at timestamptz
    )`

  yield* sql`
    create table password_resets (
      user_id bigint primary key references users on delete cascade,
      code_hash bytea not null check (octet_length(code_hash) = 32),
      expires_at timestamptz not null
    )`

  // Wrong guesses in a row, by what they have in common (an account, a known device, an address).
  yield* sql`
    create table guesses (
      bucket text primary key,
      failures integer not null check (failures > 0),
      failed_at timestamptz not null
    ) with (fillfactor = 70)`
  yield* sql`create index guesses_failed_at on guesses (failed_at)`
})
