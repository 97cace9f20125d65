import { assert, it } from "@effect/vitest"
import { Clock, Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { TestClock } from "effect/testing"
import { hkdfSync } from "node:crypto"
import type { SessionGrant } from "../../../src/protocol/Request.ts"
import * as AccessToken from "../../../src/server/users/AccessToken.ts"
import { TestDatabase } from "../../support/TestDatabase.ts"
import { callerOf, device, digestOf, newUser, peer, start, worth } from "./accounts.ts"

const keyIdOf = ({ token }: SessionGrant): number => Buffer.from(token, "base64url").readUInt32BE(1)

it.layer(TestDatabase.pglite)("signing keys", (it) => {
  it.effect("are replaced every month while servers run, and no token or digest of either server is refused", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient
      const first = yield* start()
      // They read the keys at different times.
      yield* TestClock.adjust("7 hours")
      const servers = [first, yield* start()] as const
      const auth = yield* newUser(servers[0])
      const oldest = yield* servers[0].login(auth, device, peer)
      let grant = oldest
      assert.strictEqual(keyIdOf(grant), 1)
      yield* TestClock.adjust("29 days")
      grant = yield* servers[1].refresh(digestOf(grant), peer)
      assert.strictEqual(keyIdOf(grant), 1)
      yield* TestClock.adjust("23 hours")

      const signedBy: Array<number> = []
      for (let step = 0; step < 24; step++) {
        yield* TestClock.adjust("2 hours")
        const lost = yield* servers[step % 2 === 0 ? 0 : 1].refresh(digestOf(grant), peer)
        grant = yield* servers[step % 2 === 0 ? 1 : 0].refresh(digestOf(grant), peer)
        assert.strictEqual(grant.refresh_digest, lost.refresh_digest)
        signedBy.push(keyIdOf(grant))
        // A token is good for its 15 minutes, on both servers, whichever key signed it.
        for (const minutes of [0, 14]) {
          yield* TestClock.adjust(minutes * 60_000)
          for (const users of servers) assert.deepStrictEqual([worth(users, grant), worth(users, lost)], ["ok", "ok"])
        }
      }
      assert.deepStrictEqual([...new Set(signedBy)], [1, 2])
      const rows = yield* sql<{ readonly secret: Uint8Array }>`select secret from signing_keys order by key_id`
      assert.lengthOf(rows, 2)

      // Who comes back after long learns that its token has expired, and refreshes. The old key proves nothing else.
      const { sessionId, userId, username } = yield* callerOf(servers[0], grant)
      const secret = new Uint8Array(hkdfSync("sha256", rows[0]?.secret ?? "", "", "fip access token 1", 32))
      const issuedAt = yield* Clock.currentTimeMillis
      const claims = { sessionId, userId, username, issuedAt, expiresAt: issuedAt + 60_000 }
      const forged = { ...grant, token: AccessToken.sign(claims, { keyId: 1, secret }) }
      for (const users of servers) {
        assert.strictEqual(worth(users, oldest), "2:exp")
        assert.strictEqual(worth(users, forged), "2:auth")
      }
    }))
})
