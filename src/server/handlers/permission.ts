/** Handlers of the PERMISSION category, and of the INFO query about it: they hand over to `Permissions`. */
import { Effect } from "effect"
import type { Handlers } from "../Dispatch.ts"
import { Permissions } from "../Permissions.ts"

type Name = "Grant" | "Revoke" | "Publicise" | "Hide" | "Transfer" | "Lock" | "Unlock" | "QueryPermission"

export const permissionHandlers: Effect.Effect<Handlers<Name>, never, Permissions> = Effect.gen(function*() {
  const permissions = yield* Permissions
  return {
    Grant: ({ body, caller }) => Effect.map(permissions.grant(caller, body), (result) => ({ code: "1:gnt", result })),
    Revoke: ({ body, caller }) => Effect.map(permissions.revoke(caller, body), (result) => ({ code: "1:rvk", result })),
    Publicise: ({ body, caller }) =>
      Effect.map(permissions.publicise(caller, body), (result) => ({ code: "1:pub", result })),
    Hide: ({ body, caller }) => Effect.map(permissions.hide(caller, body), (result) => ({ code: "1:hide", result })),
    Transfer: ({ body, caller }) =>
      Effect.map(permissions.transfer(caller, body), (result) => ({ code: "1:sft", result })),
    Lock: ({ body, caller }) => Effect.map(permissions.lock(caller, body), (result) => ({ code: "1:lock", result })),
    Unlock: ({ body, caller }) =>
      Effect.map(permissions.unlock(caller, body), (result) => ({ code: "1:unlk", result })),
    QueryPermission: ({ body, caller }) =>
      Effect.map(permissions.queryPermission(caller, body), (result) => ({ code: "1:qa", result }))
  }
})
