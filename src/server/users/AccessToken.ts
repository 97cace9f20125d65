/**
 * Access tokens: what they say and how they are written. Pure and synchronous.
 *
 * A token is base64url of: format (1 byte), key id (4), user id (8), session id (16), issued (8), expires (8), user name
 * (the rest), HMAC-SHA256 over all of that (32). There is one way to write a token: text that decodes to the same bytes
 * in another spelling is refused.
 */
import { Schema } from "effect"
import { createHmac, timingSafeEqual } from "node:crypto"
import { AccessToken, SessionId, Username } from "../../protocol/Identity.ts"

/** What a token says about its bearer. Instants are milliseconds since 1970. */
export interface Claims {
  readonly userId: number
  readonly username: Username
  readonly sessionId: SessionId
  readonly issuedAt: number
  readonly expiresAt: number
}

/** What a token is signed with. */
export interface TokenKey {
  readonly keyId: number
  readonly secret: Uint8Array
}

const FORMAT = 1
const NAME_AT = 45
const MAC_BYTES = 32
const MIN_BYTES = NAME_AT + 4 + MAC_BYTES
const MAX_BYTES = NAME_AT + 64 + MAC_BYTES

const isUsername = Schema.is(Username)
const isSessionId = Schema.is(SessionId)

const mac = (secret: Uint8Array, signed: Uint8Array): Uint8Array => createHmac("sha256", secret).update(signed).digest()

export const sign = (claims: Claims, key: TokenKey): AccessToken => {
  const name = Buffer.from(claims.username, "latin1")
  const bytes = Buffer.alloc(NAME_AT + name.length + MAC_BYTES)
  bytes.writeUInt8(FORMAT, 0)
  bytes.writeUInt32BE(key.keyId, 1)
  bytes.writeBigUInt64BE(BigInt(claims.userId), 5)
  bytes.write(claims.sessionId.replaceAll("-", ""), 13, 16, "hex")
  bytes.writeBigInt64BE(BigInt(claims.issuedAt), 29)
  bytes.writeBigInt64BE(BigInt(claims.expiresAt), 37)
  name.copy(bytes, NAME_AT)
  const end = bytes.length - MAC_BYTES
  bytes.set(mac(key.secret, bytes.subarray(0, end)), end)
  return AccessToken.make(bytes.toString("base64url"))
}

const uuidAt = (bytes: Buffer, at: number): string => {
  const hex = bytes.toString("hex", at, at + 16)
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}

/**
 * What a token says, when one of our keys signed it; `undefined` otherwise. `keyOf` gives the secret of a key that is
 * still trusted. Says nothing about whether the token has expired or its session has ended.
 */
export const verify = (
  token: string,
  keyOf: (keyId: number, issuedAt: number) => Uint8Array | undefined
): Claims | undefined => {
  if (token.length > Math.ceil(MAX_BYTES * 4 / 3)) return undefined
  const bytes = Buffer.from(token, "base64url")
  if (bytes.length < MIN_BYTES || bytes.length > MAX_BYTES || bytes.readUInt8(0) !== FORMAT) return undefined
  if (bytes.toString("base64url") !== token) return undefined
  const secret = keyOf(bytes.readUInt32BE(1), Number(bytes.readBigInt64BE(29)))
  if (secret === undefined) return undefined
  const end = bytes.length - MAC_BYTES
  if (!timingSafeEqual(mac(secret, bytes.subarray(0, end)), bytes.subarray(end))) return undefined
  const username = bytes.toString("latin1", NAME_AT, end)
  const sessionId = uuidAt(bytes, 13)
  if (!isUsername(username) || !isSessionId(sessionId)) return undefined
  return {
    userId: Number(bytes.readBigUInt64BE(5)),
    username,
    sessionId,
    issuedAt: Number(bytes.readBigInt64BE(29)),
    expiresAt: Number(bytes.readBigInt64BE(37))
  }
}
