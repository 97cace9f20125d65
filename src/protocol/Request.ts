/**
 * Every request of the protocol: its place in the header's vocabulary, what it must bring, and what it is answered with
 * (docs/protocol.md, section 6). Both ends read this table and nothing else: the server dispatches by it, the client
 * encodes and decodes by it.
 *
 * To add a request, add an entry to the file of its category in requests/; the server does not compile then until it
 * answers it. A `method` there gives it one of the client, too.
 */
import type { Result } from "effect"
import type { SuccessCode } from "./Code.ts"
import { type Decoder, makeDecoder } from "./Json.ts"
import type { Refusal } from "./Refusal.ts"
import { authRequests } from "./requests/auth.ts"
import { type AuthKind, type AuthOf, AuthSchemas, type Definition, type Method } from "./requests/define.ts"
import { fileRequests } from "./requests/file.ts"
import { infoRequests } from "./requests/info.ts"
import { permissionRequests } from "./requests/permission.ts"
import { ReadTail } from "./requests/values.ts"

export { type AuthKind, type AuthOf } from "./requests/define.ts"
export * from "./requests/values.ts"

export const Requests = { ...infoRequests, ...authRequests, ...fileRequests, ...permissionRequests } as const

export type Requests = typeof Requests
export type RequestName = keyof Requests
export type AuthKindOf<K extends RequestName> = Requests[K]["auth"]
type Decoded<D> = D extends Decoder<infer A> ? A : never
export type BodyOf<K extends RequestName> = Decoded<Requests[K]["decodeBody"]>
export type ResultOf<K extends RequestName> = Decoded<Requests[K]["decodeResult"]>

/** Requests that a method of the client is, and nothing else. */
export type MethodName = { [K in RequestName]: [NonNullable<Requests[K]["method"]>] extends [never] ? never : K }[
  RequestName
]

/** Requests that a method of a service answers by itself. */
export type AnsweredName = { [K in RequestName]: [NonNullable<Requests[K]["answered"]>] extends [never] ? never : K }[
  RequestName
]

const table: { readonly [K in RequestName]: Definition<AuthKindOf<K>, BodyOf<K>, ResultOf<K>> } = Requests

/** The method of the client that a request is, and nothing else. */
export const clientMethodOf = (name: RequestName): Method | undefined => table[name].method

/** What a request is answered with that a method of a service answers by itself. */
export const answerOf = (name: RequestName): SuccessCode | undefined => table[name].answered

/** Decodes an auth component of a kind. */
export const decodeAuth: { readonly [A in AuthKind]: Decoder<AuthOf<A>> } = {
  none: makeDecoder(AuthSchemas.none, "2:ias"),
  token: makeDecoder(AuthSchemas.token, "2:ias"),
  password: makeDecoder(AuthSchemas.password, "2:ias"),
  digest: makeDecoder(AuthSchemas.digest, "2:ias")
}

/** Decodes the body of a request. */
export const decodeBody = <K extends RequestName>(name: K, bytes: Uint8Array): Result.Result<BodyOf<K>, Refusal> =>
  table[name].decodeBody(bytes)

/** Decodes the body of the (first) reply that answers a request. */
export const decodeResult = <K extends RequestName>(name: K, bytes: Uint8Array): Result.Result<ResultOf<K>, Refusal> =>
  table[name].decodeResult(bytes)

/** Decodes the last body of a `Read`. */
export const decodeReadTail = makeDecoder(ReadTail, "3:?")

const isRequestName = (name: string): name is RequestName => Object.hasOwn(Requests, name)

/** All requests, in the order of the table. */
export const requestNames: ReadonlyArray<RequestName> = Object.keys(Requests).filter(isRequestName)

/** One more than the largest subcategory there can be. */
const SUBCATEGORIES = 2 ** 32

const numbers = new Map<number, RequestName>(
  requestNames.map((name) => [Requests[name].category * SUBCATEGORIES + Requests[name].subcategory, name])
)

/** The request with these header numbers; `undefined` when there is none. */
export const requestOf = (category: number, subcategory: number): RequestName | undefined =>
  subcategory < SUBCATEGORIES ? numbers.get(category * SUBCATEGORIES + subcategory) : undefined
