/** Headers: what is encoded is what is parsed, 256 bytes always, and nothing else is taken for a header. */
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { ClientFaultCode, type Code, ProgressCode, ServerFaultCode, SuccessCode } from "../../src/protocol/Code.ts"
import {
  encodeReplyHeader,
  encodeRequestHeader,
  isCompatible,
  parseReplyHeader,
  parseRequestHeader,
  type ReplyHeader,
  type RequestHeader
} from "../../src/protocol/Header.ts"
import { HEADER_BYTES, PROTOCOL_VERSION } from "../../src/protocol/Limits.ts"

const MAX = Number.MAX_SAFE_INTEGER
const size = fc.oneof(fc.maxSafeNat(), fc.constantFrom(0, 1, MAX - 1, MAX))
const version = fc.constant(PROTOCOL_VERSION)
const codes: ReadonlyArray<Code> = [
  ...ProgressCode.literals,
  ...SuccessCode.literals,
  ...ClientFaultCode.literals,
  ...ServerFaultCode.literals
]

/** What is written only where it is so. */
const compressed = <H extends object>(header: fc.Arbitrary<H>) =>
  fc.tuple(header, fc.boolean(), fc.option(size, { nil: undefined })).map(([header, zstd, raw_size]) =>
    Object.assign(header, { zstd }, raw_size === undefined ? undefined : { raw_size })
  )

const requestHeader: fc.Arbitrary<RequestHeader> = compressed(fc.record({
  version,
  id: size,
  category: size,
  subcategory: size,
  auth_size: size,
  body_size: size,
  data_size: size,
  more: fc.boolean(),
  finish: fc.boolean()
}))

const replyHeader: fc.Arbitrary<ReplyHeader> = compressed(fc.record({
  version,
  id: size,
  code: fc.constantFrom(...codes),
  body_size: size,
  data_size: size,
  more: fc.boolean(),
  ended_connection: fc.boolean(),
  timestamp: size
}))

const decoder = new TextDecoder()

/** A header with any text or bytes in it, padded as the protocol wants it. */
const padded = (content: string | Uint8Array): Uint8Array => {
  const bytes = new Uint8Array(HEADER_BYTES).fill(0x20)
  bytes.set(typeof content === "string" ? new TextEncoder().encode(content) : content)
  return bytes
}

describe("a header", () => {
  it("of a request is parsed to what was encoded, for every value in range", () => {
    fc.assert(fc.property(requestHeader, (header) => {
      assert.deepStrictEqual(parseRequestHeader(encodeRequestHeader(header)), header)
    }))
  })

  it("of a reply is parsed to what was encoded, for every value in range and every code", () => {
    fc.assert(fc.property(replyHeader, (header) => {
      assert.deepStrictEqual(parseReplyHeader(encodeReplyHeader(header)), header)
    }))
  })

  it("is 256 bytes of one JSON object and spaces at the extremes too", () => {
    const longest = codes.toSorted((a, b) => b.length - a.length)[0] ?? assert.fail("no codes")
    const sizes = { id: MAX, body_size: MAX, data_size: MAX, raw_size: MAX, zstd: true, more: false }
    for (
      const bytes of [
        encodeRequestHeader({ ...sizes, category: MAX, subcategory: MAX, auth_size: MAX, finish: false }),
        encodeReplyHeader({ ...sizes, code: longest, ended_connection: false, timestamp: MAX })
      ]
    ) {
      assert.lengthOf(bytes, HEADER_BYTES)
      assert.match(decoder.decode(bytes), /^\{[^ ]*\} +$/)
    }
  })

  it("may leave out what has a default, and carry fields that this version does not know", () => {
    const minimal = { version: "1.4.2", id: 7, category: 1, subcategory: 0 }
    const defaults = { auth_size: 0, body_size: 0, data_size: 0, more: false, finish: false, zstd: false }
    assert.deepStrictEqual(parseRequestHeader(padded(JSON.stringify(minimal))), { ...minimal, ...defaults })
    fc.assert(
      fc.property(
        fc.dictionary(fc.stringMatching(/^x[a-z:"\\{}]{0,5}$/), fc.jsonValue({ maxDepth: 2 }), { maxKeys: 3 }),
        (unknown) => {
          const text = JSON.stringify({ ...unknown, ...minimal })
          fc.pre(Buffer.byteLength(text) <= HEADER_BYTES)
          assert.deepStrictEqual(parseRequestHeader(padded(text)), { ...minimal, ...defaults })
        }
      )
    )
  })

  it("may fill all 256 bytes", () => {
    const text = JSON.stringify({ version: "1.0.0", id: 7, category: 1, subcategory: 0, pad: "" })
    const full = text.replace(`"pad":""`, `"pad":"${"x".repeat(HEADER_BYTES - text.length)}"`)
    assert.lengthOf(full, HEADER_BYTES)
    assert.strictEqual(parseRequestHeader(padded(full))?.id, 7)
  })
})

describe("256 bytes are no header when", () => {
  const sizes = { version: "1.0.0", id: 1, body_size: 6, data_size: 7, more: false }
  const kinds = [
    {
      parse: parseRequestHeader,
      fields: { ...sizes, category: 4, subcategory: 1, auth_size: 5, finish: false },
      required: ["version", "id", "category", "subcategory"]
    },
    {
      parse: parseReplyHeader,
      fields: { ...sizes, code: "1:hb", ended_connection: false, timestamp: 1 },
      required: ["version", "id", "code", "timestamp"]
    }
  ]

  it("a number is negative, broken, too large, or something else", () => {
    for (const { fields, parse } of kinds) {
      assert.isDefined(parse(padded(JSON.stringify(fields))))
      for (const field of Object.entries(fields).filter(([, value]) => typeof value === "number").map(([key]) => key)) {
        for (const value of [-1, 0.5, MAX + 1, 1e300, "1", null, true, [], {}]) {
          assert.isUndefined(parse(padded(JSON.stringify({ ...fields, [field]: value }))), `${field}: ${String(value)}`)
        }
        for (const text of ["NaN", "Infinity", "1e400", "0x10", "01", "1_0", "+1", ""]) {
          const header = JSON.stringify({ ...fields, [field]: "here" }).replace(`"here"`, text)
          assert.isUndefined(parse(padded(header)), header)
        }
      }
    }
  })

  it("a flag is not a boolean", () => {
    for (const { fields, parse } of kinds) {
      for (const flag of ["more", "finish", "ended_connection"].filter((flag) => Object.hasOwn(fields, flag))) {
        for (const value of [0, 1, "true", null, []]) {
          assert.isUndefined(parse(padded(JSON.stringify({ ...fields, [flag]: value }))), flag)
        }
      }
    }
  })

  it("a field without a default is missing", () => {
    for (const { fields, parse, required } of kinds) {
      for (const field of required) {
        assert.isUndefined(parse(padded(JSON.stringify({ ...fields, [field]: undefined }))), field)
      }
    }
  })

  it("the version is not a version", () => {
    for (const { fields, parse } of kinds) {
      for (const version of ["", "1", "1.0", "1.0.0.0", "1.0.x", "1.0.0 ", "v1.0.0", "100000.0.0", 1, null]) {
        assert.isUndefined(parse(padded(JSON.stringify({ ...fields, version }))), String(version))
      }
    }
  })

  it("the code of a reply is unknown", () => {
    for (const code of ["", "1:", "1:HB", "9:hb", "1:hb ", 1, null]) {
      assert.isUndefined(parseReplyHeader(padded(JSON.stringify({ ...kinds[1]?.fields, code }))), String(code))
    }
  })

  it("a field occurs twice, so that two readers could see two sizes", () => {
    for (const { fields, parse } of kinds) {
      const text = JSON.stringify({ ...fields, unknown: { id: 1 } })
      assert.isDefined(parse(padded(text)), text)
      for (const field of ["id", "data_size", "version", "unknown"]) {
        for (const again of [field, `\\u00${field.charCodeAt(0).toString(16)}${field.slice(1)}`]) {
          const twice = text.replace("{", `{"${again}":1,`)
          assert.isUndefined(parse(padded(twice)), twice)
        }
      }
    }
  })

  it("they are not one JSON object in UTF-8 with spaces around it", () => {
    const encoder = new TextEncoder()
    for (const { fields, parse } of kinds) {
      const text = JSON.stringify(fields)
      const wrong = [
        "",
        "[]",
        "null",
        "7",
        `"${"x".repeat(40)}"`,
        `[${text}]`,
        `${text}{}`,
        `${text};`,
        text.slice(0, -1)
      ]
      for (const content of wrong) assert.isUndefined(parse(padded(content)), content)
      assert.isUndefined(parse(padded(`\uFEFF${text}`)), "a byte order mark")
      const noted = encoder.encode(text.replace("{", `{"x":"?",`))
      assert.isDefined(parse(padded(noted)))
      assert.isUndefined(parse(padded(noted.with(noted.indexOf(0x3f), 0xff))), "not UTF-8")
      assert.isUndefined(parse(padded(Buffer.from(text, "utf16le").subarray(0, HEADER_BYTES))), "UTF-16")
      const zeros = new Uint8Array(HEADER_BYTES)
      assert.isUndefined(parse(zeros), "zeros")
      zeros.set(encoder.encode(text))
      assert.isUndefined(parse(zeros), "padded with zeros")
    }
  })

  it("they are any random bytes or any random JSON", () => {
    const json = fc.json().filter((text) => Buffer.byteLength(text) <= HEADER_BYTES)
    fc.assert(fc.property(fc.oneof(fc.uint8Array({ maxLength: HEADER_BYTES }), json), (content) => {
      assert.isUndefined(parseRequestHeader(padded(content)))
      assert.isUndefined(parseReplyHeader(padded(content)))
    }))
  })
})

describe("a version", () => {
  it("is understood when its major number is that of this build", () => {
    fc.assert(fc.property(fc.nat(99_999), fc.nat(99_999), fc.nat(99_999), (major, minor, patch) => {
      assert.strictEqual(isCompatible(`${major}.${minor}.${patch}`), major === 1)
    }))
    assert.isTrue(isCompatible("1.99999.0"))
    assert.isFalse(isCompatible("10.0.0"))
    assert.isFalse(isCompatible("0.1.0"))
  })
})
