/**
 * Keys that sign, on node:crypto: P-256 with SHA-256 (signatures as `r` and `s`, 64 bytes) and Ed25519. What is signed
 * and why is src/protocol/Continuity.ts.
 */
import { createHash, createPublicKey, type KeyObject, sign as signWith, verify as verifyWith } from "node:crypto"
import { type ContinuityCrypto, isPublicKey } from "../protocol/Continuity.ts"

/** Of its SPKI. */
const ED25519_BYTES = 44

const isEd25519 = (key: KeyObject): boolean => key.asymmetricKeyType === "ed25519"

/** The SPKI of a key's public half. */
export const spkiOf = (key: KeyObject): Uint8Array =>
  new Uint8Array((key.type === "private" ? createPublicKey(key) : key).export({ type: "spki", format: "der" }))

export const sign = (key: KeyObject, message: Uint8Array): Uint8Array =>
  new Uint8Array(
    isEd25519(key) ? signWith(null, message, key) : signWith("sha256", message, { key, dsaEncoding: "ieee-p1363" })
  )

const verify: ContinuityCrypto["verify"] = (spki, message, signature) => {
  if (!isPublicKey(spki)) return false
  try {
    const key = createPublicKey({ key: Buffer.from(spki), format: "der", type: "spki" })
    return isEd25519(key)
      ? verifyWith(null, message, key, signature)
      : verifyWith("sha256", message, { key, dsaEncoding: "ieee-p1363" }, signature)
  } catch {
    // A point that is not on the curve, or a signature of another length.
    return false
  }
}

/** The same, off this thread. */
export const verifyAside = (spki: Uint8Array, message: Uint8Array, signature: Uint8Array): Promise<boolean> =>
  new Promise((resolve) => {
    if (!isPublicKey(spki)) return resolve(false)
    const key = { key: Buffer.from(spki), format: "der", type: "spki", dsaEncoding: "ieee-p1363" } as const
    const algorithm = spki.length === ED25519_BYTES ? null : "sha256"
    try {
      verifyWith(algorithm, message, key, signature, (error, valid) => resolve(error === null && valid))
    } catch {
      resolve(false)
    }
  })

export const continuityCrypto: ContinuityCrypto = {
  sha256: (bytes) => new Uint8Array(createHash("sha256").update(bytes).digest()),
  verify
}
