/** Who one is: accounts, sessions, passwords. */
import { Effect, Option, Redacted } from "effect"
import type { SessionId } from "../../protocol/Identity.ts"
import type { ResultOf } from "../../protocol/Request.ts"
import type { LocalFileError, NotLoggedIn, RequestError } from "../ClientError.ts"
import type { SessionIdentity } from "../Session.ts"
import type { ClientParts } from "./parts.ts"

export interface AccountMethods {
  /** Who is logged in. */
  readonly session: Effect.Effect<Option.Option<SessionIdentity>>
  /**
   * Keeps the session on this machine (0600, never the password), where a client with `takeUpSession` finds it, also in
   * another process. It lives on when this client is closed, until it is ended by `logout`.
   */
  readonly keepSession: Effect.Effect<void, NotLoggedIn | LocalFileError>
  readonly register: (
    username: string,
    password: Redacted.Redacted,
    /** `invite`: where registration is by invitation. */
    options?: { readonly invite?: string | undefined }
  ) => Effect.Effect<ResultOf<"Register">, RequestError>
  /** Begins a session; from here on its tokens are refreshed by the client itself. */
  readonly login: (
    username: string,
    password: Redacted.Redacted
  ) => Effect.Effect<SessionIdentity, RequestError>
  /** Rotates the refresh digest now. */
  readonly refresh: Effect.Effect<SessionIdentity, RequestError>
  /** Ends this session, or another one of the same user. */
  readonly logout: (session?: SessionId) => Effect.Effect<ResultOf<"Logout">, RequestError>
  /** Of the session's user; with `username`, without a session: `current` may then be an administrator's reset code. */
  readonly changePassword: (
    current: Redacted.Redacted,
    next: Redacted.Redacted,
    options?: { readonly username?: string | undefined }
  ) => Effect.Effect<ResultOf<"ChangePassword">, RequestError>
  readonly deleteUser: (
    username: string,
    password: Redacted.Redacted
  ) => Effect.Effect<ResultOf<"DeleteUser">, RequestError>
}

export const accountMethods = ({ api: { call, session }, keeperOf }: ClientParts): AccountMethods => ({
  session: session.identity,
  keepSession: session.keep(keeperOf),
  register: (username, password, options = {}) =>
    call("Register", { invite: options.invite }, {
      auth: { identity: username, password: Redacted.value(password) }
    }),
  login: (username, password) =>
    Effect.flatMap(
      call("Login", { device: session.device }, {
        auth: { identity: username, password: Redacted.value(password) }
      }),
      session.begin
    ),
  refresh: session.refresh,
  logout: (sessionId) =>
    Effect.tap(
      call("Logout", { session_id: sessionId }),
      ({ session_id }) =>
        Effect.flatMap(session.identity, (own) =>
          Option.isSome(own) && own.value.sessionId === session_id ? session.end : Effect.void)
    ),
  changePassword: (current, next, options = {}) => {
    const body = { new_password: Redacted.value(next) }
    if (options.username !== undefined) {
      return call("ChangePassword", body, { auth: { identity: options.username, password: Redacted.value(current) } })
    }
    return Effect.flatMap(
      session.active,
      ({ grant }) =>
        call("ChangePassword", body, {
          auth: { identity: grant.username, password: Redacted.value(current), token: grant.token }
        })
    )
  },
  // The session's token says that the account knows this client, whatever strangers try meanwhile.
  deleteUser: (username, password) =>
    Effect.tap(
      Effect.flatMap(session.token, (token) =>
        call("DeleteUser", {}, {
          auth: { identity: username, password: Redacted.value(password), ...token }
        })),
      (deleted) =>
        Effect.flatMap(session.identity, (own) =>
          Option.isSome(own) && own.value.username === deleted.username ? session.end : Effect.void)
    )
})
