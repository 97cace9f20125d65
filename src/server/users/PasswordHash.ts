/**
 * Password hashes as they are stored: PHC strings, `$argon2id$v=19$m=…,t=…,p=…$salt$hash`.
 *
 * Pure, apart from `derive`, which runs on libuv's threads. Parameters travel with each hash, so a hash made under older
 * ones still verifies.
 */
import { Effect } from "effect"
import { argon2, randomBytes, timingSafeEqual } from "node:crypto"

/** The cost of argon2id. */
export interface Argon2Parameters {
  /** Memory in KiB. */
  readonly memory: number
  readonly passes: number
  readonly lanes: number
}

/** What a stored password consists of. */
export interface PasswordHash {
  readonly parameters: Argon2Parameters
  readonly salt: Uint8Array
  readonly hash: Uint8Array
}

const SALT_BYTES = 16
const HASH_BYTES = 32
/** Bounds for stored parameters, so that a damaged row cannot ask for all of the machine's memory. */
const MAX_MEMORY = 1024 * 1024
const MAX_PASSES = 64
const MAX_LANES = 16

const PHC = /^\$argon2id\$v=19\$m=(\d{1,7}),t=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]{11,64})\$([A-Za-z0-9+/]{22,128})$/

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64").replaceAll("=", "")

export const format = ({ hash, parameters, salt }: PasswordHash): string =>
  `$argon2id$v=19$m=${parameters.memory},t=${parameters.passes},p=${parameters.lanes}$${base64(salt)}$${base64(hash)}`

/** The inverse of {@link format}; `undefined` when the text is no hash of ours. */
export const parse = (text: string): PasswordHash | undefined => {
  const [, m, t, p, salt, hash] = PHC.exec(text) ?? []
  if (salt === undefined || hash === undefined) return undefined
  const parameters = { memory: Number(m), passes: Number(t), lanes: Number(p) }
  const { lanes, memory, passes } = parameters
  if (memory < 8 * lanes || memory > MAX_MEMORY || passes < 1 || passes > MAX_PASSES) return undefined
  if (lanes < 1 || lanes > MAX_LANES) return undefined
  return { parameters, salt: Buffer.from(salt, "base64"), hash: Buffer.from(hash, "base64") }
}

export const sameParameters = (a: Argon2Parameters, b: Argon2Parameters): boolean =>
  a.memory === b.memory && a.passes === b.passes && a.lanes === b.lanes

/**
 * Not interruptible: the thread works on whoever waits for it, and who holds a place among the bounded number of hashes
 * must hold it until the thread is free again.
 */
const derive = (
  password: string,
  salt: Uint8Array,
  parameters: Argon2Parameters,
  tagLength: number
): Effect.Effect<Uint8Array> =>
  Effect.uninterruptible(Effect.callback<Uint8Array>((resume) => {
    argon2(
      "argon2id",
      {
        message: Buffer.from(password, "utf8"),
        nonce: salt,
        parallelism: parameters.lanes,
        tagLength,
        memory: parameters.memory,
        passes: parameters.passes
      },
      (error, hash) => resume(error === null ? Effect.succeed(hash) : Effect.die(error))
    )
  }))

/** Hashes a password with a new salt. */
export const make = (password: string, parameters: Argon2Parameters): Effect.Effect<string> =>
  Effect.suspend(() => {
    const salt = randomBytes(SALT_BYTES)
    return Effect.map(
      derive(password, salt, parameters, HASH_BYTES),
      (hash) => format({ parameters, salt, hash })
    )
  })

/** True when the password is the one that was hashed. */
export const matches = (password: string, stored: PasswordHash): Effect.Effect<boolean> =>
  Effect.map(
    derive(password, stored.salt, stored.parameters, stored.hash.length),
    (hash) => timingSafeEqual(hash, stored.hash)
  )
