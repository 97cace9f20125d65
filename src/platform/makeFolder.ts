/**
 * Makes a folder and what is missing above it. Not `mkdir` with `recursive`: that never returns where the system
 * answers ENOENT although the parent is there, as /proc does.
 */
import { mkdir, stat } from "node:fs/promises"
import { dirname } from "node:path"
import { systemErrorCode } from "./systemError.ts"

/** True when it was made, false when it was there. */
const makeOne = async (path: string, mode: number): Promise<boolean> => {
  try {
    await mkdir(path, { mode })
    return true
  } catch (error) {
    if (systemErrorCode(error) === "EEXIST" && (await stat(path)).isDirectory()) return false
    throw error
  }
}

/** True when it was made, false when it was there. Rejects with the system's error. */
export const makeFolder = async (path: string, mode: number): Promise<boolean> => {
  try {
    return await makeOne(path, mode)
  } catch (error) {
    if (systemErrorCode(error) !== "ENOENT" || dirname(path) === path) throw error
    await makeFolder(dirname(path), mode)
    return makeOne(path, mode)
  }
}
