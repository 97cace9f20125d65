/**
 * Sharing: grants, visibility and ownership of files.
 *
 * Every change is one transaction that locks the users it concerns, by id, then the file, and only then looks: what
 * `Policy` decides on cannot change before it is written. The server's clock alone says what has expired.
 */
import { Clock, Context, Effect, Layer, Schedule } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { type FileName, formatFileRef } from "../protocol/FileName.ts"
import { Timestamp, type Username } from "../protocol/Identity.ts"
import { type Refusal, refuse } from "../protocol/Refusal.ts"
import type { BodyOf, GrantInfo, RequestName, ResultOf } from "../protocol/Request.ts"
import type { Caller } from "./Caller.ts"
import { databaseRefusal } from "./Database.ts"
import { type FeedEntry, FeedRepo } from "./feed/FeedRepo.ts"
import * as ChangeRepo from "./files/ChangeRepo.ts"
import { FileRepo } from "./files/FileRepo.ts"
import { afford, labelOf, type Owner, permit, type Place } from "./files/Rules.ts"
import { type Grant, GrantRepo } from "./permissions/GrantRepo.ts"
import { noSuchFile, roleOf } from "./permissions/Policy.ts"
import { ServerConfig } from "./ServerConfig.ts"
import { UserRepo } from "./users/UserRepo.ts"

type Method<K extends RequestName> = (caller: Caller, body: BodyOf<K>) => Effect.Effect<ResultOf<K>, Refusal>

/** What a change sees, all of it locked. */
interface Scene {
  readonly place: Place
  /** The user whom the request is about; `undefined` when there is none of that name. */
  readonly user: Owner | undefined
  readonly now: number
  /** Adds to the feeds of users who are locked. */
  readonly tell: (entries: ReadonlyArray<FeedEntry>) => Effect.Effect<void, SqlError>
}

/** The last instant that has a timestamp on the wire. */
const END_OF_TIME = Date.parse("9999-12-31T23:59:59.999Z")
const SWEEP_EVERY = "10 minutes"

const timestamp = (millis: number): Timestamp => Timestamp.make(new Date(millis).toISOString())

const toInfo = (username: Username, grant: Grant): GrantInfo => ({
  username,
  role: grant.role,
  granted_by: grant.grantedBy,
  granted_at: timestamp(grant.grantedAt),
  ...(grant.expiresAt === undefined ? {} : { expires_at: timestamp(grant.expiresAt) })
})

interface Target {
  readonly owner?: Username
  readonly name: FileName
}

/** What watchers are told of a file, whatever happens to it. */
const entryOf = (caller: Caller, { name, owner }: Place) => ({ owner: owner.username, name, author: caller.username })

const nothingThere = ({ name, owner }: Target): Refusal => noSuchFile(formatFileRef({ owner, name }))

const noSuchUser = (username: Username): Refusal => refuse("2:unf", `no such user: ${username}`, "username")

export class Permissions extends Context.Service<Permissions, {
  readonly grant: Method<"Grant">
  readonly revoke: Method<"Revoke">
  readonly publicise: Method<"Publicise">
  readonly hide: Method<"Hide">
  readonly transfer: Method<"Transfer">
  readonly queryPermission: Method<"QueryPermission">
}>()("fip/server/Permissions") {
  static readonly layerNoDeps = Layer.effect(
    Permissions,
    Effect.gen(function*() {
      const sql = yield* SqlClient
      const users = yield* UserRepo
      const files = yield* FileRepo
      const grants = yield* GrantRepo
      const feed = yield* FeedRepo
      const locks = ChangeRepo.make(sql, yield* ServerConfig)

      /** Runs `change` on a file in a transaction of its own. */
      const transact = <A>(
        caller: Caller,
        target: Target & { readonly username?: Username },
        change: (scene: Scene) => Effect.Effect<A, Refusal | SqlError>
      ): Effect.Effect<A, Refusal> =>
        Effect.gen(function*() {
          const ownerId = target.owner === undefined ? caller.userId : (yield* users.byName(target.owner))?.user_id
          if (ownerId === undefined) return yield* nothingThere(target)
          const userId = target.username === undefined ? undefined : (yield* users.byName(target.username))?.user_id

          const locked = yield* locks.lockOwners(userId === undefined ? [ownerId] : [ownerId, userId])
          const owner = locked.find((one) => one.userId === ownerId)
          if (owner === undefined) return yield* nothingThere(target)
          const now = yield* Clock.currentTimeMillis
          const [found] = yield* locks.lockFiles(
            [{ ownerId, name: target.name, callerId: caller.userId }],
            new Date(now)
          )
          const role = found === undefined ? undefined : roleOf({
            callerId: caller.userId,
            ownerId,
            isPublic: found.file.isPublic,
            grant: found.grant
          })
          return yield* change({
            place: { callerId: caller.userId, owner, name: target.name, file: found?.file, role },
            user: locked.find((one) => one.userId === userId),
            now,
            tell: (entries) => feed.add(entries, new Date(now))
          })
        }).pipe(sql.withTransaction, Effect.mapError(databaseRefusal))

      const setPublic = (caller: Caller, body: BodyOf<"Publicise">, isPublic: boolean) =>
        transact(
          caller,
          body,
          Effect.fnUntraced(function*({ place }) {
            const file = yield* Effect.fromResult(permit(place, "publish"))
            yield* grants.setPublic(file.fileId, isPublic)
            return { owner: place.owner.username, name: place.name, public: isPublic }
          })
        )

      yield* Clock.currentTimeMillis.pipe(
        Effect.flatMap((now) => grants.sweep(new Date(now))),
        Effect.catch((error) => Effect.logWarning("cannot sweep expired grants", error)),
        Effect.repeat(Schedule.spaced(SWEEP_EVERY)),
        Effect.forkScoped
      )

      return Permissions.of({
        grant: (caller, body) =>
          transact(
            caller,
            body,
            Effect.fnUntraced(function*({ now, place, tell, user }) {
              const { fileId } = yield* Effect.fromResult(permit(place, body.role === "MANAGE" ? "appoint" : "share"))
              if (user === undefined) return yield* noSuchUser(body.username)
              if (user.userId === place.owner.userId) {
                return yield* refuse("2:opcf", `${user.username} owns ${labelOf(place)} and needs no grant`, "username")
              }
              if (user.userId === caller.userId) {
                return yield* refuse("2:opcf", "nobody grants to oneself: ask the owner", "username")
              }
              const current = yield* grants.find(fileId, user.userId, new Date(now))
              if (current?.role === "MANAGE") yield* Effect.fromResult(permit(place, "appoint"))
              const expiresAt = body.duration_ms === undefined ? undefined : now + body.duration_ms
              if (expiresAt !== undefined && expiresAt > END_OF_TIME) {
                return yield* refuse("2:ibv", "a grant may end in the year 9999 at the latest", "duration_ms")
              }
              const grant: Grant = { role: body.role, grantedBy: caller.username, grantedAt: now, expiresAt }
              yield* grants.put(fileId, user.userId, grant)
              yield* tell([{ ...entryOf(caller, place), userId: user.userId, kind: "shared", role: body.role }])
              return { owner: place.owner.username, name: place.name, ...toInfo(user.username, grant) }
            })
          ),

        revoke: (caller, body) =>
          transact(
            caller,
            body,
            Effect.fnUntraced(function*({ now, place, tell, user }) {
              const { fileId } = yield* Effect.fromResult(permit(place, "share"))
              if (user === undefined) return yield* noSuchUser(body.username)
              const current = yield* grants.find(fileId, user.userId, new Date(now))
              if (current === undefined) {
                return yield* refuse("2:opcf", `${user.username} has no grant on ${labelOf(place)}`, "username")
              }
              if (current.role === "MANAGE") yield* Effect.fromResult(permit(place, "appoint"))
              yield* grants.remove(fileId, user.userId)
              yield* tell([{ ...entryOf(caller, place), userId: user.userId, kind: "unshared", role: current.role }])
              return { owner: place.owner.username, name: place.name, username: user.username, role: current.role }
            })
          ),

        publicise: (caller, body) => setPublic(caller, body, true),
        hide: (caller, body) => setPublic(caller, body, false),

        transfer: (caller, body) =>
          transact(
            caller,
            body,
            Effect.fnUntraced(function*({ now, place, tell, user }) {
              const { fileId, sha256, size, version } = yield* Effect.fromResult(permit(place, "transfer"))
              if (user === undefined) return yield* noSuchUser(body.username)
              if (user.userId === caller.userId) {
                return yield* refuse("2:opcf", `${labelOf(place)} is yours already`, "username")
              }
              yield* Effect.fromResult(afford({ callerId: caller.userId, owner: user }, size, 1))
              const name = body.new_name ?? place.name
              // Nobody makes a file of that name meanwhile: the new owner is locked.
              const taken = yield* locks.lockFiles(
                [{ ownerId: user.userId, name, callerId: caller.userId }],
                new Date(now)
              )
              if (taken.length > 0) {
                return yield* refuse(
                  "2:cnf",
                  `${user.username} has a file named ${name} already: transfer it under another name`,
                  "new_name"
                )
              }
              yield* grants.handOver({ fileId, size, from: caller.userId, to: user.userId, name })
              yield* grants.remove(fileId, user.userId)
              yield* grants.put(fileId, caller.userId, {
                role: "MANAGE",
                grantedBy: caller.username,
                grantedAt: now,
                expiresAt: undefined
              })
              const entry = { ...entryOf(caller, place), ...(name === place.name ? {} : { newName: name }) }
              yield* tell([
                { ...entry, userId: caller.userId, kind: "given" },
                { ...entry, userId: user.userId, kind: "received" }
              ])
              return { owner: user.username, name, size, version, ...(sha256 === undefined ? {} : { sha256 }) }
            })
          ),

        queryPermission: Effect.fnUntraced(function*(caller, body) {
          const owner = body.owner ?? caller.username
          const place = yield* files.locate({ callerId: caller.userId, owner, name: body.name })
          if (place === undefined) return yield* nothingThere(body)
          const file = yield* Effect.fromResult(permit(place, "queryPermissions"))
          const now = yield* Clock.currentTimeMillis
          const list = yield* Effect.mapError(grants.list(file.fileId, new Date(now)), databaseRefusal)
          return {
            owner: place.owner.username,
            name: place.name,
            public: file.isPublic,
            grants: list.map((grant) => toInfo(grant.username, grant))
          }
        })
      })
    })
  )

  static readonly layer = this.layerNoDeps.pipe(
    Layer.provide([GrantRepo.layer, FileRepo.layer, UserRepo.layer, FeedRepo.layer])
  )
}
