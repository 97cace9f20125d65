import { assert, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { Permissions } from "../../../src/server/Permissions.ts"
import { TestDatabase } from "../../support/TestDatabase.ts"
import { layer, nameOf, newFile, newPerson, roleOn } from "./world.ts"

it.layer(layer.pipe(Layer.provideMerge(TestDatabase.pglite)), { excludeTestServices: true })("a ban", (it) => {
  it.effect("puts the grants of the user to sleep until it is over, leaves its files, and nobody else's access changes", () =>
    Effect.gen(function*() {
      const permissions = yield* Permissions
      const sql = yield* SqlClient
      const [owner, banned, friend] = [yield* newPerson(), yield* newPerson(), yield* newPerson()]
      const [name, own] = [nameOf("shared.txt"), nameOf("own.txt")]
      yield* newFile(owner, name)
      yield* newFile(banned, own)
      for (const { username } of [banned, friend]) yield* permissions.grant(owner, { name, username, role: "MANAGE" })
      yield* permissions.grant(banned, { name: own, username: friend.username, role: "READ" })

      const until = (instant: Date | null) =>
        sql`update users set banned_until = ${instant}::timestamptz where user_id = ${banned.userId}::bigint`
      yield* until(new Date(Date.now() + 60_000))
      assert.isUndefined(yield* roleOn(banned, owner, name))
      const refusal = yield* Effect.flip(
        permissions.grant(banned, { owner: owner.username, name, username: friend.username, role: "READ" })
      )
      assert.strictEqual(refusal.code, "2:nf")
      assert.strictEqual(yield* roleOn(friend, owner, name), "MANAGE")
      assert.strictEqual(yield* roleOn(friend, banned, own), "READ")
      const { grants } = yield* permissions.queryPermission(owner, { name })
      assert.sameMembers(grants.map(({ username }) => username), [banned.username, friend.username])

      yield* until(new Date(Date.now() - 1))
      assert.strictEqual(yield* roleOn(banned, owner, name), "MANAGE")
      yield* until(null)
      assert.strictEqual(yield* roleOn(banned, owner, name), "MANAGE")
    }))
})
