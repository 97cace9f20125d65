/**
 * Who somebody is, by name and password. Unknown user and wrong password are one refusal that takes one time.
 */
import { Context, Effect, Layer } from "effect"
import type { Password } from "../../protocol/Identity.ts"
import { type Refusal, refuse } from "../../protocol/Refusal.ts"
import type { AuthOf } from "../../protocol/Request.ts"
import type { Peer } from "../Caller.ts"
import { PasswordHasher } from "./PasswordHasher.ts"
import { type User, UserRepo } from "./UserRepo.ts"

export type PasswordAuth = AuthOf<"password">

const refused = (auth: PasswordAuth, peer: Peer): Effect.Effect<never, Refusal> =>
  Effect.andThen(
    Effect.logInfo("wrong user name or password").pipe(
      Effect.annotateLogs({ username: auth.identity, address: peer.address })
    ),
    Effect.fail(refuse("2:auth", "wrong user name or password"))
  )

export class Credentials extends Context.Service<Credentials, {
  /**
   * Runs `use` with the user whose password was verified. `use` gives `undefined` when the stored hash is another one
   * by then.
   */
  readonly proven: <A>(
    auth: PasswordAuth,
    peer: Peer,
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

      const identify = Effect.fnUntraced(function*(auth: PasswordAuth, peer: Peer) {
        const user = yield* users.byName(auth.identity)
        const isRight = yield* hasher.verify(auth.password, user?.password_hash)
        return user !== undefined && isRight ? user : yield* refused(auth, peer)
      })

      return Credentials.of({
        // A login may just have renewed the hash of the same password: the second attempt then finds the new one.
        proven: Effect.fnUntraced(function*<A>(
          auth: PasswordAuth,
          peer: Peer,
          use: (user: User) => Effect.Effect<A | undefined, Refusal>
        ) {
          for (let attempt = 0; attempt < 2; attempt++) {
            const result = yield* use(yield* identify(auth, peer))
            if (result !== undefined) return result
          }
          return yield* refused(auth, peer)
        }),
        // Not worth failing a login for: the next one tries again.
        renew: (user, password) =>
          hasher.isCurrent(user.password_hash)
            ? Effect.void
            : hasher.hash(password).pipe(
              Effect.flatMap((next) => users.replaceHash(user.user_id, user.password_hash, next)),
              Effect.ignore
            )
      })
    })
  )
}
