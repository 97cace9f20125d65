/**
 * Refresh digests: 256 bits, kept only as SHA-256.
 *
 * The first of a session is random. Every later one is derived from the one that was presented, with a secret of the
 * server, so that asking again after a lost reply can be answered with the same successor although no digest is stored.
 */
import { createHash, createHmac, randomBytes } from "node:crypto"
import { RefreshDigest } from "../../protocol/Identity.ts"

export const random = (): RefreshDigest => RefreshDigest.make(randomBytes(32).toString("base64url"))

/** What follows `digest`. Without `secret` it cannot be told from random. */
export const successor = (digest: RefreshDigest, secret: Uint8Array): RefreshDigest =>
  RefreshDigest.make(createHmac("sha256", secret).update(digest).digest("base64url"))

/** What is stored of a digest. It has 256 bits of its own: no salt is needed. */
export const hash = (digest: RefreshDigest): Uint8Array => createHash("sha256").update(digest).digest()
