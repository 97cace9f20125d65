/** Who may do what: grants and owners. */
import { Effect } from "effect"
import type { GrantRole } from "../../protocol/Permission.ts"
import type { ResultOf, Written } from "../../protocol/Request.ts"
import type { RequestError } from "../ClientError.ts"
import { type FileInput, nameOf, refOf, type ShareableInput, shareableOf } from "./inputs.ts"
import type { ClientParts } from "./parts.ts"

export interface SharingMethods {
  /** On a folder: on all that is under it, now and later. */
  readonly grant: (
    username: string,
    file: ShareableInput,
    role: GrantRole,
    options?: { readonly durationMs?: number | undefined }
  ) => Effect.Effect<ResultOf<"Grant">, RequestError>
  readonly revoke: (username: string, file: ShareableInput) => Effect.Effect<ResultOf<"Revoke">, RequestError>
  readonly transfer: (
    username: string,
    file: FileInput,
    options?: { readonly newName?: string | undefined }
  ) => Effect.Effect<Written, RequestError>
}

export const sharingMethods = ({ api: { call } }: ClientParts): SharingMethods => ({
  grant: (username, file, role, options = {}) =>
    Effect.flatMap(
      shareableOf(file),
      (file) => call("Grant", { ...file, username, role, duration_ms: options.durationMs })
    ),
  revoke: (username, file) => Effect.flatMap(shareableOf(file), (file) => call("Revoke", { ...file, username })),
  transfer: Effect.fnUntraced(function*(username, file, options = {}) {
    const { newName } = options
    const new_name = newName === undefined ? undefined : yield* nameOf(newName)
    return yield* call("Transfer", { ...(yield* refOf(file)), username, new_name })
  })
})
