import { assert, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { TestClock } from "effect/testing"
import { Username } from "../../src/protocol/Identity.ts"
import type { Refusal } from "../../src/protocol/Refusal.ts"
import type { Caller } from "../../src/server/Caller.ts"
import { Permissions } from "../../src/server/Permissions.ts"
import { TestDatabase } from "../support/TestDatabase.ts"
import { layer, nameOf, newFile, newPerson, roleOn, usageOf } from "./permissions/world.ts"

const HOUR = 3_600_000
const name = nameOf("docs/plan.txt")
const unknown = Username.make("nobody-at-all")
const shout = (username: Username): Username => Username.make(username.toUpperCase())

/** A file with its owner, a manager, an editor, a reader and somebody who is nobody to it. */
const shared = Effect.gen(function*() {
  const permissions = yield* Permissions
  const [owner, manager, editor, reader, nobody] = yield* Effect.all([
    newPerson(),
    newPerson(),
    newPerson(),
    newPerson(),
    newPerson()
  ])
  yield* newFile(owner, name, 100)
  for (const [person, role] of [[manager, "MANAGE"], [editor, "EDIT"], [reader, "READ"]] as const) {
    yield* permissions.grant(owner, { name, username: person.username, role })
  }
  return { permissions, owner, manager, editor, reader, nobody, file: { owner: owner.username, name } }
})

for (
  const [database, databaseLayer] of [["PGlite", TestDatabase.pglite], ["PostgreSQL", TestDatabase.postgres]] as const
) {
  it.layer(Layer.provideMerge(layer, databaseLayer))(`Permissions on ${database}`, (it) => {
    it.effect("a grant gives its role, a second one replaces it, a revoke ends it", () =>
      Effect.gen(function*() {
        const { file, nobody, owner, permissions } = yield* shared
        const username = nobody.username
        const first = yield* permissions.grant(owner, { ...file, username, role: "EDIT", duration_ms: HOUR })
        assert.deepInclude(first, { ...file, username, role: "EDIT", granted_by: owner.username })
        assert.strictEqual(Date.parse(first.expires_at ?? "") - Date.parse(first.granted_at), HOUR)
        assert.strictEqual(yield* roleOn(nobody, owner, name), "EDIT")

        const second = yield* permissions.grant(owner, { ...file, username, role: "READ" })
        assert.isUndefined(second.expires_at)
        assert.strictEqual(yield* roleOn(nobody, owner, name), "READ")

        assert.deepStrictEqual(yield* permissions.revoke(owner, { ...file, username }), {
          ...file,
          username,
          role: "READ"
        })
        assert.isUndefined(yield* roleOn(nobody, owner, name))
        assert.strictEqual((yield* Effect.flip(permissions.revoke(owner, { ...file, username }))).code, "2:opcf")
      }))

    it.effect("a manager shares READ and EDIT, and touches no manager", () =>
      Effect.gen(function*() {
        const { file, manager, nobody, owner, permissions } = yield* shared
        yield* permissions.grant(manager, { ...file, username: nobody.username, role: "EDIT" })
        const appoint = yield* Effect.flip(
          permissions.grant(manager, { ...file, username: nobody.username, role: "MANAGE" })
        )
        assert.strictEqual(appoint.code, "2:perm")
        yield* permissions.revoke(manager, { ...file, username: nobody.username })

        const second = yield* newPerson()
        yield* permissions.grant(owner, { name, username: second.username, role: "MANAGE" })
        const demote = permissions.grant(manager, { ...file, username: second.username, role: "READ" })
        assert.strictEqual((yield* Effect.flip(demote)).code, "2:perm")
        const dismiss = permissions.revoke(manager, { ...file, username: second.username })
        assert.strictEqual((yield* Effect.flip(dismiss)).code, "2:perm")
        assert.strictEqual(yield* roleOn(second, owner, name), "MANAGE")
      }))

    it.effect("who may see a file but not share it is told so, who may not see it is told that it is not there", () =>
      Effect.gen(function*() {
        const { editor, file, manager, nobody, permissions, reader } = yield* shared
        const attempts = (caller: Caller): ReadonlyArray<Effect.Effect<unknown, Refusal>> => [
          permissions.grant(caller, { ...file, username: nobody.username, role: "READ" }),
          // Neither tells whether there is such a user.
          permissions.grant(caller, { ...file, username: unknown, role: "READ" }),
          permissions.revoke(caller, { ...file, username: reader.username }),
          permissions.queryPermission(caller, file),
          permissions.publicise(caller, file),
          permissions.hide(caller, file),
          permissions.transfer(caller, { ...file, username: nobody.username })
        ]
        for (const [caller, code] of [[reader, "2:perm"], [editor, "2:perm"], [nobody, "2:nf"]] as const) {
          for (const attempt of attempts(caller)) assert.strictEqual((yield* Effect.flip(attempt)).code, code)
        }
        for (const attempt of attempts(manager).slice(4)) {
          assert.strictEqual((yield* Effect.flip(attempt)).code, "2:perm")
        }
        const hidden = yield* Effect.flip(permissions.queryPermission(nobody, file))
        const missing = yield* Effect.flip(permissions.queryPermission(nobody, { ...file, name: nameOf("docs/none") }))
        assert.strictEqual(hidden.message.replace("plan.txt", "none"), missing.message)
      }))

    it.effect("refuses unknown users, unknown owners, oneself and the owner by name", () =>
      Effect.gen(function*() {
        const { file, manager, owner, permissions } = yield* shared
        const refused = (caller: Caller, username: Username) =>
          Effect.flip(permissions.grant(caller, { ...file, username, role: "READ" }))
        assert.strictEqual((yield* refused(owner, unknown)).code, "2:unf")
        assert.strictEqual(
          (yield* Effect.flip(permissions.revoke(owner, { ...file, username: unknown }))).code,
          "2:unf"
        )
        assert.strictEqual(
          (yield* Effect.flip(permissions.transfer(owner, { ...file, username: unknown }))).code,
          "2:unf"
        )
        assert.strictEqual((yield* Effect.flip(permissions.hide(owner, { owner: unknown, name }))).code, "2:nf")
        assert.strictEqual((yield* refused(owner, owner.username)).code, "2:opcf")
        assert.strictEqual((yield* refused(manager, owner.username)).code, "2:opcf")
        assert.strictEqual((yield* refused(manager, manager.username)).code, "2:opcf")
        const forever = permissions.grant(owner, {
          ...file,
          username: manager.username,
          role: "READ",
          duration_ms: Number.MAX_SAFE_INTEGER
        })
        assert.strictEqual((yield* Effect.flip(forever)).field, "duration_ms")
      }))

    it.effect("names are those of registration, however they are typed", () =>
      Effect.gen(function*() {
        const { owner, permissions, reader } = yield* shared
        const granted = yield* permissions.grant(owner, {
          owner: shout(owner.username),
          name,
          username: shout(reader.username),
          role: "EDIT"
        })
        assert.strictEqual(granted.owner, owner.username)
        assert.strictEqual(granted.username, reader.username)
      }))

    it.effect("a public file is read by everybody; hiding it leaves the grants", () =>
      Effect.gen(function*() {
        const { editor, file, nobody, owner, permissions } = yield* shared
        assert.deepStrictEqual(yield* permissions.publicise(owner, { name }), { ...file, public: true })
        assert.strictEqual(yield* roleOn(nobody, owner, name), "READ")
        assert.strictEqual(yield* roleOn(editor, owner, name), "EDIT")
        assert.isTrue((yield* permissions.queryPermission(owner, { name })).public)
        assert.deepStrictEqual(yield* permissions.hide(owner, { name }), { ...file, public: false })
        assert.isUndefined(yield* roleOn(nobody, owner, name))
        assert.strictEqual(yield* roleOn(editor, owner, name), "EDIT")
      }))

    it.effect("lists the grants that hold, by name", () =>
      Effect.gen(function*() {
        const { editor, file, manager, owner, permissions, reader } = yield* shared
        yield* permissions.grant(owner, { name, username: editor.username, role: "EDIT", duration_ms: HOUR })
        const { grants } = yield* permissions.queryPermission(manager, file)
        assert.sameDeepMembers(grants.map((grant) => [grant.username, grant.role, grant.granted_by]), [
          [manager.username, "MANAGE", owner.username],
          [editor.username, "EDIT", owner.username],
          [reader.username, "READ", owner.username]
        ])
        const names = grants.map((grant) => grant.username.toLowerCase())
        assert.deepStrictEqual(names, names.toSorted())
        yield* TestClock.adjust(HOUR)
        const later = yield* permissions.queryPermission(manager, file)
        assert.notInclude(later.grants.map((grant) => grant.username), editor.username)
      }))

    it.effect("a transfer moves ownership and quota, leaves a manager, and keeps the other grants", () =>
      Effect.gen(function*() {
        const { editor, manager, owner, permissions, reader } = yield* shared
        const moved = yield* permissions.transfer(owner, {
          name,
          username: manager.username,
          new_name: nameOf("plan.txt")
        })
        assert.deepStrictEqual(moved, {
          owner: manager.username,
          name: nameOf("plan.txt"),
          size: 100,
          version: 1
        })
        const roles = yield* Effect.forEach(
          [manager, owner, editor, reader],
          (one) => roleOn(one, manager, nameOf("plan.txt"))
        )
        assert.deepStrictEqual(roles, ["OWNER", "MANAGE", "EDIT", "READ"])
        assert.isUndefined(yield* roleOn(owner, owner, name))
        assert.deepStrictEqual(yield* usageOf(owner), { bytes: 0, files: 0 })
        assert.deepStrictEqual(yield* usageOf(manager), { bytes: 100, files: 1 })
      }))

    it.effect("a transfer that the new owner has no room or no name for changes nothing", () =>
      Effect.gen(function*() {
        const { owner, permissions } = yield* shared
        const poor = yield* newPerson({ bytes: 99 })
        const full = yield* newPerson({ files: 0 })
        const rival = yield* newPerson()
        yield* newFile(rival, name, 1)
        const codes = yield* Effect.forEach(
          [poor, full, rival, owner],
          (person) => Effect.flip(permissions.transfer(owner, { name, username: person.username }))
        )
        assert.deepStrictEqual(codes.map((refusal) => refusal.code), ["2:quota", "2:fof", "2:cnf", "2:opcf"])
        assert.strictEqual(codes[2]?.field, "new_name")
        assert.strictEqual(yield* roleOn(owner, owner, name), "OWNER")
        assert.deepStrictEqual(yield* usageOf(owner), { bytes: 100, files: 1 })
        assert.deepStrictEqual(yield* usageOf(rival), { bytes: 1, files: 1 })

        yield* permissions.transfer(owner, { name, username: rival.username, new_name: nameOf("other") })
        assert.deepStrictEqual(yield* usageOf(rival), { bytes: 101, files: 2 })
      }))

    it.effect("two transfers of one file to two people move it once", () =>
      Effect.gen(function*() {
        const { editor, owner, permissions, reader } = yield* shared
        const results = yield* Effect.forEach(
          [editor, reader],
          (person) => Effect.exit(permissions.transfer(owner, { name, username: person.username })),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(results.map((result) => result._tag).toSorted(), ["Failure", "Success"])
        const usage = yield* Effect.forEach([owner, editor, reader], usageOf)
        assert.deepStrictEqual(usage.map((one) => one?.files).toSorted(), [0, 0, 1])
      }))

    it.effect("crossing transfers and grants of many people end, and no quota is lost", () =>
      Effect.gen(function*() {
        const permissions = yield* Permissions
        const people = yield* Effect.all(Array.from({ length: 4 }, () => newPerson()))
        for (const [index, person] of people.entries()) yield* newFile(person, nameOf(`of-${index}`), index + 1)
        const attempts: Array<Effect.Effect<unknown, Refusal>> = []
        for (const [index, from] of people.entries()) {
          for (const { username } of people) {
            attempts.push(permissions.grant(from, { name: nameOf(`of-${index}`), username, role: "EDIT" }))
            attempts.push(permissions.transfer(from, { name: nameOf(`of-${index}`), username }))
          }
        }
        yield* Effect.forEach(
          attempts,
          Effect.catchIf((refusal) => refusal.isClientFault, () => Effect.void),
          { concurrency: "unbounded", discard: true }
        )
        const usage = yield* Effect.forEach(people, usageOf)
        assert.strictEqual(usage.reduce((sum, one) => sum + (one?.bytes ?? 0), 0), 10)
        assert.strictEqual(usage.reduce((sum, one) => sum + (one?.files ?? 0), 0), 4)
      }))

    it.effect("the original's defect 10: granting again replaces a permanent, an expiring and an expired grant", () =>
      Effect.gen(function*() {
        const { file, nobody, owner, permissions } = yield* shared
        const username = nobody.username
        const grant = (duration?: number) =>
          permissions.grant(owner, {
            ...file,
            username,
            role: "READ",
            ...(duration === undefined ? {} : { duration_ms: duration })
          })
        yield* grant()
        yield* grant()
        yield* grant(HOUR)
        yield* grant(HOUR)
        yield* TestClock.adjust(HOUR)
        assert.isUndefined(yield* roleOn(nobody, owner, name))
        // An expired grant is not there to be revoked, and hinders nothing.
        assert.strictEqual((yield* Effect.flip(permissions.revoke(owner, { ...file, username }))).code, "2:opcf")
        yield* grant()
        assert.strictEqual(yield* roleOn(nobody, owner, name), "READ")
        yield* permissions.revoke(owner, { ...file, username })
        assert.isUndefined(yield* roleOn(nobody, owner, name))
      }))

    it.effect("the original's defect 11: after a transfer the new owner is the owner and the old one is not", () =>
      Effect.gen(function*() {
        const { editor, nobody, owner, permissions, reader } = yield* shared
        yield* permissions.transfer(owner, { name, username: editor.username })
        const file = { owner: editor.username, name }
        const appoint = permissions.grant(owner, { ...file, username: nobody.username, role: "MANAGE" })
        assert.strictEqual((yield* Effect.flip(appoint)).code, "2:perm")
        const takeBack = permissions.transfer(owner, { ...file, username: owner.username })
        assert.strictEqual((yield* Effect.flip(takeBack)).code, "2:perm")

        yield* permissions.grant(editor, { name, username: nobody.username, role: "MANAGE" })
        yield* permissions.transfer(editor, { name, username: reader.username })
        assert.strictEqual(yield* roleOn(reader, reader, name), "OWNER")
        assert.strictEqual(yield* roleOn(editor, reader, name), "MANAGE")
      }))

    it.effect("the original's defect 13: an expired grant is over, by the server's clock, for whoever asks", () =>
      Effect.gen(function*() {
        const { file, manager, nobody, owner, permissions } = yield* shared
        yield* permissions.grant(owner, { name, username: manager.username, role: "MANAGE", duration_ms: HOUR })
        yield* TestClock.adjust(HOUR - 1)
        assert.strictEqual(yield* roleOn(manager, owner, name), "MANAGE")
        yield* TestClock.adjust(1)
        assert.isUndefined(yield* roleOn(manager, owner, name))
        const share = permissions.grant(manager, { ...file, username: nobody.username, role: "READ" })
        assert.strictEqual((yield* Effect.flip(share)).code, "2:nf")
        assert.strictEqual((yield* Effect.flip(permissions.queryPermission(manager, file))).code, "2:nf")
      }))

    it.effect("what has expired is swept", () =>
      Effect.gen(function*() {
        const { editor, owner, permissions } = yield* shared
        const sql = yield* SqlClient
        yield* permissions.grant(owner, { name, username: editor.username, role: "EDIT", duration_ms: HOUR })
        const rows = sql`select 1 as one from grants where user_id = ${editor.userId}::bigint`
        assert.lengthOf(yield* rows, 1)
        yield* Effect.repeat(Effect.andThen(TestClock.adjust(HOUR), rows), { until: (found) => found.length === 0 })
      }))
  })
}
