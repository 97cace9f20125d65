/** `fip admin invite` and `fip admin invites …`. */
import { Effect } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { formatCount, formatTable, formatTime } from "../shell/format.ts"
import { adminCommand } from "./adminCommand.ts"
import { lasting, wholeNumber } from "./inputs.ts"

const WEEK = 7 * 86_400_000

const ending = (timestamp: string | null): string => timestamp === null ? "it is revoked" : formatTime(timestamp)

export const inviteCommand = adminCommand({
  asks: "invites create",
  name: "invite",
  summary: "Make a code to register with (UNEW --invite); it is shown once",
  input: {
    uses: Flag.String("uses").pipe(
      Flag.withMetavar("n"),
      Flag.filterMap(wholeNumber, () => "a whole number, 1 or more"),
      Flag.withDescription("how many may register with it (default 1)"),
      Flag.withDefault(1)
    ),
    time: lasting("how long it is good: 2h, 7d (the default), 4w, or permanent").pipe(
      Flag.withDefault<number | undefined>(WEEK)
    )
  },
  request: ({ time, uses }) => Effect.succeed({ uses, lasts_ms: time ?? null }),
  say: ({ code, expires_at, invite_id, uses }) => ({
    message: `invitation ${invite_id}: ${formatCount(uses, "account")}, good until ${ending(expires_at)}`,
    text: code,
    both: true
  })
})

const list = adminCommand({
  asks: "invites list",
  summary: "Invitations that are still good",
  input: {},
  request: () => Effect.succeed({}),
  say: ({ invites }) => ({
    message: formatCount(invites.length, "invitation"),
    text: formatTable(
      [{ title: "id", right: true }, { title: "made" }, { title: "good until" }, { title: "left", right: true }],
      invites.map((invite) => [
        String(invite.invite_id),
        formatTime(invite.created_at),
        ending(invite.expires_at),
        `${invite.uses_left} of ${invite.uses}`
      ])
    )
  })
})

const revoke = adminCommand({
  asks: "invites revoke",
  summary: "Make an invitation worth nothing",
  input: {
    id: Argument.String("id").pipe(
      Argument.filterMap(wholeNumber, () => "the number of an invitation (fip admin invites list)"),
      Argument.withDescription("the invitation's number")
    )
  },
  request: ({ id }) => Effect.succeed({ invite_id: id }),
  say: ({ invite_id }) => ({ message: `invitation ${invite_id} is worth nothing now` })
})

export const invitesCommand = Command.make("invites").pipe(
  Command.withDescription("Invitations: list, revoke"),
  Command.withSubcommands([list, revoke])
)
