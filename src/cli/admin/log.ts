/** `fip admin log`: what people did, once or as it goes on. */
import { Duration, Effect, Option, Result } from "effect"
import { Command, Flag } from "effect/cli"
import { formatActivities } from "../shell/activity.ts"
import { parseDuration } from "../shell/inputs.ts"
import { JsonMode, reportOutcome } from "../shell/Report.ts"
import { ask } from "./AdminClient.ts"
import { adminFlags, asking } from "./adminCommand.ts"
import { userFlag, wholeNumber } from "./inputs.ts"

const LOOK_EVERY = Duration.seconds(1)
/** Records asked for at once while following. */
const BATCH = 1000

const flags = {
  user: userFlag.pipe(Flag.withDescription("only what this user did, or tried to")),
  since: Flag.String("since").pipe(
    Flag.withMetavar("time"),
    Flag.filterMap((text) => Result.getSuccess(parseDuration(text)), () => "a time such as 30m, 2h or 7d"),
    Flag.withDescription("only what happened within this time: 30m, 2h, 7d"),
    Flag.withDefault<number | undefined>(undefined)
  ),
  suspicious: Flag.Boolean("suspicious").pipe(
    Flag.withDescription("only what somebody should look at"),
    Flag.withDefault(false)
  ),
  limit: Flag.String("limit").pipe(
    Flag.withMetavar("n"),
    Flag.filterMap(wholeNumber, () => "a whole number, 1 or more"),
    Flag.withDescription("the newest n records (default 100)"),
    Flag.withDefault(100)
  ),
  follow: Flag.Boolean("follow").pipe(
    Flag.withAlias("f"),
    Flag.withDescription("then show what happens as it happens, until Ctrl-C; with --json, a line for each record"),
    Flag.withDefault(false)
  )
}

export const logCommand = Command.make(
  "log",
  { own: flags, common: adminFlags },
  ({ common, own: { follow, limit, since, suspicious, user } }) =>
    asking(
      "log",
      common,
      Effect.fnUntraced(function*(dataDir) {
        const filter = { suspicious, ...(Option.isSome(user) ? { username: user.value } : {}) }
        const { activities } = yield* ask(dataDir, "log", {
          ...filter,
          limit: Math.min(limit, 10_000),
          ...(since === undefined ? {} : { since_ms: since })
        })
        const text = formatActivities(activities)
        if (!follow) {
          return yield* reportOutcome("log", {
            code: "1:ok",
            message: "the activity log",
            result: { activities },
            text
          })
        }
        const isJson = yield* JsonMode
        const show = (newestFirst: typeof activities, titles: boolean) =>
          isJson
            ? Effect.forEach(
              newestFirst.toReversed(),
              (activity) => reportOutcome("log", { code: "1:ok", message: activity.action, result: activity }),
              { discard: true }
            )
            : reportOutcome("log", {
              code: "1:ok",
              message: "",
              result: {},
              text: newestFirst.length > 0 || titles ? formatActivities(newestFirst, titles) : ""
            })
        yield* show(activities, true)
        let after = activities[0]?.activity_id ?? 0
        while (true) {
          yield* Effect.sleep(LOOK_EVERY)
          const { activities } = yield* ask(dataDir, "log", { ...filter, limit: BATCH, after })
          after = activities.at(-1)?.activity_id ?? after
          yield* show(activities.toReversed(), false)
        }
      })
    )
).pipe(
  Command.withDescription("What people did: logins, sharing, other people's files, what was denied or is suspicious"),
  Command.withExamples([
    { command: "fip admin log --suspicious --since 7d", description: "What somebody should look at" },
    { command: "fip admin log --user alice_smith --follow", description: "What Alice does, as she does it" }
  ])
)
