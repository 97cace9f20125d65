import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer } from "effect"
import { argon2Sync } from "node:crypto"
import { defaults, ServerConfig, type ServerSettings } from "../../../src/server/ServerConfig.ts"
import * as PasswordHash from "../../../src/server/users/PasswordHash.ts"
import { PasswordHasher, PasswordParameters } from "../../../src/server/users/PasswordHasher.ts"

const cheap: PasswordHash.Argon2Parameters = { memory: 8, passes: 1, lanes: 1 }

const hasher = (settings: Partial<ServerSettings> = {}, parameters = cheap) =>
  PasswordHasher.layer.pipe(
    Layer.provide(Layer.succeed(PasswordParameters, parameters)),
    Layer.provide(Layer.succeed(ServerConfig, { ...defaults, dataDir: "", ...settings }))
  )

describe("PasswordHash", () => {
  it.effect("is argon2id in PHC form, as other programs compute it", () =>
    Effect.gen(function*() {
      const phc = yield* PasswordHash.make("correct horse", { memory: 64, passes: 2, lanes: 2 })
      assert.match(phc, /^\$argon2id\$v=19\$m=64,t=2,p=2\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/)
      const stored = PasswordHash.parse(phc)
      assert.isDefined(stored)
      assert.deepStrictEqual(
        argon2Sync("argon2id", {
          message: "correct horse",
          nonce: stored.salt,
          parallelism: 2,
          tagLength: 32,
          memory: 64,
          passes: 2
        }),
        Buffer.from(stored.hash)
      )
    }))

  it("refuses what is no hash of ours, and parameters that would ask for the whole machine", () => {
    const salt = "c2FsdHNhbHRzYWx0c2FsdA"
    const hash = "aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g"
    assert.isDefined(PasswordHash.parse(`$argon2id$v=19$m=64,t=2,p=1$${salt}$${hash}`))
    for (
      const text of [
        "",
        "hunter2",
        `$argon2i$v=19$m=64,t=2,p=1$${salt}$${hash}`,
        `$argon2id$v=16$m=64,t=2,p=1$${salt}$${hash}`,
        `$argon2id$v=19$m=9999999,t=2,p=1$${salt}$${hash}`,
        `$argon2id$v=19$m=64,t=99,p=1$${salt}$${hash}`,
        `$argon2id$v=19$m=64,t=0,p=1$${salt}$${hash}`,
        `$argon2id$v=19$m=64,t=2,p=99$${salt}$${hash}`,
        `$argon2id$v=19$m=64,t=2,p=0$${salt}$${hash}`,
        `$argon2id$v=19$m=64,t=2,p=1$$${hash}`,
        `$argon2id$v=19$m=64,t=2,p=1$${salt}$`
      ]
    ) assert.isUndefined(PasswordHash.parse(text), text)
  })

  it("costs at least what OWASP asks for, by default", () => {
    const { lanes, memory, passes } = PasswordParameters.defaultValue()
    assert.isAtLeast(memory, 19 * 1024)
    assert.isAtLeast(passes, 2)
    assert.isAtLeast(lanes, 1)
  })
})

describe("PasswordHasher", () => {
  it.effect("takes the password as it is: blanks, case and normal form count", () =>
    Effect.gen(function*() {
      const { hash, verify } = yield* PasswordHasher
      const stored = yield* hash(" pässword ", "known")
      assert.isTrue(yield* verify(" pässword ", stored, "known"))
      for (const other of ["pässword", " Pässword ", " pässword ".normalize("NFD"), " pässword  ", ""]) {
        assert.isFalse(yield* verify(other, stored, "known"), JSON.stringify(other))
      }
    }).pipe(Effect.provide(hasher())))

  it.effect("never finds a match without a stored hash, or with a damaged one", () =>
    Effect.gen(function*() {
      const { verify } = yield* PasswordHasher
      assert.isFalse(yield* verify("password", undefined, "known"))
      assert.isFalse(yield* verify("password", "damaged", "known"))
    }).pipe(Effect.provide(hasher())))

  it.effect("tells a hash of today's parameters from older ones, and verifies both", () =>
    Effect.gen(function*() {
      const { hash, isCurrent, verify } = yield* PasswordHasher
      const older = yield* PasswordHash.make("password", { ...cheap, passes: 2 })
      assert.isFalse(isCurrent(older))
      assert.isTrue(yield* verify("password", older, "known"))
      assert.isTrue(isCurrent(yield* hash("password", "known")))
    }).pipe(Effect.provide(hasher())))

  it.live("refuses at once, with a time to wait, whoever finds the queue full; all others are served", () =>
    Effect.gen(function*() {
      const { hash } = yield* PasswordHasher
      const exits = yield* Effect.forEach(
        Array.from({ length: 20 }, (_, index) => `password ${index}`),
        (password) => Effect.exit(hash(password, "known")),
        { concurrency: "unbounded" }
      )
      assert.strictEqual(exits.filter(Exit.isSuccess).length, 2 + 5)
      const refused = yield* Effect.flip(Effect.forEach(exits, (exit) => exit, { discard: true }))
      assert.strictEqual(refused.code, "2:rlex")
      assert.isAtLeast(refused.retry_after_ms ?? 0, 100)
      assert.match(refused.message, /try again in \d+ s/)
      assert.isTrue(Exit.isSuccess(yield* Effect.exit(hash("afterwards", "known"))))
    }).pipe(Effect.provide(hasher({ passwordConcurrency: 2, passwordQueue: 5 }, { ...cheap, memory: 4096 }))))

  it.live("gives the place of a caller that went away to the next one, but not before its thread is free", () =>
    Effect.gen(function*() {
      const { hash } = yield* PasswordHasher
      const running = yield* Effect.forkChild(hash("running", "known"))
      const waiting = yield* Effect.forkChild(hash("waiting", "known"))
      yield* Effect.yieldNow
      assert.strictEqual((yield* Effect.flip(hash("too many", "known"))).code, "2:rlex")
      yield* Fiber.interrupt(waiting)
      const next = yield* Effect.forkChild(hash("next", "known"))
      yield* Effect.yieldNow
      const left = yield* Effect.forkChild(Fiber.interrupt(running))
      yield* Effect.yieldNow
      assert.strictEqual((yield* Effect.flip(hash("too many", "known"))).code, "2:rlex")
      yield* Fiber.join(left)
      assert.isTrue(Exit.isSuccess(yield* Effect.exit(hash("another", "known"))))
      assert.isTrue(Exit.isSuccess(yield* Fiber.await(next)))
    }).pipe(Effect.provide(hasher({ passwordConcurrency: 1, passwordQueue: 1 }, { ...cheap, memory: 8192 }))))

  it.live("keeps the event loop free while it works", () =>
    Effect.gen(function*() {
      const { hash } = yield* PasswordHasher
      let turns = 0
      const count = () => {
        turns++
        timer = setImmediate(count)
      }
      let timer = setImmediate(count)
      yield* hash("password", "known")
      clearImmediate(timer)
      assert.isAbove(turns, 10)
    }).pipe(Effect.provide(hasher({}, PasswordParameters.defaultValue()))))
})
