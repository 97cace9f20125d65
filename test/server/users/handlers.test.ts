import { assert, it } from "@effect/vitest"
import { Effect, Layer, Result } from "effect"
import type { SuccessCode } from "../../../src/protocol/Code.ts"
import { encodeJson } from "../../../src/protocol/Json.ts"
import { decodeResult, type RequestName } from "../../../src/protocol/Request.ts"
import type { Outgoing } from "../../../src/server/Dispatch.ts"
import { answers as answersOf } from "../../../src/server/handlers/answers.ts"
import { authHandlers } from "../../../src/server/handlers/auth.ts"
import { UserManager } from "../../../src/server/UserManager.ts"
import { TestDatabase } from "../../support/TestDatabase.ts"
import { authOf, callerOf, device, digestOf, layer, newName, otherPassword, password, peer } from "./accounts.ts"

const accounts = layer().pipe(Layer.provideMerge(TestDatabase.pglite))

/** The result, when the answer has the code and travels unchanged. */
const answers = <K extends RequestName>(name: K, answer: Outgoing<K>, code: SuccessCode) => {
  assert.strictEqual(answer.code, code, name)
  const { result } = answer
  assert.deepStrictEqual<unknown>(decodeResult(name, encodeJson(result)), Result.succeed(result), name)
  return result
}

it.layer(accounts)("the handlers of accounts", (it) => {
  it.effect("answer each request with its code, and with what the client can decode", () =>
    Effect.gen(function*() {
      const users = yield* UserManager
      const handlers = { ...answersOf(users), ...yield* authHandlers }
      const guest = { caller: undefined, data: [], peer }
      const auth = authOf(newName())

      answers("Register", yield* handlers.Register({ ...guest, auth, body: {} }), "1:unew")
      const grant = answers("Login", yield* handlers.Login({ ...guest, auth, body: { device } }), "1:auth")
      const next = answers(
        "Refresh",
        yield* handlers.Refresh({ ...guest, auth: digestOf(grant), body: {} }),
        "1:ref"
      )
      const caller = yield* callerOf(users, next)
      const mine = { caller, auth: { token: next.token }, data: [], peer }
      answers("QueryUser", yield* handlers.QueryUser({ ...mine, body: {} }), "1:qa")
      answers("QueryStorage", yield* handlers.QueryStorage({ ...mine, body: {} }), "1:qa")
      const { sessions } = answers("QuerySessions", yield* handlers.QuerySessions({ ...mine, body: {} }), "1:qa")
      assert.lengthOf(sessions, 1)

      const changed = { ...guest, auth: { ...auth, token: next.token }, body: { new_password: otherPassword } }
      answers("ChangePassword", yield* handlers.ChangePassword(changed), "1:pw")
      const other = yield* users.login(authOf(auth.identity, otherPassword), device, peer)
      const logout = (body: { readonly session_id?: typeof other.session_id }) => handlers.Logout({ ...mine, body })
      assert.deepStrictEqual(answers("Logout", yield* logout({ session_id: other.session_id }), "1:bye"), {
        session_id: other.session_id
      })
      assert.deepStrictEqual(answers("Logout", yield* logout({}), "1:bye"), { session_id: next.session_id })

      const wrong = { ...guest, auth: authOf(auth.identity, password), body: {} }
      assert.strictEqual((yield* Effect.flip(handlers.DeleteUser(wrong))).code, "2:auth")
      const gone = { ...guest, auth: authOf(auth.identity, otherPassword), body: {} }
      answers("DeleteUser", yield* handlers.DeleteUser(gone), "1:udel")
    }))
})
