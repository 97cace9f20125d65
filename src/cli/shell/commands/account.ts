/** Commands for accounts and logins. Passwords that are not on the line are asked for. */
import { Effect, Option, type Redacted } from "effect"
import { Argument, Flag } from "effect/cli"
import { FipClient } from "../../../client/FipClient.ts"
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
  examples: [{ command: "AUTH" }, { command: "AUTH alice_smith" }],
  json: "`username`, `session_id`",
  kind: "login",
  publicWords: 1,
  input: { user: user("your user name").pipe(Argument.optional), password: password("password") },
  run: Effect.fnUntraced(function*(input) {
    const client = yield* FipClient
    const questions = yield* Questions
    const username = Option.isSome(input.user) ? input.user.value : yield* questions.text("user name")
    const secret = yield* given(input.password, "password")
    const before = yield* client.session
    const session = yield* client.login(username, secret)
    // The session that this one replaces would live on with nobody to end it; another user's cannot be ended from here.
    if (Option.isSome(before) && before.value.username === session.username) {
      yield* Effect.ignore(client.logout(before.value.sessionId))
    }
    return {
      code: "1:auth",
      message: `logged in as ${session.username}`,
      result: { username: session.username, session_id: session.sessionId }
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

export const accountCommands = [unew, udel, upass] as const
