/** What an administrator does to accounts and sessions. Every change is one transaction. */
import { Clock, Context, Effect, Layer } from "effect"
import { type SessionId, Timestamp, type Username } from "../../protocol/Identity.ts"
import { type Refusal, refuse } from "../../protocol/Refusal.ts"
import type { AdminInput, AdminResult, AdminUser } from "../admin/Commands.ts"
import { Coherence } from "../caches/Coherence.ts"
import { ownerOf, userOf } from "../caches/tags.ts"
import { databaseRefusal } from "../Database.ts"
import { ServerConfig } from "../ServerConfig.ts"
import { BanRepo, FOREVER } from "./BanRepo.ts"
import * as OneTimeCode from "./OneTimeCode.ts"
import { parts } from "./parts.ts"
import { ResetRepo } from "./ResetRepo.ts"
import { SessionRepo } from "./SessionRepo.ts"
import { Sessions } from "./Sessions.ts"
import { isBanned, type User, UserRepo } from "./UserRepo.ts"

const noSuchUser = (username: Username): Refusal => refuse("2:unf", `there is no user ${username}`, "username")

const timestamp = (date: Date): Timestamp => Timestamp.make(date.toISOString())

const bannedUntil = ({ banned_until }: User): Timestamp | null =>
  banned_until === null || banned_until.getTime() === FOREVER.getTime() ? null : timestamp(banned_until)

const limit = (given: number | "default" | undefined, current: number | null): number | null =>
  given === undefined ? current : given === "default" ? null : given

export class UserAdmin extends Context.Service<UserAdmin, {
  readonly list: Effect.Effect<ReadonlyArray<AdminUser>, Refusal>
  /** `2:unf` when there is none of that name. So do all the others. */
  readonly show: (username: Username) => Effect.Effect<AdminUser, Refusal>
  readonly setQuota: (input: AdminInput<"users quota">) => Effect.Effect<AdminUser, Refusal>
  /** Deletes the user and all that it owns: when it fails, nothing has changed. */
  readonly delete: (username: Username) => Effect.Effect<AdminResult<"users delete">, Refusal>
  /** A code to set a new password with, once; the one given out before is worth nothing any more. */
  readonly resetPassword: (
    input: AdminInput<"users reset-password">
  ) => Effect.Effect<AdminResult<"users reset-password">, Refusal>
  /** Keeps the user out, and ends its sessions at once. Replaces the ban that there is. */
  readonly ban: (input: AdminInput<"ban">) => Effect.Effect<AdminResult<"ban">, Refusal>
  /** `2:opcf` when the user is not banned. */
  readonly unban: (username: Username) => Effect.Effect<AdminResult<"unban">, Refusal>
  readonly bans: (input: AdminInput<"bans">) => Effect.Effect<AdminResult<"bans">["bans"], Refusal>
  readonly sessions: (username?: Username) => Effect.Effect<AdminResult<"sessions list">["sessions"], Refusal>
  /** Ends one session; how many there were to end. `2:opcf` when there is none of that id. */
  readonly endSession: (sessionId: SessionId) => Effect.Effect<number, Refusal>
  readonly endSessions: (username: Username) => Effect.Effect<number, Refusal>
}>()("fip/server/users/UserAdmin") {
  static readonly layerNoDeps = Layer.effect(
    UserAdmin,
    Effect.gen(function*() {
      const config = yield* ServerConfig
      const coherence = yield* Coherence
      const users = yield* UserRepo
      const repo = yield* SessionRepo
      const sessions = yield* Sessions
      const bans = yield* BanRepo
      const resets = yield* ResetRepo

      const now = Effect.map(Clock.currentTimeMillis, (millis) => new Date(millis))

      const find = Effect.fnUntraced(function*(username: Username) {
        const user = yield* users.byName(username)
        return user ?? (yield* noSuchUser(username))
      })

      const described = Effect.fnUntraced(function*(user: User) {
        const at = yield* now
        return {
          username: user.username,
          created_at: user.created_at,
          sessions: yield* repo.count(user.user_id, at),
          ...(isBanned(user, at) ? { banned_until: bannedUntil(user) } : {}),
          bytes_used: user.bytes_used,
          bytes_limit: user.bytes_limit ?? config.bytesPerUser,
          files_used: user.files_used,
          files_limit: user.files_limit ?? config.filesPerUser
        }
      })

      const endAll = (userId: number, reason: "admin" | "deletion" | "ban") =>
        Effect.flatMap(now, (now) => repo.endAll(userId, undefined, reason, now))

      return UserAdmin.of({
        list: Effect.flatMap(users.list, (all) => Effect.forEach(all, described)),
        show: (username) => Effect.flatMap(find(username), described),
        setQuota: Effect.fnUntraced(function*(input) {
          const user = yield* find(input.username)
          yield* users.setLimits(user.user_id, {
            bytes: limit(input.bytes_limit, user.bytes_limit),
            files: limit(input.files_limit, user.files_limit)
          })
          return yield* Effect.flatMap(find(input.username), described)
        }),
        delete: Effect.fnUntraced(function*(username) {
          const { ended, user } = yield* sessions.ending(
            coherence.transaction(Effect.fnUntraced(function*(changed) {
              const { password_hash, user_id } = yield* find(username)
              changed(userOf(user_id), ownerOf(user_id))
              const user = yield* users.lock(user_id, password_hash)
              if (user === undefined) {
                return yield* refuse("2:opcf", `${username} has just changed: repeat the command`, "username")
              }
              const ended = yield* endAll(user_id, "deletion")
              yield* users.delete(user_id)
              return { ended, user }
            })).pipe(Effect.mapError(databaseRefusal))
          )
          return {
            username: user.username,
            files_deleted: user.files_used,
            bytes_deleted: user.bytes_used,
            sessions_ended: ended.filter(({ live }) => live).length
          }
        }),
        resetPassword: Effect.fnUntraced(function*({ lasts_ms, username }) {
          const user = yield* find(username)
          const { code, hash } = OneTimeCode.make()
          const expiresAt = new Date((yield* Clock.currentTimeMillis) + lasts_ms)
          yield* resets.put(user.user_id, hash, expiresAt)
          return { username: user.username, code, expires_at: timestamp(expiresAt) }
        }),
        ban: Effect.fnUntraced(function*({ lasts_ms, reason, username }) {
          const user = yield* find(username)
          const at = yield* now
          const expiresAt = lasts_ms === null ? null : new Date(at.getTime() + lasts_ms)
          const { ended } = yield* sessions.ending(
            coherence.transaction(Effect.fnUntraced(function*(changed) {
              changed(userOf(user.user_id))
              if (!(yield* bans.put({ userId: user.user_id, reason, now: at, expiresAt }))) {
                return yield* noSuchUser(username)
              }
              return { ended: yield* endAll(user.user_id, "ban") }
            })).pipe(Effect.mapError(databaseRefusal))
          )
          return {
            username: user.username,
            expires_at: expiresAt === null ? null : timestamp(expiresAt),
            sessions_ended: ended.filter(({ live }) => live).length
          }
        }),
        unban: Effect.fnUntraced(function*(username) {
          const user = yield* find(username)
          const at = yield* now
          const lifted = yield* coherence.transaction((changed) => {
            changed(userOf(user.user_id))
            return bans.lift(user.user_id, at)
          }).pipe(Effect.mapError(databaseRefusal))
          if (!lifted) return yield* refuse("2:opcf", `${user.username} is not banned`, "username")
          return { username: user.username }
        }),
        bans: ({ all, username }) => Effect.flatMap(now, (now) => bans.list({ all, username }, now)),
        sessions: Effect.fnUntraced(function*(username) {
          const userId = username === undefined ? undefined : (yield* find(username)).user_id
          return yield* repo.list(userId, yield* now)
        }),
        endSession: Effect.fnUntraced(function*(sessionId) {
          const userId = yield* repo.ownerOf(sessionId)
          if (userId === undefined) return yield* refuse("2:opcf", "there is no such session", "session_id")
          return (yield* sessions.end(userId, sessionId, "admin")).filter(({ live }) => live).length
        }),
        endSessions: Effect.fnUntraced(function*(username) {
          const { user_id } = yield* find(username)
          const { ended } = yield* sessions.ending(Effect.map(endAll(user_id, "admin"), (ended) => ({ ended })))
          return ended.filter(({ live }) => live).length
        })
      })
    })
  )

  static readonly layer = this.layerNoDeps.pipe(Layer.provide(parts))
}
