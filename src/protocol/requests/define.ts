/** What an entry of the table says: where a request stands, what proves who asks, and its decoders, built once. */
import { Schema } from "effect"
import type { SuccessCode } from "../Code.ts"
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

/**
 * A method of the client that is this request and nothing else (src/client/methods/requests.ts): what it is called, and
 * what its first argument names, when it is about a file. The fields of the body that are left are its options.
 */
export interface Method {
  readonly name: string
  readonly about?: "file" | "shareable"
}

/** What the server's activity log says of a request that was done. */
export interface Remembered {
  /** `foreign`: when the file is not the caller's own. */
  readonly when: "always" | "foreign"
  readonly says: string
  readonly notable?: true
}

export interface Definition<A extends AuthKind, B, R, M extends Method = Method, C extends SuccessCode = SuccessCode> {
  readonly category: number
  readonly subcategory: number
  readonly auth: A
  /** `in`: the request may carry data; `out`: the reply may. */
  readonly data: "none" | "in" | "out"
  /** True when it is safe to send again after a lost reply. */
  readonly idempotent: boolean
  readonly method: M | undefined
  /**
   * What it is answered with, when a method of a service that has its name is all there is to it
   * (src/server/handlers/answers.ts). Other requests have a handler of their own.
   */
  readonly answered: C | undefined
  readonly remembered: Remembered | undefined
  /** The names of the body's fields. */
  readonly fields: ReadonlyArray<string>
  readonly decodeBody: Decoder<B>
  readonly decodeResult: Decoder<R>
}

export const define = <
  A extends AuthKind,
  F extends Schema.Struct.Fields,
  R,
  RE,
  const M extends Method = never,
  const C extends SuccessCode = never
>(definition: {
  readonly category: number
  readonly subcategory: number
  readonly auth: A
  readonly body: Schema.Struct<F> & Schema.Codec<Schema.Struct<F>["Type"], Schema.Struct<F>["Encoded"]>
  readonly result: Schema.Codec<R, RE>
  readonly data?: "in" | "out"
  readonly idempotent?: boolean
  readonly method?: M
  readonly answered?: C
  readonly remembered?: Remembered
}): Definition<A, Schema.Struct<F>["Type"], R, M, C> => ({
  category: definition.category,
  subcategory: definition.subcategory,
  auth: definition.auth,
  data: definition.data ?? "none",
  idempotent: definition.idempotent ?? false,
  method: definition.method,
  answered: definition.answered,
  remembered: definition.remembered,
  fields: Object.keys(definition.body.fields),
  decodeBody: makeDecoder(definition.body, "2:ibv"),
  decodeResult: makeDecoder(definition.result, "3:?")
})
