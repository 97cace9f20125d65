/** Short commands, whole processes: what a person waits for who only wants to look. */
import { join } from "node:path"
import { startFip } from "./FipProcess.ts"
import { startSftp } from "./peers/sftp.ts"
import { inTurns, table } from "./Timing.ts"

const rate = (seconds: number) => `${(1 / seconds).toFixed(1)} /s`

export const start = async (folder: string, rounds: number): Promise<string> => {
  const fip = await startFip(folder)
  const sftp = await startSftp(join(folder, "sftp"))
  try {
    const rows = await inTurns([
      {
        name: "`fip connect -- LIST`, with a login",
        servers: [fip.pid],
        run: async () => void await fip.shell(["LIST"])
      },
      ...sftp === undefined
        ? []
        : [{ name: "`sftp` connecting, `pwd`", servers: [sftp.pid], run: () => sftp.batch("pwd\n") }]
    ], rounds)
    return ["### One short command", table(rows, rate)].join("\n\n")
  } finally {
    await fip.stop()
    sftp?.stop()
  }
}
