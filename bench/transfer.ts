/** One file of 1 GiB up and down: `fip` (durable, SHA-256 on both ends), `sftp`, and a bare TLS stream. */
import { rm } from "node:fs/promises"
import { join } from "node:path"
import { makeRandomFile, warmMemory } from "./data.ts"
import { startFip } from "./FipProcess.ts"
import { makeBareTls } from "./peers/bareTls.ts"
import { startSftp } from "./peers/sftp.ts"
import { type Contender, inTurns, table } from "./Timing.ts"

const MIB = 1024

export const transfer = async (folder: string, rounds: number): Promise<string> => {
  const source = join(folder, "source")
  await makeRandomFile(source, MIB * 1024 * 1024)
  const target = join(folder, "target")
  const fip = await startFip(folder)
  const sftp = await startSftp(join(folder, "sftp"))
  const bare = makeBareTls(folder)
  const rate = (seconds: number) => `${(MIB / seconds).toFixed(0)} MiB/s`
  const before = async () => {
    await rm(target, { force: true })
    await warmMemory(join(folder, "warm"), 1.5 * MIB * 1024 * 1024)
  }
  const bareTls = { name: "bare TLS stream", before, run: () => bare(source, target) }
  const contenders = (name: string, line: string, sftpName: string, sftpLine: string): ReadonlyArray<Contender> => [
    { name, before, servers: [fip.pid], run: async () => void await fip.shell([line]) },
    ...sftp === undefined
      ? []
      : [{ name: sftpName, before, servers: [sftp.pid], run: () => sftp.batch(`${sftpLine}\n`) }],
    bareTls
  ]
  try {
    const up = await inTurns(
      contenders("`fip` UPLOAD", `UPLOAD ${source} big.bin`, "`sftp put`", `put ${source} ${target}`),
      rounds
    )
    const down = await inTurns(
      contenders("`fip` DOWNLOAD", `DOWNLOAD big.bin ${target}`, "`sftp get`", `get ${source} ${target}`),
      rounds
    )
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
