/**
 * Unix sockets for the owner of a folder alone. One is bound under a name of its own in a folder that nobody else can
 * enter, narrowed to mode 0600 and only then renamed to where clients look: nobody else can connect at any instant, and
 * what a killed process left is replaced.
 */
import { randomBytes } from "node:crypto"
import { chmod, mkdir, rename, rm, rmdir } from "node:fs/promises"
import type { Server } from "node:net"
import { dirname, join } from "node:path"

/** Bytes of a Unix socket's path on the most frugal system (macOS). */
const MAX_PATH_BYTES = 103

export const TOO_LONG = "its path is too long for one: choose a shorter data folder"

/** Whether a folder's path is short enough for the sockets in it. */
export const fitsSockets = (folder: string): boolean =>
  Buffer.byteLength(join(folder, ".abcdef", "s")) <= MAX_PATH_BYTES

const listen = (server: Server, path: string): Promise<void> =>
  new Promise((resolve, reject) => {
    server.once("error", reject)
    server.listen(path, () => {
      server.off("error", reject)
      resolve()
    })
  })

/** Binds `server` and puts its socket at `path`. */
export const publish = async (server: Server, path: string): Promise<void> => {
  if (!fitsSockets(dirname(path))) throw new Error(TOO_LONG)
  const folder = join(dirname(path), `.${randomBytes(3).toString("hex")}`)
  await mkdir(folder, { mode: 0o700 })
  const hidden = join(folder, "s")
  try {
    await listen(server, hidden)
    await chmod(hidden, 0o600)
    await rename(hidden, path)
  } finally {
    await rm(hidden, { force: true })
    await rmdir(folder)
  }
}
