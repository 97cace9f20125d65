/** Files to move: random bytes, so that nothing on the way can compress or deduplicate them. */
import { randomBytes } from "node:crypto"
import { open, rm } from "node:fs/promises"

const PIECE = 4 * 1024 * 1024

export const makeRandomFile = async (path: string, bytes: number): Promise<void> => {
  const file = await open(path, "w")
  try {
    for (let left = bytes; left > 0; left -= PIECE) await file.write(randomBytes(Math.min(left, PIECE)))
  } finally {
    await file.close()
  }
}

/**
 * Leaves the system at least `bytes` of free memory that was used just now. Pages that nothing has used for a while, or
 * ever, can be ten times slower to get where a virtual machine gives them back to its host, and whoever writes over its
 * old file would get better ones than whoever keeps it.
 */
export const warmMemory = async (path: string, bytes: number): Promise<void> => {
  const file = await open(path, "w")
  try {
    const piece = Buffer.alloc(PIECE)
    for (let left = bytes; left > 0; left -= PIECE) await file.write(piece)
  } finally {
    await file.close()
    await rm(path)
  }
}
