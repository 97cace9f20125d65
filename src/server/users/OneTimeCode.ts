/**
 * Codes that an administrator hands out, for an invitation or a new password: 100 random bits in Crockford's base 32,
 * `7K2QM-X0VWD-93HBR-TZ4EC`. Letters in any case; blanks and dashes do not count. Kept only as SHA-256.
 */
import { createHash, randomBytes } from "node:crypto"

const ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
const LENGTH = 20
const CODE = new RegExp(`^[${ALPHABET}]{${LENGTH}}$`)

/** What is hashed; `undefined` when the text is no code. */
const plain = (text: string): string | undefined => {
  const letters = text.toUpperCase().replaceAll(/[\s-]/g, "")
  return CODE.test(letters) ? letters : undefined
}

const digest = (letters: string): Uint8Array => createHash("sha256").update(letters).digest()

/** A new code, as it is shown, and what is stored of it. */
export const make = (): { readonly code: string; readonly hash: Uint8Array } => {
  const letters = Array.from(randomBytes(LENGTH), (byte) => ALPHABET[byte % ALPHABET.length]).join("")
  return { code: letters.replaceAll(/.{5}(?=.)/g, "$&-"), hash: digest(letters) }
}

/** What is stored of a code; `undefined` when the text is none. It has 100 bits of its own: no salt is needed. */
export const hash = (text: string): Uint8Array | undefined => {
  const letters = plain(text)
  return letters === undefined ? undefined : digest(letters)
}
