/** lftp against the sshd of sftp.ts; `undefined` when it is not installed. */
import { command } from "../Timing.ts"
import { CIPHER, QUIET, type Sftp } from "./sftp.ts"

export interface Lftp {
  /** Runs commands of lftp's, separated by `;`. */
  readonly run: (commands: string) => Promise<void>
}

/** By `port`, where something stands before the daemon. */
export const makeLftp = async (sftp: Sftp, port = sftp.port): Promise<Lftp | undefined> => {
  if (await command("lftp", ["--version"]).then(() => false, () => true)) return undefined
  const options = QUIET.map((option) => `-o ${option}`).join(" ")
  const open = [
    `set sftp:connect-program "ssh -a -x -i ${sftp.key} -c ${CIPHER} ${options}"`,
    "set sftp:auto-confirm yes",
    "set cmd:fail-exit yes",
    `open -u ${sftp.user},none -p ${port} sftp://127.0.0.1`
  ].join("; ")
  return { run: async (commands) => void await command("lftp", ["-c", `${open}; ${commands}`]) }
}
