/**
 * What happens to files, for those who watch: the changes of one user's feed after a number, waited for when there are
 * none yet. A client that asks again with the number it was given misses nothing, on any connection and any server.
 *
 * Of somebody else's feed one is told what one may read, as it is when one asks; the numbers alone say how much else
 * there was.
 */
import { Clock, Context, Duration, Effect, Layer, Option } from "effect"
import { isFolder, type Shareable } from "../protocol/FileName.ts"
import { Timestamp } from "../protocol/Identity.ts"
import { type Refusal, refuse } from "../protocol/Refusal.ts"
import type { BodyOf, ChangeInfo, ResultOf } from "../protocol/Request.ts"
import type { Caller } from "./Caller.ts"
import { databaseRefusal } from "./Database.ts"
import { Bell } from "./feed/Bell.ts"
import { FeedRepo, type FeedRow } from "./feed/FeedRepo.ts"
import { FileRepo } from "./files/FileRepo.ts"
import { deny } from "./permissions/Policy.ts"
import { ServerConfig } from "./ServerConfig.ts"
import { background, ShutdownCoordinator } from "./ShutdownCoordinator.ts"
import { UserRepo } from "./users/UserRepo.ts"

/** Changes that are looked at in one statement; an answer has no more. */
const PAGE = 200

const FORGET_EVERY = Duration.minutes(10)
const FORGET_BATCH = 500

type Watched = Pick<BodyOf<"Watch">, "prefix" | "name">

/** Whether a change is about what is watched: everything, a folder or a file, under its old name or its new one. */
const concerns = ({ name, prefix }: Watched, row: FeedRow): boolean => {
  if (name === undefined && prefix === undefined) return true
  const isMeant = (candidate: Shareable | null): boolean =>
    candidate !== null && (candidate === name || (prefix !== undefined && candidate.startsWith(prefix)))
  return isMeant(row.name) || isMeant(row.new_name)
}

const toInfo = (row: FeedRow): ChangeInfo => ({
  sequence: row.sequence,
  kind: row.kind,
  owner: row.owner,
  name: row.name,
  by: row.author,
  at: Timestamp.make(row.changed_at.toISOString()),
  ...(row.new_name === null ? {} : { new_name: row.new_name }),
  ...(row.version === null ? {} : { version: row.version }),
  ...(row.size === null ? {} : { size: row.size }),
  ...(row.role === null ? {} : { role: row.role })
})

const gone = (since: number): Refusal =>
  refuse(
    "2:gone",
    `what changed after number ${since} is not kept any more: list the files anew, and watch from now on`,
    "since"
  )

export class Feed extends Context.Service<Feed, {
  /**
   * Changes after `since`, in order. Without `since`, none, and the number to begin with. Waits for the first one at
   * most as long as asked, and not beyond the beginning of the shutdown. `2:gone` when they are not kept any more.
   */
  readonly watch: (caller: Caller, body: BodyOf<"Watch">) => Effect.Effect<ResultOf<"Watch">, Refusal>
}>()("fip/server/Feed") {
  static readonly layerNoDeps = Layer.effect(
    Feed,
    Effect.gen(function*() {
      const repo = yield* FeedRepo
      const users = yield* UserRepo
      const files = yield* FileRepo
      const bell = yield* Bell
      const { begun } = yield* ShutdownCoordinator
      const { keepChanges, keepChangesFor } = yield* ServerConfig

      /** Whether somebody who is not the owner may know of a change. */
      const mayKnow = Effect.fnUntraced(function*(caller: Caller, row: FeedRow) {
        if (row.was_reader) return true
        const name = row.new_name ?? row.name
        // Grants on folders are nobody's business but theirs whom they are about, who have them in their own feeds.
        if (isFolder(name)) return false
        // What is there no more may be known to who may read the folder that it was in.
        const place = yield* files.locate({ callerId: caller.userId, owner: row.owner, name })
        return place !== undefined && deny(place.role, "read", "") === undefined
      })

      /** The changes of one page that are to be told, and the number of the last that was looked at. */
      const look = Effect.fnUntraced(function*(caller: Caller, userId: number, since: number, watched: Watched) {
        const head = yield* Effect.mapError(repo.head(userId), databaseRefusal)
        if (head === undefined) return yield* refuse("2:unf", "the account does not exist any more", "owner")
        const rows = yield* Effect.mapError(repo.after(userId, since, caller.userId, PAGE), databaseRefusal)
        const [first] = rows
        if (since > head || (first === undefined ? since < head : first.sequence > since + 1)) {
          return yield* gone(since)
        }
        const meant = rows.filter((row) => concerns(watched, row))
        // Whoever is told of everything in their own feed was shared with, or did it themselves.
        const told = userId === caller.userId
          ? meant
          : yield* Effect.filter(meant, (row) => mayKnow(caller, row), { concurrency: "unbounded" })
        return { changes: told.map(toInfo), next: rows.at(-1)?.sequence ?? since, isFull: rows.length === PAGE }
      })

      const wait = Effect.fnUntraced(function*(
        caller: Caller,
        userId: number,
        body: BodyOf<"Watch">,
        since: number
      ) {
        const until = (yield* Clock.currentTimeMillis) + (body.wait_ms ?? 0)
        const step = (after: number) =>
          Effect.scoped(Effect.gen(function*() {
            // Listening first, so that nothing falls between the look and the wait.
            const rung = yield* bell.listen(userId)
            const page = yield* look(caller, userId, after, body)
            if (page.changes.length > 0) return { ...page, isLast: true }
            if (page.isFull) return { ...page, isLast: false }
            const left = until - (yield* Clock.currentTimeMillis)
            const heard = yield* Effect.timeoutOption(
              Effect.raceFirst(Effect.as(rung, true), Effect.as(begun, false)),
              Math.max(0, left)
            )
            return { ...page, isLast: !Option.getOrElse(heard, () => false) }
          }))
        let page = yield* step(since)
        while (!page.isLast) page = yield* step(page.next)
        return { changes: page.changes, next: page.next }
      })

      const forget = Effect.gen(function*() {
        const before = new Date((yield* Clock.currentTimeMillis) - Duration.toMillis(keepChangesFor))
        let last: number | undefined = 0
        while (last !== undefined) last = yield* repo.forget(last, FORGET_BATCH, before, keepChanges)
      })
      yield* background(
        "feeds",
        Effect.ignore(forget, { log: "Warn" }).pipe(
          Effect.andThen(Effect.sleep(FORGET_EVERY)),
          Effect.forever
        )
      )

      return Feed.of({
        watch: Effect.fnUntraced(function*(caller, body) {
          const userId = body.owner === undefined
            ? caller.userId
            : (yield* users.byName(body.owner))?.user_id
          if (userId === undefined) return yield* refuse("2:unf", `no such user: ${body.owner}`, "owner")
          if (body.since !== undefined) return yield* wait(caller, userId, body, body.since)
          const head = yield* Effect.mapError(repo.head(userId), databaseRefusal)
          return { changes: [], next: head ?? 0 }
        })
      })
    })
  )

  static readonly layer = this.layerNoDeps.pipe(
    Layer.provide([FeedRepo.layer, FileRepo.layer, UserRepo.layer, Bell.layer])
  )
}
