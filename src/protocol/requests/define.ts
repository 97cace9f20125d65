/** What an entry of the table says: where a request stands, what proves who asks, and its decoders, built once. */
import { Schema } from "effect"
import { AccessToken, DeviceId, Password, RefreshDigest, Username } from "../Identity.ts"
import { type Decoder, makeDecoder } from "../Json.ts"

/** Header field `category`. */
export const Category = { INFO: 1, AUTH: 2, FILE: 4, PERMISSION: 8 } as const

/** Proof by access token. */
export const TokenAuth = Schema.Struct({ token: AccessToken })
/** Proof by password. `token`, where it is given, names the caller's own session (`ChangePassword` keeps it). */
export const PasswordAuth = Schema.Struct({
  identity: Username,
  password: Password,
  token: Schema.optionalKey(AccessToken)
})
/** Proof by refresh digest, from the device that it was given to. */
export const DigestAuth = Schema.Struct({ refresh_digest: RefreshDigest, device: DeviceId })
export const NoAuth = Schema.Struct({})

export const AuthSchemas = { none: NoAuth, token: TokenAuth, password: PasswordAuth, digest: DigestAuth } as const
export type AuthKind = keyof typeof AuthSchemas
export type AuthOf<A extends AuthKind> = typeof AuthSchemas[A]["Type"]

export interface Definition<A extends AuthKind, B, R> {
  readonly category: number
  readonly subcategory: number
  readonly auth: A
  /** `in`: the request may carry data; `out`: the reply may. */
  readonly data: "none" | "in" | "out"
  /** True when it is safe to send again after a lost reply. */
  readonly idempotent: boolean
  readonly decodeBody: Decoder<B>
  readonly decodeResult: Decoder<R>
}

export const define = <A extends AuthKind, B, BE, R, RE>(definition: {
  readonly category: number
  readonly subcategory: number
  readonly auth: A
  readonly body: Schema.Codec<B, BE>
  readonly result: Schema.Codec<R, RE>
  readonly data?: "in" | "out"
  readonly idempotent?: boolean
}): Definition<A, B, R> => ({
  category: definition.category,
  subcategory: definition.subcategory,
  auth: definition.auth,
  data: definition.data ?? "none",
  idempotent: definition.idempotent ?? false,
  decodeBody: makeDecoder(definition.body, "2:ibv"),
  decodeResult: makeDecoder(definition.result, "3:?")
})
