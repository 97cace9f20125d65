/** Which answers are remembered, and as what. */
import { assert, describe, it } from "@effect/vitest"
import { FileName } from "../../../src/protocol/FileName.ts"
import { DeviceId, Password, SessionId, Username } from "../../../src/protocol/Identity.ts"
import { requestNames } from "../../../src/protocol/Request.ts"
import { activityOf } from "../../../src/server/activity/requestActivity.ts"
import type { Answered } from "../../../src/server/Connection.ts"

const caller = {
  userId: 7,
  username: Username.make("bob_jones"),
  sessionId: SessionId.make("0193a7c2-4e6b-4c1d-9f0a-2b3c4d5e6f70"),
  expiresAt: 0,
  address: "192.0.2.1"
}
const alice = Username.make("alice_smith")
const name = FileName.make("a")
const written = { owner: alice, name, size: 1, version: 2 }

const answered = (request: Answered["request"], code: Answered["code"], rest: Partial<Answered> = {}) =>
  activityOf("192.0.2.1", {
    caller,
    identity: undefined,
    body: {},
    result: undefined,
    millis: 1.4,
    bytesIn: 0,
    bytesOut: 0,
    ...rest,
    request,
    code
  })

describe("the activity of a request", () => {
  it("is nothing for work on one's own files, whoever's name is written how", () => {
    const own = { body: { name } }
    const named = { body: { owner: Username.make("BOB_jones"), name } }
    for (const request of ["Read", "Create", "Write", "Append", "Patch", "Replace", "Copy", "Restore"] as const) {
      assert.isUndefined(answered(request, "1:read", own), request)
      assert.isUndefined(answered(request, "1:read", named), request)
    }
    assert.isUndefined(answered("Read", "2:nf", own), "a slip")
    assert.isUndefined(answered("List", "1:qa"))
  })

  it("is remembered for other people's files, with who, whose, from where and how long", () => {
    assert.deepStrictEqual(answered("Read", "1:read", { body: { owner: alice, name } }), {
      action: "Read",
      code: "1:read",
      says: "file read",
      userId: 7,
      username: "bob_jones",
      address: "192.0.2.1",
      owner: alice,
      name,
      movedFrom: undefined,
      durationMillis: 1,
      suspicious: false,
      notable: false,
      detail: {}
    })
    assert.deepInclude(answered("UploadCommit", "1:amnd", { result: written }), { owner: alice, name })
    const copied = {
      body: { owner: alice, name, new_name: FileName.make("mine") },
      result: { ...written, owner: caller.username }
    }
    assert.deepInclude(answered("Copy", "1:cpy", copied), { owner: alice, name, detail: { new_name: "mine" } })
  })

  it("is remembered when it was denied: what one may not do, and what one may not see", () => {
    for (const request of requestNames) {
      assert.isDefined(answered(request, "2:perm", { body: { name } }), request)
      assert.isDefined(answered(request, "2:nf", { body: { owner: alice, name } }), request)
      for (const code of ["2:ibv", "2:vcf", "2:quota", "2:exp", "3:db"] as const) {
        assert.isUndefined(answered(request, code))
      }
    }
  })

  it("is suspicious when stored content is damaged, also one's own", () => {
    assert.deepInclude(answered("Read", "3:bad", { body: { name } }), {
      suspicious: true,
      owner: caller.username,
      name
    })
  })

  it("says what was shared with whom, and where a file was before", () => {
    const body = { name, username: alice, role: "READ" as const, duration_ms: 1000 }
    assert.deepInclude(answered("Grant", "1:gnt", { body }), {
      notable: true,
      detail: { username: alice, role: "READ", duration_ms: 1000 }
    })
    const renamed = {
      body: { name, new_name: FileName.make("b") },
      result: { ...written, owner: caller.username, name: FileName.make("b") }
    }
    assert.deepInclude(answered("Rename", "1:ren", renamed), {
      name: "b",
      movedFrom: { owner: caller.username, name },
      detail: { new_name: "b", old_name: "a" }
    })
    const given = { body: { name, username: alice }, result: written }
    assert.deepInclude(answered("Transfer", "1:sft", given), {
      owner: alice,
      movedFrom: { owner: caller.username, name }
    })
  })

  it("is remembered of accounts by the name that came with the password, and never the password", () => {
    const login = answered("Login", "1:auth", {
      caller: undefined,
      identity: "alice_smith",
      body: { device: DeviceId.make("some-device") }
    })
    assert.deepInclude(login, { username: "alice_smith", notable: true, detail: {} })
    assert.isUndefined(
      answered("Login", "2:auth", { caller: undefined, identity: "alice_smith" }),
      "the guard knows more"
    )
    assert.notProperty(
      answered("ChangePassword", "1:pw", { body: { new_password: Password.make("a new secret") } })?.detail,
      "new_password"
    )
  })
})
