/**
 * Many small files, whole processes: `fip` (each file durable, proven and acknowledged) and its peers. 10,000 files of
 * 4 KiB, the files of two real packages, and 1,000 files over a round trip of 100 ms.
 */
import { existsSync } from "node:fs"
import { cp, mkdir, readdir } from "node:fs/promises"
import { dirname, join } from "node:path"
import { makeRandomFile } from "./data.ts"
import { type FipProcess, startFip } from "./FipProcess.ts"
import { startDistance } from "./peers/distance.ts"
import { makeRclone, type Rclone } from "./peers/rclone.ts"
import { type Sftp, startSftp } from "./peers/sftp.ts"
import { type Contender, inTurns, table } from "./Timing.ts"

const FILES = 10_000
const FAR_FILES = 1000
const ROUND_TRIP_MILLIS = 100
const PACKAGES = ["typescript", "effect"]

interface Peers {
  readonly fip: FipProcess
  readonly sftp: Sftp | undefined
  readonly rclone: Rclone | undefined
}

interface Way {
  readonly up: boolean
  /** Folders of this machine; each turn has its own in the second one. */
  readonly source: string
  readonly targets: string
  /** Of the files in `source`, when they are all in one folder: sftp is then given a line for each. */
  readonly names: ReadonlyArray<string> | undefined
  /** The folder on fip's server that a download is of. */
  readonly remote: string
  readonly port: number | undefined
}

let uploads = 0
let turns = 0

const contenders = ({ fip, rclone, sftp }: Peers, way: Way): ReadonlyArray<Contender> => {
  const { names, port, remote, source, targets, up } = way
  let target = ""
  // Never emptied between two turns: some file systems make new files slowly after many were removed.
  const before = async () => {
    target = join(targets, `${turns++}`)
    await mkdir(target, { recursive: true })
  }
  const lines = () =>
    names === undefined
      ? `${up ? "put" : "get"} -r ${source}/. ${target}\n`
      : names.map((name) => `${up ? "put" : "get"} ${join(source, name)} ${join(target, name)}\n`).join("")
  return [
    {
      name: `\`fip\` ${up ? "UPLOAD" : "DOWNLOAD"} --recursive`,
      servers: [fip.pid],
      before,
      run: async () =>
        void await fip.shell([
          up ? `UPLOAD --recursive ${source} ${remote}${uploads++}` : `DOWNLOAD --recursive ${remote} ${target}`
        ], port)
    },
    ...sftp === undefined ? [] : [{
      name: names === undefined ? `\`sftp ${up ? "put" : "get"} -r\`` : `\`sftp\` ${up ? "put" : "get"}, one batch`,
      servers: [sftp.pid],
      before,
      run: () => sftp.batch(lines())
    }],
    ...sftp === undefined || rclone === undefined || port !== undefined ? [] : [{
      name: "`rclone copy --transfers 16`",
      servers: [sftp.pid],
      before,
      run: () =>
        rclone.run([
          "copy",
          "--transfers",
          "16",
          "--checkers",
          "16",
          ...up ? [source, `remote:${target}`] : [`remote:${source}`, target]
        ])
    }]
  ]
}

/** Both ways, as two tables. */
const bothWays = async (
  peers: Peers,
  title: string,
  count: number,
  way: Pick<Way, "source" | "targets" | "names" | "port">,
  rounds: number
): Promise<ReadonlyArray<string>> => {
  const rate = (seconds: number) => `${(count / seconds).toFixed(0)} files/s`
  const remote = `set${count}-`
  const first = uploads
  const up = await inTurns(contenders(peers, { ...way, up: true, remote }), rounds)
  const down = await inTurns(contenders(peers, { ...way, up: false, remote: `${remote}${first}` }), rounds)
  return [`### ${title}, up`, table(up, rate), `### ${title}, down`, table(down, rate)]
}

const makeFiles = async (folder: string, count: number): Promise<ReadonlyArray<string>> => {
  await mkdir(folder)
  const names = Array.from({ length: count }, (_, index) => `f${index}`)
  for (const name of names) await makeRandomFile(join(folder, name), 4096)
  return names
}

/** Copies the packages that this clone has; the number of their files. */
const copyPackages = async (to: string): Promise<number> => {
  const modules = join(dirname(import.meta.dirname), "node_modules")
  for (const name of PACKAGES) {
    if (existsSync(join(modules, name))) {
      await cp(join(modules, name), join(to, name), { recursive: true, dereference: true })
    }
  }
  const entries = await readdir(to, { recursive: true, withFileTypes: true })
  return entries.filter((entry) => entry.isFile()).length
}

const started = async (folder: string): Promise<Peers> => {
  const fip = await startFip(folder)
  const sftp = await startSftp(join(folder, "sftp"))
  return { fip, sftp, rclone: sftp === undefined ? undefined : await makeRclone(folder, sftp) }
}

export const small = async (folder: string, rounds: number): Promise<string> => {
  const source = join(folder, "files")
  const names = await makeFiles(source, FILES)
  // rclone asks for each file by itself, many times: 10,000 take it a quarter of an hour. It has its turn with the trees.
  const peers = { ...await started(folder), rclone: undefined }
  try {
    const way = { source, targets: join(folder, "targets"), names, port: undefined }
    return (await bothWays(peers, `${FILES} files of 4 KiB`, FILES, way, rounds)).join("\n\n")
  } finally {
    await peers.fip.stop()
    peers.sftp?.stop()
  }
}

export const trees = async (folder: string, rounds: number): Promise<string> => {
  const source = join(folder, "tree")
  const count = await copyPackages(source)
  const peers = await started(folder)
  try {
    const way = { source, targets: join(folder, "targets"), names: undefined, port: undefined }
    const title = `The ${count} files of the packages ${PACKAGES.join(" and ")}`
    return (await bothWays(peers, title, count, way, rounds)).join("\n\n")
  } finally {
    await peers.fip.stop()
    peers.sftp?.stop()
  }
}

/** Without peers: sftp waits for some round trips for each file, minutes in all. */
export const farSmall = async (folder: string, rounds: number): Promise<string> => {
  const source = join(folder, "files")
  const names = await makeFiles(source, FAR_FILES)
  const fip = await startFip(folder)
  const far = await startDistance(fip.port, ROUND_TRIP_MILLIS)
  try {
    const way = { source, targets: join(folder, "targets"), names, port: far.port }
    const title = `${FAR_FILES} files of 4 KiB over a round trip of ${ROUND_TRIP_MILLIS} ms`
    return (await bothWays({ fip, sftp: undefined, rclone: undefined }, title, FAR_FILES, way, rounds)).join("\n\n")
  } finally {
    far.stop()
    await fip.stop()
  }
}
