/**
 * The bytes that prove who a server is, across all its keys (docs/security.md, sections 3 and 4): records, which one key
 * signs for its successor, and statements, which the live key signs for one TLS session.
 *
 * Binary and canonical: a value has exactly one encoding, and what has none is refused. What is signed begins with a
 * label of its own, so that no signature made for one purpose can serve another. Pure: hashing and signatures are given.
 */
import { Result } from "effect"
import * as Base64 from "effect/encoding/Base64"
import * as Hex from "effect/encoding/Hex"
import { Fingerprint } from "./Identity.ts"

/** SHA-256, and signatures by the key in an SPKI: ECDSA on P-256 with SHA-256 as `r` and `s`, or Ed25519. */
export interface ContinuityCrypto {
  readonly sha256: (bytes: Uint8Array) => Uint8Array
  /** False for whatever is no valid signature; never throws. */
  readonly verify: (spki: Uint8Array, message: Uint8Array, signature: Uint8Array) => boolean
}

/** A signature by either kind of key. */
export const SIGNATURE_BYTES = 64

/** RFC 5705: what binds a statement to its TLS session is exported under this label, without a context. */
export const EXPORTER_LABEL = "EXPERIMENTAL-FIP-continuity-1"
export const EXPORTER_BYTES = 32

const FORMAT = 1
const HASH_BYTES = 32
const SERVER_ID_BYTES = 16
const encoder = new TextEncoder()
const RECORD_LABEL = encoder.encode("FIP continuity record 1\0")
const STATEMENT_LABEL = encoder.encode("FIP session statement 1\0")

/** Who signs a record: its key itself (a server's first), the key before it, or the recovery key. */
export const RecordKind = { first: 0, rotation: 1, recovery: 2 } as const
export type RecordKind = keyof typeof RecordKind

/** Why a key was made: with the server, by schedule, by request, or because another may be in the wrong hands. */
export const RecordReason = { first: 0, scheduled: 1, requested: 2, compromised: 3 } as const
export type RecordReason = keyof typeof RecordReason

const KINDS: ReadonlyArray<RecordKind> = ["first", "rotation", "recovery"]
const REASONS: ReadonlyArray<RecordReason> = ["first", "scheduled", "requested", "compromised"]

/** One step from a key to its successor. */
export interface ContinuityRecord {
  readonly kind: RecordKind
  readonly reason: RecordReason
  /** 16 random bytes in hexadecimal, the same for the server's whole life. */
  readonly serverId: string
  /** One more with every key that the recovery key vouches for; what older generations sign no longer counts. */
  readonly generation: number
  /** Of the new key: 0 for the server's first, then one more with every key. */
  readonly sequence: number
  /** By the server's clock, in milliseconds since 1970; never before that of the record before. */
  readonly notBefore: number
  /** The key before; `undefined` in the first record. */
  readonly oldKey: Fingerprint | undefined
  /** The recovery key from here on. */
  readonly recovery: Fingerprint | undefined
  /** SPKI. */
  readonly newKey: Uint8Array
  /** SPKI of the recovery key that signs; in records of other kinds the signer is known. */
  readonly signer: Uint8Array | undefined
}

/** What the live key says of itself in one TLS session. */
export interface SessionStatement {
  readonly serverId: string
  readonly generation: number
  readonly sequence: number
  /** The server's clock, never before its last record. */
  readonly time: number
  readonly key: Fingerprint
  /** The key that comes next: a client that heard of it here knows it without further proof. */
  readonly next: Fingerprint | undefined
  readonly recovery: Fingerprint | undefined
}

// --- keys -------------------------------------------------------------------------------------------------------------

/** All of an SPKI before the key itself: with these, a key has one encoding. */
const P256_PREFIX = "3059301306072a8648ce3d020106082a8648ce3d03010703420004"
const ED25519_PREFIX = "302a300506032b6570032100"

/** True for the SPKI of a key that may sign: P-256, uncompressed, or Ed25519, each in its canonical form. */
export const isPublicKey = (spki: Uint8Array): boolean => {
  if (spki.length === 91) return Hex.encode(spki.subarray(0, 27)) === P256_PREFIX
  return spki.length === 44 && Hex.encode(spki.subarray(0, 12)) === ED25519_PREFIX
}

/** The fingerprint that a hash is written as. */
const toFingerprint = (hash: Uint8Array): Fingerprint =>
  Fingerprint.make(`SHA256:${Base64.encode(hash).replace(/=+$/, "")}`)

export const fingerprintOf = (crypto: Pick<ContinuityCrypto, "sha256">, spki: Uint8Array): Fingerprint =>
  toFingerprint(crypto.sha256(spki))

// --- bytes ------------------------------------------------------------------------------------------------------------

const bytesOf = <E>(decoded: Result.Result<Uint8Array, E>): Uint8Array =>
  Result.getOrElse(decoded, () => new Uint8Array(0))

const hashOf = (fingerprint: Fingerprint | undefined): Uint8Array =>
  fingerprint === undefined ? new Uint8Array(HASH_BYTES) : bytesOf(Base64.decode(`${fingerprint.slice(7)}=`))

const optionalHash = (bytes: Uint8Array): Fingerprint | undefined =>
  bytes.every((byte) => byte === 0) ? undefined : toFingerprint(bytes)

const integer = (value: number, bytes: 1 | 4 | 8): Uint8Array => {
  const view = new DataView(new ArrayBuffer(8))
  view.setBigUint64(0, BigInt(value))
  return new Uint8Array(view.buffer).subarray(8 - bytes)
}

export const concat = (...parts: ReadonlyArray<Uint8Array>): Uint8Array => {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}

/** Takes a message apart from its front. What is not there reads as nothing, so lengths are checked before. */
class Reader {
  private at = 0
  private readonly bytes: Uint8Array

  constructor(bytes: Uint8Array) {
    this.bytes = bytes
  }

  take(length: number): Uint8Array {
    return this.bytes.subarray(this.at, this.at += length)
  }

  integer(length: 1 | 4 | 8): number {
    return this.take(length).reduce((value, byte) => value * 256 + byte, 0)
  }
}

// --- records ----------------------------------------------------------------------------------------------------------

/** Of a record, up to its keys. */
const RECORD_HEAD_BYTES = 5 + SERVER_ID_BYTES + 4 + 8 + 8 + 2 * HASH_BYTES

export const encodeRecord = (record: ContinuityRecord): Uint8Array =>
  concat(
    Uint8Array.of(
      FORMAT,
      RecordKind[record.kind],
      RecordReason[record.reason],
      record.newKey.length,
      record.signer?.length ?? 0
    ),
    bytesOf(Hex.decode(record.serverId)),
    integer(record.generation, 4),
    integer(record.sequence, 8),
    integer(record.notBefore, 8),
    hashOf(record.oldKey),
    hashOf(record.recovery),
    record.newKey,
    record.signer ?? new Uint8Array(0)
  )

/** The record in these bytes; `undefined` when they are none. */
export const decodeRecord = (bytes: Uint8Array): ContinuityRecord | undefined => {
  const reader = new Reader(bytes)
  const [format, kindNumber = 0, reasonNumber = 0, newKeyBytes = 0, signerBytes = 0] = reader.take(5)
  const kind = KINDS[kindNumber]
  const reason = REASONS[reasonNumber]
  if (format !== FORMAT || kind === undefined || reason === undefined) return undefined
  if (bytes.length !== RECORD_HEAD_BYTES + newKeyBytes + signerBytes) return undefined
  const record = {
    kind,
    reason,
    serverId: Hex.encode(reader.take(SERVER_ID_BYTES)),
    generation: reader.integer(4),
    sequence: reader.integer(8),
    notBefore: reader.integer(8),
    oldKey: optionalHash(reader.take(HASH_BYTES)),
    recovery: optionalHash(reader.take(HASH_BYTES)),
    newKey: reader.take(newKeyBytes),
    signer: signerBytes === 0 ? undefined : reader.take(signerBytes)
  }
  const keys = isPublicKey(record.newKey) && (record.signer === undefined || isPublicKey(record.signer))
  const numbers = Number.isSafeInteger(record.sequence) && Number.isSafeInteger(record.notBefore)
  const isFirst = kind === "first"
  const shape = (record.signer !== undefined) === (kind === "recovery") &&
    (record.oldKey === undefined) === isFirst && (reason === "first") === isFirst
  return keys && numbers && shape ? record : undefined
}

/** What is signed for a record. */
export const recordMessage = (record: Uint8Array): Uint8Array => concat(RECORD_LABEL, record)

// --- statements -------------------------------------------------------------------------------------------------------

const STATEMENT_BYTES = 1 + SERVER_ID_BYTES + 4 + 8 + 8 + 3 * HASH_BYTES

export const encodeStatement = (statement: SessionStatement): Uint8Array =>
  concat(
    Uint8Array.of(FORMAT),
    bytesOf(Hex.decode(statement.serverId)),
    integer(statement.generation, 4),
    integer(statement.sequence, 8),
    integer(statement.time, 8),
    hashOf(statement.key),
    hashOf(statement.next),
    hashOf(statement.recovery)
  )

/** The statement in these bytes; `undefined` when they are none. */
export const decodeStatement = (bytes: Uint8Array): SessionStatement | undefined => {
  const reader = new Reader(bytes)
  if (bytes.length !== STATEMENT_BYTES || reader.integer(1) !== FORMAT) return undefined
  const statement = {
    serverId: Hex.encode(reader.take(SERVER_ID_BYTES)),
    generation: reader.integer(4),
    sequence: reader.integer(8),
    time: reader.integer(8),
    key: toFingerprint(reader.take(HASH_BYTES)),
    next: optionalHash(reader.take(HASH_BYTES)),
    recovery: optionalHash(reader.take(HASH_BYTES))
  }
  return Number.isSafeInteger(statement.sequence) && Number.isSafeInteger(statement.time) ? statement : undefined
}

/** What is signed for a statement. `exporter` is this TLS session's alone, so the signature means nothing in another. */
export const statementMessage = (statement: Uint8Array, exporter: Uint8Array): Uint8Array =>
  concat(STATEMENT_LABEL, statement, exporter)

// --- signed and in text -----------------------------------------------------------------------------------------------

/** Splits a record or statement from the signature behind it. */
export const splitSigned = (bytes: Uint8Array): { readonly content: Uint8Array; readonly signature: Uint8Array } => {
  const at = Math.max(0, bytes.length - SIGNATURE_BYTES)
  return { content: bytes.subarray(0, at), signature: bytes.subarray(at) }
}

/** Bytes as they travel in JSON. */
export const toText = Base64.encode

/** The bytes that a text stands for; `undefined` when it is not exactly what {@link toText} writes for them. */
export const fromText = (text: string): Uint8Array | undefined => {
  const bytes = Result.getOrUndefined(Base64.decode(text))
  return bytes !== undefined && Base64.encode(bytes) === text ? bytes : undefined
}
