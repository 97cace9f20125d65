/** MIRROR: one folder made like another, one of them on this machine and one on the server. */
import { Effect } from "effect"
import { Argument, Flag } from "effect/cli"
import path from "node:path"
import { UsageError } from "../Failure.ts"
import { filterFlags } from "../Filter.ts"
import { dryRun, flag, parsedHere } from "../inputs.ts"
import { mirror } from "../mirrorTrees.ts"
import { parsePlace } from "../places.ts"
import { shellCommand } from "../ShellCommand.ts"

const side = (name: string, description: string) =>
  Argument.String(name).pipe(
    Argument.filter((text) => text !== "", () => "a folder"),
    Argument.withDescription(description)
  )

const looksRemote = (text: string): boolean => text.startsWith("~")

const looksLocal = (text: string): boolean =>
  /^\.{0,2}(?:\/|$)/.test(text) && text !== "/" || path.isAbsolute(text) && text !== "/" || text.includes("\\")

/** Which of the two is on the server; `undefined` when that cannot be told. */
const directionOf = (from: string, to: string): "up" | "down" | undefined => {
  if (looksRemote(from) !== looksRemote(to)) return looksRemote(to) ? "up" : "down"
  if (!looksRemote(from) && looksLocal(from) !== looksLocal(to)) return looksLocal(from) ? "up" : "down"
  return undefined
}

const command = shellCommand({
  name: "MIRROR",
  summary: "Make a folder on the server like one of this machine, or the other way round",
  examples: [
    { command: "MIRROR ./photos photos/", description: "sends what is new or has changed" },
    { command: "MIRROR photos/ ./photos", description: "fetches it" },
    { command: "MIRROR ./shared ~alice/shared/ --delete --dry-run", description: "shows what would be done" },
    { command: "MIRROR src ~me/src --exclude node_modules/ --exclude *.tmp" }
  ],
  json:
    "`direction` (`up` or `down`), `files` (those that were moved, each with `owner`, `name`, `size`, `version`, `sha256` where it is known, `local`), `deleted` (names), `totals` (`files`, `bytes`, `touched`, `deleted`, `same`, `extra`); with `--dry-run`, `dry_run` and, instead of `files` and `deleted`, `actions` (each with `action`: `create`, `replace`, `touch` or `delete`; `name`; `size`)",
  kind: "transfer",
  input: {
    from: side("from", "the folder to copy: ./docs, /srv/docs, or on the server docs/, ~me/docs, ~alice/docs/"),
    to: side("to", "the folder that becomes like it"),
    delete: flag("delete", "delete what the first folder has not got"),
    dryRun,
    checksum: flag("checksum", "compare contents also where size and time are the same"),
    up: flag("up", "the second folder is the one on the server"),
    down: flag("down", "the first folder is the one on the server"),
    yes: Flag.Boolean("yes").pipe(
      Flag.withAlias("y"),
      Flag.withDescription("ask nothing, and let an empty folder empty the other"),
      Flag.withDefault(false)
    ),
    ...filterFlags
  },
  run: Effect.fnUntraced(function*({ delete: deletes, down, from, to, up, ...options }) {
    if (up && down) return yield* new UsageError({ message: "--up or --down, not both" })
    const direction = up ? "up" : down ? "down" : directionOf(from, to)
    if (direction === undefined) {
      return yield* new UsageError({
        message:
          `which of ${from} and ${to} is on the server? Write the local one as ./… or the other as ~me/…, or add --up or --down`
      })
    }
    const [local, remote] = direction === "up" ? [from, to] : [to, from]
    const place = yield* Effect.mapError(
      parsedHere(remote, parsePlace),
      ({ message }) => new UsageError({ message })
    )
    return yield* mirror({ direction, local, place, deletes, ...options })
  })
})

export const mirrorCommands = [command] as const
