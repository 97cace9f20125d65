/** 1,000 files of 4 KiB up and down, whole process: `fip` (each durable and acknowledged) and one `sftp -b`. */
import { mkdir, rm } from "node:fs/promises"
import { join } from "node:path"
import { makeRandomFile } from "./data.ts"
import { startFip } from "./FipProcess.ts"
import { startSftp } from "./peers/sftp.ts"
import { inTurns, table } from "./Timing.ts"

const FILES = 1000

export const small = async (folder: string, rounds: number): Promise<string> => {
  const source = join(folder, "files")
  await mkdir(source)
  const names = Array.from({ length: FILES }, (_, index) => `f${index}`)
  for (const name of names) await makeRandomFile(join(source, name), 4096)
  const target = join(folder, "target")
  const clean = async () => {
    await rm(target, { recursive: true, force: true })
    await mkdir(target)
  }
  const fip = await startFip(folder)
  const sftp = await startSftp(join(folder, "sftp"))
  const rate = (seconds: number) => `${(FILES / seconds).toFixed(0)} files/s`
  let run = 0
  try {
    const up = await inTurns([
      {
        name: "`fip` UPLOAD --recursive",
        servers: [fip.pid],
        run: async () => void await fip.shell([`UPLOAD --recursive ${source} up${run++}`])
      },
      ...(sftp === undefined ? [] : [{
        name: "`sftp` put, one batch",
        before: clean,
        servers: [sftp.pid],
        run: () => sftp.batch(names.map((name) => `put ${join(source, name)} ${join(target, name)}\n`).join(""))
      }])
    ], rounds)
    const down = await inTurns([
      {
        name: "`fip` DOWNLOAD --recursive",
        servers: [fip.pid],
        before: clean,
        run: async () => void await fip.shell([`DOWNLOAD --recursive up0 ${target}`])
      },
      ...(sftp === undefined ? [] : [{
        name: "`sftp` get, one batch",
        before: clean,
        servers: [sftp.pid],
        run: () => sftp.batch(names.map((name) => `get ${join(source, name)} ${join(target, name)}\n`).join(""))
      }])
    ], rounds)
    return ["### 1,000 files of 4 KiB, up", table(up, rate), "### 1,000 files of 4 KiB, down", table(down, rate)].join(
      "\n\n"
    )
  } finally {
    await fip.stop()
    sftp?.stop()
  }
}
