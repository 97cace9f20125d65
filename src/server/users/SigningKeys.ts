/**
 * The server's own secrets, shared by all servers on one database. A new one is made when the newest is a month old; it
 * signs from a day later on, when every server has read it. So keys change without logging anyone out, and without
 * servers talking to each other.
 *
 * No secret is used as it is stored: one key is derived from it for each purpose.
 */
import { Clock, Context, Duration, Effect, Layer, Schedule, Schema } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { hkdfSync, randomBytes } from "node:crypto"
import { databaseRefusal } from "../Database.ts"
import { ServerConfig } from "../ServerConfig.ts"
import { background } from "../ShutdownCoordinator.ts"
import type { TokenKey } from "./AccessToken.ts"

const ROTATE_EVERY = Duration.toMillis("30 days")
const READ_EVERY = Duration.toMillis("12 hours")
/** How old a key is before it signs: every server has read it by then, though it missed one turn. */
const SIGNS_AFTER = 2 * READ_EVERY

const decodeRows = Schema.decodeUnknownEffect(Schema.Array(Schema.Struct({
  key_id: Schema.Int,
  secret: Schema.Uint8Array,
  created_at: Schema.Date,
  retired_at: Schema.NullOr(Schema.Date)
})))

interface Key {
  readonly keyId: number
  readonly forTokens: Uint8Array
  readonly forDigests: Uint8Array
  readonly createdAt: number
  /** Set by hand, for a secret that is no longer one. */
  readonly retiredAt: number | undefined
}

const derive = (secret: Uint8Array, purpose: string): Uint8Array =>
  new Uint8Array(hkdfSync("sha256", secret, "", purpose, 32))

export class SigningKeys extends Context.Service<SigningKeys, {
  /** Signs new tokens and derives new digests. */
  readonly current: { readonly token: TokenKey; readonly digest: TokenKey }
  /**
   * Verifies tokens; `undefined` for a key that does not exist, is no longer trusted, or did not sign any more when the
   * token was issued. An old key thus proves only tokens that have expired: who comes back after months is told so.
   */
  readonly tokenSecret: (keyId: number, issuedAt: number) => Uint8Array | undefined
  /** Derives again what a digest was followed by. */
  readonly digestSecret: (keyId: number) => Uint8Array | undefined
}>()("fip/server/users/SigningKeys") {
  static readonly layer = Layer.effect(
    SigningKeys,
    Effect.gen(function*() {
      const sql = yield* SqlClient
      const clock = yield* Clock.Clock
      const lifetime = Duration.toMillis((yield* ServerConfig).accessTokenLifetime)

      // Two servers may do this at once: a key of one id exists once, whoever made it.
      const load = Effect.gen(function*() {
        const now = clock.currentTimeMillisUnsafe()
        yield* sql`
          insert into signing_keys (key_id, secret, created_at)
          select coalesce(max(key_id), 0) + 1, ${randomBytes(32)}, ${new Date(now)} from signing_keys
          having coalesce(max(created_at) <= ${new Date(now - ROTATE_EVERY)}, true)
          on conflict do nothing`
        const rows = yield* sql`select key_id, secret, created_at, retired_at from signing_keys order by key_id`
        return (yield* Effect.orDie(decodeRows(rows))).map((row): Key => ({
          keyId: row.key_id,
          forTokens: derive(row.secret, "fip access token 1"),
          forDigests: derive(row.secret, "fip refresh digest 1"),
          createdAt: row.created_at.getTime(),
          retiredAt: row.retired_at?.getTime()
        }))
      })

      let keys = yield* Effect.mapError(load, databaseRefusal)
      const newest = () => {
        const good = keys.filter((key) => key.retiredAt === undefined)
        const signsBefore = clock.currentTimeMillisUnsafe() - SIGNS_AFTER
        // With no key that is old enough there is none that another server would rather use.
        return good.findLast((key) => key.createdAt <= signsBefore) ?? good[0]
      }
      const first = newest()
      if (first === undefined) return yield* Effect.die(new Error("every row of signing_keys is retired"))

      /** When the last server has stopped to sign with this key. */
      const signedUntil = (key: Key): number => {
        const next = keys.find(({ createdAt, keyId, retiredAt }) =>
          keyId > key.keyId && createdAt >= key.createdAt && retiredAt === undefined
        )
        return next === undefined ? Number.POSITIVE_INFINITY : next.createdAt + SIGNS_AFTER + READ_EVERY
      }

      yield* background(
        "signing keys",
        load.pipe(
          Effect.map((read) => {
            keys = read
          }),
          Effect.catch((error) => Effect.logWarning("signing keys could not be read again", databaseRefusal(error))),
          Effect.repeat(Schedule.spaced(Duration.millis(READ_EVERY))),
          Effect.delay(Duration.millis(READ_EVERY))
        )
      )

      return SigningKeys.of({
        get current() {
          const { forDigests, forTokens, keyId } = newest() ?? first
          return { token: { keyId, secret: forTokens }, digest: { keyId, secret: forDigests } }
        },
        tokenSecret: (keyId, issuedAt) => {
          const key = keys.find((key) => key.keyId === keyId)
          if (key === undefined || issuedAt > signedUntil(key)) return undefined
          const isOver = key.retiredAt !== undefined && clock.currentTimeMillisUnsafe() >= key.retiredAt + lifetime
          return isOver ? undefined : key.forTokens
        },
        digestSecret: (keyId) => keys.find((key) => key.keyId === keyId)?.forDigests
      })
    })
  )
}
