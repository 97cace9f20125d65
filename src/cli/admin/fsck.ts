/** `fip admin fsck`. */
import { Effect } from "effect"
import { Flag } from "effect/cli"
import { formatBytes, formatCount, formatTable } from "../shell/format.ts"
import { printableLine } from "../shell/printable.ts"
import { adminCommand } from "./adminCommand.ts"

export const fsckCommand = adminCommand({
  asks: "fsck",
  summary: "Check everything that is stored, while the server runs; exit status 1 when something is wrong",
  input: {
    repair: Flag.Boolean("repair").pipe(
      Flag.withDescription("count quotas anew and remove segments that nothing refers to; nothing can be lost by it"),
      Flag.withDefault(false)
    )
  },
  request: Effect.succeed,
  say: (result) => {
    const checked = [
      `checked ${formatCount(result.segments, "segment")} (${formatBytes(result.bytes)})`,
      formatCount(result.files, "file"),
      formatCount(result.versions, "version"),
      formatCount(result.users, "user"),
      formatCount(result.uploads, "upload")
    ].join(", ")
    const found = result.problems === 0
      ? "nothing is wrong"
      : `${formatCount(result.problems, "problem")}, ${result.repaired} repaired`
    const space = [
      ...result.removed_segments > 0
        ? [`removed ${formatCount(result.removed_segments, "unused segment")} (${formatBytes(result.removed_bytes)})`]
        : [],
      ...result.orphan_segments > 0
        ? [
          `${formatCount(result.orphan_segments, "unused segment")} (${formatBytes(result.orphan_bytes)}) to be removed`
        ]
        : []
    ]
    const message = [`${checked}: ${found}`, ...space].join("; ")
    return {
      message,
      ...(result.findings.length === 0 ? {} : {
        text: formatTable(
          [{ title: "kind" }, { title: "of" }, { title: "what" }, { title: "repaired" }],
          result.findings.map((one) => [
            one.kind,
            printableLine(one.subject),
            printableLine(one.message),
            one.repaired ? "yes" : "no"
          ])
        ),
        both: true as const
      }),
      ...(result.problems > result.repaired ? { failed: true as const } : {})
    }
  }
})
