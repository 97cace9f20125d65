/** Who may do what: grants, publicity, owners, locks. */
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
  readonly publicise: (file: ShareableInput) => Effect.Effect<ResultOf<"Publicise">, RequestError>
  readonly hide: (file: ShareableInput) => Effect.Effect<ResultOf<"Hide">, RequestError>
  readonly transfer: (
    username: string,
    file: FileInput,
    options?: { readonly newName?: string | undefined }
  ) => Effect.Effect<Written, RequestError>
  /** Keeps others from changing the file, for 10 minutes unless given; again by its holder: from now on for so long. */
  readonly lock: (
    file: FileInput,
    options?: { readonly durationMs?: number | undefined }
  ) => Effect.Effect<ResultOf<"Lock">, RequestError>
  /** Ends one's own lock; with `force`, as the file's owner, anybody's. */
  readonly unlock: (
    file: FileInput,
    options?: { readonly force?: boolean | undefined }
  ) => Effect.Effect<ResultOf<"Unlock">, RequestError>
}

export const sharingMethods = ({ api: { call } }: ClientParts): SharingMethods => ({
  grant: (username, file, role, options = {}) =>
    Effect.flatMap(
      shareableOf(file),
      (file) => call("Grant", { ...file, username, role, duration_ms: options.durationMs })
    ),
  revoke: (username, file) => Effect.flatMap(shareableOf(file), (file) => call("Revoke", { ...file, username })),
  publicise: (file) => Effect.flatMap(shareableOf(file), (file) => call("Publicise", file)),
  hide: (file) => Effect.flatMap(shareableOf(file), (file) => call("Hide", file)),
  transfer: Effect.fnUntraced(function*(username, file, options = {}) {
    const { newName } = options
    const new_name = newName === undefined ? undefined : yield* nameOf(newName)
    return yield* call("Transfer", { ...(yield* refOf(file)), username, new_name })
  }),
  lock: (file, options = {}) =>
    Effect.flatMap(refOf(file), (file) => call("Lock", { ...file, duration_ms: options.durationMs })),
  unlock: (file, options = {}) =>
    Effect.flatMap(refOf(file), (file) => call("Unlock", { ...file, force: options.force }))
})
