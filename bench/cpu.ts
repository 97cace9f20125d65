/** CPU time of processes, by Linux's count; what a busy machine leaves comparable. Elsewhere there is none. */
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"

const TICKS_PER_SECOND = 100

const fieldsOf = (pid: number | "self"): ReadonlyArray<number> => {
  try {
    // After the name, which may have spaces and brackets in it: the state, and then numbers.
    return readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ").map(Number) ?? []
  } catch {
    return []
  }
}

const sum = (fields: ReadonlyArray<number>, from: number, to: number): number =>
  fields.slice(from, to).reduce((total, ticks) => total + ticks, 0) / TICKS_PER_SECOND

/** Seconds that a process has used, with the children it has waited for. */
export const cpuOf = (pid: number): number => sum(fieldsOf(pid), 11, 15)

/** Seconds that the children of this process have used that have ended. */
export const cpuOfChildren = (): number => sum(fieldsOf("self"), 13, 15)

/** Seconds that the threads of a process have used that live, by their names. */
export const threadsOf = (pid: number): ReadonlyMap<string, number> => {
  const seconds = new Map<string, number>()
  try {
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      const path = `/proc/${pid}/task/${thread}`
      const name = readFileSync(`${path}/comm`, "utf8").trim()
      const fields = readFileSync(`${path}/stat`, "utf8").split(") ").at(-1)?.split(" ").map(Number) ?? []
      seconds.set(name, (seconds.get(name) ?? 0) + sum(fields, 11, 13))
    }
  } catch {
    // A thread that has ended meanwhile; or another system.
  }
  return seconds
}

/** CPU seconds of a PostgreSQL on this machine: of the server, its backends, and those that have ended. */
export const cpuOfPostgres = (url: string): number => {
  const folder = decodeURIComponent(/host=(.*)$/.exec(url)?.[1] ?? "")
  const pid = readFileSync(join(folder, "data", "postmaster.pid"), "utf8").split("\n")[0] ?? ""
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").filter(Boolean)
  return [pid, ...children].reduce((total, one) => total + cpuOf(Number(one)), 0)
}
