/**
 * Sharing: grants and visibility of files and folders, ownership and locks of files.
 *
 * Every change is one transaction that locks the users it concerns, by id, then the file, and only then looks: what
 * `Policy` decides on cannot change before it is written. The server's clock alone says what has expired.
 */
import { Clock, Context, Effect, Layer, Result, Schedule } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { type FolderPrefix, formatFileRef, isFolder, type Shareable } from "../protocol/FileName.ts"
import { Timestamp, type Username } from "../protocol/Identity.ts"
import type { Role } from "../protocol/Permission.ts"
import { type Refusal, refuse } from "../protocol/Refusal.ts"
import type { BodyOf, GrantInfo, RequestName, ResultOf } from "../protocol/Request.ts"
import { Coherence } from "./caches/Coherence.ts"
import { fileOf, ownerOf } from "./caches/tags.ts"
import type { Caller } from "./Caller.ts"
import { databaseRefusal } from "./Database.ts"
import { type FeedEntry, FeedRepo } from "./feed/FeedRepo.ts"
import * as ChangeRepo from "./files/ChangeRepo.ts"
import { afford, type FileRow, type Owner, permit, type Place } from "./files/Rules.ts"
import { type Grant, GrantRepo, type Subject } from "./permissions/GrantRepo.ts"
import { type Action, deny, denyLocked, noSuchFile, strongest } from "./permissions/Policy.ts"
import { ServerConfig } from "./ServerConfig.ts"
import { background } from "./ShutdownCoordinator.ts"

type Method<K extends RequestName> = (caller: Caller, body: BodyOf<K>) => Effect.Effect<ResultOf<K>, Refusal>

/** What a change sees, all of it locked. */
interface Scene {
  readonly caller: Caller
  readonly owner: Owner
  readonly name: Shareable
  /** The file of that name; never with a folder. */
  readonly file: FileRow | undefined
  readonly role: Role | undefined
  /** The user whom the request is about; `undefined` when there is none of that name. */
  readonly user: Owner | undefined
  readonly now: number
  /** Adds to the feeds of users who are locked. */
  readonly tell: (entries: ReadonlyArray<FeedEntry>) => Effect.Effect<void, SqlError>
}

/** The last instant that has a timestamp on the wire. */
const END_OF_TIME = Date.parse("9999-12-31T23:59:59.999Z")
const SWEEP_EVERY = "10 minutes"
const DEFAULT_LOCK_MS = 10 * 60_000

const timestamp = (millis: number): Timestamp => Timestamp.make(new Date(millis).toISOString())

const toInfo = (username: Username, grant: Grant & { readonly through?: FolderPrefix | undefined }): GrantInfo => ({
  username,
  role: grant.role,
  granted_by: grant.grantedBy,
  granted_at: timestamp(grant.grantedAt),
  ...(grant.expiresAt === undefined ? {} : { expires_at: timestamp(grant.expiresAt) }),
  ...(grant.through === undefined ? {} : { through: grant.through })
})

interface Target {
  readonly owner?: Username
  readonly name: Shareable
}

/** What watchers are told, whatever happens. */
const entryOf = ({ caller, name, owner }: Scene) => ({ owner: owner.username, name, author: caller.username })

const nothingThere = ({ name, owner }: Target): Refusal => noSuchFile(formatFileRef({ owner, name }))

const noSuchUser = (username: Username): Refusal => refuse("2:unf", `no such user: ${username}`, "username")

/** How the caller writes it. */
const label = ({ caller, name, owner }: Pick<Scene, "caller" | "name" | "owner">): string =>
  formatFileRef({ owner: owner.userId === caller.userId ? undefined : owner.username, name })

/** The folder by which `subject` is shared, as the caller writes it. */
const labelOfFolder = (scene: Pick<Scene, "caller" | "owner">, folder: FolderPrefix): string =>
  label({ ...scene, name: folder })

/** What is there, when the caller may do this to it. A folder is there for who has a role on it, with or without files. */
const permitShared = (scene: Scene, action: Action): Result.Result<Subject, Refusal> => {
  const { caller, file, name, owner, role } = scene
  const subject: Subject | undefined = isFolder(name)
    ? { _tag: "Folder", ownerId: owner.userId, name }
    : file === undefined
    ? undefined
    : { _tag: "File", ownerId: owner.userId, name, fileId: file.fileId }
  if (subject === undefined) return Result.fail(noSuchFile(label(scene)))
  const refusal = deny(role, action, label(scene)) ?? denyLocked(caller.userId, file?.lock, action, label(scene))
  return refusal === undefined ? Result.succeed(subject) : Result.fail(refusal)
}

/** The file as `Rules` judges it. */
const placeOf = ({ caller, file, name, owner, role }: Scene): Result.Result<Place, Refusal> =>
  isFolder(name)
    ? Result.fail(refuse("2:ibv", "this can be done to a file, not to a folder", "name"))
    : Result.succeed({ callerId: caller.userId, owner, name, file, role })

const permitFile = (scene: Scene, action: Action): Result.Result<FileRow, Refusal> =>
  Result.flatMap(placeOf(scene), (place) => permit(place, action))

export class Permissions extends Context.Service<Permissions, {
  readonly grant: Method<"Grant">
  readonly revoke: Method<"Revoke">
  readonly publicise: Method<"Publicise">
  readonly hide: Method<"Hide">
  readonly transfer: Method<"Transfer">
  readonly lock: Method<"Lock">
  readonly unlock: Method<"Unlock">
  readonly queryPermission: Method<"QueryPermission">
}>()("fip/server/Permissions") {
  static readonly layerNoDeps = Layer.effect(
    Permissions,
    Effect.gen(function*() {
      const sql = yield* SqlClient
      const grants = yield* GrantRepo
      const feed = yield* FeedRepo
      const coherence = yield* Coherence
      const locks = ChangeRepo.make(sql, yield* ServerConfig)

      /** Looks at a file or a folder in a transaction of its own. */
      const observe = <A>(
        caller: Caller,
        target: Target & { readonly username?: Username },
        change: (scene: Scene) => Effect.Effect<A, Refusal | SqlError>,
        tagsOf: (scene: Scene) => ReadonlyArray<string> = () => []
      ): Effect.Effect<A, Refusal> =>
        coherence.transaction(Effect.fnUntraced(function*(changed) {
          const { name, username } = target
          const ownerName = target.owner ?? caller.username
          const locked = yield* locks.lockNamed(username === undefined ? [ownerName] : [ownerName, username])
          const named = (wanted: Username) => locked.find((one) => one.username.toLowerCase() === wanted.toLowerCase())
          const owner = named(ownerName)
          if (owner === undefined) return yield* nothingThere(target)
          const now = yield* Clock.currentTimeMillis
          const slot = { ownerId: owner.userId, name, callerId: caller.userId }
          const found = isFolder(name)
            ? { file: undefined, role: yield* locks.folderRole(slot, new Date(now)) }
            : (yield* locks.lockFiles([slot], new Date(now)))[0]
          const scene: Scene = {
            caller,
            owner,
            name,
            file: found?.file,
            role: found?.role,
            user: username === undefined ? undefined : named(username),
            now,
            tell: (entries) => feed.add(entries, new Date(now))
          }
          const result = yield* change(scene)
          changed(...tagsOf(scene))
          return result
        })).pipe(Effect.mapError(databaseRefusal))

      /** Changes it: what was remembered of the file, or of all that the folder's owner has, is old then. */
      const transact = <A>(...[caller, target, change]: Parameters<typeof observe<A>>): Effect.Effect<A, Refusal> =>
        observe(
          caller,
          target,
          change,
          ({ file, owner }) => [file === undefined ? ownerOf(owner.userId) : fileOf(file.fileId)]
        )

      /** What `user` may still do, now that a grant is gone. */
      const remaining = Effect.fnUntraced(function*(scene: Scene, subject: Subject, user: Owner) {
        const left = (yield* grants.list(subject, new Date(scene.now))).filter(({ userId }) => userId === user.userId)
        const role = strongest(left.map((grant) => grant.role))
        const through = left.find((grant) => grant.role === role)?.through
        if (role !== undefined) return { role, ...(through === undefined ? {} : { through }) }
        const isPublic = scene.file?.isPublic ?? (yield* grants.publicFolder(subject)) !== undefined
        return isPublic ? { role: "READ" as const } : undefined
      })

      const setPublic = (caller: Caller, body: BodyOf<"Publicise">, isPublic: boolean) =>
        transact(
          caller,
          body,
          Effect.fnUntraced(function*(scene) {
            const subject = yield* Effect.fromResult(permitShared(scene, "publish"))
            const { name } = scene
            const folder = isPublic ? undefined : yield* grants.publicFolder(subject)
            // To say that it is hidden would be a lie.
            if (folder !== undefined && folder !== name) {
              const through = labelOfFolder(scene, folder)
              return yield* refuse(
                "2:opcf",
                `${label(scene)} is public with all of ${through}: hide ${through}`,
                "name"
              )
            }
            yield* grants.setPublic(subject, isPublic)
            return { owner: scene.owner.username, name, public: isPublic }
          })
        )

      const sweep = Clock.currentTimeMillis.pipe(
        Effect.flatMap((now) => grants.sweep(new Date(now))),
        Effect.catch((error) => Effect.logWarning("cannot sweep expired grants", error))
      )
      yield* background("sweep of grants", Effect.repeat(sweep, Schedule.spaced(SWEEP_EVERY)))

      return Permissions.of({
        grant: (caller, body) =>
          transact(
            caller,
            body,
            Effect.fnUntraced(function*(scene) {
              const { name, now, owner, user } = scene
              const subject = yield* Effect.fromResult(
                permitShared(scene, body.role === "MANAGE" ? "appoint" : "share")
              )
              if (user === undefined) return yield* noSuchUser(body.username)
              if (user.userId === owner.userId) {
                return yield* refuse("2:opcf", `${user.username} owns ${label(scene)} and needs no grant`, "username")
              }
              if (user.userId === caller.userId) {
                return yield* refuse("2:opcf", "nobody grants to oneself: ask the owner", "username")
              }
              const current = yield* grants.find(subject, user.userId, new Date(now))
              if (current?.role === "MANAGE") yield* Effect.fromResult(permitShared(scene, "appoint"))
              const expiresAt = body.duration_ms === undefined ? undefined : now + body.duration_ms
              if (expiresAt !== undefined && expiresAt > END_OF_TIME) {
                return yield* refuse("2:ibv", "a grant may end in the year 9999 at the latest", "duration_ms")
              }
              const grant: Grant = { role: body.role, grantedBy: caller.username, grantedAt: now, expiresAt }
              yield* grants.put(subject, user.userId, grant)
              yield* scene.tell([{ ...entryOf(scene), userId: user.userId, kind: "shared", role: body.role }])
              return { owner: owner.username, name, ...toInfo(user.username, grant) }
            })
          ),

        revoke: (caller, body) =>
          transact(
            caller,
            body,
            Effect.fnUntraced(function*(scene) {
              const { name, now, owner, user } = scene
              const subject = yield* Effect.fromResult(permitShared(scene, "share"))
              if (user === undefined) return yield* noSuchUser(body.username)
              const current = yield* grants.find(subject, user.userId, new Date(now))
              if (current === undefined) {
                const rest = yield* remaining(scene, subject, user)
                const why = rest?.through === undefined
                  ? ""
                  : `, but ${rest.role} through ${labelOfFolder(scene, rest.through)}: revoke it there`
                return yield* refuse("2:opcf", `${user.username} has no grant on ${label(scene)}${why}`, "username")
              }
              if (current.role === "MANAGE") yield* Effect.fromResult(permitShared(scene, "appoint"))
              yield* grants.remove(subject, user.userId)
              yield* scene.tell([{ ...entryOf(scene), userId: user.userId, kind: "unshared", role: current.role }])
              const rest = yield* remaining(scene, subject, user)
              return {
                owner: owner.username,
                name,
                username: user.username,
                role: current.role,
                ...(rest === undefined ? {} : { remaining: rest })
              }
            })
          ),

        publicise: (caller, body) => setPublic(caller, body, true),
        hide: (caller, body) => setPublic(caller, body, false),

        transfer: (caller, body) =>
          transact(
            caller,
            body,
            Effect.fnUntraced(function*(scene) {
              const { now, user } = scene
              const { fileId, sha256, size, version } = yield* Effect.fromResult(permitFile(scene, "transfer"))
              if (user === undefined) return yield* noSuchUser(body.username)
              if (user.userId === caller.userId) {
                return yield* refuse("2:opcf", `${label(scene)} is yours already`, "username")
              }
              yield* Effect.fromResult(afford({ callerId: caller.userId, owner: user }, size, 1))
              const name = body.new_name ?? body.name
              // Nobody makes a file of that name meanwhile: the new owner is locked.
              const [taken] = yield* locks.lockFiles(
                [{ ownerId: user.userId, name, callerId: caller.userId }],
                new Date(now)
              )
              if (taken?.file !== undefined) {
                return yield* refuse(
                  "2:cnf",
                  `${user.username} has a file named ${name} already: transfer it under another name`,
                  "new_name"
                )
              }
              const subject: Subject = { _tag: "File", ownerId: user.userId, name, fileId }
              yield* grants.handOver({ fileId, size, from: caller.userId, to: user.userId, name })
              yield* grants.remove(subject, user.userId)
              yield* grants.put(subject, caller.userId, {
                role: "MANAGE",
                grantedBy: caller.username,
                grantedAt: now,
                expiresAt: undefined
              })
              const entry = { ...entryOf(scene), ...(name === scene.name ? {} : { newName: name }) }
              yield* scene.tell([
                { ...entry, userId: caller.userId, kind: "given" },
                { ...entry, userId: user.userId, kind: "received" }
              ])
              return { owner: user.username, name, size, version, ...(sha256 === undefined ? {} : { sha256 }) }
            })
          ),

        lock: (caller, body) =>
          transact(
            caller,
            body,
            Effect.fnUntraced(function*(scene) {
              const { fileId } = yield* Effect.fromResult(permitFile(scene, "lock"))
              const expiresAt = scene.now + (body.duration_ms ?? DEFAULT_LOCK_MS)
              yield* grants.lock(fileId, { userId: caller.userId, lockedAt: scene.now, expiresAt })
              return {
                owner: scene.owner.username,
                name: body.name,
                locked_by: caller.username,
                locked_until: timestamp(expiresAt)
              }
            })
          ),

        unlock: (caller, body) =>
          transact(
            caller,
            body,
            Effect.fnUntraced(function*(scene) {
              const { fileId, lock } = yield* Effect.fromResult(permitFile(scene, "read"))
              const isOwn = lock === undefined || lock.userId === caller.userId
              if (!isOwn && body.force !== true) yield* Effect.fromResult(permitFile(scene, "lock"))
              if (!isOwn) yield* Effect.fromResult(permitFile(scene, "breakLock"))
              const answer = { owner: scene.owner.username, name: body.name }
              if (lock === undefined) return answer
              yield* grants.unlock(fileId)
              return { ...answer, unlocked: lock.username }
            })
          ),

        queryPermission: (caller, body) =>
          observe(
            caller,
            body,
            Effect.fnUntraced(function*(scene) {
              const subject = yield* Effect.fromResult(permitShared(scene, "queryPermissions"))
              const list = yield* grants.list(subject, new Date(scene.now))
              const folder = yield* grants.publicFolder(subject)
              return {
                owner: scene.owner.username,
                name: scene.name,
                public: scene.file?.isPublic ?? folder !== undefined,
                ...(folder === undefined || folder === scene.name ? {} : { public_through: folder }),
                grants: list.map((grant) => toInfo(grant.username, grant))
              }
            })
          )
      })
    })
  )

  static readonly layer = this.layerNoDeps.pipe(Layer.provide([GrantRepo.layer, FeedRepo.layer, Coherence.layer]))
}
