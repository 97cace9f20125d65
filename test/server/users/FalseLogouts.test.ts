/**
 * The client's own session against the server's, while replies and requests are lost, come twice or late, servers crash
 * in the middle of a refresh, and many ask at once: nobody is ever logged out who did nothing wrong.
 *
 * `FIP_TEST_INCIDENTS` says how many incidents there are; each is one of these, drawn by a seed.
 */
import { assert, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Option, Scope } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { TestClock } from "effect/testing"
import { ConnectionLost } from "../../../src/client/ClientError.ts"
import { makeSession } from "../../../src/client/Session.ts"
import { DeviceId, RefreshDigest } from "../../../src/protocol/Identity.ts"
import type { SessionGrant } from "../../../src/protocol/Request.ts"
import type { UserManager } from "../../../src/server/UserManager.ts"
import { Random } from "../../support/Random.ts"
import { TestDatabase } from "../../support/TestDatabase.ts"
import { newUser, peer, start, worth } from "./accounts.ts"

const INCIDENTS = Number(process.env["FIP_TEST_INCIDENTS"] ?? 400)
const SEED = Number(process.env["FIP_TEST_SEED"] ?? 1)
const DEVICES = 20

type Fate = "arrives" | "request lost" | "reply lost" | "server crashes" | "comes twice"
const FATES: readonly [Fate, ...ReadonlyArray<Fate>] = [
  "arrives",
  "request lost",
  "reply lost",
  "reply lost",
  "server crashes",
  "comes twice"
]

const lost = new ConnectionLost({ message: "the connection broke" })

it.layer(TestDatabase.pglite, { timeout: 60_000 + INCIDENTS * 300 })("sessions on a bad network", (it) => {
  it.effect(`lose nobody in ${INCIDENTS} incidents (seed ${SEED})`, () =>
    Effect.gen(function*() {
      const random = new Random(SEED)
      const sql = yield* SqlClient
      const started = Effect.gen(function*() {
        const scope = yield* Scope.make()
        return { scope, users: yield* Effect.provideService(start(), Scope.Scope, scope) }
      })
      const servers = [yield* started, yield* started]
      const anyServer = (): UserManager["Service"] => servers[random.below(servers.length)]?.users ?? assert.fail()
      const met = new Map<string, number>()
      const count = (what: string) => void met.set(what, (met.get(what) ?? 0) + 1)
      let fates = random

      /** One refresh on its way to a server and back. */
      const deliver = Effect.fnUntraced(function*(proof: { readonly refresh_digest: string; readonly device: string }) {
        const auth = {
          refresh_digest: RefreshDigest.make(proof.refresh_digest),
          device: DeviceId.make(proof.device)
        }
        const fate = fates.pick(FATES)
        count(fate)
        if (fate === "request lost") return yield* lost
        const server = anyServer()
        if (fate === "server crashes") {
          const fiber = yield* Effect.forkChild(server.refresh(auth, peer))
          for (let turn = fates.below(40); turn > 0; turn--) yield* Effect.yieldNow
          yield* Fiber.interrupt(fiber)
          return yield* lost
        }
        const grant = yield* server.refresh(auth, peer)
        if (fate === "comes twice") {
          const again = yield* anyServer().refresh(auth, peer)
          assert.strictEqual(again.refresh_digest, grant.refresh_digest)
        }
        return fate === "reply lost" ? yield* lost : grant
      })

      const clients = yield* Effect.forEach(
        Array.from({ length: DEVICES }, (_, index) => DeviceId.make(`device-${index}`)),
        Effect.fnUntraced(function*(device) {
          const auth = yield* newUser(anyServer())
          const session = yield* makeSession(device, deliver)
          yield* session.begin(yield* anyServer().login(auth, device, peer))
          return session
        })
      )

      for (let incident = 0; incident < INCIDENTS; incident++) {
        const session = clients[random.below(clients.length)] ?? assert.fail()
        fates = random.split()
        // Most refresh because they must: the token has ended. All of an incident lies within the grace.
        yield* TestClock.adjust(random.pick(["1 second", "14 minutes", "16 minutes", "3 hours"]))
        if (random.chance(0.1)) {
          const [old] = servers.splice(random.below(servers.length), 1, yield* started)
          if (old !== undefined) yield* Scope.close(old.scope, Exit.void)
          count("restart")
        }
        const known = yield* session.token
        const askers = 1 + random.below(random.pick([1, 1, 8]))
        let grant: SessionGrant | undefined
        for (let attempt = 0; attempt < 50 && grant === undefined; attempt++) {
          const asked = yield* Effect.forEach(
            Array.from({ length: askers }, (_, index) => index),
            () => Effect.option(attempt === 0 ? session.refresh : Effect.asVoid(session.active)),
            { concurrency: "unbounded" }
          )
          if (asked.some(Option.isSome)) grant = (yield* Effect.orDie(session.active)).grant
          else yield* TestClock.adjust("1 second")
          assert.isTrue(Option.isSome(yield* session.identity), `logged out: seed ${SEED}, incident ${incident}`)
        }
        assert.isDefined(grant, `no way back: incident ${incident}`)
        if (grant === undefined) return
        for (const { users } of servers) assert.strictEqual(worth(users, grant), "ok", `incident ${incident}`)
        if (known.token !== grant.token) count("renewed")
      }

      const [row] = yield* sql<
        { ended: number }
      >`select count(*)::int as ended from sessions where ended_at is not null`
      assert.strictEqual(row?.ended, 0)
      for (const { scope } of servers) yield* Scope.close(scope, Exit.void)
      for (const fate of FATES) assert.isAbove(met.get(fate) ?? 0, INCIDENTS / 10, [...met].join(" "))
      if (process.env["FIP_TEST_INCIDENTS"] !== undefined) {
        console.log(`${INCIDENTS} incidents:`, Object.fromEntries(met))
      }
    }), 60_000 + INCIDENTS * 300)
})
