/** Answers a client that asks by which right the key of its TLS session is this server's (docs/security.md, section 4). */
import { sign, spkiOf } from "../../platform/Signature.ts"
import { concat, encodeStatement, statementMessage, toText } from "../../protocol/Continuity.ts"
import type { Fingerprint } from "../../protocol/Identity.ts"
import { MAX_CONTINUITY_RECORDS } from "../../protocol/Limits.ts"
import type { ResultOf } from "../../protocol/Request.ts"
import { fingerprint, type HistoryEntry, type IdentityState } from "./IdentityState.ts"

/** The server's own view of a TLS session. */
export interface ProvenSession {
  /** Of the key that the session was made with. */
  readonly fingerprint: Fingerprint
  readonly exporter: Uint8Array
}

/** Where the way from a pinned key to the live one begins in the history; its length when there is none. */
const startOf = ({ history }: IdentityState, pinned: Fingerprint): number => {
  const next = history.findLastIndex(({ record }) => record.oldKey === pinned)
  // A key that was never this server's: only the recovery key could have led a client away, and can lead it back.
  const start = next >= 0 ? next : history.findLastIndex(({ record }) => record.kind === "recovery")
  return start < 0 || history.length - start > MAX_CONTINUITY_RECORDS ? history.length : start
}

const text = ({ signed }: HistoryEntry): string => toText(signed)

export const prove = (
  state: IdentityState,
  session: ProvenSession,
  pinned: Fingerprint | undefined,
  now: number
): ResultOf<"Credentials"> => {
  const { history, key, nextKey, record, recovery } = state
  const statement = encodeStatement({
    serverId: record.serverId,
    generation: record.generation,
    sequence: record.sequence,
    time: Math.max(now, record.notBefore),
    key: state.fingerprint,
    next: fingerprint(spkiOf(nextKey)),
    recovery: recovery === undefined ? undefined : fingerprint(recovery)
  })
  const signed = toText(concat(statement, sign(key, statementMessage(statement, session.exporter))))
  if (pinned === undefined || pinned === state.fingerprint) return { statement: signed, records: [] }
  const start = startOf(state, pinned)
  const before = history[start - 1]?.record.newKey
  const records = history.slice(start).map(text)
  return before === undefined || records.length === 0
    ? { statement: signed, records }
    : { statement: signed, pinned_key: toText(before), records }
}
