/**
 * Requests by name, as the table (src/protocol/Request.ts) has them: arguments are checked before anything is sent,
 * requests that need a session get its token, and answers are checked when they arrive.
 */
import { Effect, Result, type Scope } from "effect"
import type { DeviceId } from "../protocol/Identity.ts"
import { encodeJson } from "../protocol/Json.ts"
import type { Refusal } from "../protocol/Refusal.ts"
import {
  type BodyOf,
  decodeAuth,
  decodeBody,
  decodeResult,
  type RequestName,
  Requests,
  type ResultOf
} from "../protocol/Request.ts"
import { type NotLoggedIn, ProtocolError } from "./ClientError.ts"
import type { Connection, RequestMessage } from "./Connection.ts"
import { type Link, type LinkError, withRetry } from "./Link.ts"
import { ask } from "./Reply.ts"
import { plainText } from "./ServerText.ts"
import { makeSession, type Session } from "./Session.ts"

type Plain<T> = T extends string ? string : T extends number ? number : T
type Optional<T, K extends keyof T> = {} extends Pick<T, K> ? undefined : never

/** A request's body as a program gives it: not checked yet, and what is `undefined` is left out. */
export type InputOf<K extends RequestName> = {
  readonly [P in keyof BodyOf<K>]: Plain<BodyOf<K>[P]> | Optional<BodyOf<K>, P>
}

export interface CallOptions {
  readonly data?: Uint8Array | undefined
  /** The auth component of requests that are proven by a password or a refresh digest. */
  readonly auth?: object | undefined
  /** A lane to send it by, as long as that works. */
  readonly by?: Connection | undefined
}

export type CallError = LinkError | NotLoggedIn

export interface Api {
  readonly session: Session
  /** How long a request and its answer are on their way, at least. */
  readonly roundTripMillis: () => number
  /** One request, one answer. The data must not change before the effect has ended. */
  readonly call: <K extends RequestName>(
    name: K,
    input: InputOf<K>,
    options?: CallOptions
  ) => Effect.Effect<ResultOf<K>, CallError>
  /** The same for a body that only the table knows: it is checked as it is sent. */
  readonly ask: (name: RequestName, body: object) => Effect.Effect<unknown, CallError>
  /** A request of the session for `use` to send, again with a new token when the first had expired. */
  readonly authorised: <K extends RequestName, A, E>(
    name: K,
    input: InputOf<K>,
    use: (request: RequestMessage) => Effect.Effect<A, E | Refusal>
  ) => Effect.Effect<A, E | CallError>
}

const NOTHING = new Uint8Array(0)

/** Checks a body and encodes it. */
const encodeBody = (name: RequestName, input: object): Result.Result<Uint8Array, Refusal> => {
  const bytes = encodeJson(input)
  return Result.map(decodeBody(name, bytes), () => bytes)
}

const encodeAuth = (name: RequestName, auth: object | undefined): Result.Result<Uint8Array, Refusal> => {
  const bytes = encodeJson(auth)
  return Result.map(decodeAuth[Requests[name].auth](bytes), () => bytes)
}

/** Decodes what a request was answered with. */
export const decodeAnswer = <K extends RequestName>(
  name: K,
  bytes: Uint8Array
): Result.Result<ResultOf<K>, ProtocolError> =>
  Result.mapError(
    decodeResult(name, bytes),
    ({ message }) => new ProtocolError({ message: `the server's answer to ${name} is none: ${plainText(message)}` })
  )

const messageOf = (name: RequestName, auth: Uint8Array, body: Uint8Array): RequestMessage => ({
  category: Requests[name].category,
  subcategory: Requests[name].subcategory,
  auth,
  body,
  data: NOTHING
})

/** Asks, with data that is compressed where that is worth it. */
const askWith = (connection: Connection, message: RequestMessage) =>
  message.data.length === 0
    ? ask(connection, message)
    : Effect.flatMap(Effect.promise(() => connection.pack(message)), (packed) => ask(connection, packed))

export const makeApi = Effect.fnUntraced(
  function*(link: Link, device: DeviceId): Effect.fn.Return<Api, never, Scope.Scope> {
    const send = <K extends RequestName>(
      name: K,
      message: RequestMessage,
      by?: Connection
    ): Effect.Effect<ResultOf<K>, LinkError> =>
      withRetry(link, name, Requests[name].idempotent, (connection) => askWith(connection, message), by).pipe(
        Effect.flatMap((answer) => Effect.fromResult(decodeAnswer(name, answer)))
      )

    const proven = Effect.fnUntraced(function*<K extends RequestName>(
      name: K,
      input: object,
      auth: object | undefined
    ) {
      const proof = yield* Effect.fromResult(encodeAuth(name, auth))
      const body = yield* Effect.fromResult(encodeBody(name, input))
      return yield* send(name, messageOf(name, proof, body))
    })

    const session = yield* makeSession(device, (proof) => proven("Refresh", {}, proof))

    const authorised = <A, E>(
      name: RequestName,
      input: object,
      use: (request: RequestMessage) => Effect.Effect<A, E | Refusal>
    ): Effect.Effect<A, E | CallError> =>
      Effect.flatMap(
        Effect.fromResult(encodeBody(name, input)),
        (body) => session.authorised((auth) => use(messageOf(name, auth, body)))
      )

    const call = <K extends RequestName>(name: K, input: object, options: CallOptions = {}) =>
      Requests[name].auth === "token"
        ? authorised(name, input, (message) => send(name, { ...message, data: options.data ?? NOTHING }, options.by))
        : proven(name, input, options.auth)

    return { session, roundTripMillis: link.roundTripMillis, authorised, call, ask: call }
  }
)
