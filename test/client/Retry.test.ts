/** What a client does by the policy of its program: what is tried again, when, and by which connections. */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Schedule } from "effect"
import { arrivals, connected, loggedIn } from "../support/ScriptedClient.ts"
import type { Received, Reply, Script } from "../support/ScriptedServer.ts"

const storage: Reply = { code: "1:qa", body: { bytes_used: 1, bytes_limit: 2, files_used: 3, files_limit: 4 } }
const heartbeat: Reply = { code: "1:hb", body: { server_version: "0.1.0" } }
const deleted: Reply = { code: "1:fdel", body: { owner: "alice", name: "a" } }
const refusal = (code: Reply["code"], body: object = {}): Reply => ({ code, body: { message: "not now", ...body } })

/** Gives these answers, one after the other, and goes on with the last. */
const oneByOne = (...answers: ReadonlyArray<Reply | "break">) => {
  let given = 0
  return ({ peer }: Received): Reply | undefined => {
    const answer = answers[Math.min(given++, answers.length - 1)]
    if (answer !== "break") return answer
    peer.socket.destroy()
    return undefined
  }
}

const retry = Schedule.recurs(4)

describe("a retry policy", () => {
  it.live("obeys a refusal that says when to come back", () =>
    Effect.gen(function*() {
      const { client, server } = yield* loggedIn(
        { QueryStorage: oneByOne(refusal("2:rlex", { retry_after_ms: 150 }), storage) },
        { retry }
      )
      const begun = performance.now()
      assert.strictEqual((yield* client.queryStorage).bytes_used, 1)
      assert.isAtLeast(performance.now() - begun, 140)
      assert.strictEqual(server.count("QueryStorage"), 2)
    }))

  it.live("does not wait for a server that asks for more than a minute", () =>
    Effect.gen(function*() {
      const { client, server } = yield* loggedIn(
        { QueryStorage: oneByOne(refusal("2:rlex", { retry_after_ms: 60_001 }), storage) },
        { retry }
      )
      const error = yield* Effect.flip(client.queryStorage)
      assert.strictEqual(error._tag === "Refusal" ? error.retry_after_ms : error._tag, 60_001)
      assert.strictEqual(server.count("QueryStorage"), 1)
    }))

  it.live("tries changes again of which nothing was carried out, and questions after any failure that passes", () =>
    Effect.gen(function*() {
      const script: Script = {
        Delete: oneByOne(refusal("3:s"), refusal("2:rlex"), deleted),
        QueryStorage: oneByOne(refusal("3:db"), "break", refusal("3:t"), storage)
      }
      const { client, server } = yield* loggedIn(script, { retry })
      yield* client.delete("a")
      yield* client.queryStorage
      assert.deepStrictEqual([server.count("Delete"), server.count("QueryStorage")], [3, 4])
    }))

  it.live("never sends a change twice that may have been carried out, nor anything that was refused for good", () =>
    Effect.gen(function*() {
      for (const [answer, tag] of [["break", "ConnectionLost"], [refusal("3:db"), "Refusal"]] as const) {
        const { client, server } = yield* loggedIn({ Delete: oneByOne(answer, deleted) }, { retry })
        assert.strictEqual((yield* Effect.flip(client.delete("a")))._tag, tag)
        assert.strictEqual(server.count("Delete"), 1)
      }
      const { client, server } = yield* loggedIn({ QueryStorage: oneByOne(refusal("2:nf"), storage) }, { retry })
      yield* Effect.flip(client.queryStorage)
      assert.strictEqual(server.count("QueryStorage"), 1)
    }))

  it.live("ends after the times that it allows, and without one nothing that was refused is tried again", () =>
    Effect.gen(function*() {
      const twice = yield* loggedIn({ QueryStorage: oneByOne(refusal("3:s")) }, { retry: { times: 2 } })
      const error = yield* Effect.flip(twice.client.queryStorage)
      assert.strictEqual(error._tag === "Refusal" ? error.code : error._tag, "3:s")
      assert.strictEqual(twice.server.count("QueryStorage"), 3)
      const never = yield* loggedIn({ QueryStorage: oneByOne(refusal("3:s"), storage) })
      yield* Effect.flip(never.client.queryStorage)
      assert.strictEqual(never.server.count("QueryStorage"), 1)
    }))
})

describe("several connections", () => {
  it.live("are made when there is much to ask, share one session, and are closed with the client", () =>
    Effect.gen(function*() {
      const all = yield* Deferred.make<void>()
      const held: Array<Received> = []
      const { server } = yield* Effect.scoped(Effect.gen(function*() {
        const made = yield* loggedIn({
          QueryStorage: (request) => {
            held.push(request)
            if (held.length === 40) Deferred.doneUnsafe(all, Effect.void)
          }
        }, { connections: 3 })
        const { client, server } = made
        assert.lengthOf(server.peers, 1)
        const asking = yield* Effect.forkChild(
          Effect.forEach(Array(40), () => client.queryStorage, { concurrency: "unbounded" })
        )
        yield* Deferred.await(all)
        assert.lengthOf(server.peers, 3)
        assert.isTrue(held.every(({ auth }) => auth["token"] === "token-1"))
        for (const { requests } of server.peers) assert.isAtLeast(requests.length, 8)
        for (const request of held) request.reply(storage)
        assert.lengthOf(yield* Fiber.join(asking), 40)
        return made
      }))
      yield* server.deserted
    }))

  it.live("are one unless a program asks for more", () =>
    Effect.gen(function*() {
      const waiting = arrivals<"Heartbeat">()
      const { client, server } = yield* connected({ Heartbeat: waiting.script })
      const asking = yield* Effect.forkChild(
        Effect.forEach(Array(40), () => client.heartbeat, { concurrency: "unbounded" })
      )
      for (let index = 0; index < 40; index++) (yield* waiting.next).reply(heartbeat)
      yield* Fiber.join(asking)
      assert.lengthOf(server.peers, 1)
    }))
})
