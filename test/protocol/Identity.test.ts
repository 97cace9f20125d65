/** Names, ids and secrets: what is one, and the sentence that refuses what is none. */
import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import * as fc from "fast-check"
import {
  AccessToken,
  DeviceId,
  Fingerprint,
  Password,
  RefreshDigest,
  SessionId,
  Sha256,
  Timestamp,
  UploadId,
  Username
} from "../../src/protocol/Identity.ts"

const UUID = "0192f0c1-5d2e-7c1a-9b40-3f6f6f1f2a11"

/** What `value` is refused with; the empty string when it is accepted. */
const why = (schema: Schema.Codec<string, string>, value: unknown): string =>
  Result.match(Schema.decodeUnknownResult(schema)(value), {
    onSuccess: () => "",
    onFailure: (error) => error.message
  })

describe("a user name", () => {
  it("has 4 to 64 letters, digits, underscores and dashes", () => {
    for (const name of ["abcd", "ALICE", "foobar_user", "-_-_", "0000", "a".repeat(64)]) {
      assert.strictEqual(why(Username, name), "", name)
    }
    const wrong = [
      "",
      "abc",
      "a".repeat(65),
      "al ice",
      "alice\n",
      "\nalice",
      "älice",
      "аlice",
      "alice.",
      "al/ice",
      "a\0bcd"
    ]
    for (const name of wrong) {
      assert.match(why(Username, name), /a user name has 4 to 64 characters: letters, digits, _ and -/, name)
    }
  })
})

describe("a password", () => {
  it("has 8 to 256 bytes, whatever its characters take", () => {
    const accepted = [
      "12345678",
      "        ",
      "a".repeat(256),
      "é".repeat(4),
      "é".repeat(128),
      "🗝️🗝️",
      "\0\0\0\0\0\0\0\0"
    ]
    for (const password of accepted) assert.strictEqual(why(Password, password), "")
    for (const password of ["", "1234567", "é".repeat(3), "a".repeat(257), "é".repeat(129), "🗝".repeat(65)]) {
      assert.match(why(Password, password), /a password has 8 to 256 bytes/)
    }
  })

  it("is taken as it is: blanks at its ends belong to it", () => {
    assert.strictEqual(Schema.decodeSync(Password)("  padded  "), "  padded  ")
  })

  it("is well-formed Unicode, because halves of characters would all be the same bytes", () => {
    assert.match(why(Password, "1234567\ud83d"), /a password is text in Unicode/)
  })

  it("is never repeated in the sentence that refuses it", () => {
    for (const secret of ["hunter2", "hunter2".repeat(99)]) assert.notInclude(why(Password, secret), "hunter2")
    fc.assert(fc.property(fc.jsonValue(), (value) => {
      fc.pre(typeof value !== "string")
      assert.match(why(Password, value), /^expected string$/i)
    }))
  })
})

describe("ids, digests, hashes and instants", () => {
  const kinds = [
    {
      schema: SessionId,
      right: [UUID, "00000000-0000-4000-8000-000000000000"],
      wrong: ["", "x", UUID.slice(1), `${UUID}0`, UUID.replaceAll("-", ""), `{${UUID}}`, `${UUID}\n`],
      sentence: /a session id is a UUID/
    },
    { schema: UploadId, right: [UUID], wrong: ["", "1", ` ${UUID}`], sentence: /an upload id is a UUID/ },
    {
      schema: DeviceId,
      right: ["laptop-1", "a".repeat(64), "A_b-0000"],
      wrong: ["", "short", "a".repeat(65), "my laptop", "laptop/1", "laptop-1\n"],
      sentence: /a device id has 8 to 64 characters: letters, digits, _ and -/
    },
    {
      schema: RefreshDigest,
      right: ["A".repeat(43), "-_".repeat(21).padEnd(43, "9")],
      wrong: ["", "A".repeat(42), "A".repeat(44), `${"A".repeat(43)}=`, `${"A".repeat(42)}+`],
      sentence: /a refresh digest has 43 characters of base64url/
    },
    {
      schema: Sha256,
      right: ["0123456789abcdef".repeat(4)],
      wrong: ["", "0123456789ABCDEF".repeat(4), "0".repeat(63), "0".repeat(65), "g".repeat(64)],
      sentence: /a SHA-256 is written as 64 lower-case hexadecimal digits/
    },
    {
      schema: Fingerprint,
      right: [`SHA256:${"A".repeat(43)}`, `SHA256:${"+/".repeat(21)}Z`],
      wrong: ["", "A".repeat(43), `sha256:${"A".repeat(43)}`, `SHA256:${"A".repeat(43)}=`, `SHA256:${"-".repeat(43)}`],
      sentence: /a fingerprint is written as SHA256: and 43 characters of base64/
    },
    {
      schema: Timestamp,
      right: ["2026-11-22T08:00:00.000Z", new Date(0).toISOString()],
      wrong: ["", "2026-11-22", "2026-11-22T08:00:00Z", "2026-11-22T08:00:00.000+00:00", "2026-11-22 08:00:00.000Z"],
      sentence: /an instant is written as 2026-11-22T08:00:00.000Z/
    },
    {
      schema: AccessToken,
      right: ["", "a.b.c", "a".repeat(1024)],
      wrong: ["a".repeat(1025)],
      sentence: /an access token has at most 1024 characters/
    }
  ]

  it("are told from anything else, in a sentence", () => {
    for (const { right, schema, sentence, wrong } of kinds) {
      for (const value of right) assert.strictEqual(why(schema, value), "", value)
      for (const value of wrong) assert.match(why(schema, value), sentence, value)
      for (const value of [0, null, undefined, [right[0]], { value: right[0] }]) {
        assert.notStrictEqual(why(schema, value), "")
      }
    }
  })
})
