/**
 * What user management consists of, wired once: `UserManager` and `UserAdmin` are given the same parts, so that what the
 * one ends is dead for the other.
 */
import { Layer } from "effect"
import { AccessTokens } from "./AccessTokens.ts"
import { Credentials } from "./Credentials.ts"
import { PasswordHasher } from "./PasswordHasher.ts"
import { Revocations } from "./Revocations.ts"
import { SessionRepo } from "./SessionRepo.ts"
import { Sessions } from "./Sessions.ts"
import { SigningKeys } from "./SigningKeys.ts"
import { UserRepo } from "./UserRepo.ts"

export const parts = Layer.mergeAll(Credentials.layer, Sessions.layer).pipe(
  Layer.provideMerge(AccessTokens.layer),
  Layer.provideMerge(Layer.mergeAll(PasswordHasher.layer, Revocations.layer, SigningKeys.layer)),
  Layer.provideMerge(Layer.mergeAll(UserRepo.layer, SessionRepo.layer))
)
