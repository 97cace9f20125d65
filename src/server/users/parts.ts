/**
 * What user management consists of, wired once: `UserManager` and `UserAdmin` are given the same parts, so that what the
 * one ends is dead for the other.
 */
import { Layer } from "effect"
import { Coherence } from "../caches/Coherence.ts"
import { Guard } from "../Guard.ts"
import { Notifications } from "../Notifications.ts"
import { AccessTokens } from "./AccessTokens.ts"
import { BanRepo } from "./BanRepo.ts"
import { Credentials } from "./Credentials.ts"
import { InviteRepo } from "./InviteRepo.ts"
import { PasswordHasher } from "./PasswordHasher.ts"
import { ResetRepo } from "./ResetRepo.ts"
import { Revocations } from "./Revocations.ts"
import { SessionRepo } from "./SessionRepo.ts"
import { Sessions } from "./Sessions.ts"
import { SigningKeys } from "./SigningKeys.ts"
import { UserRepo } from "./UserRepo.ts"

export const parts = Layer.mergeAll(Credentials.layer, Sessions.layer).pipe(
  Layer.provideMerge(Layer.mergeAll(AccessTokens.layer, Guard.layer)),
  Layer.provideMerge(Layer.mergeAll(PasswordHasher.layer, Revocations.layer, SigningKeys.layer)),
  Layer.provideMerge(
    Layer.mergeAll(UserRepo.layer, SessionRepo.layer, BanRepo.layer, InviteRepo.layer, ResetRepo.layer)
  ),
  Layer.provideMerge(Coherence.layer),
  Layer.provideMerge(Notifications.layer)
)
