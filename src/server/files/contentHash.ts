/** The SHA-256 of content that is in memory. */
import { createHash, hash } from "node:crypto"
import { Sha256 } from "../../protocol/Identity.ts"

export const hashOf = (data: ReadonlyArray<Uint8Array>): Sha256 => {
  const [first] = data
  if (first !== undefined && data.length === 1) return Sha256.make(hash("sha256", first, "hex"))
  const whole = createHash("sha256")
  for (const chunk of data) whole.update(chunk)
  return Sha256.make(whole.digest("hex"))
}
