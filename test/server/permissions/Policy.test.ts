/** Which role each action needs, said once more than where it is decided: a change of the table is meant, or is seen here. */
import { assert, describe, it } from "@effect/vitest"
import { Struct } from "effect"
import type { Role } from "../../../src/protocol/Permission.ts"
import { type Action, deny } from "../../../src/server/permissions/Policy.ts"

const ROLES: ReadonlyArray<Role> = ["READ", "EDIT", "MANAGE", "OWNER"]

const LEAST = {
  read: "READ",
  edit: "EDIT",
  lock: "EDIT",
  queryPermissions: "MANAGE",
  share: "MANAGE",
  appoint: "OWNER",
  breakLock: "OWNER",
  rename: "OWNER",
  delete: "OWNER",
  queryActivity: "OWNER",
  publish: "OWNER",
  transfer: "OWNER"
} as const satisfies Record<Action, Role>

describe("the policy", () => {
  it("lets each action be done by its role and those above it, and by nobody else", () => {
    for (const action of Struct.keys(LEAST)) {
      const least = LEAST[action]
      assert.strictEqual(deny(undefined, action, "f")?.code, "2:nf", action)
      for (const role of ROLES) {
        const may = ROLES.indexOf(role) >= ROLES.indexOf(least)
        assert.strictEqual(deny(role, action, "f")?.code, may ? undefined : "2:perm", `${role} ${action}`)
      }
    }
  })
})
