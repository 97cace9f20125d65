/** rclone against the sshd of sftp.ts; `undefined` when it is not installed. */
import { join } from "node:path"
import { command } from "../Timing.ts"
import type { Sftp } from "./sftp.ts"

export interface Rclone {
  /** Runs `rclone <what> <from> <to>`; a path on the server is written `remote:<path>`. */
  readonly run: (args: ReadonlyArray<string>) => Promise<void>
}

/** By `port`, where something stands before the daemon. */
export const makeRclone = async (folder: string, sftp: Sftp, port = sftp.port): Promise<Rclone | undefined> => {
  if (await command("rclone", ["version"]).then(() => false, () => true)) return undefined
  const env = {
    RCLONE_CONFIG: join(folder, "rclone.conf"),
    RCLONE_CONFIG_REMOTE_TYPE: "sftp",
    RCLONE_CONFIG_REMOTE_HOST: "127.0.0.1",
    RCLONE_CONFIG_REMOTE_PORT: String(port),
    RCLONE_CONFIG_REMOTE_USER: sftp.user,
    RCLONE_CONFIG_REMOTE_KEY_FILE: sftp.key,
    // What it may ask of a server that is OpenSSH, and what that does well with.
    RCLONE_CONFIG_REMOTE_CHUNK_SIZE: "255k",
    RCLONE_CONFIG_REMOTE_SHELL_TYPE: "none"
  }
  return { run: async (args) => void await command("rclone", [...args, "--quiet"], { env }) }
}
