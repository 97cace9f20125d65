/** Where a person's programs keep their things in a test, and a server beside them its data: a folder that can go as a whole. */
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { TestDatabase } from "./TestDatabase.ts"

export interface Home {
  readonly folder: string
  /** For `fip serve`: has a database already. */
  readonly dataDir: string
  /** For `fip …`: settings, sessions and transfers are in the folder. */
  readonly environment: NodeJS.ProcessEnv
}

export const makeHome = async (): Promise<Home> => {
  const folder = await mkdtemp(join(tmpdir(), "fip-home-"))
  const dataDir = join(folder, "data")
  await TestDatabase.seedDataDir(dataDir)
  return {
    folder,
    dataDir,
    environment: { XDG_CONFIG_HOME: join(folder, "config"), XDG_STATE_HOME: join(folder, "state") }
  }
}

export const removeHome = ({ folder }: Home): Promise<void> =>
  rm(folder, { recursive: true, force: true, maxRetries: 3 })
