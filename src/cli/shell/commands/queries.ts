/** QUERY: what the server knows about the user, their files and their sessions. */
import { Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { FipClient } from "../../../client/FipClient.ts"
import { type FolderPrefix, formatFileRef } from "../../../protocol/FileName.ts"
import type { Storage } from "../../../protocol/Request.ts"
import { formatActivities } from "../activity.ts"
import { formatBytes, formatCount, formatPairs, formatTable, formatTime } from "../format.ts"
import { count, file as fileArgument, shareableTarget, target, targetOf } from "../inputs.ts"
import { CommandFacts, shellCommand } from "../ShellCommand.ts"
import { list } from "./list.ts"

const STORAGE = "`bytes_used`, `bytes_limit`, `files_used`, `files_limit`"

const storagePairs = (storage: Storage): ReadonlyArray<readonly [string, string]> => [
  ["bytes used", `${formatBytes(storage.bytes_used)} of ${formatBytes(storage.bytes_limit)}`],
  ["files used", `${storage.files_used} of ${storage.files_limit}`]
]

const storage = shellCommand({
  name: "QUERY STORAGE",
  summary: "How much you store, and how much you may",
  examples: [{ command: "QUERY storage" }],
  json: STORAGE,
  input: {},
  run: Effect.fnUntraced(function*() {
    const client = yield* FipClient
    const result = yield* client.queryStorage
    return { code: "1:qa", message: "what you store", result, text: formatPairs(storagePairs(result)) }
  })
})

const user = shellCommand({
  name: "QUERY USER",
  summary: "Your account",
  examples: [{ command: "QUERY user" }],
  json: `\`username\`, \`created_at\`, \`sessions\` (how many), ${STORAGE}`,
  input: {},
  run: Effect.fnUntraced(function*() {
    const client = yield* FipClient
    const result = yield* client.queryUser
    const text = formatPairs([
      ["user", result.username],
      ["since", formatTime(result.created_at)],
      ["sessions", String(result.sessions)],
      ...storagePairs(result)
    ])
    return { code: "1:qa", message: `the account ${result.username}`, result, text }
  })
})

const file = shellCommand({
  name: "QUERY FILE",
  summary: "One file: size, version, times, your role",
  examples: [
    { command: "QUERY file notes.txt" },
    { command: "QUERY file notes.txt --verbose", description: "also how often it was read, and when last" }
  ],
  json: "`owner`, `name`, `size`, `version`, `created_at`, `modified_at`, `role`, `public`; `locked_by` and " +
    "`locked_until` while it is locked; `sha256` where it is known; with `--verbose` `reads` and " +
    "`last_read_at`",
  input: {
    ...target,
    verbose: Flag.Boolean("verbose").pipe(
      Flag.withAlias("v"),
      Flag.withDescription("also how often it was read, and when last"),
      Flag.withDefault(false)
    )
  },
  run: Effect.fnUntraced(function*(input) {
    const client = yield* FipClient
    const ref = yield* targetOf(input)
    const result = yield* client.queryFile(ref, { verbose: input.verbose ? true : undefined })
    const text = formatPairs([
      ["name", result.name],
      ["owner", result.owner],
      ["size", `${formatBytes(result.size)} (${result.size} bytes)`],
      ["version", String(result.version)],
      ["created", formatTime(result.created_at)],
      ["modified", formatTime(result.modified_at)],
      ["your role", result.role],
      ["public", result.public ? "yes" : "no"],
      ...(result.locked_by === undefined || result.locked_until === undefined
        ? []
        : [["locked", `by ${result.locked_by} until ${formatTime(result.locked_until)}`] as const]),
      ["sha256", result.sha256 ?? "not known yet"],
      ...(result.reads === undefined ? [] : [["read", formatCount(result.reads, "time")] as const]),
      ...(result.last_read_at === undefined ? [] : [["last read", formatTime(result.last_read_at)] as const])
    ])
    return { code: "1:qa", message: `the file ${formatFileRef(ref)}`, result, text }
  })
})

const permission = shellCommand({
  name: "QUERY PERMISSION",
  summary: "Who may do what to a file or a folder, and why",
  examples: [{ command: "QUERY permission notes.txt" }, { command: "QUERY permission docs/" }],
  json: "`owner`, `name`, `public`, `public_through` (the folder that makes it public, if one does), `grants` (an " +
    "array of `username`, `role`, `granted_by`, `granted_at`, `expires_at` unless permanent, `through` (the folder " +
    "that was granted) unless granted on the thing itself)",
  input: shareableTarget,
  run: Effect.fnUntraced(function*(input) {
    const client = yield* FipClient
    const ref = yield* targetOf(input)
    const result = yield* client.queryPermission(ref)
    const through = (folder: FolderPrefix | undefined): string =>
      folder === undefined ? "" : formatFileRef({ owner: ref.owner, name: folder })
    const rows = [
      [result.owner, "OWNER", "", "", "", ""],
      ...(result.public ? [["everybody", "READ", through(result.public_through), "", "", ""]] : []),
      ...result.grants.map((grant) => [
        grant.username,
        grant.role,
        through(grant.through),
        grant.expires_at === undefined ? "permanent" : formatTime(grant.expires_at),
        grant.granted_by,
        formatTime(grant.granted_at)
      ])
    ]
    const columns = ["USER", "ROLE", "THROUGH", "UNTIL", "GRANTED BY", "ON"].map((title) => ({ title }))
    return {
      code: "1:qa",
      message: `who may do what to ${formatFileRef(ref)}`,
      result,
      text: formatTable(columns, rows)
    }
  })
})

const sessions = shellCommand({
  name: "QUERY SESSIONS",
  summary: "Where you are logged in",
  examples: [{ command: "QUERY sessions" }],
  json: "`sessions` (an array of `session_id`, `device`, `address`, `created_at`, `last_seen_at`, `expires_at`, " +
    "`current`)",
  input: {},
  run: Effect.fnUntraced(function*() {
    const client = yield* FipClient
    const result = yield* client.querySessions
    const rows = result.sessions.map((session) => [
      session.current ? "this one" : "",
      session.session_id,
      session.address,
      formatTime(session.created_at),
      formatTime(session.last_seen_at),
      formatTime(session.expires_at)
    ])
    const columns = ["", "SESSION", "FROM", "SINCE", "LAST SEEN", "ENDS"].map((title) => ({ title }))
    return { code: "1:qa", message: "your sessions", result, text: formatTable(columns, rows) }
  })
})

const versions = shellCommand({
  name: "QUERY VERSIONS",
  summary: "The versions of a file that can be read and restored",
  examples: [{ command: "QUERY versions notes.txt" }],
  json: "`owner`, `name`, `versions` (an array of `version`, `size`, `author`, `modified_at`, `current`, `sha256` " +
    "where it is known)",
  input: target,
  run: Effect.fnUntraced(function*(input) {
    const client = yield* FipClient
    const ref = yield* targetOf(input)
    const result = yield* client.queryVersions(ref)
    const rows = result.versions.map((version) => [
      String(version.version),
      formatBytes(version.size),
      version.author,
      formatTime(version.modified_at),
      version.current ? "current" : ""
    ])
    const columns = [
      { title: "VERSION", right: true },
      { title: "SIZE", right: true },
      { title: "BY" },
      { title: "MODIFIED" },
      { title: "" }
    ]
    return { code: "1:qa", message: `versions of ${formatFileRef(ref)}`, result, text: formatTable(columns, rows) }
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
  Command.withDescription("Ask about storage, user, file, permission, sessions, versions or activity"),
  Command.annotate(CommandFacts, {
    title: "QUERY",
    kind: "request",
    publicWords: Number.POSITIVE_INFINITY,
    json: "depends on what is asked"
  }),
  Command.withSubcommands([storage, user, file, permission, sessions, versions, activity])
)

export const queryCommands = [list, query] as const
