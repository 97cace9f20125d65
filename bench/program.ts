/** The program as users have it: built into a few files, in a folder like that of an installed package. */
import { cp, mkdir, symlink } from "node:fs/promises"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { command } from "./Timing.ts"

const root = fileURLToPath(new URL("..", import.meta.url))

/** Builds it; the file to start with. */
export const install = async (folder: string): Promise<string> => {
  await command(process.execPath, ["build.ts"], { cwd: root })
  await mkdir(folder, { recursive: true })
  for (const part of ["bin", "dist/program", "package.json"]) {
    await cp(join(root, part), join(folder, part), { recursive: true })
  }
  await symlink(join(root, "node_modules"), join(folder, "node_modules"))
  return join(folder, "bin", "fip.js")
}
