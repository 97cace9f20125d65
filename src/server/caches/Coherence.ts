/**
 * Keeps what servers on one database remember from being older than what any of them has acknowledged.
 *
 * A change names what it touches (tags) in its transaction. Every server drops what bears them when it hears of the
 * commit, and says so; whoever made the change acknowledges it when all have. A server that cannot hear stops using
 * what it remembers: it trusts its memory only for `LEASE` after it has sent something that it has heard itself, for
 * then it has heard everything that was committed before. So nobody waits longer than `WAIT` for one that is gone.
 *
 * A server that begins to trust waits so long that every other one has heard of it, or knows that it has not heard
 * enough to tell; of those that were there before it, it learns from the table of servers. A server that is alone waits
 * for nobody.
 *
 * Leases are measured by each server's own clock that only goes forward, from before a message was sent to after it was
 * heard; clocks must run at the same speed within the tenth by which `WAIT` is longer.
 */
import { Context, Deferred, Effect, FiberSet, Layer, Queue, type Scope } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { Metrics } from "../metrics/Metrics.ts"
import { BEAT, Notifications } from "../Notifications.ts"

/** In milliseconds. */
const LEASE = 2000
const WAIT = 2200

const TOPIC = "cache"
const ACKNOWLEDGE = "ack"
/** Said on the topic of beats: whoever says it, or it is said for, uses nothing that it remembers. */
export const GOODBYE = "bye"

/** Rounds that were begun and not waited for are of transactions that failed. */
const MAX_ROUNDS = 4096

/** Something that remembers. Synchronous. */
export interface Memory {
  readonly drop: (tags: ReadonlyArray<string>) => void
  /** What has to end before another server is told that it was dropped. */
  readonly release?: (tags: ReadonlyArray<string>) => Effect.Effect<void> | undefined
  readonly clear: () => void
}

/** One transaction's change, as the others have heard of it. */
export interface Round {
  readonly number: number
  readonly acknowledged: Set<string>
  waiting: Set<string> | undefined
  readonly done: Deferred.Deferred<void>
}

export class Coherence extends Context.Service<Coherence, {
  /** Whether what is remembered may be used, now. */
  readonly isTrusted: () => boolean
  /** Lets a memory drop what changes, until the scope closes. */
  readonly attach: (memory: Memory) => Effect.Effect<void, never, Scope.Scope>
  /** Within a transaction: names what it changes. */
  readonly changed: (tags: ReadonlyArray<string>) => Effect.Effect<Round | undefined, SqlError>
  /** After its commit: returns when no server uses anything that the change has made old. */
  readonly settled: (round: Round | undefined) => Effect.Effect<void>
  /** Runs `work` in a transaction; returns when what it changed holds on every server. */
  readonly transaction: <A, E>(
    work: (changed: (...tags: ReadonlyArray<string>) => void) => Effect.Effect<A, E>
  ) => Effect.Effect<A, E | SqlError>
  /** Returns when no other server holds what bears the tag. */
  readonly claim: (tag: string) => Effect.Effect<void, SqlError>
  /** After a commit whose messages were not ours: returns when every server has heard them. */
  readonly heard: Effect.Effect<void>
}>()("fip/server/caches/Coherence") {
  static readonly layerNoDeps = Layer.effect(
    Coherence,
    Effect.gen(function*() {
      const sql = yield* SqlClient
      const notifications = yield* Notifications
      const { isShared, node } = notifications
      const memories = new Set<Memory>()
      const rounds = new Map<number, Round>()
      /** The other servers that may trust what they remember, and when each was heard last. */
      const others = new Map<string, number>()
      const acknowledgements = yield* Queue.unbounded<{ readonly to: string; readonly round: string }>()
      let lastRound = 0
      /** `Infinity`: the next beat that is heard begins the wait. */
      let trustedFrom = Infinity
      let heardUntil = -Infinity
      /** All servers are known that may trust what they remember. */
      let isComplete = false
      let touched = Deferred.makeUnsafe<void>()
      const look = yield* Queue.unbounded<void>()
      const fork = yield* FiberSet.makeRuntime<never, unknown, unknown>()

      const isTrusted = (): boolean => {
        if (!isShared) return true
        const now = performance.now()
        return now >= trustedFrom && now < heardUntil + LEASE
      }

      const clear = (): void => {
        for (const memory of memories) memory.clear()
      }
      const answer = (round: Round, other: string): void => {
        round.acknowledged.add(other)
        if (round.waiting?.delete(other) === true && round.waiting.size === 0) {
          Deferred.doneUnsafe(round.done, Effect.void)
        }
      }
      const forgive = (other: string): void => {
        others.delete(other)
        for (const round of rounds.values()) answer(round, other)
      }

      /** This server has heard itself. */
      const prolong = (now: number): void => {
        if (trustedFrom === Infinity || now >= heardUntil + LEASE) {
          // It may have been forgotten by others meanwhile: they have to hear of it before it trusts itself again.
          trustedFrom = now + WAIT
          clear()
        }
        heardUntil = notifications.heardUntil()
        // All that they had said before has been heard.
        for (const [other, heardAt] of others) if (heardAt + WAIT < heardUntil) forgive(other)
        if (isComplete) touch()
        else Queue.offerUnsafe(look, undefined)
      }
      const touch = (): void => {
        Deferred.doneUnsafe(touched, Effect.void)
        touched = Deferred.makeUnsafe()
      }

      yield* notifications.subscribe(BEAT, {
        onMessages: ([message], sender) => {
          const now = performance.now()
          if (sender === node) prolong(now)
          else if (message === GOODBYE) forgive(sender)
          else others.set(sender, now)
        },
        onLost: () => {
          trustedFrom = Infinity
          isComplete = false
          clear()
        }
      })
      yield* notifications.subscribe(TOPIC, {
        onMessages: (messages, sender) => {
          const tags = messages.filter((message) => !message.startsWith("r"))
          for (const memory of memories) memory.drop(tags)
          const last = messages.at(-1)
          if (sender === node || last?.startsWith("r") !== true) return
          const acknowledgement = { to: sender, round: last.slice(1) }
          const releases = [...memories].flatMap(({ release }) => release?.(tags) ?? [])
          if (releases.length === 0) Queue.offerUnsafe(acknowledgements, acknowledgement)
          else {
            fork(Effect.ensuring(
              Effect.all(releases, { concurrency: "unbounded" }),
              Queue.offer(acknowledgements, acknowledgement)
            ))
          }
        }
      })
      yield* notifications.subscribe(ACKNOWLEDGE, {
        onMessages: (messages, sender) => {
          for (const message of messages) {
            const [to, number] = message.split(" ")
            const round = to === node ? rounds.get(Number(number)) : undefined
            if (round !== undefined) answer(round, sender)
          }
        }
      })

      if (isShared) {
        yield* Queue.takeAll(acknowledgements).pipe(
          Effect.flatMap((all) => notifications.publish(ACKNOWLEDGE, all.map(({ round, to }) => `${to} ${round}`))),
          // Whoever waits for them waits no longer than the lease.
          Effect.ignore,
          Effect.forever,
          Effect.forkScoped
        )
        // Those that were there before this one listened; of the others it hears.
        yield* Queue.takeAll(look).pipe(
          Effect.andThen(sql<{ readonly node_id: string }>`select node_id from nodes where node_id <> ${node}::uuid`),
          Effect.flatMap((rows) =>
            Effect.sync(() => {
              const now = performance.now()
              for (const { node_id } of rows) if (!others.has(node_id)) others.set(node_id, now)
              isComplete = trustedFrom !== Infinity
              touch()
            })
          ),
          Effect.ignore({ log: "Debug" }),
          Effect.forever,
          Effect.forkScoped
        )
        yield* Effect.addFinalizer(() => Effect.ignore(notifications.publish(BEAT, [GOODBYE])))
      }

      const changed = (tags: ReadonlyArray<string>): Effect.Effect<Round | undefined, SqlError> => {
        if (!isShared) return Effect.as(notifications.publish(TOPIC, tags), undefined)
        const round: Round = {
          number: ++lastRound,
          acknowledged: new Set(),
          waiting: undefined,
          done: Deferred.makeUnsafe()
        }
        rounds.set(round.number, round)
        for (const oldest of rounds.keys()) {
          if (rounds.size <= MAX_ROUNDS) break
          rounds.delete(oldest)
        }
        return Effect.as(notifications.publish(TOPIC, [...tags, `r${round.number}`]), round)
      }

      const isInTouch = (since: number): boolean => isComplete && notifications.heardUntil() + LEASE > since
      const isAlone = (): boolean => !isShared || (isInTouch(performance.now()) && others.size === 0)

      /** Ends when this server has heard enough to know of everybody who may trust what it remembers. */
      const inTouch = (since: number): Effect.Effect<void> =>
        Effect.suspend(() => isInTouch(since) ? Effect.void : Effect.andThen(Deferred.await(touched), inTouch(since)))

      const settled = (round: Round | undefined): Effect.Effect<void> =>
        Effect.suspend(() => {
          if (round === undefined) return Effect.void
          const since = performance.now()
          if (isInTouch(since) && others.size === 0) {
            rounds.delete(round.number)
            return Effect.void
          }
          return inTouch(since).pipe(
            Effect.andThen(Effect.suspend(() => {
              round.waiting = new Set([...others.keys()].filter((other) => !round.acknowledged.has(other)))
              return round.waiting.size === 0 ? Effect.void : Deferred.await(round.done)
            })),
            Effect.timeoutOption(WAIT),
            Effect.ensuring(Effect.sync(() => rounds.delete(round.number))),
            Effect.asVoid
          )
        })

      const { observe } = yield* Metrics
      yield* observe({
        name: "fip_lookup_cache_trusted",
        description: "1 while what is remembered of the database is used",
        kind: "gauge",
        read: () => isTrusted() ? 1 : 0
      })
      yield* observe({
        name: "fip_other_servers",
        description: "Other servers on the database that an acknowledgement waits for",
        kind: "gauge",
        read: () => others.size
      })

      return Coherence.of({
        isTrusted,
        changed,
        settled,
        attach: (memory) =>
          Effect.acquireRelease(
            Effect.sync(() => memories.add(memory)),
            () => Effect.sync(() => memories.delete(memory))
          ),
        transaction: Effect.fnUntraced(function*(work) {
          const [result, round] = yield* sql.withTransaction(Effect.gen(function*() {
            const tags = new Set<string>()
            const result = yield* work((...more) => {
              for (const tag of more) tags.add(tag)
            })
            return [result, tags.size === 0 ? undefined : yield* changed([...tags])] as const
          }))
          yield* settled(round)
          return result
        }),
        claim: (tag) => Effect.suspend(() => isAlone() ? Effect.void : Effect.flatMap(changed([tag]), settled)),
        heard: Effect.suspend(() =>
          isAlone()
            ? Effect.void
            // When it cannot be asked there is nothing to wait for.
            : Effect.flatMap(Effect.orElseSucceed(changed([]), () => undefined), settled)
        )
      })
    })
  )

  static readonly layer = this.layerNoDeps.pipe(Layer.provide(Notifications.layer))
}
