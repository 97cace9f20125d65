/**
 * Who may do what to a file besides its owner. A grant that has expired is not there, whether or not its row is still
 * to be swept. Names of granters are kept as text: a grant outlives the account that gave it.
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"

export default Effect.gen(function*() {
  const sql = yield* SqlClient

  yield* sql`
    create table grants (
      file_id bigint not null references files on delete cascade,
      user_id bigint not null references users on delete cascade,
      role text not null check (role in ('READ', 'EDIT', 'MANAGE')),
      granted_by text not null,
      granted_at timestamptz not null,
      expires_at timestamptz check (expires_at > granted_at),
      primary key (file_id, user_id)
    )`
  yield* sql`create index grants_user_id on grants (user_id)`
  yield* sql`create index grants_expires_at on grants (expires_at) where expires_at is not null`
})
