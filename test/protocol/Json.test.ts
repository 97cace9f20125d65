/** JSON components: decoded, or refused by a sentence that names the field at fault. */
import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import * as fc from "fast-check"
import { type Decoder, decodeRefusalBody, encodeJson, makeDecoder } from "../../src/protocol/Json.ts"
import { Refusal, refuse } from "../../src/protocol/Refusal.ts"
import { anyText } from "./arbitrary.ts"

const encoder = new TextEncoder()

const decode = makeDecoder(
  Schema.Struct({
    name: Schema.String,
    size: Schema.optionalKey(Schema.Int),
    parts: Schema.optionalKey(Schema.Array(Schema.Tuple([Schema.Int, Schema.Int])))
  }),
  "2:ibv"
)

const refused = <A>(decoder: Decoder<A>, bytes: Uint8Array): Refusal =>
  Result.match(decoder(bytes), { onSuccess: () => assert.fail("accepted"), onFailure: (refusal) => refusal })

/** Code, sentence and field that `text` is refused with. */
const why = (text: string): ReadonlyArray<string | undefined> => {
  const { code, field, message } = refused(decode, encoder.encode(text))
  return [code, message, field]
}

describe("a component", () => {
  it("of no bytes is an empty object", () => {
    assert.deepStrictEqual(
      makeDecoder(Schema.Struct({}), "2:ibv")(new Uint8Array(0)),
      Result.succeed({})
    )
    assert.lengthOf(encodeJson(undefined), 0)
  })

  it("is decoded to what was encoded, without the fields that nobody knows", () => {
    const component = fc.record({
      name: anyText(40),
      size: fc.maxSafeInteger(),
      extra: fc.jsonValue()
    })
    fc.assert(fc.property(component, ({ extra, ...known }) => {
      assert.deepStrictEqual(decode(encodeJson({ ...known, extra })), Result.succeed(known))
    }))
  })

  it("that has no fields is empty, whatever came in it", () => {
    const nothing = makeDecoder(Schema.Struct({}), "2:ibv")
    assert.deepStrictEqual(nothing(encoder.encode("{\"name\":65536,\"owner\":{}}")), Result.succeed({}))
    assert.strictEqual(refused(nothing, encoder.encode("[1]")).code, "2:ibv")
  })

  it("is refused with 2:njs when it is not JSON in UTF-8", () => {
    const wrong = ["{", "{}{}", "undefined", "{'name':1}", `{"name":"a",}`, "\0", `\uFEFF{"name":"a"}`]
    for (const bytes of [...wrong.map((text) => encoder.encode(text)), encoder.encode(`{"name":"?"}`).with(9, 0xff)]) {
      const refusal = refused(decode, bytes)
      assert.strictEqual(refusal.code, "2:njs")
      assert.match(refusal.message, /not JSON in UTF-8/)
    }
  })

  it("of the wrong shape is refused by a sentence that names the field", () => {
    for (const text of ["null", "[]", "7", `"name"`, "true"]) {
      assert.deepStrictEqual(why(text), ["2:ibv", "expected a JSON object", undefined])
    }
    assert.deepStrictEqual(why("{}"), ["2:ibv", "name: this field is missing", "name"])
    assert.deepStrictEqual(why(`{"name":7}`), ["2:ibv", "name: expected string", "name"])
    assert.deepStrictEqual(why(`{"name":"a","size":1.5}`), ["2:ibv", "size: expected an integer", "size"])
    assert.deepStrictEqual(why(`{"name":"a","parts":[[0,1],[2,"3"]]}`), [
      "2:ibv",
      "parts.1.1: expected number",
      "parts.1.1"
    ])
  })

  it("never makes its refusal long or deep, whatever it holds", () => {
    const long = JSON.stringify("x".repeat(60_000))
    const deep = `${"[".repeat(30_000)}${"]".repeat(30_000)}`
    const nested = `${`{"x":`.repeat(10_000)}1${"}".repeat(10_000)}`
    for (const value of [long, deep, nested]) {
      const texts = [value, `{"name":${value}}`, `{"name":"a","size":${value}}`, `{"name":"a","parts":[${value}]}`]
      for (const text of texts) {
        const result = decode(encoder.encode(text))
        if (Result.isFailure(result)) assert.isBelow(result.failure.message.length, 200)
      }
    }
  })
})

describe("a refusal", () => {
  const refusal = fc.record({
    message: anyText(40),
    field: fc.string(),
    retry_after_ms: fc.maxSafeNat(),
    current_version: fc.maxSafeNat()
  }, { requiredKeys: ["message"] })

  it("travels as the body of a reply and arrives as it was", () => {
    fc.assert(fc.property(refusal, (fields) => {
      const sent = new Refusal({ code: "2:vcf", ...fields })
      assert.deepStrictEqual(decodeRefusalBody(encodeJson(sent.body)), Result.succeed(sent.body))
      assert.deepStrictEqual({ ...sent.body }, { ...fields })
    }))
  })

  it("tells whose fault it is", () => {
    assert.isTrue(refuse("2:nf", "no such file").isClientFault)
    assert.isFalse(refuse("3:db", "no database").isClientFault)
  })

  it("without a sentence is the server's fault", () => {
    assert.strictEqual(refused(decodeRefusalBody, encodeJson({ field: "name" })).code, "3:?")
    assert.strictEqual(refused(decodeRefusalBody, new Uint8Array(0)).code, "3:?")
  })
})
