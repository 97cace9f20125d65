/** Commands for accounts and logins. Passwords that are not on the line are asked for. */
import { Effect, Option, type Redacted } from "effect"
import { Argument, Flag } from "effect/cli"
import { FipClient } from "../../../client/FipClient.ts"
import { formatHostPort } from "../../../client/HostPort.ts"
import { formatBytes, formatCount } from "../format.ts"
import { password, user } from "../inputs.ts"
import { newSecret, Questions } from "../Questions.ts"
import { shellCommand } from "../ShellCommand.ts"

const given = Effect.fnUntraced(function*(password: Option.Option<Redacted.Redacted>, what: string) {
  if (Option.isSome(password)) return password.value
  const questions = yield* Questions
  return yield* questions.secret(what)
})

export const auth = shellCommand({
  name: "AUTH",
  session: false,
  summary: "Log in; asks for what is missing",
  examples: [{ command: "AUTH" }, { command: "AUTH alice_smith" }, {
    command: "AUTH alice_smith --keep",
    description: "and stay logged in, as after fip login"
  }],
  json: "`username`, `session_id`",
  kind: "login",
  publicWords: 1,
  input: {
    user: user("your user name").pipe(Argument.optional),
    password: password("password"),
    keep: Flag.Boolean("keep").pipe(
      Flag.withDescription("keep the session on this machine (not the password), until STERM or fip logout"),
      Flag.withDefault(false)
    )
  },
  run: Effect.fnUntraced(function*(input) {
    const client = yield* FipClient
    const questions = yield* Questions
    const username = Option.isSome(input.user) ? input.user.value : yield* questions.text("user name")
    const secret = yield* given(input.password, "password")
    const before = yield* client.session
    const session = yield* client.login(username, secret)
    if (input.keep) yield* Effect.onError(client.keepSession, () => Effect.ignore(client.logout()))
    // The session that this one replaces would live on with nobody to end it; another user's cannot be ended from here,
    // and one that is kept is there for others.
    if (
      Option.isSome(before) && before.value.username === session.username && (input.keep || !before.value.kept)
    ) {
      yield* Effect.ignore(client.logout(before.value.sessionId))
    }
    return {
      code: "1:auth",
      message: input.keep ? `logged in as ${session.username}, and staying so` : `logged in as ${session.username}`,
      result: { username: session.username, session_id: session.sessionId }
    }
  })
})

const whoami = shellCommand({
  name: "WHOAMI",
  summary: "Who you are to the server, as it says itself",
  examples: [{ command: "WHOAMI" }],
  json: "`username`, `session_id`, `kept` (the session outlives the shell), `server`, `fingerprint` (of its key)",
  input: {},
  run: Effect.fnUntraced(function*() {
    const client = yield* FipClient
    const { username } = yield* client.queryUser
    const session = Option.getOrUndefined(yield* client.session)
    const server = formatHostPort(client)
    const kept = session?.kept === true
    return {
      code: "1:qa",
      message: username,
      result: {
        username,
        session_id: session?.sessionId,
        kept,
        server,
        fingerprint: yield* client.fingerprint
      },
      text: `${username} at ${server}${kept ? ", logged in until fip logout" : ""}`
    }
  })
})

const unew = shellCommand({
  name: "UNEW",
  session: false,
  summary: "Register a new account (and then AUTH)",
  examples: [{ command: "UNEW alice_smith" }, { command: "UNEW alice_smith --invite 7K2QM-X0VWD-93HBR-TZ4EC" }, {
    command: "UNEW foobar_user foobar_password -bye"
  }],
  json: "`username`",
  publicWords: 1,
  input: {
    user: user("the new account's name"),
    password: password("password"),
    invite: Flag.String("invite").pipe(
      Flag.withMetavar("code"),
      Flag.withDescription("an administrator's invitation, where the server wants one"),
      Flag.optional
    )
  },
  run: Effect.fnUntraced(function*(input) {
    const client = yield* FipClient
    const secret = yield* newSecret(Option.getOrUndefined(input.password), "password")
    const result = yield* client.register(input.user, secret, { invite: Option.getOrUndefined(input.invite) })
    return { code: "1:unew", message: `registered ${result.username}: AUTH logs in`, result }
  })
})

const udel = shellCommand({
  name: "UDEL",
  session: false,
  summary: "Delete an account and all that it owns",
  examples: [{ command: "UDEL alice_smith" }],
  json: "`username`, `files_deleted`, `bytes_deleted`",
  publicWords: 1,
  input: { user: user("the account to delete"), password: password("password") },
  run: Effect.fnUntraced(function*(input) {
    const client = yield* FipClient
    const secret = yield* given(input.password, "password")
    const result = yield* client.deleteUser(input.user, secret)
    const files = `${formatCount(result.files_deleted, "file")}, ${formatBytes(result.bytes_deleted)}`
    return { code: "1:udel", message: `deleted the account ${result.username} and its files (${files})`, result }
  })
})

const upass = shellCommand({
  name: "UPASS",
  summary: "Change your password; every other session of yours ends",
  examples: [
    { command: "UPASS", description: "asks for both passwords" },
    { command: "UPASS --user alice_smith", description: "asks for an administrator's reset code and the new password" }
  ],
  json: "`username`, `sessions_ended`",
  publicWords: 0,
  input: {
    current: password("current"),
    next: password("new"),
    user: Flag.String("user").pipe(
      Flag.withMetavar("user"),
      Flag.withDescription(
        "whose password, without a session; an administrator's reset code is as good as the current one"
      ),
      Flag.optional
    )
  },
  run: Effect.fnUntraced(function*(input) {
    const client = yield* FipClient
    const current = yield* given(
      input.current,
      Option.isSome(input.user) ? "reset code or current password" : "current password"
    )
    const next = yield* newSecret(Option.getOrUndefined(input.next), "new password")
    const result = yield* client.changePassword(current, next, { username: Option.getOrUndefined(input.user) })
    const ended = formatCount(result.sessions_ended, "other session")
    return { code: "1:pw", message: `changed the password of ${result.username}; ${ended} ended`, result }
  })
})

export const accountCommands = [whoami, unew, udel, upass] as const
