/** One file of 1 GiB up and down: `fip` (durable, SHA-256 on both ends), `sftp`, and a bare TLS stream. */
import { rm } from "node:fs/promises"
import { join } from "node:path"
import { makeRandomFile } from "./data.ts"
import { startFip } from "./FipProcess.ts"
import { makeBareTls } from "./peers/bareTls.ts"
import { startSftp } from "./peers/sftp.ts"
import { inTurns, table } from "./Timing.ts"

const MIB = 1024

export const transfer = async (folder: string, rounds: number): Promise<string> => {
  const source = join(folder, "source")
  await makeRandomFile(source, MIB * 1024 * 1024)
  const target = join(folder, "target")
  const clean = () => rm(target, { force: true })
  const fip = await startFip(folder)
  const sftp = await startSftp(join(folder, "sftp"))
  const bare = makeBareTls(folder)
  const rate = (seconds: number) => `${(MIB / seconds).toFixed(0)} MiB/s`
  try {
    const up = await inTurns([
      { name: "`fip` UPLOAD", run: async () => void await fip.shell([`UPLOAD ${source} big.bin`]) },
      ...(sftp === undefined
        ? []
        : [{ name: "`sftp put`", before: clean, run: () => sftp.batch(`put ${source} ${target}\n`) }]),
      { name: "bare TLS stream", before: clean, run: () => bare(source, target) }
    ], rounds)
    const down = await inTurns([
      { name: "`fip` DOWNLOAD", before: clean, run: async () => void await fip.shell([`DOWNLOAD big.bin ${target}`]) },
      ...(sftp === undefined
        ? []
        : [{ name: "`sftp get`", before: clean, run: () => sftp.batch(`get ${source} ${target}\n`) }]),
      { name: "bare TLS stream", before: clean, run: () => bare(source, target) }
    ], rounds)
    return [
      "### One file of 1 GiB, up",
      table(up, rate),
      "### One file of 1 GiB, down",
      table(down, rate),
      ...(sftp === undefined ? ["`sftp` is not installed here: left out."] : [])
    ].join("\n\n")
  } finally {
    await fip.stop()
    sftp?.stop()
  }
}
