/**
 * Issues access tokens and answers, synchronously and without the database, whose a token is.
 *
 * Every request passes here. A token that was verified once is recognised by its text; whether it has expired and
 * whether its session still lives is asked every time.
 */
import { Clock, Context, Duration, Effect, Layer, Result } from "effect"
import type { AccessToken as Token, SessionId, Username } from "../../protocol/Identity.ts"
import { type Refusal, refuse } from "../../protocol/Refusal.ts"
import type { Caller } from "../Caller.ts"
import { ServerConfig } from "../ServerConfig.ts"
import * as AccessToken from "./AccessToken.ts"
import { Revocations } from "./Revocations.ts"
import { SigningKeys } from "./SigningKeys.ts"

/** Whom a token is issued to. */
export interface Bearer {
  readonly userId: number
  readonly username: Username
  readonly sessionId: SessionId
  /** When the session ends unless it is refreshed: no token outlives it. */
  readonly sessionExpiresAt: number
}

/** Tokens recognised by their text; about half a kilobyte each. */
const REMEMBERED = 16_384

// Made once: a refusal captures a stack, and a flood of bad tokens must stay cheap.
const notLoggedIn: Result.Result<never, Refusal> = Result.fail(
  refuse("2:auth", "not logged in, or the session has ended: log in again", "token")
)
const expired: Result.Result<never, Refusal> = Result.fail(
  refuse("2:exp", "the access token has expired: refresh the session and repeat the request", "token")
)

export class AccessTokens extends Context.Service<AccessTokens, {
  /** A new token, and how long it lasts. */
  readonly issue: (bearer: Bearer) => Effect.Effect<{ readonly token: Token; readonly lastsMillis: number }>
  /** Whose token this is. `2:exp` when it was good and has expired, `2:auth` for everything else that is wrong. */
  readonly authenticate: (token: string, address: string) => Result.Result<Caller, Refusal>
  /** The session that a token names, be it expired, as long as the token is ours and the session lives. */
  readonly sessionOf: (
    token: string
  ) => { readonly userId: number; readonly username: Username; readonly sessionId: SessionId } | undefined
}>()("fip/server/users/AccessTokens") {
  static readonly layer = Layer.effect(
    AccessTokens,
    Effect.gen(function*() {
      const clock = yield* Clock.Clock
      const keys = yield* SigningKeys
      const revocations = yield* Revocations
      const lifetime = Duration.toMillis((yield* ServerConfig).accessTokenLifetime)
      const remembered = new Map<string, AccessToken.Claims>()

      const claimsOf = (token: string): AccessToken.Claims | undefined => {
        const known = remembered.get(token)
        if (known !== undefined) return known
        const claims = AccessToken.verify(token, keys.tokenSecret)
        if (claims === undefined) return undefined
        if (remembered.size >= REMEMBERED) {
          for (const oldest of remembered.keys()) {
            remembered.delete(oldest)
            break
          }
        }
        remembered.set(token, claims)
        return claims
      }

      return AccessTokens.of({
        issue: (bearer) =>
          Effect.sync(() => {
            const issuedAt = clock.currentTimeMillisUnsafe()
            const expiresAt = Math.min(issuedAt + lifetime, bearer.sessionExpiresAt)
            const { sessionId, userId, username } = bearer
            const token = AccessToken.sign({ userId, username, sessionId, issuedAt, expiresAt }, keys.current.token)
            return { token, lastsMillis: Math.max(0, expiresAt - issuedAt) }
          }),
        authenticate: (token, address) => {
          const claims = claimsOf(token)
          if (claims === undefined) return notLoggedIn
          if (revocations.has(claims.sessionId)) {
            remembered.delete(token)
            return notLoggedIn
          }
          // A token issued under a longer lifetime than today's could outlive the record of its session's end.
          const expiresAt = Math.min(claims.expiresAt, claims.issuedAt + lifetime)
          if (clock.currentTimeMillisUnsafe() >= expiresAt) {
            remembered.delete(token)
            return expired
          }
          const { sessionId, userId, username } = claims
          return Result.succeed({ userId, username, sessionId, expiresAt, address })
        },
        sessionOf: (token) => {
          const claims = claimsOf(token)
          return claims === undefined || revocations.has(claims.sessionId) ? undefined : claims
        }
      })
    })
  )
}
