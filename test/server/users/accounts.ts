/** User managers on the test's database, and what every test about accounts begins with. */
import { Context, Effect, Layer, Result } from "effect"
import { randomBytes } from "node:crypto"
import { DeviceId, Password, Username } from "../../../src/protocol/Identity.ts"
import type { SessionGrant } from "../../../src/protocol/Request.ts"
import type { Caller, TlsPeer } from "../../../src/server/Caller.ts"
import { defaults, ServerConfig, type ServerSettings } from "../../../src/server/ServerConfig.ts"
import { UserManager } from "../../../src/server/UserManager.ts"
import type { Argon2Parameters } from "../../../src/server/users/PasswordHash.ts"
import { PasswordParameters } from "../../../src/server/users/PasswordHasher.ts"
import { UserAdmin } from "../../../src/server/users/UserAdmin.ts"

/** A tenth of a millisecond. */
export const cheap: Argon2Parameters = { memory: 8, passes: 1, lanes: 1 }

export const peer: TlsPeer = { address: "192.0.2.7", session: () => undefined }
export const device = DeviceId.make("device-one")
export const otherDevice = DeviceId.make("device-two")
export const password = Password.make("correct horse")
export const otherPassword = Password.make("battery staple")

const configured = (settings: Partial<ServerSettings>, parameters: Argon2Parameters) =>
  Layer.mergeAll(UserManager.layer, UserAdmin.layer).pipe(
    Layer.provide(Layer.mergeAll(
      Layer.succeed(ServerConfig, {
        ...defaults,
        dataDir: "",
        passwordQueue: 10_000,
        // Tests register, and mistype, from one address all the time.
        addressGuesses: 1_000_000,
        addressRegistrations: 1_000_000,
        ...settings
      }),
      Layer.succeed(PasswordParameters, parameters)
    ))
  )

/** A server's user manager, for the tests of one block. */
export const layer = (settings: Partial<ServerSettings> = {}) => configured(settings, cheap)

/** Another server, or the same one started again, on the database of the test. Stops with the test's scope. */
export const start = (settings: Partial<ServerSettings> = {}, parameters: Argon2Parameters = cheap) =>
  Effect.map(Layer.build(Layer.fresh(configured(settings, parameters))), (context) => Context.get(context, UserManager))

/** The same with its administrator. */
export const startWithAdmin = (settings: Partial<ServerSettings> = {}) =>
  Effect.map(Layer.build(Layer.fresh(configured(settings, cheap))), (context) => ({
    users: Context.get(context, UserManager),
    admin: Context.get(context, UserAdmin)
  }))

/** The administrator of another server on that database. */
export const startAdmin = (settings: Partial<ServerSettings> = {}) =>
  Effect.map(Layer.build(Layer.fresh(configured(settings, cheap))), (context) => Context.get(context, UserAdmin))

/** A name that no other test has. */
export const newName = (): Username => Username.make(`User-${randomBytes(6).toString("hex")}`)

export const authOf = (identity: Username, secret: Password = password) => ({ identity, password: secret })

/** Somebody with an account. */
export const newUser = Effect.fnUntraced(function*(users: UserManager["Service"]) {
  const auth = authOf(newName())
  yield* users.register(auth, peer)
  return auth
})

export const digestOf = (grant: SessionGrant, from: DeviceId = device) => ({
  refresh_digest: grant.refresh_digest,
  device: from
})

/** What a token is worth: `ok`, or the code of the refusal. */
export const worth = (users: UserManager["Service"], grant: SessionGrant): string =>
  Result.match(users.authenticate(grant.token, peer.address), { onSuccess: () => "ok", onFailure: ({ code }) => code })

/** Who a token belongs to; the test fails when it is not good. */
export const callerOf = (users: UserManager["Service"], grant: SessionGrant): Effect.Effect<Caller> =>
  Effect.orDie(Effect.fromResult(users.authenticate(grant.token, peer.address)))
