/**
 * Messages between the servers on one database: published in a transaction, heard by all of them when it commits.
 *
 * On PostgreSQL it is LISTEN/NOTIFY over one connection, so a message that was heard comes after everything that was
 * committed before it, and the messages of one server's transactions come in the order of their commits. What is
 * published while the connection is lost is never heard: subscribers are told when it was lost, and again when it is
 * found. So that a server knows how far it has heard, it says something now and then and listens for it. The publisher
 * itself hears at once, after its commit. The workers of one server are servers here, on the embedded database too; one
 * that is alone on it hears itself.
 *
 * Messages are small keys, never content: whoever hears one looks in the database.
 */
import { PgClient, PgConnection } from "@effect/sql-pg"
import { Context, Deferred, Effect, Layer, Queue, Schedule, Scope } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { randomUUID } from "node:crypto"
import { type Refusal, refuse } from "../protocol/Refusal.ts"
import { texts } from "./files/parameters.ts"
import { decode, encode, OwnMessages } from "./notifications/Envelope.ts"
import { isShared as isSharedDatabase, ServerConfig } from "./ServerConfig.ts"

/** The one channel; migration 0008 notifies it too. */
const CHANNEL = "fip"

const RETRY_EVERY = "250 millis"

/** What each server says now and then, to itself and to the others. */
export const BEAT = "beat"
const BEAT_EVERY = "500 millis"

/** A connection on which nothing has been heard for so long is given up, although nobody has closed it. */
const SILENCE_MILLIS = 5000

const silent = refuse("3:db", "the connection that listens to other servers has gone silent")

export interface Subscriber {
  /**
   * Messages of one transaction, in order. Synchronous, and never throws. `sender` is a server's `node`, or `-` when
   * the database said it by itself.
   */
  readonly onMessages: (messages: ReadonlyArray<string>, sender: string) => void
  /** From now on messages may be missed. Synchronous. */
  readonly onLost?: () => void
  /** Messages are heard again: look for what was missed. When it fails, it is tried again. */
  readonly onFound?: Effect.Effect<void, Refusal>
}

export class Notifications extends Context.Service<Notifications, {
  /** This server among those on the database; another one after each start. */
  readonly node: string
  /** False on the embedded database without workers: nobody else can be on it. */
  readonly isShared: boolean
  /** Sends messages (short, without line breaks) when the surrounding transaction commits, or at once when there is none. */
  readonly publish: (topic: string, messages: ReadonlyArray<string>) => Effect.Effect<void, SqlError>
  /** Says something for a server that has ended and cannot say it any more. */
  readonly publishAs: (sender: string, topic: string, message: string) => Effect.Effect<void, SqlError>
  /** Hears the messages on a topic until the scope closes. */
  readonly subscribe: (topic: string, subscriber: Subscriber) => Effect.Effect<void, never, Scope.Scope>
  /** What was committed before this instant, of `performance.now()`, has been heard. */
  readonly heardUntil: () => number
}>()("fip/server/Notifications") {
  static readonly layer = Layer.effect(
    Notifications,
    Effect.gen(function*() {
      const sql = yield* SqlClient
      const isShared = isSharedDatabase(yield* ServerConfig)
      const node = randomUUID()
      const subscribers = new Map<string, Set<Subscriber>>()
      const own = new OwnMessages()
      let isListening = false
      /** When the beats that were not heard yet were sent. */
      const beats = new Map<number, number>()
      let heardUntil = -Infinity
      const heardFirst = yield* Deferred.make<void>()

      const hear = (topic: string, messages: ReadonlyArray<string>, sender: string): void => {
        for (const { onMessages } of subscribers.get(topic) ?? []) onMessages(messages, sender)
      }
      const all = () => Array.from(subscribers.values(), (set) => [...set]).flat()

      const publish = Effect.fnUntraced(function*(topic: string, messages: ReadonlyArray<string>) {
        if (messages.length === 0) return
        const envelopes = isShared ? encode(topic, node, own.next, messages) : []
        if (isShared) {
          const payloads = texts(envelopes.map(({ payload }) => payload))
          yield* sql`select pg_notify(${CHANNEL}, payload) from unnest(${payloads}) as q (payload)`
        }
        yield* sql.afterCommit(Effect.sync(() => {
          const isNew = envelopes.map(({ number }) => own.committed(number))
          if (!isShared || isNew.includes(true)) hear(topic, messages, node)
        }))
      })

      const hearBeat = (number: number): void => {
        heardUntil = Math.max(heardUntil, beats.get(number) ?? -Infinity)
        for (const sent of beats.keys()) if (sent <= number) beats.delete(sent)
        Deferred.doneUnsafe(heardFirst, Effect.void)
      }
      const beat = Effect.suspend(() => {
        const number = own.next()
        beats.set(number, performance.now())
        const [envelope] = encode(BEAT, node, () => number, ["here"])
        return sql`select pg_notify(${CHANNEL}, ${envelope?.payload ?? ""})`
      })

      if (isShared) {
        const { config } = yield* PgClient.PgClient
        const tried = yield* Deferred.make<void>()
        const lost = Effect.sync(() => {
          if (!isListening) return
          isListening = false
          own.forget()
          for (const { onLost } of all()) onLost?.()
        })
        const listen = Effect.scoped(Effect.gen(function*() {
          const connection = yield* Scope.make()
          const listening = yield* Scope.make()
          // The connection first: on one that has gone silent, nobody would hear that we want to hear no more.
          yield* Effect.addFinalizer((exit) =>
            Effect.andThen(Scope.close(connection, exit), Scope.close(listening, exit))
          )
          const { listen } = yield* Scope.provide(PgConnection.make(config), connection)
          const heard = yield* Scope.provide(listen(CHANNEL), listening)
          isListening = true
          const find = Effect.andThen(
            Effect.forEach(all(), ({ onFound }) => onFound ?? Effect.void, { discard: true }),
            Deferred.succeed(tried, undefined)
          )
          const follow = Effect.forever(Effect.map(Queue.takeAll(heard), (notifications) => {
            for (const { payload } of notifications) {
              const message = decode(payload)
              if (message === undefined) continue
              if (message.sender === node && message.topic === BEAT) hearBeat(message.number)
              // What this server said itself it has heard when it committed.
              else if (message.sender === node && own.heard(message.number)) continue
              hear(message.topic, message.messages, message.sender)
            }
          }))
          const since = performance.now()
          const watch = Effect.sleep(BEAT_EVERY).pipe(
            Effect.repeat({ until: () => performance.now() - Math.max(since, heardUntil) > SILENCE_MILLIS }),
            Effect.andThen(Effect.fail(silent))
          )
          // What is heard while somebody looks for what was missed counts at once.
          yield* Effect.all([find, follow, watch], { concurrency: "unbounded", discard: true })
        }))
        yield* listen.pipe(
          Effect.ensuring(lost),
          Effect.tapError((error) =>
            Effect.andThen(
              Effect.logWarning("not hearing of what other servers do: trying again", error),
              Deferred.succeed(tried, undefined)
            )
          ),
          Effect.retry(Schedule.spaced(RETRY_EVERY)),
          Effect.forkScoped
        )
        yield* Deferred.await(tried)
        yield* beat.pipe(Effect.ignore, Effect.andThen(Effect.sleep(BEAT_EVERY)), Effect.forever, Effect.forkScoped)
        if (isListening) yield* Effect.timeoutOption(Deferred.await(heardFirst), BEAT_EVERY)
      }

      return Notifications.of({
        node,
        isShared,
        publish,
        publishAs: (sender, topic, message) => {
          const [envelope] = encode(topic, sender, () => 0, [message])
          return isShared ? Effect.asVoid(sql`select pg_notify(${CHANNEL}, ${envelope?.payload ?? ""})`) : Effect.void
        },
        heardUntil: () => isShared ? heardUntil : Infinity,
        subscribe: (topic, subscriber) =>
          Effect.acquireRelease(
            Effect.sync(() => {
              const set = subscribers.get(topic) ?? new Set()
              subscribers.set(topic, set.add(subscriber))
              if (isShared && !isListening) subscriber.onLost?.()
            }),
            () => Effect.sync(() => subscribers.get(topic)?.delete(subscriber))
          )
      })
    })
  )
}
