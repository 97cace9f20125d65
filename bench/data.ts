/** Files to move: random bytes, so that nothing on the way can compress or deduplicate them. */
import { randomBytes } from "node:crypto"
import { open } from "node:fs/promises"

const PIECE = 4 * 1024 * 1024

export const makeRandomFile = async (path: string, bytes: number): Promise<void> => {
  const file = await open(path, "w")
  try {
    for (let left = bytes; left > 0; left -= PIECE) await file.write(randomBytes(Math.min(left, PIECE)))
  } finally {
    await file.close()
  }
}
