/** WATCH: what happens to files, as it happens. */
import { Effect, Option, Stream } from "effect"
import { Argument, Flag } from "effect/cli"
import { FipClient } from "../../../client/FipClient.ts"
import { formatFileRef } from "../../../protocol/FileName.ts"
import type { Username } from "../../../protocol/Identity.ts"
import type { ChangeInfo } from "../../../protocol/Request.ts"
import { formatBytes, formatCount, formatTime } from "../format.ts"
import { count } from "../inputs.ts"
import { Output } from "../Output.ts"
import { formatPlace, placeArgument } from "../places.ts"
import { printableLine } from "../printable.ts"
import { reportOutcome } from "../Report.ts"
import { shellCommand } from "../ShellCommand.ts"

const VERBS: Readonly<Record<ChangeInfo["kind"], string>> = {
  created: "created",
  written: "written",
  renamed: "renamed",
  deleted: "deleted",
  restored: "restored",
  shared: "shared with you:",
  unshared: "not shared with you any more:",
  given: "given away:",
  received: "given to you:"
}

/** A change as a sentence. */
const describe = (change: ChangeInfo, me: Username | undefined): string => {
  const owner = change.owner === me ? undefined : change.owner
  const name = formatFileRef({ owner, name: change.name })
  const renamed = change.new_name === undefined ? "" : ` as ${change.new_name}`
  const facts = [
    ...change.version === undefined ? [] : [`version ${change.version}`],
    ...change.size === undefined ? [] : [formatBytes(change.size)],
    ...change.role === undefined ? [] : [change.role]
  ]
  const detail = facts.length === 0 ? "" : ` (${facts.join(", ")})`
  const by = change.by === me ? "" : ` by ${change.by}`
  return `${VERBS[change.kind]} ${name}${renamed}${detail}${by}`
}

const watch = shellCommand({
  name: "WATCH",
  summary: "Show what happens to files as it happens, until Ctrl-C",
  examples: [
    { command: "WATCH", description: "your files, and what is shared with you" },
    { command: "WATCH ~alice_smith/docs/", description: "what you may read of Alice's folder" },
    { command: "WATCH --since 41 --changes 1", description: "the next change after number 41, and no more" }
  ],
  json: "a line for each change: `sequence` (for `--since`), `kind` (`created`, `written`, `renamed`, `deleted`, " +
    "`restored`, `shared`, `unshared`, `given`, `received`), `owner`, `name`, `by`, `at`, and where they mean " +
    "something `new_name`, `version`, `size`, `role`; at the end, with `--changes`, one with `changes` and `since`",
  background: true,
  live: true,
  input: {
    path: placeArgument("path", "a file or a folder, also somebody else's; everything of yours without it").pipe(
      Argument.optional
    ),
    since: count("since", 0, "begin after the change of this number, instead of now").pipe(Flag.optional),
    changes: count("changes", 1, "end after so many").pipe(Flag.optional)
  },
  run: Effect.fnUntraced(function*(input) {
    const client = yield* FipClient
    const place = Option.getOrUndefined(input.path)
    const me = Option.getOrUndefined(Option.map(yield* client.session, ({ username }) => username))
    const output = yield* Output
    let seen = 0
    let since = Option.getOrElse(input.since, () => 0)
    const changes = client.watch({
      owner: place?.owner,
      prefix: place === undefined || place.prefix === "" ? undefined : place.prefix,
      name: place?.file?.name,
      since: Option.getOrUndefined(input.since),
      onReady: (number) => {
        since = number
        const what = place === undefined ? "your files" : formatPlace(place)
        output.noteUnsafe(`${printableLine(`watching ${what} from number ${number} on; Ctrl-C ends it`)}\n`)
      }
    })
    yield* changes.pipe(
      (all) => Option.match(input.changes, { onNone: () => all, onSome: (limit) => Stream.take(all, limit) }),
      Stream.runForEach((change) => {
        seen++
        since = change.sequence
        const message = describe(change, me)
        return reportOutcome("WATCH", {
          code: "1:qa",
          message,
          result: change,
          text: `${formatTime(change.at)}  ${message}`
        })
      })
    )
    return { code: "1:qa", message: formatCount(seen, "change"), result: { changes: seen, since }, text: "" }
  })
})

export const watchCommands = [watch] as const
