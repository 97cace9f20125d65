/** Handlers of the AUTH category, which need more than the caller: they hand over to `UserManager`. */
import { Effect } from "effect"
import type { Handlers } from "../Dispatch.ts"
import { UserManager } from "../UserManager.ts"

type Name = "Register" | "Login" | "Refresh" | "ChangePassword" | "DeleteUser" | "Logout"

export const authHandlers: Effect.Effect<Handlers<Name>, never, UserManager> = Effect.gen(function*() {
  const users = yield* UserManager
  return {
    Register: ({ auth, body, peer }) =>
      Effect.map(users.register(auth, peer, body.invite), (result) => ({ code: "1:unew", result })),
    Login: ({ auth, body, peer }) =>
      Effect.map(users.login(auth, body.device, peer), (result) => ({ code: "1:auth", result })),
    Refresh: ({ auth, peer }) => Effect.map(users.refresh(auth, peer), (result) => ({ code: "1:ref", result })),
    ChangePassword: ({ auth, body, peer }) =>
      Effect.map(users.changePassword(auth, body.new_password, peer), (result) => ({ code: "1:pw", result })),
    DeleteUser: ({ auth, peer }) => Effect.map(users.deleteUser(auth, peer), (result) => ({ code: "1:udel", result })),
    Logout: ({ body, caller }) =>
      Effect.map(users.logout(caller, body.session_id), (result) => ({ code: "1:bye", result }))
  }
})
