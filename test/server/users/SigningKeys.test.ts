import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { TestClock } from "effect/testing"
import type { SessionGrant } from "../../../src/protocol/Request.ts"
import { TestDatabase } from "../../support/TestDatabase.ts"
import { device, digestOf, newUser, peer, start, worth } from "./accounts.ts"

const keyIdOf = ({ token }: SessionGrant): number => Buffer.from(token, "base64url").readUInt32BE(1)

it.layer(TestDatabase.pglite)("signing keys", (it) => {
  it.effect("are replaced every month while servers run, and no token or digest of either server is refused", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient
      const first = yield* start()
      // They read the keys at different times.
      yield* TestClock.adjust("31 minutes")
      const servers = [first, yield* start()] as const
      const auth = yield* newUser(servers[0])
      let grant = yield* servers[0].login(auth, device, peer)
      assert.strictEqual(keyIdOf(grant), 1)
      yield* TestClock.adjust("29 days")
      grant = yield* servers[1].refresh(digestOf(grant), peer)
      assert.strictEqual(keyIdOf(grant), 1)
      yield* TestClock.adjust("1 day")

      const signedBy: Array<number> = []
      for (let quarter = 0; quarter < 6 * 4; quarter++) {
        // A token of 15 minutes is good for as long, on both servers, whichever key signed it.
        yield* TestClock.adjust("14 minutes")
        for (const users of servers) assert.notStrictEqual(worth(users, grant), "2:auth")
        const lost = yield* servers[quarter % 2 === 0 ? 0 : 1].refresh(digestOf(grant), peer)
        grant = yield* servers[quarter % 2 === 0 ? 1 : 0].refresh(digestOf(grant), peer)
        assert.strictEqual(grant.refresh_digest, lost.refresh_digest)
        for (const users of servers) {
          assert.strictEqual(worth(users, grant), "ok")
          assert.strictEqual(worth(users, lost), "ok")
        }
        signedBy.push(keyIdOf(grant))
        yield* TestClock.adjust("1 minute")
      }
      assert.deepStrictEqual([...new Set(signedBy)], [1, 2])
      assert.lengthOf(yield* sql`select from signing_keys`, 2)
    }))
})
