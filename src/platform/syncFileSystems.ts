/**
 * Makes everything that was written to some file systems durable at once: for many small files that is a fraction of a
 * sync for each. It waits for what other programs have written there, too.
 *
 * Node has no syncfs; where the system's own `sync` program has it, that is run. Only where the kernel tells of failures
 * (Linux since 5.8) is it to be relied on.
 */
import { execFile } from "node:child_process"
import { platform, release } from "node:os"

const tellsOfFailures = (): boolean => {
  const [major = 0, minor = 0] = release().split(".").map(Number)
  return platform() === "linux" && (major > 5 || (major === 5 && minor >= 8))
}

let works = tellsOfFailures()

/** True until it is known that it cannot be done here. */
export const canSyncFileSystems = (): boolean => works

/** The file systems that these folders are on. False when that cannot be done; nothing is known to be durable then. */
export const syncFileSystems = (folders: ReadonlyArray<string>): Promise<boolean> => {
  if (!works) return Promise.resolve(false)
  return new Promise((resolve) => {
    execFile("sync", ["-f", "--", ...folders], (error) => {
      if (error !== null) works = false
      resolve(error === null)
    })
  })
}
