/** QUERY file, permission and versions: what the server knows about one file, or who may do what in a folder. */
import { Clock, Effect } from "effect"
import { FipClient } from "../../../client/FipClient.ts"
import { type FolderPrefix, formatFileRef } from "../../../protocol/FileName.ts"
import { covers } from "../../../protocol/Permission.ts"
import type { Attributes, GrantInfo } from "../../../protocol/Request.ts"
import { type Column, formatAgo, formatBytes, formatCount, formatPairs, formatTime, formatWhen } from "../format.ts"
import { shareableTarget, target, targetOf, verbose } from "../inputs.ts"
import { table } from "../Output.ts"
import { shellCommand } from "../ShellCommand.ts"

/** What the file is on the machine that its content came from. */
const attributePairs = ({ executable, modified_ms }: Attributes = {}, now: number) => [
  ...(modified_ms === undefined
    ? []
    : [["content from", formatWhen(new Date(modified_ms).toISOString(), now)] as const]),
  ...(executable === true ? [["executable", "yes"] as const] : [])
]

export const queryFile = shellCommand({
  name: "QUERY FILE",
  summary: "One file: size, version, times, your role",
  examples: [
    { command: "QUERY file notes.txt" },
    { command: "QUERY file notes.txt --verbose", description: "also how often it was read, and when last" }
  ],
  json: "`owner`, `name`, `size`, `version`, `created_at`, `modified_at`, `role`, `public`; `locked_by` and " +
    "`locked_until` while it is locked; `sha256` where it is known; `attributes` (`modified_ms`, `executable`) where they are; " +
    "with `--verbose` `reads` and `last_read_at`",
  input: { ...target, verbose: verbose("also how often it was read, and when last") },
  run: Effect.fnUntraced(function*(input) {
    const client = yield* FipClient
    const ref = yield* targetOf(input)
    const result = yield* client.queryFile(ref, { verbose: input.verbose ? true : undefined })
    const now = yield* Clock.currentTimeMillis
    const text = formatPairs([
      ["name", result.name],
      ["owner", result.owner],
      ["size", `${formatBytes(result.size)} (${result.size} bytes)`],
      ["version", String(result.version)],
      ["created", formatWhen(result.created_at, now)],
      ["modified", formatWhen(result.modified_at, now)],
      ["your role", result.role],
      ["public", result.public ? "yes" : "no"],
      ...(result.locked_by === undefined || result.locked_until === undefined
        ? []
        : [["locked", `by ${result.locked_by} until ${formatWhen(result.locked_until, now)}`] as const]),
      ["sha256", result.sha256 ?? "not known yet"],
      ...attributePairs(result.attributes, now),
      ...(result.reads === undefined ? [] : [["read", formatCount(result.reads, "time")] as const]),
      ...(result.last_read_at === undefined ? [] : [["last read", formatWhen(result.last_read_at, now)] as const])
    ])
    return { code: "1:qa", message: `the file ${formatFileRef(ref)}`, result, text }
  })
})

/** Of all that a user was granted, what counts: the strongest role, and of equal ones the one that lasts longest. */
const effective = (grants: ReadonlyArray<GrantInfo>): ReadonlyArray<GrantInfo> => {
  const best = new Map<string, GrantInfo>()
  for (const grant of grants) {
    const other = best.get(grant.username)
    const isBetter = other === undefined || !covers(other.role, grant.role) ||
      (other.role === grant.role && other.expires_at !== undefined &&
        (grant.expires_at === undefined || grant.expires_at > other.expires_at))
    if (isBetter) best.set(grant.username, grant)
  }
  return [...best.values()]
}

export const queryPermission = shellCommand({
  name: "QUERY PERMISSION",
  summary: "Who may do what to a file or a folder, and why",
  examples: [{ command: "QUERY permission notes.txt" }, { command: "QUERY permission docs/ --verbose" }],
  json: "`owner`, `name`, `public`, `public_through` (the folder that makes it public, if one does), `grants` (an " +
    "array of `username`, `role`, `granted_by`, `granted_at`, `expires_at` unless permanent, `through` (the folder " +
    "that was granted) unless granted on the thing itself)",
  input: {
    ...shareableTarget,
    verbose: verbose("also grants that add nothing to a stronger one, and who gave them")
  },
  run: Effect.fnUntraced(function*(input) {
    const client = yield* FipClient
    const ref = yield* targetOf(input)
    const result = yield* client.queryPermission(ref)
    const now = yield* Clock.currentTimeMillis
    const through = (folder: FolderPrefix | undefined): string =>
      folder === undefined ? "" : formatFileRef({ owner: ref.owner, name: folder })
    const grants = input.verbose ? result.grants : effective(result.grants)
    const rows = [
      [result.owner, "OWNER", "", "", "", ""],
      ...(result.public ? [["everybody", "READ", through(result.public_through), "", "", ""]] : []),
      ...grants.map((grant) => {
        const { expires_at, granted_at, granted_by } = grant
        const row = [grant.username, grant.role, through(grant.through)]
        if (!input.verbose) return row.concat(expires_at === undefined ? "for good" : formatAgo(expires_at, now))
        return row.concat(
          expires_at === undefined ? "for good" : formatTime(expires_at),
          granted_by,
          formatTime(granted_at)
        )
      })
    ]
    const columns: ReadonlyArray<Column> = [
      { title: "USER" },
      { title: "ROLE" },
      { title: "THROUGH", cuts: true },
      { title: "ENDS" },
      ...input.verbose ? [{ title: "GRANTED BY" }, { title: "ON" }] : []
    ]
    return {
      code: "1:qa",
      message: `who may do what to ${formatFileRef(ref)}`,
      result,
      text: yield* table(columns, rows)
    }
  })
})

export const queryVersions = shellCommand({
  name: "QUERY VERSIONS",
  summary: "The versions of a file that can be read and restored",
  examples: [{ command: "QUERY versions notes.txt" }, { command: "QUERY versions notes.txt --verbose" }],
  json: "`owner`, `name`, `versions` (an array of `version`, `size`, `author`, `modified_at`, `current`, `sha256` " +
    "where it is known)",
  input: { ...target, verbose: verbose("with exact sizes and times, and hashes") },
  run: Effect.fnUntraced(function*(input) {
    const client = yield* FipClient
    const ref = yield* targetOf(input)
    const result = yield* client.queryVersions(ref)
    const now = yield* Clock.currentTimeMillis
    const rows = result.versions.map((version) => [
      String(version.version),
      input.verbose ? String(version.size) : formatBytes(version.size),
      version.author,
      input.verbose ? version.modified_at : formatAgo(version.modified_at, now),
      version.current ? "current" : "",
      ...input.verbose ? [version.sha256 ?? ""] : []
    ])
    const columns: ReadonlyArray<Column> = [
      { title: "VERSION", right: true },
      { title: input.verbose ? "BYTES" : "SIZE", right: true },
      { title: "BY" },
      { title: "MODIFIED" },
      { title: "" },
      ...input.verbose ? [{ title: "SHA256" }] : []
    ]
    return { code: "1:qa", message: `versions of ${formatFileRef(ref)}`, result, text: yield* table(columns, rows) }
  })
})
