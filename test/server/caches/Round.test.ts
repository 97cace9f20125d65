/** What a server waits for before it acknowledges a change, message by message: the others are made up. */
import { assert, it } from "@effect/vitest"
import { Context, Effect, Fiber, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { randomUUID } from "node:crypto"
import { Coherence } from "../../../src/server/caches/Coherence.ts"
import { BEAT, Notifications, type Subscriber } from "../../../src/server/Notifications.ts"
import { TestDatabase } from "../../support/TestDatabase.ts"

/** A server that hears what the test says. */
const start = Effect.gen(function*() {
  const node = randomUUID()
  const subscribers = new Map<string, Subscriber>()
  const published: Array<string> = []
  let heardUntil = -Infinity
  const notifications = Notifications.of({
    node,
    isShared: true,
    publish: (topic, messages) => Effect.sync(() => void published.push(...messages.map((one) => `${topic} ${one}`))),
    publishAs: () => Effect.void,
    subscribe: (topic, subscriber) => Effect.sync(() => void subscribers.set(topic, subscriber)),
    heardUntil: () => heardUntil
  })
  const coherence = Context.get(
    yield* Layer.build(
      Layer.fresh(Coherence.layerNoDeps).pipe(Layer.provide(Layer.succeed(Notifications, notifications)))
    ),
    Coherence
  )
  const hear = (topic: string, message: string, sender: string) =>
    subscribers.get(topic)?.onMessages(message.split(", "), sender)
  return {
    node,
    published,
    coherence,
    hear,
    lose: () => subscribers.get(BEAT)?.onLost?.(),
    hearItself: () => {
      heardUntil = performance.now()
      hear(BEAT, "here", node)
    }
  }
})

/** Whether it has ended by the time that everything which could end it has run. */
const hasEnded = <A>(fiber: Fiber.Fiber<A>) =>
  Effect.map(Effect.sleep("100 millis"), () => fiber.pollUnsafe() !== undefined)

const joined = Effect.fnUntraced(function*() {
  const sql = yield* SqlClient
  const other = randomUUID()
  yield* Effect.acquireRelease(
    sql`insert into nodes (node_id, name, started_at, seen_at) values (${other}::uuid, 'other', now(), now())`,
    () => Effect.orDie(sql`delete from nodes where node_id = ${other}::uuid`)
  )
  return other
})

it.layer(TestDatabase.pglite, { excludeTestServices: true, timeout: "30 seconds" })("an acknowledgement", (it) => {
  const change = Effect.fnUntraced(function*({ coherence }: Effect.Success<typeof start>) {
    const round = yield* coherence.changed(["f1"])
    return { number: round?.number, settled: yield* Effect.forkChild(coherence.settled(round)) }
  })

  it.effect("waits for a server that was there before this one, and has not been heard yet", () =>
    Effect.gen(function*() {
      const other = yield* joined()
      const server = yield* start
      const { number, settled } = yield* change(server)
      assert.isFalse(yield* hasEnded(settled), "it has not even heard itself")
      server.hearItself()
      assert.isFalse(yield* hasEnded(settled))
      server.hear("ack", `${server.node} ${number}`, randomUUID())
      server.hear("ack", `${randomUUID()} ${number}`, other)
      assert.isFalse(yield* hasEnded(settled), "neither is the other's answer")
      server.hear("ack", `${server.node} ${number}`, other)
      yield* Fiber.join(settled).pipe(Effect.timeout("1 second"))
    }))

  it.effect("waits for one that is heard, until it answers, says goodbye, or its lease has run out", () =>
    Effect.gen(function*() {
      const server = yield* start
      server.hearItself()
      for (const goes of [true, false]) {
        const other = randomUUID()
        server.hear(BEAT, "here", other)
        const { settled } = yield* change(server)
        assert.isFalse(yield* hasEnded(settled))
        const before = performance.now()
        if (goes) server.hear(BEAT, "bye", other)
        yield* Fiber.join(settled)
        const waited = performance.now() - before
        if (goes) assert.isBelow(waited, 1000)
        else assert.isAbove(waited, 1500)
      }
    }))

  it.effect("waits for nobody when there is nobody", () =>
    Effect.gen(function*() {
      const server = yield* start
      server.hearItself()
      const { settled } = yield* change(server)
      yield* Fiber.join(settled).pipe(Effect.timeout("1 second"))
      yield* server.coherence.claim("p1")
      assert.deepStrictEqual(server.published, ["cache f1", "cache r1"], "nor is anybody told of a claim")
    }))

  it.effect("waits again when the connection was lost, and memory is not trusted for as long as others may wait", () =>
    Effect.gen(function*() {
      const server = yield* start
      server.hearItself()
      assert.isFalse(server.coherence.isTrusted())
      const trusting = Effect.sync(server.hearItself).pipe(
        Effect.andThen(Effect.sleep("200 millis")),
        Effect.repeat({ until: () => server.coherence.isTrusted() })
      )
      const before = performance.now()
      yield* trusting
      assert.isAbove(performance.now() - before, 2000)
      server.lose()
      assert.isFalse(server.coherence.isTrusted())
      const { settled } = yield* change(server)
      assert.isFalse(yield* hasEnded(settled))
      server.hearItself()
      yield* Fiber.join(settled).pipe(Effect.timeout("1 second"))
      assert.isFalse(server.coherence.isTrusted())
    }))

  it.effect("is given when what was remembered here is dropped, and what was held is let go", () =>
    Effect.gen(function*() {
      const server = yield* start
      const dropped: Array<string> = []
      const released = Promise.withResolvers<void>()
      yield* server.coherence.attach({
        drop: (tags) => dropped.push(...tags),
        clear: () => undefined,
        release: (tags) => tags.includes("p2") ? Effect.promise(() => released.promise) : undefined
      })
      const other = randomUUID()
      server.hear("cache", "c7, r1", other)
      yield* Effect.sleep("50 millis")
      assert.deepStrictEqual(server.published, [`ack ${other} 1`])
      server.hear("cache", "p2, r2", other)
      yield* Effect.sleep("50 millis")
      assert.deepStrictEqual(dropped, ["c7", "p2"])
      assert.lengthOf(server.published, 1)
      released.resolve()
      yield* Effect.repeat(Effect.sleep("5 millis"), { until: () => server.published.length === 2 })
      assert.strictEqual(server.published[1], `ack ${other} 2`)
    }))
})
