/** QUERY: what the server knows about the user, their files and their sessions. */
import { Clock, Effect, Option, Stream } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { FipClient } from "../../../client/FipClient.ts"
import { formatFileRef } from "../../../protocol/FileName.ts"
import type { FileInfo, SessionInfo, Storage } from "../../../protocol/Request.ts"
import { formatActivities } from "../activity.ts"
import { formatAgo, formatBytes, formatPairs, formatTime, formatWhen } from "../format.ts"
import { count, file as fileArgument, verbose } from "../inputs.ts"
import { table } from "../Output.ts"
import { CommandFacts, shellCommand } from "../ShellCommand.ts"
import { list } from "./list.ts"
import { queryFile, queryPermission, queryVersions } from "./queriesOfFiles.ts"
import { queryUploads } from "./uploads.ts"

const STORAGE = "`bytes_used`, `bytes_limit`, `files_used`, `files_limit`"

const percent = (used: number, limit: number): string => limit === 0 ? "" : ` (${Math.round(100 * used / limit)} %)`

const storagePairs = (storage: Storage): ReadonlyArray<readonly [string, string]> => {
  const { bytes_limit, bytes_used, files_limit, files_used } = storage
  return [
    ["bytes used", `${formatBytes(bytes_used)} of ${formatBytes(bytes_limit)}${percent(bytes_used, bytes_limit)}`],
    ["files used", `${files_used} of ${files_limit}${percent(files_used, files_limit)}`]
  ]
}

/** How many of the largest files are shown. */
const LARGEST = 10

/** What lies where, and the largest files: all files are looked at, none of the others is kept. */
const usage = Effect.gen(function*() {
  const client = yield* FipClient
  const folders = new Map<string, { readonly name: string; files: number; bytes: number }>()
  let largest: Array<FileInfo> = []
  yield* Stream.runForEach(client.list({ recursive: true }), (entry) =>
    Effect.sync(() => {
      if (entry._tag === "Folder") return
      const { file } = entry
      const name = file.name.slice(0, file.name.indexOf("/") + 1)
      const folder = folders.get(name) ?? { name, files: 0, bytes: 0 }
      folder.files++
      folder.bytes += file.size
      folders.set(name, folder)
      if (largest.length < LARGEST || file.size > (largest.at(-1)?.size ?? 0)) {
        largest = [...largest, file].sort((a, b) => b.size - a.size).slice(0, LARGEST)
      }
    }))
  return { folders: [...folders.values()].sort((a, b) => b.bytes - a.bytes), largest }
})

const storage = shellCommand({
  name: "QUERY STORAGE",
  summary: "How much you store, and how much you may",
  examples: [
    { command: "QUERY storage" },
    { command: "QUERY storage --verbose", description: "also which folders and files take most" }
  ],
  json:
    `${STORAGE}; with \`--verbose\` \`bytes_left\`, \`files_left\`, \`folders\` (an array of \`name\`, \`files\`, ` +
    "`bytes`, the largest first; the name is empty for files in no folder), `largest` (an array as `files` in `LIST`)",
  input: { verbose: verbose("also what is left, and which folders and files take most") },
  run: Effect.fnUntraced(function*(input) {
    const client = yield* FipClient
    const result = yield* client.queryStorage
    const message = "what you store"
    if (!input.verbose) return { code: "1:qa", message, result, text: formatPairs(storagePairs(result)) }
    const { folders, largest } = yield* usage
    const left = {
      bytes_left: Math.max(0, result.bytes_limit - result.bytes_used),
      files_left: Math.max(0, result.files_limit - result.files_used)
    }
    const size = { title: "SIZE", right: true }
    const text = [
      formatPairs([
        ...storagePairs(result),
        ["bytes left", formatBytes(left.bytes_left)],
        ["files left", String(left.files_left)]
      ]),
      yield* table(
        [size, { title: "FILES", right: true }, { title: "FOLDER", cuts: true }],
        folders.map((folder) => [formatBytes(folder.bytes), String(folder.files), folder.name || "(none)"])
      ),
      yield* table(
        [size, { title: "LARGEST FILES", cuts: true }],
        largest.map((one) => [formatBytes(one.size), one.name])
      )
    ]
    return {
      code: "1:qa",
      message,
      result: { ...result, ...left, folders, largest },
      text: text.slice(0, folders.length === 0 ? 1 : 3).join("\n\n")
    }
  })
})

const sessionTable = Effect.fnUntraced(function*(sessions: ReadonlyArray<SessionInfo>, verbose: boolean) {
  const now = yield* Clock.currentTimeMillis
  const time = (timestamp: string): string => verbose ? formatTime(timestamp) : formatAgo(timestamp, now)
  const rows = sessions.map((session) => [
    session.current ? "this one" : "",
    session.session_id,
    session.address,
    time(session.created_at),
    time(session.last_seen_at),
    time(session.expires_at),
    ...verbose ? [session.device] : []
  ])
  const titles = ["", "SESSION", "FROM", "SINCE", "LAST SEEN", "ENDS", ...verbose ? ["DEVICE"] : []]
  return yield* table(titles.map((title) => ({ title })), rows)
})

const user = shellCommand({
  name: "QUERY USER",
  summary: "Your account",
  examples: [{ command: "QUERY user" }, { command: "QUERY user --verbose" }],
  json:
    `\`username\`, \`created_at\`, \`sessions\` (how many), ${STORAGE}; with \`--verbose\` \`session_list\`, as in ` +
    "`QUERY sessions`",
  input: { verbose: verbose("also where you are logged in") },
  run: Effect.fnUntraced(function*(input) {
    const client = yield* FipClient
    const result = yield* client.queryUser
    const now = yield* Clock.currentTimeMillis
    const pairs = formatPairs([
      ["user", result.username],
      ["since", formatWhen(result.created_at, now)],
      ["sessions", String(result.sessions)],
      ...storagePairs(result)
    ])
    const message = `the account ${result.username}`
    if (!input.verbose) return { code: "1:qa", message, result, text: pairs }
    const { sessions } = yield* client.querySessions
    const text = `${pairs}\n\n${yield* sessionTable(sessions, true)}`
    return { code: "1:qa", message, result: { ...result, session_list: sessions }, text }
  })
})

const sessions = shellCommand({
  name: "QUERY SESSIONS",
  summary: "Where you are logged in",
  examples: [{ command: "QUERY sessions" }, { command: "QUERY sessions --verbose" }],
  json: "`sessions` (an array of `session_id`, `device`, `address`, `created_at`, `last_seen_at`, `expires_at`, " +
    "`current`)",
  input: { verbose: verbose("with devices and exact times") },
  run: Effect.fnUntraced(function*(input) {
    const client = yield* FipClient
    const result = yield* client.querySessions
    return { code: "1:qa", message: "your sessions", result, text: yield* sessionTable(result.sessions, input.verbose) }
  })
})

const activity = shellCommand({
  name: "QUERY ACTIVITY",
  summary: "What you did, and what others did to your files; or all that was done to one of them",
  examples: [
    { command: "QUERY activity" },
    { command: "QUERY activity notes.txt", description: "who read or changed this file, from where" }
  ],
  json: "`activities` (an array, the newest first, of `activity_id`, `at`, `action`, `code`, `username` (who), " +
    "`address`, `owner`, `name`, `times`, `duration_ms`, `suspicious`, `detail`), `next` (for `--before`) when there " +
    "may be more",
  input: {
    file: fileArgument.pipe(Argument.optional),
    limit: count("limit", 1, "at most so many records (default 100)").pipe(Flag.optional),
    before: count("before", 0, "only records older than this one").pipe(Flag.optional)
  },
  run: Effect.fnUntraced(function*(input) {
    const client = yield* FipClient
    const ref = Option.getOrUndefined(input.file)
    const result = yield* client.queryActivity({
      file: ref,
      limit: Option.getOrUndefined(input.limit),
      before: Option.getOrUndefined(input.before)
    })
    return {
      code: "1:qa",
      message: ref === undefined ? "your activity" : `what was done to ${formatFileRef(ref)}`,
      result,
      text: formatActivities(result.activities)
    }
  })
})

const query = Command.make("query").pipe(
  Command.withDescription("Ask about storage, user, file, permission, sessions, versions, uploads or activity"),
  Command.annotate(CommandFacts, {
    title: "QUERY",
    kind: "request",
    publicWords: Number.POSITIVE_INFINITY,
    background: false,
    live: false,
    json: "depends on what is asked"
  }),
  Command.withSubcommands([storage, user, queryFile, queryPermission, sessions, queryVersions, queryUploads, activity])
)

export const queryCommands = [list, query] as const
