/** Bodies and auth components of every request: what is wrong is refused with a sentence and a field, never thrown. */
import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import * as fc from "fast-check"
import { parseRequestHeader } from "../../src/protocol/Header.ts"
import { encodeJson } from "../../src/protocol/Json.ts"
import type { Refusal } from "../../src/protocol/Refusal.ts"
import {
  type AuthKind,
  decodeAuth,
  decodeBody,
  decodeResult,
  type RequestName,
  requestNames,
  requestOf,
  Requests
} from "../../src/protocol/Request.ts"
import { anyText } from "./arbitrary.ts"
import { examples } from "./examples.ts"

type Fields = { readonly [field: string]: unknown }

const isFields = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const fieldsOf = (json: string): Fields => {
  const value: unknown = json === "" ? {} : JSON.parse(json)
  return isFields(value) ? value : assert.fail(json)
}

/** A good body and a good auth component of each request, from the document. */
const samples = new Map<RequestName, { readonly auth: Fields; readonly body: Fields }>()
for (const { messages } of examples) {
  for (const { auth, body, from, header } of messages) {
    if (from === "server") continue
    const parsed = parseRequestHeader(Buffer.from(header))
    const name = parsed === undefined ? undefined : requestOf(parsed.category, parsed.subcategory)
    if (name !== undefined && !samples.has(name)) samples.set(name, { auth: fieldsOf(auth), body: fieldsOf(body) })
  }
}

const sampleOf = (name: RequestName) => samples.get(name) ?? assert.fail(`no example of ${name}`)

/** Asserts that something was refused as a person needs it. */
const refused = (result: Result.Result<unknown, Refusal>, where: string): Refusal => {
  if (Result.isSuccess(result)) return assert.fail(`${where}: accepted`)
  const { failure } = result
  assert.include(["2:ibv", "2:ias", "2:njs"], failure.code, where)
  assert.isAtLeast(failure.message.split(" ").length, 2, where)
  assert.isBelow(failure.message.length, 300, where)
  if (failure.field !== undefined) assert.isTrue(failure.message.startsWith(`${failure.field}: `), where)
  return failure
}

/** Values that no field of any body takes. */
const NEVER = [null, true, -1, 0.5, [[]], { a: 1 }, "\0", "\ud800"]

describe("the body of every request", () => {
  it("is accepted when it is good, and so is one with fields that nobody knows", () => {
    for (const name of requestNames) {
      const { body } = sampleOf(name)
      assert.deepStrictEqual(decodeBody(name, encodeJson(body)), Result.succeed(body), name)
      const more = decodeBody(name, encodeJson({ ...body, unheard_of: { of: [1] } }))
      // A body without fields is not looked into.
      if (Object.keys(body).length > 0) assert.deepStrictEqual(more, Result.succeed(body), name)
      else assert.isTrue(Result.isSuccess(more), name)
    }
  })

  it("is refused when it is no object", () => {
    for (const name of requestNames) {
      for (const value of [null, [], 0, "x", false]) {
        assert.strictEqual(refused(decodeBody(name, encodeJson(value)), name).message, "expected a JSON object")
      }
      assert.strictEqual(refused(decodeBody(name, Buffer.from("{")), name).code, "2:njs")
    }
  })

  it("is refused with the field's name when one of its values is wrong", () => {
    // What is free text, or a flag, takes some of these.
    const takes: Fields = { after: ["\0", "\ud800"], recursive: [true] }
    for (const name of requestNames) {
      const { body } = sampleOf(name)
      for (const field of Object.keys(body)) {
        const accepted = takes[field]
        for (const value of NEVER) {
          if (Array.isArray(accepted) && accepted.includes(value)) continue
          const where = `${name}.${field} = ${JSON.stringify(value)}`
          const refusal = refused(decodeBody(name, encodeJson({ ...body, [field]: value })), where)
          assert.strictEqual(refusal.code, "2:ibv", where)
          assert.strictEqual(refusal.field?.split(".")[0], field, where)
        }
      }
    }
  })

  it("is refused with the field's name when one it needs is missing", () => {
    const needed: { readonly [name: string]: ReadonlyArray<string> } = {
      QueryActivity: [],
      Login: ["device"],
      ChangePassword: ["new_password"],
      Patch: ["name", "position"],
      Rename: ["name", "new_name"],
      Copy: ["name", "new_name"],
      Restore: ["name"],
      WriteMany: ["files"],
      ReadMany: ["names"],
      UploadBegin: ["name", "mode"],
      UploadPart: ["upload_id", "offset"],
      UploadStatus: ["upload_id"],
      UploadCommit: ["upload_id"],
      UploadAbort: ["upload_id"],
      Grant: ["name", "username", "role"],
      Revoke: ["name", "username"],
      Transfer: ["name", "username"]
    }
    for (const name of requestNames) {
      const { body } = sampleOf(name)
      const fields = needed[name] ?? (Object.hasOwn(body, "name") ? ["name"] : [])
      for (const field of Object.keys(body)) {
        const { [field]: _, ...rest } = body
        const result = decodeBody(name, encodeJson(rest))
        const where = `${name} without ${field}`
        if (!fields.includes(field)) assert.isTrue(Result.isSuccess(result), where)
        else assert.strictEqual(refused(result, where).message, `${field}: this field is missing`)
      }
      assert.deepStrictEqual(fields.filter((field) => !Object.hasOwn(body, field)), [], `${name}: in the example`)
    }
  })

  it("never makes the decoder throw, whatever JSON or bytes it is", () => {
    const names = fc.constantFrom(...requestNames)
    const value = fc.oneof(fc.jsonValue({ maxDepth: 4 }), fc.constantFrom(...NEVER), anyText(40))
    const field = fc.constantFrom(
      "__proto__",
      "constructor",
      ...new Set(requestNames.flatMap((name) => Object.keys(sampleOf(name).body)))
    )
    const tampered = fc.record({ name: names, changes: fc.dictionary(field, value, { maxKeys: 4 }) }).map((
      { changes, name }
    ) => ({ name, body: encodeJson({ ...sampleOf(name).body, ...changes }) }))
    const random = fc.record({
      name: names,
      body: fc.oneof(fc.json().map((text) => Buffer.from(text)), fc.uint8Array({ maxLength: 300 }))
    })
    fc.assert(
      fc.property(fc.oneof(tampered, random), ({ body, name }) => {
        const result = decodeBody(name, body)
        if (Result.isFailure(result)) refused(result, name)
        else assert.deepStrictEqual(decodeBody(name, encodeJson(result.success)), result, "decoding is stable")
      }),
      { numRuns: 1500 }
    )
  })
})

describe("the auth component of every request", () => {
  it("is accepted when it is good, and refused with 2:ias and the field's name when a field is wrong or missing", () => {
    for (const name of requestNames) {
      const kind: AuthKind = Requests[name].auth
      const { auth } = sampleOf(name)
      assert.deepStrictEqual(decodeAuth[kind](encodeJson(auth)), Result.succeed(auth), name)
      for (const field of Object.keys(auth)) {
        const { [field]: _, ...rest } = auth
        const without = decodeAuth[kind](encodeJson(rest))
        if (kind === "password" && field === "token") assert.isTrue(Result.isSuccess(without))
        else assert.strictEqual(refused(without, `${name} without ${field}`).field, field)
        for (const value of [null, 7, [], {}, "x".repeat(1025)]) {
          const refusal = refused(decodeAuth[kind](encodeJson({ ...auth, [field]: value })), `${name}.${field}`)
          assert.strictEqual(refusal.code, "2:ias")
          assert.strictEqual(refusal.field, field)
        }
      }
    }
  })

  it("never has a secret in the sentence that refuses it", () => {
    const secret = fc.oneof(fc.string({ minLength: 6 }), fc.array(fc.string({ minLength: 6 }), { minLength: 1 }))
    fc.assert(
      fc.property(secret, fc.constantFrom("password" as const, "token" as const, "digest" as const), (value, kind) => {
        const fields = { identity: "x", password: value, token: { value }, refresh_digest: value, device: value }
        const refusal = refused(decodeAuth[kind](encodeJson(fields)), kind)
        for (const text of [value].flat()) {
          assert.notInclude(refusal.message.replaceAll(" ", ""), text.replaceAll(" ", "") || "·")
        }
      })
    )
  })
})

describe("a result", () => {
  it("that a server sends in the wrong shape is the server's fault", () => {
    for (const name of requestNames) {
      const result = decodeResult(name, encodeJson([]))
      assert.isTrue(Result.isFailure(result) && result.failure.code === "3:?", name)
    }
  })
})

describe("the numbers of a request", () => {
  it("name it, and no other numbers do", () => {
    const known = new Map(
      requestNames.map((name) => [`${Requests[name].category}/${Requests[name].subcategory}`, name])
    )
    assert.strictEqual(known.size, requestNames.length)
    for (const name of requestNames) {
      assert.strictEqual(requestOf(Requests[name].category, Requests[name].subcategory), name)
    }
    const number = fc.oneof(fc.nat(10), fc.maxSafeNat(), fc.constantFrom(16, 32, 64, 256, 65_536, 65_537, 131_072))
    fc.assert(fc.property(number, number, (category, subcategory) => {
      assert.strictEqual(requestOf(category, subcategory), known.get(`${category}/${subcategory}`))
    }))
  })
})
