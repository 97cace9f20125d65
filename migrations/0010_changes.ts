/**
 * What happens to a user's files, in order, for those who watch: each user has a feed, numbered without gaps.
 *
 * A number is taken under the lock on the user's row, which every change holds until it commits, so whoever has seen a
 * number has seen all below it. `readers`: who had a grant on a file that was deleted, because the grants end with it.
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"

export default Effect.gen(function*() {
  const sql = yield* SqlClient

  yield* sql`alter table users add column feed_sequence bigint not null default 0`

  yield* sql`
    create table changes (
      user_id bigint not null references users on delete cascade,
      sequence bigint not null,
      kind text not null,
      owner text not null,
      name text collate "C" not null,
      new_name text collate "C",
      version bigint,
      size bigint,
      author text not null,
      role text,
      readers bigint[],
      was_public boolean not null default false,
      changed_at timestamptz not null,
      primary key (user_id, sequence)
    )`

  // To be called while the grants of what is deleted are still there.
  yield* sql`
    create function add_changes(
      ids bigint[], kinds text[], owners text[], names text[], new_names text[], versions bigint[], sizes bigint[],
      authors text[], roles text[], deleted_ids bigint[], now timestamptz
    ) returns void language plpgsql as $$
    declare
      next bigint;
    begin
      for i in 1 .. cardinality(ids) loop
        update users set feed_sequence = feed_sequence + 1 where user_id = ids[i] returning feed_sequence into next;
        insert into changes (
          user_id, sequence, kind, owner, name, new_name, version, size, author, role, readers, was_public, changed_at
        )
        select
          ids[i], next, kinds[i], owners[i], names[i], new_names[i], versions[i], sizes[i], authors[i], roles[i],
          case when deleted_ids[i] is not null then
            array(
              select g.user_id from grants g
              where g.file_id = deleted_ids[i] and (g.expires_at is null or g.expires_at > now)
            )
          end,
          deleted_ids[i] is not null
            and coalesce((select f.public from files f where f.file_id = deleted_ids[i]), false),
          now
        where next is not null;
      end loop;
    end
    $$`

  // A user's oldest changes are found from the front of the feed, and the look ends at the first that is kept.
  yield* sql`
    create function forget_changes(after_id bigint, batch bigint, before timestamptz, keep bigint)
    returns setof bigint language plpgsql as $$
    declare
      u record;
      first_kept bigint;
    begin
      for u in select user_id, feed_sequence from users where user_id > after_id order by user_id limit batch loop
        select c.sequence into first_kept from changes c
        where c.user_id = u.user_id and c.sequence > u.feed_sequence - keep and c.changed_at >= before
        order by c.sequence limit 1;
        delete from changes c where c.user_id = u.user_id and c.sequence < coalesce(first_kept, u.feed_sequence + 1);
        return next u.user_id;
      end loop;
    end
    $$`
})
