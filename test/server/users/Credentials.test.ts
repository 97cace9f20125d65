import { assert, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { defaults, ServerConfig } from "../../../src/server/ServerConfig.ts"
import { Credentials } from "../../../src/server/users/Credentials.ts"
import { parts } from "../../../src/server/users/parts.ts"
import { PasswordHasher, PasswordParameters } from "../../../src/server/users/PasswordHasher.ts"
import { UserRepo } from "../../../src/server/users/UserRepo.ts"
import { TestDatabase } from "../../support/TestDatabase.ts"
import { authOf, cheap, newName, otherPassword, password, peer } from "./accounts.ts"

const credentials = parts.pipe(
  Layer.provide(Layer.succeed(PasswordParameters, cheap)),
  Layer.provide(Layer.succeed(ServerConfig, { ...defaults, dataDir: "" })),
  Layer.provide(TestDatabase.pglite)
)

it.layer(credentials)("Credentials", (it) => {
  const register = Effect.gen(function*() {
    const auth = authOf(newName())
    const { hash } = yield* PasswordHasher
    yield* (yield* UserRepo).insert(auth.identity, yield* hash(auth.password, "known"), new Date(0))
    return auth
  })

  it.effect("verify once more when a login renewed the hash of the same password meanwhile", () =>
    Effect.gen(function*() {
      const { proven } = yield* Credentials
      const { hash } = yield* PasswordHasher
      const users = yield* UserRepo
      const auth = yield* register
      const seen: Array<string> = []
      const user = yield* proven(auth, { peer }, (user) =>
        Effect.gen(function*() {
          seen.push(user.password_hash)
          if (seen.length === 1) {
            yield* users.replaceHash(user.user_id, user.password_hash, yield* hash(password, "known"))
          }
          const locked = yield* users.lock(user.user_id, user.password_hash)
          return locked
        }))
      assert.lengthOf(seen, 2)
      assert.strictEqual(user.password_hash, seen[1])
    }))

  it.effect("refuse when the password was changed meanwhile", () =>
    Effect.gen(function*() {
      const { proven } = yield* Credentials
      const { hash } = yield* PasswordHasher
      const users = yield* UserRepo
      const auth = yield* register
      let attempts = 0
      const refusal = yield* Effect.flip(proven(auth, { peer }, (user) =>
        Effect.gen(function*() {
          attempts++
          yield* users.replaceHash(user.user_id, user.password_hash, yield* hash(otherPassword, "known"))
          return yield* users.lock(user.user_id, user.password_hash)
        })))
      assert.strictEqual(refusal.code, "2:auth")
      assert.strictEqual(attempts, 1)
    }))
})
