/**
 * Hashes and verifies passwords for the whole server: a few at a time, a bounded number waiting, and an early, honest
 * refusal for the rest. Memory is thereby bounded by `passwordConcurrency` times the parameters' memory. Callers whom an
 * account knows and strangers wait in lanes of their own, so that a flood of the latter does not keep the former out.
 */
import { Context, Effect, Layer } from "effect"
import { randomBytes } from "node:crypto"
import type { Refusal } from "../../protocol/Refusal.ts"
import { ServerConfig } from "../ServerConfig.ts"
import { Places } from "../workers/Places.ts"
import { makeHashing } from "./Hashing.ts"
import type { Lane } from "./HashPlaces.ts"
import * as PasswordHash from "./PasswordHash.ts"

/** What new hashes cost: above OWASP's least (19 MiB, 2 passes, 1 lane), below 100 ms on a present-day core. */
export const PasswordParameters = Context.Reference<PasswordHash.Argon2Parameters>(
  "fip/server/users/PasswordParameters",
  { defaultValue: () => ({ memory: 32 * 1024, passes: 3, lanes: 1 }) }
)

export type { Lane } from "./HashPlaces.ts"

export class PasswordHasher extends Context.Service<PasswordHasher, {
  /** A PHC string for a new password. Refused with `2:rlex` when too many wait. */
  readonly hash: (password: string, lane: Lane) => Effect.Effect<string, Refusal>
  /** True when `stored` was made from `password`. Without a `stored` it costs the same and is false. */
  readonly verify: (password: string, stored: string | undefined, lane: Lane) => Effect.Effect<boolean, Refusal>
  /** True when a new hash would be made with the parameters of `stored`. */
  readonly isCurrent: (stored: string) => boolean
}>()("fip/server/users/PasswordHasher") {
  static readonly layer = Layer.effect(
    PasswordHasher,
    Effect.gen(function*() {
      const config = yield* ServerConfig
      const parameters = yield* PasswordParameters
      // Nobody's password: what a login with an unknown name is compared with.
      const nobody = yield* PasswordHash.make(randomBytes(32).toString("base64"), parameters)

      const { run } = (yield* Places)?.hashing ?? makeHashing(config)

      return PasswordHasher.of({
        hash: (password, lane) => run(lane, PasswordHash.make(password, parameters)),
        verify: (password, stored, lane) => {
          const known = stored === undefined ? undefined : PasswordHash.parse(stored)
          const compared = known ?? PasswordHash.parse(nobody)
          if (compared === undefined) return Effect.succeed(false)
          return Effect.map(
            run(lane, PasswordHash.matches(password, compared)),
            (same) => same && known !== undefined
          )
        },
        isCurrent: (stored) => {
          const known = PasswordHash.parse(stored)
          return known !== undefined && PasswordHash.sameParameters(known.parameters, parameters)
        }
      })
    })
  )
}
