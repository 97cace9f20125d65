/**
 * The session that a client holds, in memory: its access token is renewed before it ends and whenever the server says
 * that it has ended, once for all the requests that need it.
 *
 * Lifetimes are counted from the moment a grant arrived, on a clock that nobody can set. A token that this clock takes
 * for alive (the machine slept) is refused with `2:exp`, and that is answered by a refresh too. Nothing here is logged.
 */
import { Cause, Clock, Effect, Option, Result, type Scope } from "effect"
import type { AccessToken, DeviceId, SessionId, Username } from "../protocol/Identity.ts"
import { encodeJson } from "../protocol/Json.ts"
import { Refusal } from "../protocol/Refusal.ts"
import type { SessionGrant } from "../protocol/Request.ts"
import { NotLoggedIn } from "./ClientError.ts"
import type { LinkError } from "./Link.ts"
import { makeShared } from "./Shared.ts"

/** A token is renewed when less than this part of its life is left, and at most so long before its end. */
const RENEW_PART = 10
const RENEW_MILLIS = 30_000

const NANOS_PER_MILLI = 1_000_000n

export interface SessionIdentity {
  readonly username: Username
  readonly sessionId: SessionId
}

export interface ActiveSession extends SessionIdentity {
  readonly grant: SessionGrant
  /** The auth component, encoded once. */
  readonly auth: Uint8Array
  /** When to renew, on the monotonic clock. */
  readonly renewAt: bigint
}

export type RefreshRequest = (
  proof: { readonly refresh_digest: string; readonly device: string }
) => Effect.Effect<SessionGrant, LinkError>

export interface Session {
  readonly identity: Effect.Effect<Option.Option<SessionIdentity>>
  /** The device that this client logs in as. */
  readonly device: DeviceId
  /** The session, with an access token that is good for a while. */
  readonly active: Effect.Effect<ActiveSession, LinkError | NotLoggedIn>
  /** The auth field of the access token, be it expired; nothing when nobody is logged in. */
  readonly token: Effect.Effect<{ readonly token?: AccessToken }>
  readonly begin: (grant: SessionGrant) => Effect.Effect<SessionIdentity>
  readonly end: Effect.Effect<void>
  readonly refresh: Effect.Effect<SessionIdentity, LinkError | NotLoggedIn>
  /** Runs a request with a valid auth component, and once more with a new one when the server says it has expired. */
  readonly authorised: <A, E>(
    use: (auth: Uint8Array) => Effect.Effect<A, E | Refusal>
  ) => Effect.Effect<A, E | LinkError | NotLoggedIn>
}

const NOT_LOGGED_IN = new NotLoggedIn({ message: "nobody is logged in: log in first" })

const identityOf = ({ sessionId, username }: ActiveSession): SessionIdentity => ({ username, sessionId })

export const makeSession = Effect.fnUntraced(function*(
  device: DeviceId,
  request: RefreshRequest
): Effect.fn.Return<Session, never, Scope.Scope> {
  let held: ActiveSession | undefined
  /** Its digest may have been used by a refresh whose answer was lost: it is asked for again, while the server allows it. */
  let unsure: ActiveSession | undefined

  const begin = (grant: SessionGrant): Effect.Effect<ActiveSession> =>
    Effect.map(Clock.monotonicTimeNanos, (now) => {
      const margin = Math.min(RENEW_MILLIS, grant.token_expires_in_ms / RENEW_PART)
      const renewIn = BigInt(Math.floor(grant.token_expires_in_ms - margin))
      return held = {
        username: grant.username,
        sessionId: grant.session_id,
        grant,
        auth: encodeJson({ token: grant.token }),
        renewAt: now + renewIn * NANOS_PER_MILLI
      }
    })

  /** A session that the server no longer knows is over; with any other refusal it may just be busy. */
  const endIfUnknown = (session: ActiveSession) => (error: unknown) =>
    Effect.sync(() => {
      if (error instanceof Refusal && error.code === "2:auth" && held === session) held = undefined
    })

  const renew = yield* makeShared(Effect.suspend((): Effect.Effect<ActiveSession, LinkError | NotLoggedIn> => {
    const seen = held
    if (seen === undefined) return Effect.fail(NOT_LOGGED_IN)
    return request({ refresh_digest: seen.grant.refresh_digest, device }).pipe(
      Effect.tapError(endIfUnknown(seen)),
      Effect.onError((cause) =>
        Effect.sync(() => {
          const error = Result.getOrUndefined(Cause.findError(cause))
          if (!(error instanceof Refusal && error.isClientFault)) unsure = seen
        })
      ),
      // A login or logout that came in between wins.
      Effect.flatMap((grant) => held === seen ? begin(grant) : current)
    )
  }))

  const current: Effect.Effect<ActiveSession, NotLoggedIn> = Effect.suspend(() =>
    held === undefined ? Effect.fail(NOT_LOGGED_IN) : Effect.succeed(held)
  )

  const active = Effect.gen(function*() {
    const session = yield* current
    const now = yield* Clock.monotonicTimeNanos
    return now < session.renewAt && session !== unsure ? session : yield* renew
  })

  return {
    device,
    identity: Effect.sync(() => Option.map(Option.fromUndefinedOr(held), identityOf)),
    active,
    token: Effect.sync(() => held === undefined ? {} : { token: held.grant.token }),
    begin: (grant) => Effect.map(begin(grant), identityOf),
    end: Effect.sync(() => {
      held = undefined
    }),
    refresh: Effect.map(renew, identityOf),
    authorised: Effect.fnUntraced(function*<A, E>(use: (auth: Uint8Array) => Effect.Effect<A, E | Refusal>) {
      const attempt = (session: ActiveSession) => Effect.tapError(use(session.auth), endIfUnknown(session))
      const session = yield* active
      return yield* Effect.catchIf(
        attempt(session),
        (error) => error instanceof Refusal && error.code === "2:exp",
        // Another request may have renewed it already.
        () => Effect.flatMap(held === session ? renew : current, attempt)
      )
    })
  }
})
