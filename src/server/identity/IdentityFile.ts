/**
 * A server's identity as one file of PEM blocks: the live key and its certificate, the key that comes next, the public
 * recovery key, and a block for every record. One file, because it can only be replaced whole.
 */
import { type KeyObject, X509Certificate } from "node:crypto"
import { decodeRecord, isPublicKey, splitSigned } from "../../protocol/Continuity.ts"
import type { Fingerprint } from "../../protocol/Identity.ts"
import { complete, fingerprint, type HistoryEntry, type IdentityState } from "./IdentityState.ts"
import { keyBytes, pem, readKey } from "./selfSigned.ts"

const LABELS = {
  key: "PRIVATE KEY",
  certificate: "CERTIFICATE",
  next: "FIP NEXT PRIVATE KEY",
  recovery: "FIP RECOVERY PUBLIC KEY",
  record: "FIP CONTINUITY RECORD"
} as const

const BLOCK = /-----BEGIN ([A-Z ]+)-----\n([A-Za-z0-9+/=\n]+)-----END \1-----\n?/g

export const formatIdentity = (state: IdentityState): string =>
  pem(LABELS.key, keyBytes(state.key)) + state.certificate + pem(LABELS.next, keyBytes(state.nextKey)) +
  (state.recovery === undefined ? "" : pem(LABELS.recovery, state.recovery)) +
  state.history.map(({ signed }) => pem(LABELS.record, signed)).join("")

const readEntry = (signed: Buffer): HistoryEntry => {
  const bytes = new Uint8Array(signed)
  const record = decodeRecord(splitSigned(bytes).content)
  if (record === undefined) throw new Error("one of its records cannot be read")
  return { record, signed: bytes }
}

/** That the history is one: signatures are the clients' to check. */
const checkHistory = (history: ReadonlyArray<HistoryEntry>, live: Fingerprint): void => {
  let key: Fingerprint | undefined
  for (const [sequence, { record }] of history.entries()) {
    if (record.sequence !== sequence || record.oldKey !== key) throw new Error("its records do not follow each other")
    key = fingerprint(record.newKey)
  }
  if (key !== live) throw new Error("its records do not lead to its key")
}

/**
 * Takes a file apart; throws, in words, when it does not hold an identity. What was written before there were records
 * is given as it is, for `makeFirst` to complete.
 */
export const parseIdentity = (
  text: string
): IdentityState | { readonly key: KeyObject; readonly certificate: string; readonly history: undefined } => {
  const blocks = Map.groupBy(
    Array.from(
      text.matchAll(BLOCK),
      ([, label = "", base64 = ""]) => ({ label, bytes: Buffer.from(base64, "base64") })
    ),
    ({ label }) => label
  )
  const one = (label: string): Buffer | undefined => blocks.get(label)?.[0]?.bytes
  const [keyBlock, certificateBlock] = [one(LABELS.key), one(LABELS.certificate)]
  if (keyBlock === undefined || certificateBlock === undefined) {
    throw new Error("it does not hold a key and a certificate")
  }
  const key = readKey(keyBlock)
  const certificate = new X509Certificate(certificateBlock)
  if (!certificate.checkPrivateKey(key)) throw new Error("its key and its certificate do not belong together")
  const identity = { key, certificate: pem(LABELS.certificate, certificateBlock) }
  const nextBlock = one(LABELS.next)
  const records = blocks.get(LABELS.record)?.map(({ bytes }) => readEntry(bytes))
  if (nextBlock === undefined && records === undefined) return { ...identity, history: undefined }
  if (nextBlock === undefined || records === undefined) throw new Error("a part of it is missing")
  const recoveryBlock = one(LABELS.recovery)
  const recovery = recoveryBlock === undefined ? undefined : new Uint8Array(recoveryBlock)
  if (recovery !== undefined && !isPublicKey(recovery)) throw new Error("its recovery key is of an unknown kind")
  const state = complete({ ...identity, nextKey: readKey(nextBlock), recovery, history: records })
  checkHistory(state.history, state.fingerprint)
  return state
}
