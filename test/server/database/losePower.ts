/**
 * A process of its own for the tests: commits row after row to an embedded database, says the number of each that is
 * committed, and dies at a random write or sync, from the start on, as if the power had gone. Of what was written to a file after its last
 * sync, any sectors stay: `node losePower.ts <folder> <seed> [os]`.
 */
import fs from "node:fs"
import { syncBuiltinESMExports } from "node:module"
import { stdout } from "node:process"
import { openEmbedded } from "../../../src/server/database/Embedded.ts"
import { Random } from "../../support/Random.ts"

const SECTOR_BYTES = 512

interface Unsynced {
  readonly path: string
  readonly size: number
  /** Sectors as they were when the file was synced; shorter where it ended. */
  readonly before: Map<number, Buffer>
}

const [, , folder = "", seed = "1", durability] = process.argv
const random = new Random(Number(seed))
const files = new Map<number, Unsynced>()
const { writeSync } = fs
let steps = 0
// Some die before they are open: to recover, and to begin, takes some hundred steps.
const dieAt = 1 + random.below(random.pick([30, 500, 3000]))

const losePower = (): void => {
  for (const [inode, { before, path, size }] of files) {
    // Not one that was removed, or moved, meanwhile.
    if (fs.statSync(path, { throwIfNoEntry: false })?.ino !== inode) continue
    const file = fs.openSync(path, "r+")
    const luck = random.pick([0, 1, 0.5])
    for (const [sector, content] of before) {
      if (!random.chance(luck)) writeSync(file, content, 0, content.length, sector * SECTOR_BYTES)
    }
    if (luck === 0) fs.ftruncateSync(file, size)
    fs.closeSync(file)
  }
  process.kill(process.pid, "SIGKILL")
}

const step = (): void => {
  if (++steps === dieAt) losePower()
}

/** Keeps what is about to be overwritten. */
const remember = (file: number, length: number, position: number): void => {
  const { ino, size } = fs.fstatSync(file)
  const path = `/proc/self/fd/${file}`
  const unsynced = files.get(ino) ?? { path: fs.readlinkSync(path), size, before: new Map<number, Buffer>() }
  files.set(ino, unsynced)
  const last = Math.floor((position + length - 1) / SECTOR_BYTES)
  const reader = fs.openSync(path, "r")
  for (let sector = Math.floor(position / SECTOR_BYTES); sector <= last; sector++) {
    if (unsynced.before.has(sector)) continue
    const content = Buffer.alloc(SECTOR_BYTES)
    const count = fs.readSync(reader, content, 0, SECTOR_BYTES, sector * SECTOR_BYTES)
    // What lies beyond the end of the file was nothing: zeros, once it is longer.
    unsynced.before.set(sector, count === 0 ? Buffer.alloc(SECTOR_BYTES) : content.subarray(0, count))
  }
  fs.closeSync(reader)
}

// The engine has no other file layer than Node's: its writes pass here.
Object.assign(fs, {
  writeSync: (file: number, bytes: Uint8Array, offset: number, length: number, position: number): number => {
    remember(file, length, position)
    step()
    return writeSync(file, bytes, offset, length, position)
  }
})
syncBuiltinESMExports()

const engine = await openEmbedded(folder, durability === "os" ? "os" : "full", (file) => {
  step()
  files.delete(fs.fstatSync(file).ino)
})
await engine.exec("create table if not exists rows (n bigint primary key, filler text)")
const { rows: [found] } = await engine.query<{ count: number; last: number | null }>(
  "select count(*)::int as count, max(n)::int as last from rows"
)
stdout.write(`found ${found?.count} ${found?.last ?? 0}\n`)
for (let n = (found?.last ?? 0) + 1;; n++) {
  await engine.exec(`insert into rows values (${n}, repeat('${n} ', 500))`)
  stdout.write(`${n}\n`)
  // Writes what has changed to the files themselves.
  if (random.chance(0.03)) await engine.exec("checkpoint")
}
