/**
 * Makes changes durable and then known, in groups.
 *
 * Two stages, each of which takes whatever waits for it: the first syncs the segments that hold new bytes, the second
 * runs one transaction. So the syncs of one group overlap with the transaction before it. A change that comes alone waits
 * for nobody; after a group that had more changes, a smaller one waits a moment for others. Within a transaction every
 * change is decided by itself, in the order in which it was asked for: one that is refused fails alone. A file changes
 * once in a group; a second change of it waits for the next.
 *
 * When the answer to a commit was lost, or the database is away, the group is tried again for a while: once it is known
 * not to have been committed (CommitMarks).
 *
 * With durability `os` the first stage syncs nothing: content is then as durable as the kernel makes it by itself.
 * When other servers are on the database, an answer waits until they have forgotten what was before (Coherence); the
 * next group does not.
 *
 * Whoever asks may be interrupted: a change that has been handed over is carried out all the same.
 */
import {
  type Cause,
  Clock,
  Context,
  Deferred,
  Effect,
  Exit,
  Fiber,
  FiberSet,
  Layer,
  Option,
  Queue,
  Result
} from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { setTimeout } from "node:timers/promises"
import type { UploadId } from "../../protocol/Identity.ts"
import { type Refusal, refuse } from "../../protocol/Refusal.ts"
import type { Written } from "../../protocol/Request.ts"
import { Coherence } from "../caches/Coherence.ts"
import { contentOf, fileOf } from "../caches/tags.ts"
import { databaseRefusal } from "../Database.ts"
import * as Patience from "../database/Patience.ts"
import * as Pipeline from "../database/Pipeline.ts"
import { FeedRepo } from "../feed/FeedRepo.ts"
import { Metrics } from "../metrics/Metrics.ts"
import { ServerConfig } from "../ServerConfig.ts"
import { SHUTTING_DOWN } from "./Batcher.ts"
import { type Change, keyOf, type Restore, type Slot, slotsOf, type Store, type Undelete } from "./Change.ts"
import * as ChangeRepo from "./ChangeRepo.ts"
import * as CommitMarks from "./CommitMarks.ts"
import type { Extent, SegmentId } from "./Extent.ts"
import { GracePeriods, type Ticket } from "./GracePeriods.ts"
import { apply, type Content, type Locked, Plan } from "./Plan.ts"
import type { FileRow } from "./Rules.ts"
import { SegmentStore } from "./SegmentStore.ts"

/** How long a group may wait for more changes, when the one before had more. */
const MAX_GATHERING_MILLIS = 5

/** Changes in one transaction. */
const GROUP_SIZE = 512

interface Member {
  readonly change: Change
  readonly settle: (exit: Exit.Exit<Written, Refusal>) => void
  /** Held until the change is known: whoever asked for it may be gone before. */
  readonly ticket: Ticket
}

/** Takes from `waiting`, in order, what can be in one group, and leaves there what has to wait. */
const takeGroup = (waiting: Array<Member>): ReadonlyArray<Member> => {
  const group: Array<Member> = []
  const left: Array<Member> = []
  const busy = new Set<string>()
  let looked = 0
  for (const member of waiting) {
    if (group.length === GROUP_SIZE) break
    looked++
    const keys = slotsOf(member.change).map(keyOf) // The names of one that waits are busy too, so that nothing overtakes it.
    ;(keys.every((key) => !busy.has(key)) ? group : left).push(member)
    for (const key of keys) busy.add(key)
  }
  waiting.splice(0, looked, ...left)
  return group
}

/** What is old when a plan has been written. Of files that are new nothing was known. */
const tagsOf = ({ updated, versions }: Plan): ReadonlyArray<string> => {
  const written = new Set(versions.map(({ target }) => target.fileId))
  return updated.map(({ fileId }) => written.has(fileId) ? contentOf(fileId) : fileOf(fileId))
}

const isRestore = (change: Change): change is Restore => change._tag === "Restore"
const isUndelete = (change: Change): change is Undelete => change._tag === "Undelete"
const isPatch = (change: Change): change is Store =>
  change._tag === "Store" && change.mode === "patch" && change.length > 0

export class Committer extends Context.Service<Committer, {
  /** Carries out a change. When it returns, the change is durable; when it fails with a refusal, nothing has changed. */
  readonly commit: (change: Change) => Effect.Effect<Written, Refusal>
  /**
   * Carries out changes of different files, each by itself and in this order; the outcome of each. Fails when for one of
   * them it is not known, by the server's fault.
   */
  readonly commitAll: (
    changes: ReadonlyArray<Change>
  ) => Effect.Effect<ReadonlyArray<Result.Result<Written, Refusal>>, Refusal>
}>()("fip/server/files/Committer") {
  static readonly layerNoDeps = Layer.effect(
    Committer,
    Effect.gen(function*() {
      const sql = yield* SqlClient
      const store = yield* SegmentStore
      const grace = yield* GracePeriods
      const feed = yield* FeedRepo
      const settings = yield* ServerConfig
      const pipeline = yield* Effect.orDie(Pipeline.make)
      const repo = ChangeRepo.make(sql, settings)
      const marks = yield* CommitMarks.make(sql, settings.databaseUrl, yield* Clock.currentTimeMillis)
      const patiently = Patience.make(settings.databaseUrl)
      const coherence = yield* Coherence
      const settling = yield* FiberSet.make()

      /** Reads and locks what the group is decided on. */
      const lock = Effect.fnUntraced(function*(
        group: ReadonlyArray<Member>,
        now: Date
      ): Effect.fn.Return<Locked & { readonly outcomes: ReadonlyMap<UploadId, Written | undefined> }, SqlError> {
        const ownerIds = new Set<number>()
        const slots: Array<{ readonly change: Change; readonly slot: Slot }> = []
        for (const { change } of group) {
          for (const slot of slotsOf(change)) {
            slots.push({ change, slot })
            ownerIds.add(slot.ownerId)
          }
        }
        const queries = slots.map(({ change, slot }) => ({ ...slot, callerId: change.caller.userId }))
        const uploads = group.flatMap(({ change }) => change._tag === "Store" && change.upload ? [change.upload] : [])
        const lockedOwners = yield* pipeline.send(repo.lockOwners([...ownerIds]))
        const lockedFiles = yield* pipeline.send(repo.lockFiles(queries, now))
        const lockedUploads = uploads.length > 0 ? yield* pipeline.send(repo.lockUploads(uploads)) : undefined
        const owners = new Map((yield* Fiber.join(lockedOwners)).map((owner) => [owner.userId, owner]))
        const files = new Map<string, ChangeRepo.LockedSlot>()
        for (const locked of yield* Fiber.join(lockedFiles)) {
          const slot = slots[locked.item]
          if (slot !== undefined) files.set(keyOf(slot.slot), locked)
        }

        const restores = group.map(({ change }) => change).filter(isRestore)
        const restored = new Map<Change, Content>()
        if (restores.length > 0) {
          const wanted = restores.map((change) => ({
            fileId: files.get(keyOf(change))?.file?.fileId ?? 0,
            version: change.version
          }))
          for (const found of yield* repo.versions(wanted)) {
            const change = restores[found.item]
            if (change !== undefined) restored.set(change, found)
          }
        }

        const undeletes = group.map(({ change }) => change).filter(isUndelete)
        const deleted = new Map<Change, FileRow>()
        if (undeletes.length > 0) {
          for (const { file, item } of yield* repo.lockDeleted(undeletes, now)) {
            const change = undeletes[item]
            if (change !== undefined) deleted.set(change, file)
          }
        }

        const patches = group.map(({ change }) => change).filter(isPatch)
        const overlapped = new Map<Change, Array<Extent>>()
        if (patches.length > 0) {
          const ranges = patches.map((change) => ({
            fileId: files.get(keyOf(change))?.file?.fileId ?? 0,
            from: change.position ?? 0,
            to: (change.position ?? 0) + change.length
          }))
          for (const { extent, item } of yield* repo.overlapped(ranges)) {
            const change = patches[item]
            if (change === undefined) continue
            const extents = overlapped.get(change)
            if (extents === undefined) overlapped.set(change, [extent])
            else extents.push(extent)
          }
        }

        return {
          owners,
          placeOf: (change, slot) => {
            const owner = owners.get(slot.ownerId)
            if (owner === undefined) return undefined
            const found = files.get(keyOf(slot))
            return {
              callerId: change.caller.userId,
              owner,
              name: slot.name,
              file: found?.file,
              role: found?.role
            }
          },
          versionOf: (change) => restored.get(change),
          deletedFile: (change) => deleted.get(change),
          overlapped: (change) => overlapped.get(change) ?? [],
          outcomes: lockedUploads === undefined ? new Map() : yield* Fiber.join(lockedUploads)
        }
      })

      interface Decided {
        readonly answers: ReadonlyArray<Result.Result<Written, Refusal>>
        readonly tags: ReadonlyArray<string>
        readonly isRepeated: boolean
      }

      /** Decides on what was read and locked, and writes; the answer of every member. */
      const decide = Effect.fnUntraced(function*(
        group: ReadonlyArray<Member>,
        locked: Effect.Success<ReturnType<typeof lock>>,
        millis: number
      ): Effect.fn.Return<Decided, SqlError> {
        const plan = new Plan()
        /** What was committed before counts for other servers too, although nothing changes now. */
        let isRepeated = false
        const answers = group.map(({ change }): Result.Result<Written, Refusal> => {
          const upload = change._tag === "Store" ? change.upload : undefined
          if (upload === undefined) return apply(change, locked, plan, millis)
          if (!locked.outcomes.has(upload)) {
            return Result.fail(refuse("2:nf", "the upload has expired or was aborted: begin again", "upload_id"))
          }
          // Committed before, and the answer was lost.
          const before = locked.outcomes.get(upload)
          if (before !== undefined) {
            isRepeated = true
            return Result.succeed(before)
          }
          return Result.map(apply(change, locked, plan, millis), (outcome) => {
            plan.uploads.push({ uploadId: upload, outcome })
            return outcome
          })
        })
        const now = new Date(millis)
        const added = plan.changes.length === 0 ? undefined : feed.added(plan.changes, now)
        yield* repo.write(plan, now, added, pipeline.send)
        if (plan.changes.length > 0) yield* pipeline.send(feed.publish(plan.changes))
        return { answers, tags: tagsOf(plan), isRepeated }
      })

      let groups = 0

      /** Decides and commits a group, once, however often that takes. */
      const carryOut = Effect.fnUntraced(function*(group: ReadonlyArray<Member>) {
        const number = ++groups
        /** Of the last attempt that got as far as to its commit. */
        let decided: Decided | undefined
        const attempt = Effect.gen(function*() {
          const millis = yield* Clock.currentTimeMillis
          const now = new Date(millis)
          // A mark without a transaction would say of changes that were never made that they were.
          if (marks.areKept) yield* pipeline.begun
          const claimed = yield* pipeline.send(marks.claim(number, now))
          const locked = yield* lock(group, now)
          yield* pipeline.begun
          if (yield* Fiber.join(claimed)) decided = undefined
          const { answers, isRepeated, tags } = decided ??= yield* decide(group, locked, millis)
          // Said again when it is not known whether it was heard.
          const told = tags.length > 0 || isRepeated ? yield* pipeline.send(coherence.changed(tags)) : undefined
          return { answers, told }
        })
        const committed = Effect.flatMap(pipeline.transaction(attempt), ({ answers, told }) =>
          // Answered by now, as all that was sent.
          Effect.map(told === undefined ? Effect.undefined : Fiber.join(told), (round) => ({ answers, round })))
        return yield* Effect.mapError(patiently(committed), databaseRefusal)
      })

      const settle = ({ settle, ticket }: Member, exit: Exit.Exit<Written, Refusal>): void => {
        grace.leave(ticket)
        settle(exit)
      }
      const settleAll = (
        group: ReadonlyArray<Member>,
        exit: Exit.Exit<ReadonlyArray<Result.Result<Written, Refusal>>, Refusal>
      ): void => {
        for (const [index, member] of group.entries()) {
          if (Exit.isFailure(exit)) {
            settle(member, Exit.failCause(exit.cause))
            continue
          }
          const result = exit.value[index]
          settle(
            member,
            result === undefined
              ? Exit.die("a group has fewer answers than members")
              : Result.isSuccess(result)
              ? Exit.succeed(result.success)
              : Exit.fail(result.failure)
          )
        }
      }

      const inbox = yield* Queue.unbounded<Member, Cause.Done>()
      const synced = yield* Queue.unbounded<Member, Cause.Done>()

      const syncStage = Effect.gen(function*() {
        const members = yield* Queue.takeAll(inbox)
        const segments = new Set<SegmentId>()
        for (const { change } of settings.durability === "full" ? members : []) {
          if (change._tag === "Store" && change.segment !== undefined) segments.add(change.segment)
        }
        const failed = new Map<SegmentId, Refusal>()
        yield* Effect.forEach(
          segments,
          (segment) => Effect.catch(store.sync(segment), (refusal) => Effect.sync(() => failed.set(segment, refusal))),
          { concurrency: "unbounded", discard: true }
        )
        for (const member of members) {
          const { change } = member
          const failure = change._tag === "Store" && change.segment !== undefined
            ? failed.get(change.segment)
            : undefined
          if (failure === undefined) Queue.offerUnsafe(synced, member)
          else settle(member, Exit.fail(failure))
        }
      }).pipe(Effect.forever, Effect.ignore)

      const waiting: Array<Member> = []
      let committedGroups = 0
      let committedChanges = 0
      const { observe } = yield* Metrics
      yield* observe({
        name: "fip_commit_groups_total",
        description: "Transactions that changes of files were committed in",
        kind: "counter",
        read: () => committedGroups
      })
      yield* observe({
        name: "fip_commit_changes_total",
        description: "Changes of files that were in them, refused ones included",
        kind: "counter",
        read: () => committedChanges
      })
      /** How many changes the last group had, and how long it took. */
      let last = { changes: 0, millis: 0 }
      const commitStage = Effect.gen(function*() {
        // With members left over from the last group, those that have come since join them; otherwise wait for one.
        waiting.push(...yield* waiting.length > 0 ? Queue.clear(synced) : Queue.takeAll(synced))
        if (waiting.length < last.changes) {
          // Many are writing: a group costs more than the change that is one more in it.
          yield* Effect.promise(() => setTimeout(Math.min(MAX_GATHERING_MILLIS, last.millis / 2)))
          waiting.push(...yield* Queue.clear(synced))
        }
        const group = takeGroup(waiting)
        committedGroups += 1
        committedChanges += group.length
        const begin = performance.now()
        const exit = yield* Effect.exit(carryOut(group))
        last = { changes: group.length, millis: performance.now() - begin }
        if (Exit.isFailure(exit)) return settleAll(group, Exit.failCause(exit.cause))
        const { answers, round } = exit.value
        if (round === undefined) return settleAll(group, Exit.succeed(answers))
        // Other servers hear of it while the next group is committed.
        yield* FiberSet.run(
          settling,
          Effect.andThen(coherence.settled(round), Effect.sync(() => settleAll(group, Exit.succeed(answers))))
        )
      }).pipe(Effect.forever, Effect.ignore)

      const syncing = yield* Effect.forkScoped(syncStage)
      const committing = yield* Effect.forkScoped(commitStage)
      // Added after the fork, so that what was handed over is carried out before the stages are interrupted.
      yield* Effect.addFinalizer(() =>
        Queue.end(inbox).pipe(
          Effect.andThen(Fiber.await(syncing)),
          Effect.andThen(Queue.end(synced)),
          Effect.andThen(Fiber.await(committing)),
          Effect.andThen(FiberSet.awaitEmpty(settling))
        )
      )

      /** Takes a change over; false when it is too late. */
      const handOver = (change: Change, settle: Member["settle"]): boolean => {
        const ticket = grace.enter()
        if (Queue.offerUnsafe(inbox, { change, settle, ticket })) return true
        grace.leave(ticket)
        return false
      }

      return Committer.of({
        commit: (change) =>
          Effect.suspend(() => {
            const answer = Deferred.makeUnsafe<Written, Refusal>()
            return handOver(change, (exit) => Deferred.doneUnsafe(answer, exit))
              ? Deferred.await(answer)
              : Effect.fail(SHUTTING_DOWN)
          }),
        commitAll: (changes) =>
          Effect.suspend(() => {
            const answer = Deferred.makeUnsafe<ReadonlyArray<Result.Result<Written, Refusal>>, Refusal>()
            const outcomes: Array<Result.Result<Written, Refusal>> = []
            let failure: Cause.Cause<Refusal> | undefined
            let left = changes.length
            const settleOne = (index: number, exit: Exit.Exit<Written, Refusal>): void => {
              if (Exit.isSuccess(exit)) outcomes[index] = Result.succeed(exit.value)
              else {
                const refusal = Exit.findErrorOption(exit)
                if (Option.isSome(refusal) && refusal.value.isClientFault) outcomes[index] = Result.fail(refusal.value)
                else failure = exit.cause
              }
              if (--left > 0) return
              Deferred.doneUnsafe(answer, failure === undefined ? Exit.succeed(outcomes) : Exit.failCause(failure))
            }
            if (changes.length === 0) return Effect.succeed([])
            // Nothing comes in between, so the last is taken when the first was.
            for (const [index, change] of changes.entries()) {
              if (!handOver(change, (exit) => settleOne(index, exit))) return Effect.fail(SHUTTING_DOWN)
            }
            return Deferred.await(answer)
          })
      })
    })
  )

  static readonly layer = this.layerNoDeps.pipe(Layer.provide(Coherence.layer))
}
