/**
 * Accounts and sessions, for the rest of the server: who may log in, whose a request is, and how that ends.
 *
 * The parts are in users/: Credentials (passwords), Sessions (refresh digests), AccessTokens (proof of a session without
 * the database), and the repositories. Every change is one statement or one transaction.
 */
import { Clock, Context, Effect, Layer, type Result } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { DeviceId, InviteCode, Password, SessionId } from "../protocol/Identity.ts"
import { type Refusal, refuse } from "../protocol/Refusal.ts"
import type { AuthOf, ResultOf, SessionGrant, Storage, UserInfo } from "../protocol/Request.ts"
import { Coherence } from "./caches/Coherence.ts"
import { ownerOf, userOf } from "./caches/tags.ts"
import type { Caller, Peer } from "./Caller.ts"
import { databaseRefusal } from "./Database.ts"
import { Guard } from "./Guard.ts"
import { ServerConfig } from "./ServerConfig.ts"
import { AccessTokens } from "./users/AccessTokens.ts"
import { Credentials, type PasswordAuth } from "./users/Credentials.ts"
import { InviteRepo } from "./users/InviteRepo.ts"
import * as OneTimeCode from "./users/OneTimeCode.ts"
import { parts } from "./users/parts.ts"
import { PasswordHasher } from "./users/PasswordHasher.ts"
import { ResetRepo } from "./users/ResetRepo.ts"
import { Revocations } from "./users/Revocations.ts"
import { SessionRepo } from "./users/SessionRepo.ts"
import { Sessions } from "./users/Sessions.ts"
import { isBanned, type User, UserRepo } from "./users/UserRepo.ts"

const notInvited = refuse(
  "2:reg",
  "registration on this server needs an invitation that is still good: ask its administrator for one",
  "invite"
)

export class UserManager extends Context.Service<UserManager, {
  /**
   * `2:reg` when registration is closed, or by invitation and there is none; `2:dup` when the name is taken, in any case
   * of its letters; `2:rlex` when too many registered from this address.
   */
  readonly register: (
    auth: PasswordAuth,
    peer: Peer,
    invite?: InviteCode
  ) => Effect.Effect<ResultOf<"Register">, Refusal>
  /** Begins a session. A user may have several. */
  readonly login: (auth: PasswordAuth, device: DeviceId, peer: Peer) => Effect.Effect<SessionGrant, Refusal>
  /**
   * Takes a refresh digest and gives the next one, and an access token. The same device asking again within the grace
   * gets the same digest; any other use of a digest that was used ends the session.
   */
  readonly refresh: (auth: AuthOf<"digest">, peer: Peer) => Effect.Effect<SessionGrant, Refusal>
  /** Ends the caller's session, or another one of the same user. Idempotent. */
  readonly logout: (caller: Caller, sessionId?: SessionId) => Effect.Effect<ResultOf<"Logout">, Refusal>
  /** Ends all sessions of the caller's user but this one. Idempotent. */
  readonly logoutOthers: (caller: Caller) => Effect.Effect<ResultOf<"LogoutOthers">, Refusal>
  /**
   * Ends every session of the user except the one that `auth.token` belongs to. A code of `fip admin users
   * reset-password` is as good as the password, once.
   */
  readonly changePassword: (
    auth: PasswordAuth,
    next: Password,
    peer: Peer
  ) => Effect.Effect<ResultOf<"ChangePassword">, Refusal>
  /** Deletes the user and all that it owns, in one transaction: when it fails, nothing has changed. */
  readonly deleteUser: (auth: PasswordAuth, peer: Peer) => Effect.Effect<ResultOf<"DeleteUser">, Refusal>
  readonly queryUser: (caller: Caller) => Effect.Effect<UserInfo, Refusal>
  readonly querySessions: (caller: Caller) => Effect.Effect<ResultOf<"QuerySessions">, Refusal>
  readonly queryStorage: (caller: Caller) => Effect.Effect<Storage, Refusal>
  /**
   * Whose token this is: `2:exp` when it has expired, `2:auth` when it is not a live session's. Synchronous, without the
   * database: it is asked for every request.
   */
  readonly authenticate: (token: string, address: string) => Result.Result<Caller, Refusal>
  /** True when a session, whose token was good a while ago, has been ended since. */
  readonly isEnded: (sessionId: SessionId) => boolean
}>()("fip/server/UserManager") {
  static readonly layerNoDeps = Layer.effect(
    UserManager,
    Effect.gen(function*() {
      const config = yield* ServerConfig
      const sql = yield* SqlClient
      const credentials = yield* Credentials
      const hasher = yield* PasswordHasher
      const users = yield* UserRepo
      const repo = yield* SessionRepo
      const sessions = yield* Sessions
      const tokens = yield* AccessTokens
      const revocations = yield* Revocations
      const guard = yield* Guard
      const invites = yield* InviteRepo
      const resets = yield* ResetRepo
      const coherence = yield* Coherence

      const transaction = <A>(effect: Effect.Effect<A, Refusal>): Effect.Effect<A, Refusal> =>
        Effect.mapError(sql.withTransaction(effect), databaseRefusal)

      /** A transaction after which other servers must not remember what was before. */
      const coherent = <A>(work: (changed: (...tags: ReadonlyArray<string>) => void) => Effect.Effect<A, Refusal>) =>
        Effect.mapError(coherence.transaction(work), databaseRefusal)

      const now = Effect.map(Clock.currentTimeMillis, (millis) => new Date(millis))

      /** The hash of an invitation that is good, where one is needed. */
      const invitation = Effect.fnUntraced(function*(code: InviteCode | undefined) {
        if (config.registration !== "invite") return undefined
        const codeHash = OneTimeCode.hash(code ?? "")
        if (codeHash === undefined || !(yield* invites.isGood(codeHash, yield* now))) return yield* notInvited
        return codeHash
      })

      const register = Effect.fnUntraced(function*(auth: PasswordAuth, peer: Peer, code?: InviteCode) {
        if (config.registration === "closed") {
          return yield* refuse("2:reg", "this server does not take registrations: ask its administrator for an account")
        }
        yield* guard.registration(peer.address)
        const invite = yield* invitation(code)
        const { identity: username, password } = auth
        const taken = refuse("2:dup", `the user name ${username} is taken: choose another one`, "identity")
        // Asked first, so that a name that is taken costs no hash; the insertion decides.
        if ((yield* users.byName(username)) !== undefined) return yield* taken
        const hash = yield* hasher.hash(password, "stranger")
        yield* transaction(Effect.gen(function*() {
          const at = yield* now
          if (invite !== undefined && !(yield* invites.use(invite, at))) return yield* notInvited
          if (!(yield* users.insert(username, hash, at))) return yield* taken
        }))
        return { username }
      })

      const login = Effect.fnUntraced(function*(auth: PasswordAuth, device: DeviceId, peer: Peer) {
        const [grant, user] = yield* credentials.proven(
          auth,
          { peer, device },
          (user) =>
            Effect.map(
              sessions.begin(user, device, peer),
              (grant) => grant === undefined ? undefined : [grant, user] as const
            )
        )
        yield* credentials.renew(user, auth.password)
        return grant
      })

      const logout = Effect.fnUntraced(function*(caller: Caller, sessionId: SessionId = caller.sessionId) {
        const ended = yield* sessions.end(caller.userId, sessionId, "logout")
        if (ended.length === 0 && !(yield* repo.owns(caller.userId, sessionId))) {
          return yield* refuse("2:opcf", "you have no such session: QUERY sessions shows those you have", "session_id")
        }
        return { session_id: sessionId }
      })

      const logoutOthers = Effect.fnUntraced(function*(caller: Caller) {
        const others = repo.endAll(caller.userId, caller.sessionId, "logout", yield* now)
        const { ended } = yield* sessions.ending(Effect.map(others, (ended) => ({ ended })))
        return { sessions_ended: ended.filter((session) => session.live).length }
      })

      /** In a transaction. `undefined` when the password is not `verified` any more. */
      const replacePassword = Effect.fnUntraced(function*(user: User, hash: string, kept: SessionId | undefined) {
        if (!(yield* users.replaceHash(user.user_id, user.password_hash, hash))) return undefined
        yield* resets.remove(user.user_id)
        const ended = yield* repo.endAll(user.user_id, kept, "password", yield* now)
        return { username: user.username, ended }
      })

      /** Sets the password by an administrator's code; `undefined` when it is none. It cannot be guessed. */
      const redeem = Effect.fnUntraced(function*(auth: PasswordAuth, next: Password) {
        const codeHash = OneTimeCode.hash(auth.password)
        if (codeHash === undefined) return undefined
        const user = yield* users.byName(auth.identity)
        if (user === undefined || isBanned(user, yield* now)) return undefined
        if (!(yield* resets.isGood(user.user_id, codeHash, yield* now))) return undefined
        const hash = yield* hasher.hash(next, "known")
        return yield* sessions.ending(transaction(Effect.gen(function*() {
          if (!(yield* resets.use(user.user_id, codeHash, yield* now))) return undefined
          yield* guard.forgive(user.username)
          return yield* replacePassword(user, hash, undefined)
        })))
      })

      const changePassword = Effect.fnUntraced(function*(auth: PasswordAuth, next: Password, peer: Peer) {
        const redeemed = yield* redeem(auth, next)
        const { ended, username } = redeemed ?? (yield* credentials.proven(
          auth,
          { peer },
          Effect.fnUntraced(function*(user) {
            const own = auth.token === undefined ? undefined : tokens.sessionOf(auth.token)
            const kept = own?.userId === user.user_id ? own.sessionId : undefined
            const hash = yield* hasher.hash(next, "known")
            return yield* sessions.ending(transaction(replacePassword(user, hash, kept)))
          })
        ))
        return { username, sessions_ended: ended.filter((session) => session.live).length }
      })

      const deleteUser = Effect.fnUntraced(function*(auth: PasswordAuth, peer: Peer) {
        const { owner } = yield* credentials.proven(
          auth,
          { peer },
          (user) =>
            sessions.ending(coherent(Effect.fnUntraced(function*(changed) {
              const owner = yield* users.lock(user.user_id, user.password_hash)
              if (owner === undefined) return undefined
              changed(userOf(owner.user_id), ownerOf(owner.user_id))
              const ended = yield* repo.endAll(owner.user_id, undefined, "deletion", yield* now)
              yield* users.delete(owner.user_id)
              return { owner, ended }
            })))
        )
        return { username: owner.username, files_deleted: owner.files_used, bytes_deleted: owner.bytes_used }
      })

      const self = Effect.fnUntraced(function*(caller: Caller) {
        const user = yield* users.byId(caller.userId)
        return user ?? (yield* refuse("2:auth", "your account has been deleted"))
      })
      const storageOf = (user: User): Storage => ({
        bytes_used: user.bytes_used,
        bytes_limit: user.bytes_limit ?? config.bytesPerUser,
        files_used: user.files_used,
        files_limit: user.files_limit ?? config.filesPerUser
      })

      return UserManager.of({
        register,
        login,
        refresh: sessions.refresh,
        logout,
        logoutOthers,
        changePassword,
        deleteUser,
        queryUser: Effect.fnUntraced(function*(caller) {
          const user = yield* self(caller)
          const live = yield* repo.count(caller.userId, yield* now)
          return { username: user.username, created_at: user.created_at, sessions: live, ...storageOf(user) }
        }),
        querySessions: Effect.fnUntraced(function*(caller) {
          return { sessions: yield* repo.live(caller.userId, caller.sessionId, yield* now) }
        }),
        queryStorage: (caller) => Effect.map(self(caller), storageOf),
        authenticate: tokens.authenticate,
        isEnded: revocations.has
      })
    })
  )

  static readonly layer = this.layerNoDeps.pipe(Layer.provide(parts))
}
