/**
 * One file each way over a round trip of 100 ms, whole process with its login. The peers move less, so that a round
 * takes no minute of theirs: their rate is that of their windows, whatever the size.
 */
import { rm } from "node:fs/promises"
import { join } from "node:path"
import { makeRandomFile } from "./data.ts"
import { startFip } from "./FipProcess.ts"
import { startDistance } from "./peers/distance.ts"
import { makeLftp } from "./peers/lftp.ts"
import { makeRclone } from "./peers/rclone.ts"
import { startSftp } from "./peers/sftp.ts"
import { type Contender, inTurns, median } from "./Timing.ts"

const ROUND_TRIP_MILLIS = 100
const FIP_MIB = 256
const PEER_MIB = 32
const LFTP_MIB = 16

interface Sized extends Contender {
  readonly mib: number
}

const rates = async (contenders: ReadonlyArray<Sized>, rounds: number): Promise<string> => {
  const rows = await inTurns(contenders, rounds)
  const own = (contenders[0]?.mib ?? 0) / median(rows[0]?.seconds ?? [])
  const lines = rows.map(({ name, seconds }, index) => {
    const mib = contenders[index]?.mib ?? 0
    const all = seconds.map((each) => mib / each).sort((a, b) => a - b)
    const rate = median(all)
    return `| ${name} | ${mib} MiB | ${rate.toFixed(1)} MiB/s | ${all[0]?.toFixed(1)}–${
      all.at(-1)?.toFixed(1)
    } MiB/s | ${(own / rate).toFixed(1)} × |`
  })
  return ["| | moved | median | spread | FIP is faster by |", "| --- | --- | --- | --- | --- |", ...lines].join("\n")
}

export const distance = async (folder: string, rounds: number): Promise<string> => {
  const fip = await startFip(folder)
  const far = await startDistance(fip.port, ROUND_TRIP_MILLIS)
  const sftp = await startSftp(join(folder, "sftp"))
  const farSsh = sftp === undefined ? undefined : await startDistance(sftp.port, ROUND_TRIP_MILLIS)
  const rclone = sftp === undefined ? undefined : await makeRclone(folder, sftp, farSsh?.port)
  const lftp = sftp === undefined ? undefined : await makeLftp(sftp, farSsh?.port)
  const source = (mib: number) => join(folder, `source-${mib}`)
  for (const mib of [FIP_MIB, PEER_MIB, LFTP_MIB]) await makeRandomFile(source(mib), mib * 1024 * 1024)
  const target = join(folder, "target")
  const before = () => rm(target, { force: true })
  const missing = Object.entries({ sftp, rclone, lftp }).flatMap(([name, peer]) => peer === undefined ? [name] : [])

  const contenders = (up: boolean): ReadonlyArray<Sized> => [
    {
      name: up ? "`fip` UPLOAD" : "`fip` DOWNLOAD",
      mib: FIP_MIB,
      before,
      run: async () =>
        void await fip.shell([up ? `UPLOAD ${source(FIP_MIB)} far.bin` : `DOWNLOAD far.bin ${target}`], far.port)
    },
    ...sftp === undefined ? [] : [{
      name: up ? "`sftp put`" : "`sftp get`",
      mib: PEER_MIB,
      before,
      run: () => sftp.batch(`${up ? "put" : "get"} ${source(PEER_MIB)} ${target}\n`, farSsh?.port)
    }],
    ...rclone === undefined ? [] : [{
      name: "`rclone copyto`",
      mib: PEER_MIB,
      before,
      run: () =>
        rclone.run(["copyto", ...up ? [source(PEER_MIB), `remote:${target}`] : [`remote:${source(PEER_MIB)}`, target]])
    }],
    ...lftp === undefined ? [] : [{
      name: up ? "`lftp put`" : "`lftp get`",
      mib: LFTP_MIB,
      before,
      run: () => lftp.run(`${up ? "put" : "get"} ${source(LFTP_MIB)} -o ${target}`)
    }]
  ]
  try {
    const title = (way: string) => `### One file ${way}, over a round trip of ${ROUND_TRIP_MILLIS} ms`
    return [
      title("up"),
      await rates(contenders(true), rounds),
      title("down"),
      await rates(contenders(false), rounds),
      ...missing.map((name) => `\`${name}\` is not installed here: left out.`)
    ].join("\n\n")
  } finally {
    far.stop()
    farSsh?.stop()
    await fip.stop()
    sftp?.stop()
  }
}
