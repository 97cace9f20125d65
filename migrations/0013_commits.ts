/**
 * The last group of changes that each server has committed, by number: what a server that did not get the answer to a
 * commit asks, before it tries the group again. Written in the group's own transaction, first, so that whoever asks
 * waits for a transaction that is still under way.
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"

export default Effect.gen(function*() {
  const sql = yield* SqlClient

  yield* sql`
    create table commits (
      server_id uuid primary key,
      number bigint not null,
      committed_at timestamptz not null
    ) with (fillfactor = 50)`
})
