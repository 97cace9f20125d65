import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Queue, Redacted, Stream } from "effect"
import { ConnectionLost } from "../../src/client/ClientError.ts"
import { FipClient } from "../../src/client/FipClient.ts"
import { refuse } from "../../src/protocol/Refusal.ts"
import { type Call, fingerprint, recordingClient, runCommand, runLines, runShell } from "../support/ShellHarness.ts"

const methods = (calls: ReadonlyArray<Call>): ReadonlyArray<string> => calls.map(([method]) => method)

describe("a script", () => {
  it.effect("runs one command a line, and leaves out comments and empty lines", () =>
    Effect.gen(function*() {
      const run = yield* runLines([
        "# make a file",
        "CREATE a",
        "",
        "   ",
        "  # and another",
        "CREATE b",
        "CREATE '#c'"
      ])
      assert.deepStrictEqual(run.calls, [
        ["create", "a", ""],
        ["create", "b", ""],
        ["create", "#c", ""],
        ["logout"]
      ])
      assert.strictEqual(run.status, 0)
    }))

  it.effect("stops at the first failure, with its status", () =>
    Effect.gen(function*() {
      const refused = yield* runLines(["CREATE a", "DELETE b", "CREATE c"], {
        answers: { delete: () => Effect.fail(refuse("2:nf", "there is no file b")) }
      })
      assert.deepStrictEqual(methods(refused.calls), ["create", "logout"])
      assert.strictEqual(refused.status, 1)
      const wrong = yield* runLines(["CREATE a", "CRATE b", "CREATE c"])
      assert.deepStrictEqual(methods(wrong.calls), ["create", "logout"])
      assert.strictEqual(wrong.status, 2)
    }))

  it.effect("prints no prompt; results go to stdout and messages to stderr", () =>
    Effect.gen(function*() {
      const run = yield* runLines(["CREATE a", "LIST", "READ notes.txt", "HEARTBEAT"])
      assert.match(run.stdout, /^docs\/\nnotes.txt\nhellolocalhost:6090 runs fip 0.1.0 and answered in [\d.]+ ms\n$/)
      assert.strictEqual(run.stderr, "created a (5 B, version 2)\n")
    }))

  it.effect("ends when it is closed, also without a last newline or any line", () =>
    Effect.gen(function*() {
      const none = yield* runLines([])
      assert.deepStrictEqual(methods(none.calls), ["logout"])
      assert.strictEqual(none.status, 0)
    }))

  it.effect("runs a line as soon as it is there, before the next one is", () =>
    Effect.gen(function*() {
      const lines = yield* Queue.unbounded<string>()
      const created = yield* Deferred.make<void>()
      const client = recordingClient([])
      const fiber = yield* Effect.forkChild(
        runShell({ _tag: "Script", lines: Stream.fromQueue(lines) }, {
          clientLayer: () =>
            Layer.succeed(FipClient, {
              ...client,
              create: (file) => Effect.tap(client.create(file), () => Deferred.succeed(created, undefined))
            })
        })
      )
      yield* Queue.offer(lines, "CREATE a")
      yield* Deferred.await(created)
      yield* Queue.offer(lines, "BYE")
      assert.strictEqual((yield* Fiber.join(fiber)).status, 0)
    }))
})

describe("leaving (original.md, defect 31: -bye crashed)", () => {
  it.effect("-bye leaves after the command, whatever follows", () =>
    Effect.gen(function*() {
      for (const bye of ["-bye", "--bye", "-BYE", "--Bye"]) {
        const run = yield* runLines([`CREATE a ${bye}`, "CREATE b"])
        assert.deepStrictEqual(methods(run.calls), ["create", "logout"])
        assert.strictEqual(run.status, 0)
      }
    }))

  it.effect("-bye keeps the status of a command that fails", () =>
    Effect.gen(function*() {
      const run = yield* runLines(["CREATE a -bye"], {
        answers: { create: () => Effect.fail(refuse("2:cnf", "taken")) }
      })
      assert.strictEqual(run.status, 1)
    }))

  it.effect("BYE leaves, in any case, and so does EXIT", () =>
    Effect.gen(function*() {
      for (const bye of ["BYE", "bye", "Exit"]) {
        const run = yield* runLines([bye, "CREATE b"])
        assert.deepStrictEqual(methods(run.calls), ["logout"])
      }
    }))

  it.effect("-bye works on every command of the seed", () =>
    Effect.gen(function*() {
      for (
        const line of [
          "UNEW foobar_user foobar_password -bye",
          "CREATE myfile.txt -bye",
          "GRANT foobar_user myfile READ -bye"
        ]
      ) {
        const run = yield* runLines([line, "DELETE all"])
        assert.strictEqual(run.status, 0)
        assert.notInclude(methods(run.calls), "delete")
      }
    }))
})

describe("a login that was given with the command line", () => {
  const login = { username: "alice_smith", password: Redacted.make("secret123") }

  const answers = { session: Effect.succeedNone }

  it.effect("comes before the first command that needs it, once", () =>
    Effect.gen(function*() {
      const run = yield* runLines(["UNEW alice_smith secret123", "LIST", "LIST"], { ...login, answers })
      assert.deepStrictEqual(run.calls[1], ["login", "alice_smith", "secret123"])
      assert.deepStrictEqual(methods(run.calls), ["register", "login", "list", "list"])
    }))

  it.effect("does not come when the script logs in by itself, or the line is wrong", () =>
    Effect.gen(function*() {
      const own = yield* runLines(["LIST"], login)
      assert.deepStrictEqual(methods(own.calls), ["list", "logout"])
      const wrong = yield* runCommand(["READ"], { ...login, answers })
      assert.deepStrictEqual(methods(wrong.calls), [])
      assert.strictEqual(wrong.status, 2)
    }))

  it.effect("without a password is a usage error where nobody can be asked", () =>
    Effect.gen(function*() {
      const run = yield* runLines(["LIST"], {
        username: "alice_smith",
        answers: { session: Effect.succeedNone }
      })
      assert.strictEqual(run.status, 2)
      assert.include(run.stderr, "the password of alice_smith is missing")
      assert.deepStrictEqual(methods(run.calls), [])
    }))

  it.effect("with a password and no user name logs nobody in", () =>
    Effect.gen(function*() {
      const run = yield* runLines(["HEARTBEAT"], { password: login.password, answers })
      assert.deepStrictEqual(methods(run.calls), ["heartbeat"])
    }))

  it.effect("never shows the password", () =>
    Effect.gen(function*() {
      const run = yield* runCommand(["LIST"], {
        ...login,
        answers: { login: () => Effect.fail(refuse("2:auth", "the user name or the password is wrong")) }
      })
      assert.notInclude(run.stdout + run.stderr, "secret123")
    }))
})

describe("the end of a run", () => {
  it.effect("asks for no logout on a connection that is gone", () =>
    Effect.gen(function*() {
      const lost = new ConnectionLost({ message: "the connection was lost" })
      const run = yield* runLines(["SREF", "DELETE a"], { answers: { delete: () => Effect.fail(lost) } })
      assert.deepStrictEqual(methods(run.calls), ["refresh"])
      assert.strictEqual(run.status, 3)
    }))

  it.effect("does not ask whether a key is right where nobody can answer, and tells what the client says", () =>
    Effect.gen(function*() {
      const run = yield* runLines([], {
        clientLayer: (options) => {
          assert.strictEqual(options.confirmTrust, undefined)
          options.onNotice?.(`localhost is new: its key ${fingerprint} is pinned\u001b[2J`)
          return Layer.succeed(FipClient, recordingClient([]))
        }
      })
      assert.strictEqual(run.stderr, `localhost is new: its key ${fingerprint} is pinned\\x1b[2J\n`)
    }))
})
