/**
 * One request on its way through the server: from its header (what it may bring) over its auth component (who asks) to
 * the handler. Nothing is kept of a request before the step that allows it.
 */
import { Effect, Predicate, Result } from "effect"
import type { RequestHeader } from "../protocol/Header.ts"
import { isCompatible } from "../protocol/Header.ts"
import {
  MAX_AUTH_BYTES,
  MAX_BODY_BYTES,
  MAX_DATA_BYTES,
  MAX_GUEST_BODY_BYTES,
  PROTOCOL_VERSION
} from "../protocol/Limits.ts"
import { type Refusal, refuse } from "../protocol/Refusal.ts"
import {
  type AuthKind,
  type AuthKindOf,
  type AuthOf,
  type BodyOf,
  decodeAuth,
  decodeBody,
  type RequestName,
  requestOf,
  Requests
} from "../protocol/Request.ts"
import type { Caller, TlsPeer } from "./Caller.ts"
import type { Handlers, Outgoing, Proof } from "./Dispatch.ts"

/** Verifies an access token, synchronously and without the database. */
export type Authenticate = (token: string, address: string) => Result.Result<Caller, Refusal>

/** Who asks and for what, as far as it has been looked at. */
export interface Asked {
  readonly caller: Caller | undefined
  /** The user name that came with a password. */
  readonly identity: string | undefined
  readonly body: BodyOf<RequestName> | undefined
}

export interface Exchange {
  readonly name: RequestName
  /** The user whose token it brought, once that is proven. */
  readonly userId: number | undefined
  readonly asked: () => Asked
  /** Decodes and verifies the auth component; to be called first, once. */
  readonly prove: (auth: Uint8Array) => Refusal | undefined
  /** Decodes the body and runs the handler. */
  readonly run: (
    body: Uint8Array,
    data: ReadonlyArray<Uint8Array>
  ) => Effect.Effect<Outgoing<RequestName>, Refusal>
}

/** Decodes a proof that says nothing about who calls. */
const guest =
  <A extends Exclude<AuthKind, "token">>(kind: A) =>
  (bytes: Uint8Array): Result.Result<{ readonly caller: undefined; readonly auth: AuthOf<A> }, Refusal> =>
    Result.map(decodeAuth[kind](bytes), (auth) => ({ caller: undefined, auth }))

/** What makes exchanges for one connection. */
export const makeExchanges = (handlers: Handlers, authenticate: Authenticate, peer: TlsPeer) => {
  const prove: { readonly [A in AuthKind]: (bytes: Uint8Array) => Result.Result<Proof<A>, Refusal> } = {
    none: guest("none"),
    password: guest("password"),
    digest: guest("digest"),
    token: (bytes) =>
      Result.flatMap(
        decodeAuth.token(bytes),
        (auth) => Result.map(authenticate(auth.token, peer.address), (caller) => ({ caller, auth }))
      )
  }

  return <K extends RequestName>(name: K): Exchange => {
    const kind: AuthKindOf<K> = Requests[name].auth
    let proof: Proof<AuthKindOf<K>> | undefined
    let asked: BodyOf<K> | undefined
    return {
      name,
      get userId() {
        return proof?.caller?.userId
      },
      asked: () => {
        const auth: unknown = proof?.auth
        const identity = Predicate.hasProperty(auth, "identity") ? auth.identity : undefined
        return {
          caller: proof?.caller,
          identity: typeof identity === "string" ? identity : undefined,
          body: asked
        }
      },
      prove: (bytes) => {
        const proven = prove[kind](bytes)
        if (Result.isFailure(proven)) return proven.failure
        proof = proven.success
        return undefined
      },
      run: (bytes, data) => {
        if (proof === undefined) return Effect.fail(refuse("2:auth", "the request was not authenticated"))
        const body = decodeBody(name, bytes)
        if (Result.isFailure(body)) return Effect.fail(body.failure)
        asked = body.success
        return handlers[name]({ ...proof, body: body.success, data, peer })
      }
    }
  }
}

/** Checks what a header announces, before anything of the message is read (docs/protocol.md, section 2.3). */
export const admit = (header: RequestHeader): Result.Result<RequestName, Refusal> => {
  if (!isCompatible(header.version)) {
    return Result.fail(
      refuse("2:ver", `version ${header.version} is not spoken here; this server speaks ${PROTOCOL_VERSION}`, "version")
    )
  }
  const name = requestOf(header.category, header.subcategory)
  if (name === undefined) {
    return Result.fail(
      refuse("2:unop", `no operation has category ${header.category} and subcategory ${header.subcategory}`)
    )
  }
  const { auth, data } = Requests[name]
  if (header.auth_size > MAX_AUTH_BYTES) {
    return Result.fail(refuse("2:big", `an auth component has at most ${MAX_AUTH_BYTES} bytes`, "auth_size"))
  }
  const bodyCap = auth === "token" ? MAX_BODY_BYTES : MAX_GUEST_BODY_BYTES
  if (header.body_size > bodyCap) {
    return Result.fail(refuse("2:big", `the body of ${name} has at most ${bodyCap} bytes`, "body_size"))
  }
  if (data !== "in" && (header.data_size > 0 || header.more)) {
    return Result.fail(refuse("2:ihv", `${name} carries no data`, "data_size"))
  }
  if (header.data_size > MAX_DATA_BYTES) {
    return Result.fail(refuse("2:big", `a message carries at most ${MAX_DATA_BYTES} bytes of data`, "data_size"))
  }
  const { raw_size = 0 } = header
  if (raw_size > MAX_DATA_BYTES) {
    return Result.fail(refuse("2:big", `a message carries at most ${MAX_DATA_BYTES} bytes of data`, "raw_size"))
  }
  if (header.raw_size !== undefined && (header.data_size === 0 || header.data_size > raw_size)) {
    return Result.fail(refuse("2:ihv", "compressed data has fewer bytes than it has when it is not", "raw_size"))
  }
  return Result.succeed(name)
}
