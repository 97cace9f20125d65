/** Handlers of the admin commands about invitations. */
import { Clock, Effect } from "effect"
import { refuse } from "../../../protocol/Refusal.ts"
import { InviteRepo } from "../../users/InviteRepo.ts"
import * as OneTimeCode from "../../users/OneTimeCode.ts"
import type { AdminHandlers } from "../Handler.ts"

type Name = "invites create" | "invites list" | "invites revoke"

export const inviteCommands: Effect.Effect<AdminHandlers<Name>, never, InviteRepo> = Effect.map(
  InviteRepo,
  (invites) => ({
    "invites create": Effect.fnUntraced(function*({ lasts_ms, uses }) {
      const now = yield* Clock.currentTimeMillis
      const { code, hash } = OneTimeCode.make()
      const invite = yield* invites.insert({
        codeHash: hash,
        uses,
        now: new Date(now),
        expiresAt: lasts_ms === null ? null : new Date(now + lasts_ms)
      })
      return { code, ...invite }
    }),
    "invites list": () =>
      Effect.gen(function*() {
        return { invites: yield* invites.list(new Date(yield* Clock.currentTimeMillis)) }
      }),
    "invites revoke": Effect.fnUntraced(function*({ invite_id }) {
      const now = new Date(yield* Clock.currentTimeMillis)
      if (!(yield* invites.revoke(invite_id, now))) {
        return yield* refuse("2:opcf", `there is no invitation ${invite_id} that is still good`, "invite_id")
      }
      return { invite_id }
    })
  })
)
