/**
 * All that makes a server itself, as one value: the live key with its certificate, the key that comes next, the public
 * recovery key, and the record of every key it ever had. Each change makes a new value; Identity.ts stores it whole.
 *
 * Invariants: the history begins with the server's first key and ends with the live one, without a gap; the next key
 * exists before anybody needs it, so that the live one can announce it.
 */
import { type KeyObject, randomBytes } from "node:crypto"
import { continuityCrypto, sign, spkiOf } from "../../platform/Signature.ts"
import {
  concat,
  type ContinuityRecord,
  decodeRecord,
  encodeRecord,
  fingerprintOf,
  recordMessage,
  type RecordReason,
  splitSigned
} from "../../protocol/Continuity.ts"
import type { Fingerprint } from "../../protocol/Identity.ts"
import { certify, makeKey } from "./selfSigned.ts"

export interface HistoryEntry {
  readonly record: ContinuityRecord
  /** The record's bytes and its signature. */
  readonly signed: Uint8Array
}

export interface IdentityState {
  readonly key: KeyObject
  /** As PEM. */
  readonly certificate: string
  readonly spki: Uint8Array
  readonly fingerprint: Fingerprint
  readonly nextKey: KeyObject
  /** SPKI. */
  readonly recovery: Uint8Array | undefined
  readonly history: ReadonlyArray<HistoryEntry>
  /** The live key's. */
  readonly record: ContinuityRecord
}

export const fingerprint = (spki: Uint8Array): Fingerprint => fingerprintOf(continuityCrypto, spki)

const entryOf = (record: ContinuityRecord, key: KeyObject): HistoryEntry => {
  const bytes = encodeRecord(record)
  return { record, signed: concat(bytes, sign(key, recordMessage(bytes))) }
}

/** An identity from its parts; throws when there is no history. */
export const complete = (
  parts: Pick<IdentityState, "key" | "certificate" | "nextKey" | "recovery" | "history">
): IdentityState => {
  const last = parts.history.at(-1)
  if (last === undefined) throw new Error("it has no record of its key")
  const spki = spkiOf(parts.key)
  return { ...parts, spki, fingerprint: fingerprint(spki), record: last.record }
}

/** The first record of a key that no other vouches for. */
const firstEntry = (key: KeyObject, now: number): HistoryEntry =>
  entryOf({
    kind: "first",
    reason: "first",
    serverId: randomBytes(16).toString("hex"),
    generation: 0,
    sequence: 0,
    notBefore: now,
    oldKey: undefined,
    recovery: undefined,
    newKey: spkiOf(key),
    signer: undefined
  }, key)

/** A server's first identity; of `known`, where its key and certificate exist already. */
export const makeFirst = async (
  now: number,
  known?: { readonly key: KeyObject; readonly certificate: string }
): Promise<IdentityState> => {
  const key = known?.key ?? await makeKey()
  return complete({
    key,
    certificate: known?.certificate ?? await certify(key, now),
    nextKey: await makeKey(),
    recovery: undefined,
    history: [firstEntry(key, now)]
  })
}

// --- changes ----------------------------------------------------------------------------------------------------------

/** The record of the key that would come next, unsigned. */
const successor = (
  state: IdentityState,
  now: number,
  rest: Pick<ContinuityRecord, "kind" | "reason" | "signer">
): ContinuityRecord => ({
  ...rest,
  serverId: state.record.serverId,
  generation: state.record.generation + (rest.kind === "recovery" ? 1 : 0),
  sequence: state.record.sequence + 1,
  notBefore: Math.max(now, state.record.notBefore),
  oldKey: state.fingerprint,
  recovery: state.recovery === undefined ? undefined : fingerprint(state.recovery),
  newKey: spkiOf(state.nextKey)
})

const promote = async (state: IdentityState, now: number, entry: HistoryEntry): Promise<IdentityState> =>
  complete({
    key: state.nextKey,
    certificate: await certify(state.nextKey, now),
    nextKey: await makeKey(),
    recovery: state.recovery,
    history: [...state.history, entry]
  })

/** The next key becomes the live one, by the signature of the one before. */
export const rotate = (
  state: IdentityState,
  now: number,
  reason: Exclude<RecordReason, "first">
): Promise<IdentityState> =>
  promote(state, now, entryOf(successor(state, now, { kind: "rotation", reason, signer: undefined }), state.key))

/** Pins a recovery key where there is none. */
export const withRecovery = (state: IdentityState, recovery: Uint8Array): IdentityState => ({ ...state, recovery })

/** With a next key that nobody has seen before: the one there was may be in the wrong hands. */
export const withFreshNext = async (state: IdentityState): Promise<IdentityState> => ({
  ...state,
  nextKey: await makeKey()
})

/** The record of the next key for the recovery key to sign; `undefined` where there is none. */
export const recoveryRecord = (state: IdentityState, now: number): ContinuityRecord | undefined =>
  state.recovery === undefined
    ? undefined
    : successor(state, now, { kind: "recovery", reason: "compromised", signer: state.recovery })

/** The next key becomes the live one, by a signed record from the recovery key; otherwise what is wrong with it. */
export const recover = async (
  state: IdentityState,
  signed: Uint8Array,
  now: number
): Promise<IdentityState | string> => {
  const { content, signature } = splitSigned(signed)
  const record = decodeRecord(content)
  if (record?.signer === undefined) return "this is not a signed recovery record"
  const asked = recoveryRecord(state, record.notBefore)
  if (asked === undefined || Buffer.compare(encodeRecord(asked), content) !== 0) {
    return "this record was not made for the server as it is now: prepare it again and sign that"
  }
  return continuityCrypto.verify(record.signer, recordMessage(content), signature)
    ? promote(state, now, { record, signed })
    : "the signature is not the recovery key's"
}
