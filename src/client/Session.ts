/**
 * The session that a client holds, in memory: its access token is renewed before it ends and whenever the server says
 * that it has ended, once for all the requests that need it.
 *
 * Lifetimes are counted from the moment a grant arrived, on a clock that nobody can set. A token that this clock takes
 * for alive (the machine slept) is refused with `2:exp`, and that is answered by a refresh too. Nothing here is logged.
 * A session that is kept (KeptSessions.ts) is shared with other processes: each of them may be the one that renews it.
 */
import { Cause, Clock, Effect, Option, Result, type Scope } from "effect"
import type { AccessToken, DeviceId, RefreshDigest, SessionId, Username } from "../protocol/Identity.ts"
import { encodeJson } from "../protocol/Json.ts"
import { Refusal } from "../protocol/Refusal.ts"
import type { SessionGrant } from "../protocol/Request.ts"
import { type LocalFileError, NotLoggedIn } from "./ClientError.ts"
import type { Keeper } from "./KeptSessions.ts"
import type { LinkError } from "./Link.ts"
import { makeShared } from "./Shared.ts"

/** A token is renewed when less than this part of its life is left, and at most so long before its end. */
const RENEW_PART = 10
const RENEW_MILLIS = 30_000

const NANOS_PER_MILLI = 1_000_000n

export interface SessionIdentity {
  readonly username: Username
  readonly sessionId: SessionId
  /** It is kept on this machine, for other processes and later ones. */
  readonly kept: boolean
}

export interface ActiveSession {
  readonly grant: SessionGrant
  /** By this machine's clock. */
  readonly receivedAt: number
  readonly keeper: Keeper | undefined
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
  /** Goes on with a session that is kept, as `begin`. */
  readonly takeUp: (grant: SessionGrant, keeper: Keeper) => Effect.Effect<SessionIdentity>
  /** Keeps this session from now on, with what its user's sessions are kept with. */
  readonly keep: (keeperOf: (username: Username) => Keeper) => Effect.Effect<void, NotLoggedIn | LocalFileError>
  readonly end: Effect.Effect<void>
  readonly refresh: Effect.Effect<SessionIdentity, LinkError | NotLoggedIn>
  /** Runs a request with a valid auth component, and once more with a new one when the server says it has expired. */
  readonly authorised: <A, E>(
    use: (auth: Uint8Array) => Effect.Effect<A, E | Refusal>
  ) => Effect.Effect<A, E | LinkError | NotLoggedIn>
}

const NOT_LOGGED_IN = new NotLoggedIn({ message: "nobody is logged in: log in first" })
const LOGGED_OUT = new NotLoggedIn({ message: "the session that was kept here was ended meanwhile: log in again" })

const identityOf = ({ grant, keeper }: ActiveSession): SessionIdentity => ({
  username: grant.username,
  sessionId: grant.session_id,
  kept: keeper !== undefined
})

export const makeSession = Effect.fnUntraced(function*(
  device: DeviceId,
  request: RefreshRequest
): Effect.fn.Return<Session, never, Scope.Scope> {
  let held: ActiveSession | undefined
  /** Its digest may have been used by a refresh whose answer was lost: it is asked for again, while the server allows it. */
  let unsure: ActiveSession | undefined

  const begin = (grant: SessionGrant, keeper?: Keeper): Effect.Effect<ActiveSession> =>
    Effect.map(Clock.Clock, (clock) => {
      const margin = Math.min(RENEW_MILLIS, grant.token_expires_in_ms / RENEW_PART)
      const renewIn = BigInt(Math.floor(grant.token_expires_in_ms - margin))
      return held = {
        grant,
        keeper,
        receivedAt: clock.currentTimeMillisUnsafe(),
        auth: encodeJson({ token: grant.token }),
        renewAt: clock.monotonicTimeNanosUnsafe() + renewIn * NANOS_PER_MILLI
      }
    })

  const forget = ({ grant, keeper }: ActiveSession): Effect.Effect<void> =>
    keeper === undefined ? Effect.void : keeper.forget(grant.session_id)

  /** A session that the server no longer knows is over; with any other refusal it may just be busy. */
  const endIfUnknown = (session: ActiveSession) => (error: unknown) =>
    Effect.suspend(() => {
      if (!(error instanceof Refusal && error.code === "2:auth" && held === session)) return Effect.void
      held = undefined
      return forget(session)
    })

  const ask = (refresh_digest: RefreshDigest) => request({ refresh_digest, device })

  /** The tokens that follow a session's, and what keeps them. */
  const successor = (
    { grant, keeper }: ActiveSession
  ): Effect.Effect<readonly [SessionGrant, Keeper | undefined], LinkError | NotLoggedIn> => {
    if (keeper === undefined) return Effect.map(ask(grant.refresh_digest), (grant) => [grant, undefined])
    return keeper.renew(grant, ask).pipe(
      Effect.catchTag(
        "LocalFileError",
        ({ message }) => new NotLoggedIn({ message: `the session that is kept here cannot be renewed: ${message}` })
      ),
      Effect.flatMap((renewed) =>
        renewed === undefined
          ? Effect.fail(LOGGED_OUT)
          : Effect.succeed([renewed.grant, renewed.kept ? keeper : undefined])
      )
    )
  }

  const renew = yield* makeShared(Effect.suspend((): Effect.Effect<ActiveSession, LinkError | NotLoggedIn> => {
    const seen = held
    if (seen === undefined) return Effect.fail(NOT_LOGGED_IN)
    return successor(seen).pipe(
      Effect.tapError(endIfUnknown(seen)),
      Effect.tapError((error) =>
        Effect.sync(() => {
          if (error === LOGGED_OUT && held === seen) held = undefined
        })
      ),
      Effect.onError((cause) =>
        Effect.sync(() => {
          const error = Result.getOrUndefined(Cause.findError(cause))
          if (!(error instanceof Refusal && error.isClientFault)) unsure = seen
        })
      ),
      // A login or logout that came in between wins.
      Effect.flatMap(([grant, keeper]) => held === seen ? begin(grant, keeper) : current)
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
    takeUp: (grant, keeper) => Effect.map(begin(grant, keeper), identityOf),
    keep: Effect.fnUntraced(function*(keeperOf) {
      const session = yield* current
      const keeper = session.keeper ?? keeperOf(session.grant.username)
      yield* keeper.keep(session.grant, session.receivedAt)
      if (held === session) held = { ...session, keeper }
    }),
    end: Effect.suspend(() => {
      const session = held
      held = undefined
      return session === undefined ? Effect.void : forget(session)
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
