/** What the shell of the Python original got wrong (original.md, section 12), one test each. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { ConnectionLost } from "../../src/client/ClientError.ts"
import { Username } from "../../src/protocol/Identity.ts"
import { refuse } from "../../src/protocol/Refusal.ts"
import { runCommand, runLines, session } from "../support/ShellHarness.ts"

describe("the original's defects", () => {
  it.effect("3: the shell goes on after its first line of output", () =>
    Effect.gen(function*() {
      const run = yield* runLines(["LIST", "LIST", "READ f", "LIST"])
      assert.strictEqual(run.stdout, "docs/\nnotes.txt\ndocs/\nnotes.txt\nhellodocs/\nnotes.txt\n")
    }))

  it.effect("32: AUTH never shows credentials, and its old flag is a usage error", () =>
    Effect.gen(function*() {
      const run = yield* runCommand(["AUTH", "alice_smith", "secret123", "-dc"])
      assert.strictEqual(run.status, 2)
      assert.include(run.stderr, "there is no flag --dc")
      const json = yield* runCommand(["AUTH", "alice_smith", "secret123"], { json: true })
      assert.deepStrictEqual(JSON.parse(json.stdout).result, { username: "alice_smith", session_id: session.sessionId })
    }))

  it.effect("33: files of users with _ and - in their names can be used", () =>
    Effect.gen(function*() {
      const run = yield* runLines(["READ notes.txt foobar_user", "READ ~foo-bar_2/notes.txt"])
      assert.deepStrictEqual(run.calls.map(([, file]) => file), [
        "~foobar_user/notes.txt",
        "~foo-bar_2/notes.txt",
        undefined
      ])
    }))

  it.effect("34: a command with a wrong line does not run, and no line crashes the shell", () =>
    Effect.gen(function*() {
      for (
        const line of [
          "DELETE",
          "DELETE f --foo",
          "READ f bob_jones extra",
          "DELETE 'f",
          "UPLOAD nothing-here --recursive",
          "\\",
          "\"",
          "--",
          "-",
          "= =",
          "\u0000",
          "QUERY \"\"",
          "READ f --position=",
          "READ --",
          "PATCH f x --position 1 --position 2"
        ]
      ) {
        const run = yield* runLines([line])
        assert.strictEqual(run.status, 2, line)
        assert.deepStrictEqual(run.calls, [["logout"]], line)
        assert.strictEqual(run.stderr.split("\n").length, 2, line)
      }
    }))

  it.effect("34: a server that does not answer ends the command with a sentence", () =>
    Effect.gen(function*() {
      const silent = new ConnectionLost({ message: "localhost:6090 has been silent for 60 seconds" })
      const run = yield* runCommand(["HEARTBEAT"], { answers: { heartbeat: Effect.fail(silent) } })
      assert.strictEqual(run.stderr, "HEARTBEAT: localhost:6090 has been silent for 60 seconds\n")
      assert.strictEqual(run.status, 3)
    }))

  it.effect("36: UDEL that fails is no logout", () =>
    Effect.gen(function*() {
      const run = yield* runCommand(["UDEL", "alice_smith", "wrong-password"], {
        answers: { deleteUser: () => Effect.fail(refuse("2:auth", "wrong password")) }
      })
      assert.strictEqual(run.status, 5)
      // Still logged in: the session is ended when the shell ends.
      assert.deepStrictEqual(run.calls, [["logout"]])
    }))

  it.effect("36: an upload that fails says so, and nothing of success", () =>
    Effect.gen(function*() {
      const run = yield* runCommand(["REPLACEFROM", "a", "b"], {
        answers: { upload: () => Effect.fail(refuse("2:nf", "no such file: b")) }
      })
      assert.strictEqual(run.stdout, "")
      assert.strictEqual(run.stderr, "REPLACEFROM: no such file: b (2:nf)\n")
    }))
})

describe("STERM", () => {
  it.effect("ends one session or all others", () =>
    Effect.gen(function*() {
      const run = yield* runCommand(["STERM", "--others"])
      assert.deepStrictEqual([run.status, run.calls[0]], [0, ["logoutOthers"]])
      assert.strictEqual((yield* runCommand(["STERM", session.sessionId, "--others"])).status, 2)
    }))
})

describe("AUTH", () => {
  it.effect("ends the session of the same user that it replaces, and leaves another user's", () =>
    Effect.gen(function*() {
      const same = yield* runCommand(["AUTH", "alice_smith", "secret123"])
      assert.deepStrictEqual(same.calls, [
        ["login", "alice_smith", "secret123"],
        ["logout", session.sessionId],
        ["logout"]
      ])
      const other = yield* runCommand(["AUTH", "alice_smith", "secret123"], {
        answers: { session: Effect.succeedSome({ ...session, username: Username.make("bob_jones") }) }
      })
      assert.deepStrictEqual(other.calls.map(([method]) => method), ["login", "logout"])
      const first = yield* runCommand(["AUTH", "alice_smith", "secret123"], {
        answers: { session: Effect.succeedNone }
      })
      assert.deepStrictEqual(first.calls, [["login", "alice_smith", "secret123"]])
    }))
})
