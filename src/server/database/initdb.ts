/**
 * A program of its own, run by `openEmbedded`: makes a new embedded database in the folder that it is given.
 *
 * It is made beside its place, synced, and moved there, so that a crash leaves nothing that is taken for a database.
 */
import { mkdir, open, readdir, rename, rm } from "node:fs/promises"
import { dirname, join } from "node:path"
import { syncFolder } from "../../platform/AtomicFile.ts"
import { start } from "./Embedded.ts"

/** Makes all that is under `folder` durable, names and content. */
const syncTree = async (folder: string): Promise<void> => {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) {
      await syncTree(path)
    } else {
      const handle = await open(path, "r")
      try {
        await handle.sync()
      } finally {
        await handle.close()
      }
    }
  }
  await syncFolder(folder)
}

const [, , folder] = process.argv
if (folder !== undefined) {
  const staging = `${folder}.new`
  await rm(staging, { recursive: true, force: true })
  await mkdir(staging, { mode: 0o700 })
  // Nothing is synced until it is whole.
  const database = await start(staging, () => undefined, "full")
  await database.close()
  await syncTree(staging)
  await rename(staging, folder)
  await syncFolder(dirname(folder))
}
