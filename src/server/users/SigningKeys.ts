/**
 * The server's own secrets, shared by all servers on one database: made on the first start, several at a time so that
 * they can be rotated. The newest that is not retired signs; a retired one is trusted until the last token that it
 * signed has expired.
 *
 * No secret is used as it is stored: one key is derived from it for each purpose.
 */
import { Clock, Context, Duration, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { hkdfSync, randomBytes } from "node:crypto"
import { databaseRefusal } from "../Database.ts"
import { ServerConfig } from "../ServerConfig.ts"
import type { TokenKey } from "./AccessToken.ts"

const decodeRows = Schema.decodeUnknownEffect(Schema.Array(Schema.Struct({
  key_id: Schema.Int,
  secret: Schema.Uint8Array,
  retired_at: Schema.NullOr(Schema.Date)
})))

interface Key {
  readonly keyId: number
  readonly forTokens: Uint8Array
  readonly forDigests: Uint8Array
  readonly retiredAt: number | undefined
}

const derive = (secret: Uint8Array, purpose: string): Uint8Array =>
  new Uint8Array(hkdfSync("sha256", secret, "", purpose, 32))

export class SigningKeys extends Context.Service<SigningKeys, {
  /** Signs new tokens and derives new digests. */
  readonly current: { readonly token: TokenKey; readonly digest: TokenKey }
  /** Verifies tokens; `undefined` for a key that does not exist or is no longer trusted. */
  readonly tokenSecret: (keyId: number) => Uint8Array | undefined
  /** Derives again what a digest was followed by. */
  readonly digestSecret: (keyId: number) => Uint8Array | undefined
}>()("fip/server/users/SigningKeys") {
  static readonly layer = Layer.effect(
    SigningKeys,
    Effect.gen(function*() {
      const sql = yield* SqlClient
      const clock = yield* Clock.Clock
      const lifetime = Duration.toMillis((yield* ServerConfig).accessTokenLifetime)

      // Two servers may start at once: the key with the id 1 exists once, whoever made it.
      const load = Effect.gen(function*() {
        yield* sql`
          insert into signing_keys (key_id, secret, created_at)
          select 1, ${randomBytes(32)}, ${new Date(clock.currentTimeMillisUnsafe())}
          where not exists (select from signing_keys)
          on conflict do nothing`
        const rows = yield* sql`select key_id, secret, retired_at from signing_keys order by key_id`
        return yield* Effect.orDie(decodeRows(rows))
      })
      const keys = (yield* Effect.mapError(load, databaseRefusal)).map((row): Key => ({
        keyId: row.key_id,
        forTokens: derive(row.secret, "fip access token 1"),
        forDigests: derive(row.secret, "fip refresh digest 1"),
        retiredAt: row.retired_at?.getTime()
      }))
      const byId = new Map(keys.map((key) => [key.keyId, key]))
      const newest = keys.findLast((key) => key.retiredAt === undefined)
      if (newest === undefined) return yield* Effect.die(new Error("every row of signing_keys is retired"))
      const { keyId } = newest

      return SigningKeys.of({
        current: {
          token: { keyId, secret: newest.forTokens },
          digest: { keyId, secret: newest.forDigests }
        },
        tokenSecret: (keyId) => {
          const key = byId.get(keyId)
          if (key?.retiredAt !== undefined && clock.currentTimeMillisUnsafe() >= key.retiredAt + lifetime) {
            return undefined
          }
          return key?.forTokens
        },
        digestSecret: (keyId) => byId.get(keyId)?.forDigests
      })
    })
  )
}
