/**
 * What the database knows that a role follows from: the one lookup of grants, publicity and locks, as a fragment that
 * every statement about files joins. `Policy` draws the conclusions.
 *
 * It costs a few probes of indexes: one for the file, and for each folder that its name is in one for the caller and one
 * for everybody; owners are not looked up. Folders come from a function and reach their tables through
 * `lateral (… offset 0)`, as migrations/0002_files.ts says.
 */
import { type Fragment, fragment, literal, parameter } from "effect/sql/Statement"
import type { Username } from "../../protocol/Identity.ts"
import type { GrantRole, Role } from "../../protocol/Permission.ts"
import { holds, type Lock, roleOf } from "./Policy.ts"

export interface RightsColumns {
  readonly granted: ReadonlyArray<GrantRole>
  /** When the first of them ends. */
  readonly granted_until: Date | null
  readonly in_public_folder: boolean
  readonly lock_user_id: number | null
  readonly lock_username: Username | null
  readonly lock_expires_at: Date | null
  readonly lock_granted: ReadonlyArray<GrantRole> | null
}

const join = (...parts: ReadonlyArray<string | Date>): Fragment =>
  fragment(parts.map((part) => typeof part === "string" ? literal(part) : parameter(part)))

/** Of `g`, a row of `grants` or `folder_grants`: it has not expired, and does not sleep because its user is banned. */
export const isLive = (now: Date): Fragment => join(...liveParts(now))

const liveParts = (now: Date): ReadonlyArray<string | Date> => [
  "(g.expires_at is null or g.expires_at > ",
  now,
  "::timestamptz) and not exists (select from users b where b.user_id = g.user_id and b.banned_until > ",
  now,
  "::timestamptz)"
]

/** Names of columns of what stands before in a statement. `file` may be null: then only folders count. */
export interface Subject {
  readonly owner: string
  readonly name: string
  readonly file: string
  readonly caller: string
}

/** A row with the roles that `caller` was granted, and when the first of them ends; none for the owner. */
const granted = ({ caller, file, name, owner }: Subject, now: Date): ReadonlyArray<string | Date> => [
  `select coalesce(array_agg(g.role), '{}') as roles, min(g.expires_at) as until from (
    (select g.role, g.expires_at from grants g
    where ${caller} <> ${owner} and g.file_id = ${file} and g.user_id = ${caller} and `,
  ...liveParts(now),
  ` offset 0)
    union all
    select g.role, g.expires_at from unnest(folders_of(${name})) d (folder)
    cross join lateral (
      select g.role, g.expires_at from folder_grants g
      where g.user_id = ${caller} and g.owner_id = ${owner} and g.folder = d.folder and `,
  ...liveParts(now),
  ` offset 0
    ) g
    where ${caller} <> ${owner}
  ) g`
]

/** Joins `r`, one row of `RightsColumns`, to each row before. */
export const joinRights = (subject: Subject, now: Date): Fragment => {
  const { file, name, owner } = subject
  return join(
    "cross join lateral (select g.roles as granted, g.until as granted_until, ",
    // Few have a public folder: the folders of a name are looked for only then.
    `case when exists (select from public_folders p where p.owner_id = ${owner}) then exists (
      select from unnest(folders_of(${name})) d (folder)
      cross join lateral (
        select from public_folders p where p.owner_id = ${owner} and p.folder = d.folder offset 0
      ) p
    ) else false end as in_public_folder from (`,
    ...granted(subject, now),
    `) g offset 0) r
    left join lateral (
      select l.user_id as lock_user_id, h.username as lock_username, l.expires_at as lock_expires_at,
        g.roles as lock_granted
      from locks l
      cross join lateral (select * from users h where h.user_id = l.user_id offset 0) h
      cross join lateral (`,
    ...granted({ ...subject, caller: "l.user_id" }, now),
    `) g
      where l.file_id = ${file} and l.expires_at > `,
    now,
    "::timestamptz offset 0) l on true"
  )
}

/** Of what `joinRights` joins. */
export const rightsColumns = fragment([
  literal(
    "r.granted, r.granted_until, r.in_public_folder, l.lock_user_id, l.lock_username, l.lock_expires_at, l.lock_granted"
  )
])

/** The lock that counts, if there is one. */
export const toLock = (ownerId: number, row: RightsColumns): Lock | undefined => {
  const { lock_expires_at, lock_granted, lock_user_id, lock_username } = row
  if (lock_user_id === null || lock_username === null || lock_expires_at === null) return undefined
  return holds({ callerId: lock_user_id, ownerId, granted: lock_granted ?? [] })
    ? { userId: lock_user_id, username: lock_username, expiresAt: lock_expires_at.getTime() }
    : undefined
}

/** What a caller is to a file, or would be to one of that name. */
export const toRole = (
  callerId: number,
  ownerId: number,
  row: Pick<RightsColumns, "granted" | "in_public_folder"> & { readonly public: boolean | null }
): Role | undefined =>
  roleOf({ callerId, ownerId, granted: row.granted, isPublic: row.public === true || row.in_public_folder })
