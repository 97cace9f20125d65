/** Handlers of the admin commands about the server's identity. */
import { DateTime, Effect } from "effect"
import { spkiOf } from "../../../platform/Signature.ts"
import { type ContinuityRecord, fromText, isPublicKey, toText } from "../../../protocol/Continuity.ts"
import { Timestamp } from "../../../protocol/Identity.ts"
import { refuse } from "../../../protocol/Refusal.ts"
import { type IdentityError, ServerIdentity } from "../../Identity.ts"
import { fingerprint, type IdentityState } from "../../identity/IdentityState.ts"
import type { AdminKey } from "../Commands.ts"
import type { AdminHandlers } from "../Handler.ts"

type Name =
  | "certificate show"
  | "certificate rotate"
  | "certificate history"
  | "certificate recovery pin"
  | "certificate recovery prepare"
  | "certificate recovery apply"

const keyOf = (record: ContinuityRecord): AdminKey => ({
  fingerprint: fingerprint(record.newKey),
  generation: record.generation,
  sequence: record.sequence,
  since: Timestamp.make(DateTime.formatIso(DateTime.makeUnsafe(record.notBefore))),
  reason: record.reason,
  vouched_by: record.kind === "first" ? "itself" : record.kind === "rotation" ? "the key before" : "the recovery key"
})

const shown = (state: IdentityState) => ({
  server_id: state.record.serverId,
  live: keyOf(state.record),
  next: fingerprint(spkiOf(state.nextKey)),
  recovery: state.recovery === undefined ? null : fingerprint(state.recovery)
})

const changed = (change: Effect.Effect<IdentityState, IdentityError>) =>
  Effect.mapBoth(change, { onSuccess: shown, onFailure: ({ message }) => refuse("2:opcf", message) })

export const certificateCommands: Effect.Effect<AdminHandlers<Name>, never, ServerIdentity> = Effect.map(
  ServerIdentity,
  (identity) => ({
    "certificate show": () => Effect.map(identity.state, shown),
    "certificate rotate": ({ reason }) => changed(identity.rotate(reason)),
    "certificate history": () =>
      Effect.map(identity.state, ({ history }) => ({ keys: history.map(({ record }) => keyOf(record)) })),
    "certificate recovery pin": ({ public_key }) => {
      const key = fromText(public_key)
      return key === undefined || !isPublicKey(key)
        ? Effect.fail(refuse("2:ibv", "public_key: this is not what fip admin certificate recovery new has printed"))
        : changed(identity.setRecovery(key))
    },
    "certificate recovery prepare": () =>
      Effect.mapBoth(identity.prepareRecovery, {
        onSuccess: (record) => ({ record: toText(record) }),
        onFailure: ({ message }) => refuse("2:opcf", message)
      }),
    "certificate recovery apply": ({ signed }) => {
      const record = fromText(signed)
      return record === undefined
        ? Effect.fail(refuse("2:ibv", "signed: this is not what fip admin certificate recovery sign has printed"))
        : changed(identity.recover(record))
    }
  })
)
