/**
 * Random histories of sharing, many at once in one database: each begins in a random state and takes some steps. In
 * every round each history takes its next step, at the same time as the others; all of them share the clock.
 */
import { assert } from "@effect/vitest"
import { Clock, Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { TestClock } from "effect/testing"
import { randomBytes, randomUUID } from "node:crypto"
import { FileName, FolderPrefix, type Shareable } from "../../../src/protocol/FileName.ts"
import { SessionId, Username } from "../../../src/protocol/Identity.ts"
import type { Refusal } from "../../../src/protocol/Refusal.ts"
import { Coherence } from "../../../src/server/caches/Coherence.ts"
import { FileLookup } from "../../../src/server/caches/FileLookup.ts"
import { userOf } from "../../../src/server/caches/tags.ts"
import type { Caller } from "../../../src/server/Caller.ts"
import { FileRepo } from "../../../src/server/files/FileRepo.ts"
import { bigints, booleans, instants, texts } from "../../../src/server/files/parameters.ts"
import { FileStore } from "../../../src/server/FileStore.ts"
import { Permissions } from "../../../src/server/Permissions.ts"
import type { Random } from "../../support/Random.ts"
import {
  type Attempt,
  BYTES_LIMIT,
  FILES_LIMIT,
  FOLDERS,
  NAMES,
  PEOPLE,
  SharingModel,
  STRANGER
} from "./SharingModel.ts"

const ROUNDS = 4

export interface History {
  readonly number: number
  readonly random: Random
  readonly model: SharingModel
  readonly people: ReadonlyArray<Caller>
  /** The one of them who looks at everything, at the beginning and at the end. */
  readonly watcher: number
  /** What was done, for the message of a failure. */
  readonly steps: Array<string>
}

const nat = (limit: number): ReadonlyArray<number> => Array.from({ length: limit }, (_, index) => index)
const everybody = nat(PEOPLE)
const pick = <A>(random: Random, [first, ...rest]: ReadonlyArray<A>): A =>
  first === undefined ? assert.fail("nothing to pick") : random.pick([first, ...rest])
const role = (random: Random) => pick(random, ["READ", "EDIT", "MANAGE", "MANAGE"] as const)
/** Some end within a history, some do not. */
const time = (random: Random) => (1 + random.below(6)) * 1000

/** One's own as often as somebody else's, and mostly what is there. */
export const nextAttempt = ({ model, random }: Pick<History, "model" | "random">): Attempt => {
  const tag = pick(random, [
    ...["Grant", "Grant", "Grant", "Grant", "Revoke", "Revoke", "Publicise", "Hide", "Query"] as const,
    ...["Transfer", "Rename", "Rename", "Create", "Append", "Append", "Delete", "Lock", "Unlock"] as const
  ])
  const caller = random.below(PEOPLE)
  const owner = random.chance(0.5) ? caller : random.below(PEOPLE)
  const there = NAMES.filter((name) => model.file(owner, name) !== undefined)
  const name = there.length > 0 && tag !== "Create" && random.chance(0.8) ? pick(random, there) : pick(random, NAMES)
  const user = random.chance(0.05) ? STRANGER : random.below(PEOPLE)
  const file = { caller, owner, path: name }
  const any = { ...file, path: random.chance(0.4) ? pick(random, FOLDERS) : name }
  switch (tag) {
    case "Grant":
      return { _tag: tag, ...any, user, role: role(random), duration: random.chance(0.4) ? time(random) : undefined }
    case "Revoke":
      return { _tag: tag, ...any, user }
    case "Publicise":
    case "Hide":
    case "Query":
      return { _tag: tag, ...any }
    case "Transfer":
      return { _tag: tag, ...file, user, newName: random.chance(0.4) ? pick(random, NAMES) : undefined }
    case "Rename":
      return { _tag: tag, ...file, newName: pick(random, NAMES) }
    case "Lock":
      return { _tag: tag, ...file, duration: time(random) }
    case "Unlock":
      return { _tag: tag, ...file, force: random.chance(0.5) }
    default:
      return { _tag: tag, ...file }
  }
}

const shareable = (path: string): Shareable => FOLDERS.includes(path) ? FolderPrefix.make(path) : FileName.make(path)

const perform = Effect.fnUntraced(function*({ model, people, random }: History, attempt: Attempt, now: number) {
  const permissions = yield* Permissions
  const files = yield* FileStore
  const nameOf = (index: number): Username => people[index]?.username ?? Username.make("nobody-at-all")
  const caller = people[attempt.caller] ?? assert.fail("no such person")
  const own = attempt.owner === attempt.caller && random.chance(0.5)
  const on = <N>(name: N) => own ? { name } : { name, owner: nameOf(attempt.owner) }
  const target = on(shareable(attempt.path))
  const file = () => on(FileName.make(attempt.path))
  switch (attempt._tag) {
    case "Grant": {
      const duration = attempt.duration === undefined ? {} : { duration_ms: attempt.duration }
      const body = { ...target, username: nameOf(attempt.user), role: attempt.role, ...duration }
      return yield* permissions.grant(caller, body)
    }
    case "Revoke":
      return yield* permissions.revoke(caller, { ...target, username: nameOf(attempt.user) })
    case "Publicise":
      return yield* permissions.publicise(caller, target)
    case "Hide":
      return yield* permissions.hide(caller, target)
    case "Query": {
      const told = yield* permissions.queryPermission(caller, target)
      assert.strictEqual(told.public, model.isPublic(attempt.owner, attempt.path))
      assert.sameDeepMembers(
        told.grants.map((grant) => [grant.username, grant.role, grant.through]),
        model.covering(attempt.owner, attempt.path, now).map(({ role, through, user }) => [
          nameOf(user),
          role,
          through === undefined ? undefined : FolderPrefix.make(through)
        ])
      )
      return told
    }
    case "Transfer": {
      const renamed = attempt.newName === undefined ? {} : { new_name: FileName.make(attempt.newName) }
      return yield* permissions.transfer(caller, { ...file(), username: nameOf(attempt.user), ...renamed })
    }
    case "Rename":
      return yield* files.rename(caller, { ...file(), new_name: FileName.make(attempt.newName) })
    case "Create":
      return yield* files.create(caller, file(), [])
    case "Append":
      return yield* files.append(caller, file(), [])
    case "Delete":
      return yield* files.delete(caller, file())
    case "Lock":
      return yield* permissions.lock(caller, { ...file(), duration_ms: attempt.duration })
    case "Unlock":
      return yield* permissions.unlock(caller, { ...file(), force: attempt.force })
  }
})

const outcomeOf = <R>(attempt: Effect.Effect<unknown, Refusal, R>): Effect.Effect<string, never, R> =>
  Effect.match(attempt, { onSuccess: () => "done", onFailure: (refusal) => refusal.code })

const instant = (until: number | undefined) => until === undefined ? null : new Date(until)

/** People of their own for each history, and a random state: in the model, then in the tables. */
const begin = Effect.fnUntraced(function*(random: Random, from: number, count: number, now: number) {
  const sql = yield* SqlClient
  const histories: Array<History> = []
  const names = nat(count * PEOPLE).map(() => Username.make(`u-${randomBytes(8).toString("hex")}`))
  const users = yield* sql<{ readonly user_id: number; readonly username: Username }>`
    insert into users (username, username_key, password_hash, bytes_limit, files_limit, created_at)
    select name, lower(name), '', ${BYTES_LIMIT}::bigint, ${FILES_LIMIT}::bigint, now() from unnest(${
    texts(names)
  }) n (name)
    returning user_id, username`
  const ids = new Map(users.map((user) => [user.username, user.user_id]))
  const idOf = (username: Username): number => ids.get(username) ?? assert.fail("no such user")

  type Grant = { readonly user: number; readonly role: string; readonly until: number | undefined }
  const files: Array<
    { readonly owner: number; readonly name: string; readonly size: number; readonly isPublic: boolean }
  > = []
  const fileGrants: Array<Grant & { readonly file: number }> = []
  const folderGrants: Array<Grant & { readonly owner: number; readonly folder: string }> = []
  const publicFolders: Array<{ readonly owner: number; readonly folder: string }> = []
  const locks: Array<{ readonly file: number; readonly user: number; readonly until: number }> = []
  for (const index of nat(count)) {
    const own = random.split()
    const model = new SharingModel()
    const people = everybody.map((person): Caller => {
      const username = names[index * PEOPLE + person] ?? assert.fail("no name")
      const sessionId = SessionId.make(randomUUID())
      return { userId: idOf(username), username, sessionId, expiresAt: Number.MAX_SAFE_INTEGER, address: "192.0.2.7" }
    })
    const userId = (person: number): number => people[person]?.userId ?? assert.fail("no such person")
    const grantSome = (grants: Map<number, { role: "READ" | "EDIT" | "MANAGE"; until: number }>, owner: number) => {
      const made: Array<Grant> = []
      for (const user of everybody) {
        if (user === owner || !own.chance(0.35)) continue
        const grant = { role: role(own), until: own.chance(0.4) ? now + time(own) : Infinity }
        grants.set(user, grant)
        made.push({ user: userId(user), role: grant.role, until: grant.until === Infinity ? undefined : grant.until })
      }
      return made
    }
    for (const owner of everybody) {
      for (const [place, name] of NAMES.entries()) {
        const size = [1, 2, 3][place] ?? 0
        const { bytes, files: count } = model.usage(owner)
        if (!own.chance(0.6) || count === FILES_LIMIT || bytes + size > BYTES_LIMIT) continue
        const file = model.addFile(owner, name, size)
        file.isPublic = own.chance(0.15)
        const at = files.push({ owner: userId(owner), name, size, isPublic: file.isPublic }) - 1
        for (const grant of grantSome(file.grants, owner)) fileGrants.push({ ...grant, file: at })
        if (own.chance(0.5)) {
          file.lock = { by: own.below(PEOPLE), until: now + time(own) }
          locks.push({ file: at, user: userId(file.lock.by), until: file.lock.until })
        }
      }
      for (const path of FOLDERS) {
        if (own.chance(0.5)) continue
        const folder = model.folder(owner, path)
        folder.isPublic = own.chance(0.15)
        if (folder.isPublic) publicFolders.push({ owner: userId(owner), folder: path })
        for (const grant of grantSome(folder.grants, owner)) {
          folderGrants.push({ ...grant, owner: userId(owner), folder: path })
        }
      }
    }
    histories.push({ number: from + index, random: own, model, people, watcher: own.below(PEOPLE), steps: [] })
  }

  const rows = yield* sql<{ readonly file_id: number; readonly owner_id: number; readonly name: string }>`
    insert into files (owner_id, name, size, public, version, created_at, modified_at)
    select owner_id, name, size, public, 1, now(), now() from unnest(
      ${bigints(files.map((file) => file.owner))}, ${texts(files.map((file) => file.name))},
      ${bigints(files.map((file) => file.size))}, ${booleans(files.map((file) => file.isPublic))}
    ) as f (owner_id, name, size, public)
    returning file_id, owner_id, name`
  const fileIds = new Map(rows.map((row) => [`${row.owner_id}/${row.name}`, row.file_id]))
  const fileId = (at: number): number => {
    const file = files[at]
    return fileIds.get(`${file?.owner}/${file?.name}`) ?? assert.fail("no such file")
  }
  yield* sql`
    update users u set bytes_used = s.bytes, files_used = s.files
    from (select owner_id, sum(size)::bigint as bytes, count(*) as files from files group by owner_id) s
    where u.user_id = s.owner_id and u.user_id >= ${Math.min(...ids.values())}::bigint`
  yield* sql`
    insert into grants (file_id, user_id, role, granted_by, granted_at, expires_at)
    select f, u, r, 'somebody', ${new Date(now)}::timestamptz, t from unnest(
      ${bigints(fileGrants.map((one) => fileId(one.file)))}, ${bigints(fileGrants.map((one) => one.user))},
      ${texts(fileGrants.map((one) => one.role))}, ${instants(fileGrants.map((one) => instant(one.until)))}
    ) as g (f, u, r, t)`
  yield* sql`
    insert into folder_grants (owner_id, folder, user_id, role, granted_by, granted_at, expires_at)
    select o, f, u, r, 'somebody', ${new Date(now)}::timestamptz, t from unnest(
      ${bigints(folderGrants.map((one) => one.owner))}, ${texts(folderGrants.map((one) => one.folder))},
      ${bigints(folderGrants.map((one) => one.user))}, ${texts(folderGrants.map((one) => one.role))},
      ${instants(folderGrants.map((one) => instant(one.until)))}
    ) as g (o, f, u, r, t)`
  yield* sql`
    insert into public_folders (owner_id, folder)
    select * from unnest(
      ${bigints(publicFolders.map((one) => one.owner))}, ${texts(publicFolders.map((one) => one.folder))}
    )`
  yield* sql`
    insert into locks (file_id, user_id, locked_at, expires_at)
    select f, u, ${new Date(now)}::timestamptz, t from unnest(
      ${bigints(locks.map((one) => fileId(one.file)))}, ${bigints(locks.map((one) => one.user))},
      ${instants(locks.map((one) => new Date(one.until)))}
    ) as l (f, u, t)`
  return histories
})

/** Puts some people of some histories under a ban, or out of one. */
const ban = Effect.fnUntraced(function*(histories: ReadonlyArray<History>, now: number) {
  const sql = yield* SqlClient
  const coherence = yield* Coherence
  const bans: Array<{ readonly user: number; readonly until: number }> = []
  for (const { model, people, random, steps } of histories) {
    if (!random.chance(0.15)) continue
    const person = random.below(PEOPLE)
    const until = random.chance(0.3) ? now : now + time(random)
    model.bannedUntil.set(person, until)
    steps.push(`ban ${person} until ${until}`)
    bans.push({ user: people[person]?.userId ?? 0, until })
  }
  yield* coherence.transaction((changed) => {
    changed(...bans.map((one) => userOf(one.user)))
    return sql`
    update users u set banned_until = b.until
    from unnest(${bigints(bans.map((one) => one.user))}, ${
      instants(bans.map((one) => new Date(one.until)))
    }) as b (id, until)
    where u.user_id = b.id`
  })
})

/** Compares all that can be seen: the watcher's role on every name, publicity and locks, and everybody's usage. */
const compare = Effect.fnUntraced(function*(histories: ReadonlyArray<History>, now: number) {
  const files = yield* FileRepo
  const cached = yield* FileLookup
  const sql = yield* SqlClient
  yield* Effect.forEach(
    histories.flatMap((history) => {
      const c = history.watcher
      return everybody.flatMap((o) => NAMES.map((name) => ({ history, c, o, name })))
    }),
    Effect.fnUntraced(function*({ c, history, name, o }) {
      const { model, people } = history
      const [caller, owner] = [people[c], people[o]]
      if (caller === undefined || owner === undefined) return assert.fail("no such person")
      const request = { callerId: caller.userId, owner: owner.username, name: FileName.make(name) }
      const seen = yield* files.locate(request)
      const remembered = yield* cached.locate(request)
      const file = model.file(o, name)
      const lock = file === undefined ? undefined : model.lock(o, name, now)
      const expected = {
        role: model.role(c, o, name, now),
        public: file === undefined ? undefined : model.isPublic(o, name),
        lock: lock === undefined ? undefined : [people[lock.by]?.username, lock.until]
      }
      const held = seen?.file?.lock
      const found = {
        role: seen?.role,
        public: seen?.file?.isPublic,
        lock: held === undefined ? undefined : [held.username, held.expiresAt]
      }
      const { lock: _, ...visible } = expected
      assert.deepStrictEqual(
        { role: remembered?.role, public: remembered?.file?.isPublic },
        visible,
        `remembered: ${describe(history)}`
      )
      assert.deepStrictEqual(found, expected, `${c} on ${o}/${name}: ${describe(history)}`)
    }),
    { concurrency: "unbounded", discard: true }
  )
  const rows = yield* sql<{ readonly user_id: number; readonly bytes: number; readonly files: number }>`
    select u.user_id, u.bytes_used as bytes, u.files_used as files
    from unnest(${bigints(histories.flatMap(({ people }) => people.map(({ userId }) => userId)))}) as q (id)
    join users u on u.user_id = q.id`
  const usage = new Map(rows.map(({ user_id, ...used }) => [user_id, used]))
  for (const history of histories) {
    for (const [person, { userId }] of history.people.entries()) {
      assert.deepStrictEqual(usage.get(userId), history.model.usage(person), describe(history))
    }
  }
})

const describe = ({ number, steps }: History): string => `history ${number}: ${steps.join("; ")}`

/** Runs histories `from` to `from + count - 1`; returns how many attempts they were. */
export const runHistories = Effect.fnUntraced(function*(random: Random, from: number, count: number) {
  const histories = yield* begin(random, from, count, yield* Clock.currentTimeMillis)
  yield* compare(histories, yield* Clock.currentTimeMillis)
  for (let round = 0; round < ROUNDS; round++) {
    if (random.chance(0.6)) yield* TestClock.adjust((1 + random.below(3)) * 1000)
    const now = yield* Clock.currentTimeMillis
    yield* ban(histories, now)
    yield* Effect.forEach(
      histories,
      Effect.fnUntraced(function*(history) {
        const attempt = nextAttempt(history)
        history.steps.push(`at ${now} ${JSON.stringify(attempt)}`)
        const outcome = yield* outcomeOf(perform(history, attempt, now))
        assert.strictEqual(outcome, history.model.attempt(attempt, now), describe(history))
      }),
      { concurrency: "unbounded", discard: true }
    )
  }
  yield* compare(histories, yield* Clock.currentTimeMillis)
  return count * ROUNDS
})
