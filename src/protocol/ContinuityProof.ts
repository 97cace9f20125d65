/**
 * Verifies that the key of a TLS session is the one that a pin leads to (docs/security.md, section 4).
 *
 * Accepted is only a chain without a gap: each record signed by the key before it (or by the pinned recovery key), each
 * sequence one more than the last, and the last new key the one that this very session was made with, proven by its
 * signature over the session's own secret. A client never goes back behind what it has seen.
 *
 * What takes time is signatures, one for each record. They are the caller's to check, many at the same time, and a
 * candidate is nothing before all of them have held.
 */
import { Result } from "effect"
import {
  type ContinuityCrypto,
  type ContinuityRecord,
  decodeRecord,
  decodeStatement,
  fingerprintOf,
  fromText,
  recordMessage,
  type SessionStatement,
  splitSigned,
  statementMessage
} from "./Continuity.ts"
import type { Fingerprint } from "./Identity.ts"
import { MAX_CONTINUITY_RECORDS } from "./Limits.ts"

type Hash = Pick<ContinuityCrypto, "sha256">

/** What a client knows of a server besides its key. */
export interface Standing {
  readonly serverId: string
  readonly generation: number
  readonly sequence: number
  readonly recovery: Fingerprint | undefined
  /** The key that the pinned one has announced. */
  readonly next: Fingerprint | undefined
}

export interface Pin {
  readonly fingerprint: Fingerprint
  /** `undefined` while the server has proven nothing but its key. */
  readonly standing: Standing | undefined
}

/** As it is answered on the wire: base64 throughout. */
export interface ContinuityProof {
  /** Statement and signature. */
  readonly statement: string
  /** SPKI of the pinned key, when `records` begin with it. */
  readonly pinned_key?: string
  /** Records with their signatures, from the pinned key to the live one. */
  readonly records: ReadonlyArray<string>
}

/** The client's own view of the TLS session. */
export interface TlsSession {
  /** SPKI of the key in the server's certificate. */
  readonly key: Uint8Array
  readonly exporter: Uint8Array
}

/** A signature that must hold. */
export interface Check {
  readonly key: Uint8Array
  readonly message: Uint8Array
  readonly signature: Uint8Array
  /** What it means if it does not, as half a sentence. */
  readonly otherwise: string
}

/** Where a proof leads if all of `checks` hold. */
export interface Candidate {
  readonly pin: Pin & { readonly standing: Standing }
  readonly checks: ReadonlyArray<Check>
}

const readStatement = (
  crypto: Hash,
  text: string,
  session: TlsSession
): Result.Result<readonly [SessionStatement, Check], string> => {
  const { content, signature } = splitSigned(fromText(text) ?? new Uint8Array(0))
  const statement = decodeStatement(content)
  if (statement === undefined) return Result.fail("its statement cannot be read")
  if (statement.key !== fingerprintOf(crypto, session.key)) return Result.fail("its statement is about another key")
  return Result.succeed([statement, {
    key: session.key,
    message: statementMessage(content, session.exporter),
    signature,
    otherwise: "its statement was not made for this connection"
  }])
}

/** Where a walk along the chain stands. */
interface Place {
  readonly fingerprint: Fingerprint
  /** SPKI of that key; `undefined` at a pin whose key nobody has shown. */
  readonly key: Uint8Array | undefined
  readonly standing: Omit<Standing, "next"> | undefined
  readonly notBefore: number
}

const stepName = (index: number): string => `step ${index + 1} of its chain of keys`

/** Why a record does not follow a place; `undefined` when it does. The signature is checked after this. */
const fault = (place: Place, record: ContinuityRecord, isFirstStep: boolean): string | undefined => {
  const { standing } = place
  if (record.kind === "first") return "a first key follows no other"
  if (standing !== undefined && record.serverId !== standing.serverId) return "it belongs to another server"
  if (record.notBefore < place.notBefore) return "it is older than the one before"
  const jumps = record.kind === "recovery" && isFirstStep
  if (!jumps && record.oldKey !== place.fingerprint) return "it does not begin with the key before"
  if (!jumps && standing !== undefined && record.sequence !== standing.sequence + 1) {
    return "its sequence does not follow"
  }
  if (record.kind === "recovery") {
    if (standing?.recovery === undefined) return "no recovery key is pinned that could vouch for it"
    return record.generation > standing.generation ? undefined : "its generation has passed"
  }
  if (standing === undefined) return undefined
  if (record.generation !== standing.generation) return "its generation does not follow"
  return standing.recovery === undefined || record.recovery === standing.recovery
    ? undefined
    : "only the recovery key can replace the recovery key"
}

const step = (
  crypto: Hash,
  place: Place,
  text: string,
  index: number
): Result.Result<readonly [Place, Check], string> => {
  const { content, signature } = splitSigned(fromText(text) ?? new Uint8Array(0))
  const record = decodeRecord(content)
  if (record === undefined) return Result.fail("it cannot be read")
  const wrong = fault(place, record, index === 0)
  if (wrong !== undefined) return Result.fail(wrong)
  const signer = record.signer ?? place.key
  if (signer === undefined) return Result.fail("the pinned key was not shown")
  if (record.signer !== undefined && fingerprintOf(crypto, record.signer) !== place.standing?.recovery) {
    return Result.fail("another recovery key vouches for it")
  }
  return Result.succeed([
    {
      fingerprint: fingerprintOf(crypto, record.newKey),
      key: record.newKey,
      standing: record,
      notBefore: record.notBefore
    },
    { key: signer, message: recordMessage(content), signature, otherwise: `${stepName(index)}: its signature is wrong` }
  ])
}

/**
 * The pin that replaces `pin` after this session, with what the live key has announced; or, as half a sentence, why the
 * session's key cannot be trusted. All but the signatures is verified here.
 */
export const followContinuity = (
  crypto: Hash,
  pin: Pin,
  proof: ContinuityProof,
  session: TlsSession
): Result.Result<Candidate, string> => {
  if (proof.records.length > MAX_CONTINUITY_RECORDS) return Result.fail("its chain of keys is too long")
  const stated = readStatement(crypto, proof.statement, session)
  if (Result.isFailure(stated)) return Result.fail(stated.failure)
  const [statement, first] = stated.success
  const checks = [first]

  const pinnedKey = proof.pinned_key === undefined ? undefined : fromText(proof.pinned_key)
  let place: Place = {
    fingerprint: pin.fingerprint,
    key: pinnedKey !== undefined && fingerprintOf(crypto, pinnedKey) === pin.fingerprint ? pinnedKey : undefined,
    standing: pin.standing,
    notBefore: 0
  }
  for (const [index, record] of proof.records.entries()) {
    const next = step(crypto, place, record, index)
    if (Result.isFailure(next)) return Result.fail(`${stepName(index)}: ${next.failure}`)
    place = next.success[0]
    checks.push(next.success[1])
  }
  if (place.fingerprint !== statement.key) return Result.fail("its chain of keys does not lead to its key")
  if (statement.time < place.notBefore) return Result.fail("its chain of keys is from the future")
  const { generation, recovery, sequence, serverId } = place.standing ?? statement
  if (statement.serverId !== serverId || statement.generation !== generation || statement.sequence !== sequence) {
    return Result.fail("its statement contradicts what is known of its key")
  }
  if (recovery !== undefined && statement.recovery !== recovery) {
    return Result.fail("it names another recovery key than the one that is pinned")
  }
  const standing = { serverId, generation, sequence, recovery: statement.recovery, next: statement.next }
  return Result.succeed({ pin: { fingerprint: statement.key, standing }, checks })
}

/** The same, with the signatures, one after the other. */
export const verifyContinuity = (
  crypto: ContinuityCrypto,
  pin: Pin,
  proof: ContinuityProof,
  session: TlsSession
): Result.Result<Candidate["pin"], string> =>
  Result.flatMap(followContinuity(crypto, pin, proof, session), (candidate) => {
    const broken = candidate.checks.find(({ key, message, signature }) => !crypto.verify(key, message, signature))
    return broken === undefined ? Result.succeed(candidate.pin) : Result.fail(broken.otherwise)
  })
