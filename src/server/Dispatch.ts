/** What a handler takes and gives, for each request of the table. */
import type { Effect } from "effect"
import type { SuccessCode } from "../protocol/Code.ts"
import type { Refusal } from "../protocol/Refusal.ts"
import type { AuthKind, AuthKindOf, AuthOf, BodyOf, RequestName, ResultOf } from "../protocol/Request.ts"
import type { Caller, TlsPeer } from "./Caller.ts"
import type { BatchSource, ContentSource } from "./ContentSource.ts"

/** Who asks, by the kind of proof that the request brings. */
interface CallerBy {
  readonly none: undefined
  readonly token: Caller
  readonly password: undefined
  readonly digest: undefined
}

/** An auth component that was decoded, and for tokens verified, before anything else of the request was read. */
export interface Proof<A extends AuthKind> {
  readonly caller: CallerBy[A]
  readonly auth: AuthOf<A>
}

export interface Incoming<K extends RequestName> extends Proof<AuthKindOf<K>> {
  readonly body: BodyOf<K>
  /** The data in order, as views. */
  readonly data: ReadonlyArray<Uint8Array>
  readonly peer: TlsPeer
}

export interface Outgoing<K extends RequestName> {
  readonly code: SuccessCode
  readonly result: ResultOf<K>
  /** Content to stream after the result; the connection closes it, whatever happens. */
  readonly content?: ContentSource
  /** Files to stream in batches instead; closed in the same way. What is told of them joins the result. */
  readonly batches?: BatchSource
}

export type Handler<K extends RequestName> = (request: Incoming<K>) => Effect.Effect<Outgoing<K>, Refusal>

/** A handler for every request: what is missing does not compile. */
export type Handlers<K extends RequestName = RequestName> = { readonly [Name in K]: Handler<Name> }
