/** The activity log as people read it: one line for each record, the oldest first, as in a log. */
import type { ActivityInfo } from "../../protocol/Request.ts"
import { formatTable, formatTime } from "./format.ts"

const fileOf = ({ name, owner }: ActivityInfo): string =>
  name === undefined ? owner ?? "" : owner === undefined ? name : `~${owner}/${name}`

const cellsOf = (activity: ActivityInfo): ReadonlyArray<string> => [
  formatTime(activity.at),
  activity.username ?? (activity.action.startsWith("admin ") ? "administrator" : ""),
  activity.address,
  activity.times === 1 ? activity.action : `${activity.action} ×${activity.times}`,
  fileOf(activity),
  activity.code,
  `${activity.duration_ms} ms`,
  [
    ...(activity.suspicious ? ["SUSPICIOUS"] : []),
    ...Object.entries(activity.detail).map(([key, value]) => `${key}=${value}`)
  ].join(" ")
]

/** Records that come newest first. */
export const formatActivities = (activities: ReadonlyArray<ActivityInfo>, titles = true): string =>
  formatTable(
    ["WHEN", "WHO", "FROM", "WHAT", "FILE", "RESULT", "TOOK", ""].map((title) => ({
      title: titles ? title : "",
      right: title === "TOOK"
    })),
    activities.toReversed().map(cellsOf)
  )
