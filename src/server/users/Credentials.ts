/**
 * Who somebody is, by name and password. Whoever it is that is refused, and why, the refusal is one and takes one time:
 * the Guard's.
 */
import { Clock, Context, Effect, Layer } from "effect"
import type { DeviceId, Password } from "../../protocol/Identity.ts"
import type { Refusal } from "../../protocol/Refusal.ts"
import type { AuthOf } from "../../protocol/Request.ts"
import type { Peer } from "../Caller.ts"
import { Guard } from "../Guard.ts"
import { AccessTokens } from "./AccessTokens.ts"
import { type Lane, PasswordHasher } from "./PasswordHasher.ts"
import { SessionRepo } from "./SessionRepo.ts"
import { isBanned, type User, UserRepo } from "./UserRepo.ts"

export type PasswordAuth = AuthOf<"password">

/** Where a password comes from. */
export interface Origin {
  readonly peer: Peer
  /** With a login. */
  readonly device?: DeviceId
}

export class Credentials extends Context.Service<Credentials, {
  /**
   * Runs `use` with the user whose password was verified. `use` gives `undefined` when the stored hash is another one
   * by then, or the user was banned.
   */
  readonly proven: <A>(
    auth: PasswordAuth,
    origin: Origin,
    use: (user: User) => Effect.Effect<A | undefined, Refusal>
  ) => Effect.Effect<A, Refusal>
  /** Gives a password that was just verified a hash with today's parameters, if it has older ones. */
  readonly renew: (user: User, password: Password) => Effect.Effect<void>
}>()("fip/server/users/Credentials") {
  static readonly layer = Layer.effect(
    Credentials,
    Effect.gen(function*() {
      const users = yield* UserRepo
      const hasher = yield* PasswordHasher
      const guard = yield* Guard
      const tokens = yield* AccessTokens
      const sessions = yield* SessionRepo

      /** The user whose password this is, unless it is banned. */
      const identify = Effect.fnUntraced(function*(auth: PasswordAuth, lane: Lane) {
        const user = yield* users.byName(auth.identity)
        const isRight = yield* hasher.verify(auth.password, user?.password_hash, lane)
        const now = new Date(yield* Clock.currentTimeMillis)
        return user !== undefined && isRight && !isBanned(user, now) ? user : undefined
      })

      /** What the account knows the caller by. */
      const knownBy = Effect.fnUntraced(function*(auth: PasswordAuth, device: DeviceId | undefined) {
        const session = auth.token === undefined ? undefined : tokens.sessionOf(auth.token)
        if (session?.username.toLowerCase() === auth.identity.toLowerCase()) return `session ${session.sessionId}`
        if (device === undefined) return undefined
        return (yield* sessions.knowsDevice(auth.identity, device)) ? `device ${device}` : undefined
      })

      return Credentials.of({
        // A login may just have renewed the hash of the same password: the second attempt then finds the new one.
        proven: Effect.fnUntraced(function*<A>(
          auth: PasswordAuth,
          { device, peer }: Origin,
          use: (user: User) => Effect.Effect<A | undefined, Refusal>
        ) {
          const known = yield* knownBy(auth, device)
          const check = Effect.fnUntraced(function*(lane: Lane) {
            for (let attempt = 0; attempt < 2; attempt++) {
              const user = yield* identify(auth, lane)
              if (user === undefined) return undefined
              const result = yield* use(user)
              if (result !== undefined) return result
            }
            return undefined
          })
          return yield* guard.guess({ username: auth.identity, address: peer.address, known }, check)
        }),
        // Not worth failing a login for: the next one tries again.
        renew: (user, password) =>
          hasher.isCurrent(user.password_hash)
            ? Effect.void
            : hasher.hash(password, "known").pipe(
              Effect.flatMap((next) => users.replaceHash(user.user_id, user.password_hash, next)),
              Effect.ignore
            )
      })
    })
  )
}
