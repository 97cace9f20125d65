import { assert, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { randomBytes, randomUUID } from "node:crypto"
import { SessionId } from "../../../src/protocol/Identity.ts"
import { defaults, ServerConfig } from "../../../src/server/ServerConfig.ts"
import { Credentials } from "../../../src/server/users/Credentials.ts"
import { parts } from "../../../src/server/users/parts.ts"
import { PasswordHasher, PasswordParameters } from "../../../src/server/users/PasswordHasher.ts"
import { SessionRepo } from "../../../src/server/users/SessionRepo.ts"
import { UserRepo } from "../../../src/server/users/UserRepo.ts"
import { TestDatabase } from "../../support/TestDatabase.ts"
import { authOf, cheap, device, newName, otherPassword, password, peer } from "./accounts.ts"

const credentials = parts.pipe(
  Layer.provide(Layer.succeed(PasswordParameters, cheap)),
  Layer.provide(Layer.succeed(ServerConfig, { ...defaults, dataDir: "" })),
  Layer.provideMerge(TestDatabase.pglite)
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

  it.effect("begin no session of a user that was banned meanwhile", () =>
    Effect.gen(function*() {
      const { proven } = yield* Credentials
      const sessions = yield* SessionRepo
      const sql = yield* SqlClient
      const auth = yield* register
      const begin = proven(auth, { peer }, ({ password_hash, user_id }) =>
        Effect.gen(function*() {
          yield* Effect.orDie(sql`update users set banned_until = now() + interval '1 day' where user_id = ${user_id}`)
          const isBegun = yield* sessions.begin({
            sessionId: SessionId.make(randomUUID()),
            userId: user_id,
            verifiedHash: password_hash,
            device,
            address: peer.address,
            digestHash: randomBytes(32),
            now: new Date(),
            expiresAt: new Date(Date.now() + 60_000)
          })
          return isBegun ? "begun" : undefined
        }))
      assert.strictEqual((yield* Effect.flip(begin)).code, "2:auth")
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
