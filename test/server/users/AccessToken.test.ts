import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { createHmac, randomBytes } from "node:crypto"
import { SessionId, Username } from "../../../src/protocol/Identity.ts"
import { type Claims, sign, verify } from "../../../src/server/users/AccessToken.ts"

const key = { keyId: 7, secret: randomBytes(32) }
const keyOf = (keyId: number) => keyId === key.keyId ? key.secret : undefined

const claims: fc.Arbitrary<Claims> = fc.record({
  userId: fc.maxSafeNat(),
  username: fc.stringMatching(/^[A-Za-z0-9_-]{4,64}$/).map((name) => Username.make(name)),
  sessionId: fc.uuid().map((id) => SessionId.make(id)),
  issuedAt: fc.maxSafeNat(),
  expiresAt: fc.maxSafeNat()
})

describe("AccessToken", () => {
  it("says what was signed, and fits the wire", () => {
    fc.assert(fc.property(claims, (claims) => {
      const token = sign(claims, key)
      assert.isAtMost(token.length, 256)
      assert.deepStrictEqual(verify(token, keyOf), claims)
    }))
  })

  it("is refused when one character is another one", () => {
    const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/=. \u0000é"
    fc.assert(
      fc.property(claims, fc.nat(), fc.constantFrom(...alphabet), (claims, at, character) => {
        const token = sign(claims, key)
        const index = at % token.length
        fc.pre(token[index] !== character)
        assert.isUndefined(verify(token.slice(0, index) + character + token.slice(index + 1), keyOf))
      }),
      { numRuns: 2000 }
    )
  })

  it("is refused when it is cut or lengthened, at either end", () => {
    fc.assert(fc.property(claims, fc.nat(), fc.stringMatching(/^[A-Za-z0-9_=+/ -]{1,40}$/), (claims, at, more) => {
      const token = sign(claims, key)
      const cut = at % token.length
      assert.isUndefined(verify(token.slice(0, cut), keyOf))
      assert.isUndefined(verify(token.slice(cut + 1), keyOf))
      assert.isUndefined(verify(token + more, keyOf))
      assert.isUndefined(verify(more + token, keyOf))
    }))
  })

  it("is refused when bytes that were signed are replaced and the signature kept", () => {
    fc.assert(fc.property(claims, claims, (claims, others) => {
      const mine = Buffer.from(sign(claims, key), "base64url")
      const theirs = Buffer.from(sign(others, key), "base64url")
      fc.pre(!mine.equals(theirs))
      const mixed = Buffer.concat([mine.subarray(0, -32), theirs.subarray(-32)])
      assert.isUndefined(verify(mixed.toString("base64url"), keyOf))
    }))
  })

  it("is refused when another key signed it, whatever key it names", () => {
    fc.assert(fc.property(claims, fc.uint8Array({ minLength: 0, maxLength: 64 }), (claims, secret) => {
      assert.isUndefined(verify(sign(claims, { keyId: key.keyId, secret }), keyOf))
      assert.isUndefined(verify(sign(claims, { keyId: key.keyId + 1, secret: key.secret }), keyOf))
    }))
  })

  it("is refused when it has another format, though our key signed it", () => {
    fc.assert(fc.property(claims, fc.integer({ min: 0, max: 255 }), (claims, format) => {
      fc.pre(format !== 1)
      const bytes = Buffer.from(sign(claims, key), "base64url")
      bytes[0] = format
      const signed = bytes.subarray(0, -32)
      const signature = createHmac("sha256", key.secret).update(signed).digest()
      assert.isUndefined(verify(Buffer.concat([signed, signature]).toString("base64url"), keyOf))
    }))
  })

  it("is refused when it is noise, even noise that is signed", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      const signature = createHmac("sha256", key.secret).update(bytes).digest()
      assert.isUndefined(verify(Buffer.from(bytes).toString("base64url"), keyOf))
      assert.isUndefined(verify(Buffer.concat([bytes, signature]).toString("base64url"), keyOf))
    }))
    fc.assert(fc.property(fc.string(), (text) => assert.isUndefined(verify(text, keyOf))))
  })
})
