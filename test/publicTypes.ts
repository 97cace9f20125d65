/**
 * What the compiler knows of the library's surface: `npm run check` fails when something here does not compile, and when
 * something compiles that is marked as an error. Nothing of it runs.
 */
import { Effect, type Layer, type Option, Redacted, Stream } from "effect"
import {
  type ChangeInfo,
  type ClientError,
  type ConnectError,
  FipClient,
  type FipClientShape,
  type LocalFileError,
  type Refusal,
  type RefusalCode,
  type RequestError,
  type Timestamp,
  type TransferError,
  type TrustError
} from "fip"
import { connect, type Fip } from "fip/promise"
import { layerTest, type TestServer, type TestServerError } from "fip/testing"

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true : false
/** Compiles only with `true`. */
const holds = <_ extends true>(): void => {}

export const layers = (): void => {
  const client = FipClient.layer({ host: "localhost", connections: 4, retry: { times: 3 } })
  holds<Same<typeof client, Layer.Layer<FipClient, ConnectError | TrustError | LocalFileError>>>()
  holds<Same<typeof layerTest, Layer.Layer<FipClient | TestServer, TestServerError | ClientError>>>()
  // @ts-expect-error a server has a host
  FipClient.layer({ port: 6090 })
}

export const errors = Effect.gen(function*() {
  const fip = yield* FipClient
  holds<Same<Stream.Error<ReturnType<typeof fip.read>>, TransferError>>()
  // Every failure has a tag, and with all of them caught there is none left.
  const size = fip.queryStorage.pipe(
    Effect.map(({ bytes_used }) => bytes_used),
    Effect.catchTags({
      Refusal: (refusal) => Effect.succeed(refusal.retry_after_ms ?? 0),
      ConnectError: () => Effect.succeed(0),
      ConnectionLost: () => Effect.succeed(0),
      TrustError: ({ presented }) => Effect.succeed(presented.length),
      NotLoggedIn: () => Effect.succeed(0),
      ProtocolError: () => Effect.succeed(0)
    })
  )
  holds<Same<typeof size, Effect.Effect<number>>>()
})

export const requests = Effect.gen(function*() {
  const fip = yield* FipClient
  const uploads = fip.queryUploads
  holds<Same<Effect.Error<typeof uploads>, RequestError>>()
  const { locked_until } = yield* fip.lock("a", { durationMs: 1000 })
  holds<Same<typeof locked_until, Timestamp>>()
  yield* fip.unlock("a")
  // @ts-expect-error fields of the wire have other names here
  yield* fip.lock("a", { duration_ms: 1000 })
  // @ts-expect-error the file is an argument and no option
  yield* fip.delete("a", { name: "b" })
  yield* fip.publicise("docs/")
})

type Depth = [unknown, unknown, unknown, unknown]
type Deeper<D extends ReadonlyArray<unknown>> = D extends [unknown, ...infer Rest] ? Rest : []
/** Whether a program without Effect would have to know something of it, as far down as options and results go. */
type OfEffect<T, D extends ReadonlyArray<unknown> = Depth> = D extends [] ? false
  : T extends
    | Effect.Effect<infer _A, infer _E, infer _R>
    | Stream.Stream<infer _A, infer _E>
    | Redacted.Redacted
    | Option.Option<infer _A> ? true
  : T extends string | number | boolean | null | undefined | Uint8Array | AbortSignal ? false
  : T extends Promise<infer A> | AsyncIterable<infer A> ? OfEffect<A, Deeper<D>>
  : T extends (...args: infer P) => infer R ? OfEffect<P[number], Deeper<D>> | OfEffect<R, Deeper<D>>
  : T extends ReadonlyArray<infer A> ? OfEffect<A, Deeper<D>>
  : { [K in Exclude<keyof T, symbol>]-?: OfEffect<T[K], Deeper<D>> }[Exclude<keyof T, symbol>]
/** The methods that take or give such a thing. */
type StillEffect<T> = {
  [K in Exclude<keyof T, symbol>]: true extends OfEffect<T[K]> ? K : never
}[Exclude<keyof T, symbol>]

export const promisesAlone = (): void => {
  holds<Same<StillEffect<Fip>, never>>()
  holds<"login" | "session" | "write" | "open" | "uploadMany" extends StillEffect<FipClientShape> ? true : false>()
  holds<Same<Exclude<keyof FipClientShape, keyof Fip>, never>>()
}

export const isMissing = ({ code }: Refusal): boolean => code === "2:nf"
// @ts-expect-error there is no such code
export const isNothing = ({ code }: Refusal): boolean => code === "2:nothing"
// @ts-expect-error codes of success are no refusals
export const success: RefusalCode = "1:read"

export const content = Effect.gen(function*() {
  const fip = yield* FipClient
  yield* fip.write("a", "text")
  yield* fip.write("a", new Uint8Array(1), { expectedVersion: 1 })
  yield* fip.write("a", Stream.make(new Uint8Array(1)))
  yield* fip.write("a", fip.read("b", { position: 1, limit: 2, version: 3 }))
  // @ts-expect-error a number is no content
  yield* fip.write("a", 1)
  // @ts-expect-error a stream of text has to be encoded first
  yield* fip.write("a", Stream.make("text"))
  // @ts-expect-error a secret is not shown
  yield* fip.login("alice", "password")
  yield* fip.login("alice", Redacted.make("password"))
})

export const sharing = Effect.gen(function*() {
  const fip = yield* FipClient
  yield* fip.grant("bob", "docs/", "MANAGE", { durationMs: 1000 })
  // @ts-expect-error nobody is made the owner by a grant
  yield* fip.grant("bob", "docs/", "OWNER")
  const { grants } = yield* fip.queryPermission("docs/")
  for (const { role } of grants) holds<Same<typeof role, "READ" | "EDIT" | "MANAGE">>()
  const changes = fip.watch({ prefix: "docs/" })
  holds<Same<Stream.Success<typeof changes>, ChangeInfo>>()
})

export const promises = async (): Promise<void> => {
  await using fip = await connect({ host: "localhost", username: "alice", password: "secret" })
  holds<Same<typeof fip, Fip>>()
  const text = await fip.read("a").text()
  holds<Same<typeof text, string>>()
  for await (const chunk of fip.read("a")) holds<Same<typeof chunk, Uint8Array>>()
  for await (const { kind } of fip.watch()) holds<Same<typeof kind, ChangeInfo["kind"]>>()
  await fip.write("a", fip.read("b"))
  // @ts-expect-error without Effect a password is a string
  await fip.login("alice", Redacted.make("password"))
}
