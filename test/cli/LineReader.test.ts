import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Option, Redacted, Stream } from "effect"
import { once } from "node:events"
import { PassThrough } from "node:stream"
import { FipClient } from "../../src/client/FipClient.ts"
import { Capture, fingerprint, recordingClient, runShell, session } from "../support/ShellHarness.ts"
import type { Call, HarnessOptions } from "../support/ShellHarness.ts"

/** A person at a terminal: types, and waits until something is on the screen. */
class Person {
  readonly keys = new PassThrough()
  readonly screen = new Capture(true)
  #seen = 0

  type(text: string): void {
    this.keys.write(text)
  }

  /** Waits for `text` to be shown after what was waited for before. */
  sees(text: string): Effect.Effect<void> {
    return Effect.promise(async () => {
      for (;;) {
        const at = this.screen.text.indexOf(text, this.#seen)
        if (at >= 0) {
          this.#seen = at + text.length
          return
        }
        await once(this.screen, "shown")
      }
    })
  }
}

const CTRL_C = "\u0003"
const CTRL_D = "\u0004"
const CTRL_R = "\u0012"
const RIGHT = "\u001b[C"
const TAB = "\t"
const UP = "\u001b[A"
const PROMPT = "alice_smith@localhost:6090> "

const sitDown = Effect.fnUntraced(function*(options: HarnessOptions = {}) {
  const person = new Person()
  const calls: Array<Call> = []
  const fiber = yield* Effect.forkChild(
    runShell({ _tag: "Terminal", input: person.keys, output: person.screen }, {
      stdout: person.screen,
      stderr: person.screen,
      clientLayer: () => Layer.succeed(FipClient, recordingClient(calls, options.answers)),
      ...options
    })
  )
  return { person, calls, left: Effect.map(Fiber.join(fiber), ({ status }) => status) }
})

describe("the shell at a terminal", { timeout: 10_000 }, () => {
  it.live("shows user and host, runs lines, and leaves with Ctrl-D", () =>
    Effect.gen(function*() {
      const { calls, left, person } = yield* sitDown()
      yield* person.sees(PROMPT)
      person.type("create Notes.txt\r")
      yield* person.sees("created Notes.txt")
      yield* person.sees(PROMPT)
      person.type(CTRL_D)
      assert.strictEqual(yield* left, 0)
      assert.deepStrictEqual(calls, [["create", "Notes.txt", ""], ["logout"]])
    }))

  it.live("shows the host alone when nobody is logged in", () =>
    Effect.gen(function*() {
      const { left, person } = yield* sitDown({ answers: { session: Effect.succeedNone } })
      yield* person.sees("\u001b[0Jlocalhost:6090> ")
      person.type("bye\r")
      assert.strictEqual(yield* left, 0)
    }))

  it.live("lives on after a failure, and -bye leaves with the status of its command", () =>
    Effect.gen(function*() {
      const { left, person } = yield* sitDown()
      yield* person.sees(PROMPT)
      person.type("REED x\r")
      yield* person.sees("did you mean READ?")
      yield* person.sees(PROMPT)
      person.type("WRITE x \"unclosed\r")
      yield* person.sees("is never closed")
      yield* person.sees(PROMPT)
      person.type("CREATE ../x -bye\r")
      assert.strictEqual(yield* left, 2)
    }))

  it.live("asks for passwords without showing them", () =>
    Effect.gen(function*() {
      const { calls, left, person } = yield* sitDown()
      yield* person.sees(PROMPT)
      person.type("AUTH\r")
      yield* person.sees("User name: ")
      person.type("bob_jones\r")
      yield* person.sees("Password: ")
      person.type("secret123\r")
      yield* person.sees("logged in as")
      yield* person.sees(PROMPT)
      person.type("UPASS\r")
      yield* person.sees("Current password: ")
      person.type("secret123\r")
      yield* person.sees("New password: ")
      person.type("secret456\r")
      yield* person.sees("New password again: ")
      person.type("secret456\r")
      yield* person.sees("changed the password")
      person.type("bye\r")
      yield* left
      assert.deepStrictEqual(calls.filter(([method]) => method !== "logout"), [
        ["login", "bob_jones", "secret123"],
        ["changePassword", "secret123", "secret456"]
      ])
      assert.notInclude(person.screen.text, "secret")
    }))

  it.live("refuses a new password that was not typed the same way twice", () =>
    Effect.gen(function*() {
      const { calls, left, person } = yield* sitDown()
      yield* person.sees(PROMPT)
      person.type("UNEW bob_jones\r")
      yield* person.sees("Password: ")
      person.type("secret123\r")
      yield* person.sees("Password again: ")
      person.type("secret124\r")
      yield* person.sees("the two passwords differ")
      person.type(CTRL_D)
      yield* left
      assert.deepStrictEqual(calls, [["logout"]])
    }))

  it.live("asks for the password of a user who was named at the start", () =>
    Effect.gen(function*() {
      const said: Array<string> = []
      const answers: HarnessOptions["answers"] = {
        session: Effect.sync(() => said.length === 0 ? Option.none() : Option.some(session)),
        login: (username, password) =>
          Effect.sync(() => {
            said.push(username, Redacted.value(password))
            return session
          })
      }
      const { left, person } = yield* sitDown({ username: "bob_jones", answers })
      yield* person.sees("Password of bob_jones: ")
      person.type("secret123\r")
      yield* person.sees(PROMPT)
      person.type(CTRL_D)
      yield* left
      assert.deepStrictEqual(said, ["bob_jones", "secret123"])
    }))

  it.live("brings back earlier lines, and never one with a password", () =>
    Effect.gen(function*() {
      const { calls, left, person } = yield* sitDown()
      yield* person.sees(PROMPT)
      person.type("CREATE one\r")
      yield* person.sees("created one")
      for (
        const line of [
          "AUTH alice_smith secret123",
          "auth alice_smith secret123 -bYe".replace(" -bYe", ""),
          "UDEL bob_jones secret123",
          "upass secret123 secret456",
          "AUHT alice_smith secret123",
          "AUTH alice_smith 'secret123"
        ]
      ) {
        yield* person.sees(PROMPT)
        person.type(`${line}\r`)
      }
      yield* person.sees("is never closed")
      yield* person.sees(PROMPT)
      person.type(`${UP}-again\r`)
      yield* person.sees("created one-again")
      person.type(CTRL_D)
      yield* left
      assert.deepStrictEqual(calls.filter(([method]) => method === "create"), [
        ["create", "one", ""],
        ["create", "one-again", ""]
      ])
    }))

  it.live("Ctrl-C begins the line anew", () =>
    Effect.gen(function*() {
      const { calls, left, person } = yield* sitDown()
      yield* person.sees(PROMPT)
      person.type(`DELETE everything${CTRL_C}`)
      yield* person.sees("^C")
      yield* person.sees(PROMPT)
      person.type("CREATE a\r")
      yield* person.sees("created a")
      person.type(CTRL_D)
      yield* left
      assert.deepStrictEqual(calls, [["create", "a", ""], ["logout"]])
    }))

  it.live("Ctrl-R finds earlier lines by what they hold, and Escape brings back what was typed", () =>
    Effect.gen(function*() {
      const { calls, left, person } = yield* sitDown()
      for (const name of ["first", "second", "another-first"]) {
        yield* person.sees(PROMPT)
        person.type(`CREATE ${name}\r`)
        yield* person.sees(`created ${name}`)
      }
      yield* person.sees(PROMPT)
      person.type("WRITE half")
      yield* person.sees("WRITE half")
      person.type(CTRL_R)
      yield* person.sees("(search) \"\": WRITE half")
      person.type("fir")
      yield* person.sees("(search) \"fir\": CREATE another-first")
      person.type(CTRL_R)
      yield* person.sees("(search) \"fir\": CREATE first")
      person.type(CTRL_R)
      yield* person.sees("(no such line) \"fir\": CREATE first")
      person.type(CTRL_C)
      yield* person.sees(`${PROMPT}WRITE half`)
      person.type(CTRL_R)
      yield* person.sees("(search)")
      person.type("sec")
      yield* person.sees("CREATE second")
      person.type(RIGHT)
      yield* person.sees(`${PROMPT}CREATE second`)
      person.type("-again\r")
      yield* person.sees("created second-again")
      yield* person.sees(PROMPT)
      person.type(CTRL_R)
      yield* person.sees("(search)")
      person.type("create f")
      yield* person.sees("CREATE first")
      person.type("\r")
      yield* person.sees("created first")
      yield* person.sees(PROMPT)
      person.type(CTRL_D)
      yield* left
      const created = calls.filter(([method]) => method === "create").map(([, name]) => name)
      assert.deepStrictEqual(created, ["first", "second", "another-first", "second-again", "first"])
    }))

  it.live("Ctrl-C at an empty prompt says how to leave", () =>
    Effect.gen(function*() {
      const { left, person } = yield* sitDown()
      yield* person.sees(PROMPT)
      person.type(CTRL_C)
      yield* person.sees("(BYE or Ctrl-D leaves)")
      yield* person.sees(PROMPT)
      person.type(CTRL_D)
      assert.strictEqual(yield* left, 0)
    }))

  it.live("knows the aliases of the settings, and leaves out those that cannot be", () =>
    Effect.gen(function*() {
      const aliases = new Map([["mk", "CREATE"], ["read", "CREATE"]])
      const { calls, left, person } = yield* sitDown({ aliases })
      yield* person.sees("the alias read of your settings is left out: READ is a command")
      yield* person.sees(PROMPT)
      person.type("mk a\r")
      yield* person.sees("created a")
      person.type(CTRL_D)
      yield* left
      assert.deepStrictEqual(calls[0], ["create", "a", ""])
    }))

  it.live("Tab completes, also while the server does not answer, and never in a password", () =>
    Effect.gen(function*() {
      const { calls, left, person } = yield* sitDown({ answers: { list: () => Stream.never } })
      yield* person.sees(PROMPT)
      person.type("REA")
      yield* person.sees("REA")
      person.type(TAB)
      yield* person.sees("D ")
      person.type("n")
      yield* person.sees("n")
      person.type(TAB)
      person.type("otes.txt\r")
      yield* person.sees("hello")
      yield* person.sees(PROMPT)
      person.type("AUTH bob_jones\r")
      yield* person.sees("Password: ")
      person.type("secret")
      person.type(TAB)
      person.type("123\r")
      yield* person.sees("logged in")
      person.type(CTRL_D)
      yield* left
      assert.deepStrictEqual(calls.find(([method]) => method === "login"), ["login", "bob_jones", "secret123"])
      assert.deepStrictEqual(calls.find(([method]) => method === "open"), ["open", "notes.txt", {}])
    }))

  it.live("Ctrl-C cancels the command that runs, and the shell lives on", () =>
    Effect.gen(function*() {
      const started = yield* Deferred.make<void>()
      let interrupted = false
      const { left, person } = yield* sitDown({
        answers: {
          delete: () =>
            Effect.andThen(Deferred.succeed(started, undefined), Effect.never).pipe(
              Effect.onInterrupt(() =>
                Effect.sync(() => {
                  interrupted = true
                })
              )
            )
        }
      })
      yield* person.sees(PROMPT)
      person.type("DELETE a\r")
      yield* Deferred.await(started)
      person.type(CTRL_C)
      yield* person.sees("DELETE:")
      yield* person.sees("cancelled")
      yield* person.sees(PROMPT)
      assert.isTrue(interrupted)
      person.type("LIST\r")
      yield* person.sees("notes.txt")
      person.type(CTRL_D)
      assert.strictEqual(yield* left, 0)
    }))

  it.live("Ctrl-C at a question cancels the command, and what is typed next is shown again", () =>
    Effect.gen(function*() {
      const { calls, left, person } = yield* sitDown()
      yield* person.sees(PROMPT)
      person.type("AUTH alice_smith\r")
      yield* person.sees("Password: ")
      person.type(`half${CTRL_C}`)
      yield* person.sees("cancelled")
      yield* person.sees(PROMPT)
      person.type("CREATE visible\r")
      yield* person.sees("CREATE visible")
      yield* person.sees("created visible")
      person.type(CTRL_D)
      yield* left
      assert.deepStrictEqual(calls[0], ["create", "visible", ""])
      assert.notInclude(person.screen.text, "half")
    }))

  it.live("runs lines that were pasted at once in their order", () =>
    Effect.gen(function*() {
      const { calls, left, person } = yield* sitDown()
      yield* person.sees(PROMPT)
      person.type("CREATE a\rCREATE b\r# c\rCREATE d\rBYE\r")
      assert.strictEqual(yield* left, 0)
      assert.deepStrictEqual(calls.map(([, file]) => file), ["a", "b", "d", undefined])
    }))

  it.live("shows the fingerprint of a new server and asks", () =>
    Effect.gen(function*() {
      const answers: Array<boolean> = []
      const { left, person } = yield* sitDown({
        clientLayer: (options) =>
          Layer.effect(
            FipClient,
            Effect.gen(function*() {
              const confirm = options.confirmTrust ?? (() => Effect.succeed(true))
              answers.push(yield* confirm({ host: "localhost", port: 6090, fingerprint }))
              answers.push(yield* confirm({ host: "localhost", port: 6090, fingerprint }))
              return recordingClient([])
            })
          )
      })
      yield* person.sees(`localhost:6090 is new here. Its key is ${fingerprint}\n`)
      yield* person.sees("Is that the server you mean? [y/N] ")
      person.type("YES\r")
      yield* person.sees("[y/N] ")
      person.type("maybe\r")
      yield* person.sees(PROMPT)
      person.type(CTRL_D)
      yield* left
      assert.deepStrictEqual(answers, [true, false])
    }))

  it.live("Ctrl-C while it connects leaves with 130", () =>
    Effect.gen(function*() {
      const connecting = yield* Deferred.make<void>()
      const { left, person } = yield* sitDown({
        clientLayer: () =>
          Layer.effect(FipClient, Effect.andThen(Deferred.succeed(connecting, undefined), Effect.never))
      })
      yield* Deferred.await(connecting)
      person.type(CTRL_C)
      assert.strictEqual(yield* left, 130)
    }))

  it.live("a password that is never typed is a usage error", () =>
    Effect.gen(function*() {
      const { left, person } = yield* sitDown({ username: "bob_jones", answers: { session: Effect.succeedNone } })
      yield* person.sees("Password of bob_jones: ")
      person.keys.end()
      assert.strictEqual(yield* left, 2)
    }))

  it.live("shows a result whose password was given with the options of the program", () =>
    Effect.gen(function*() {
      const { left, person } = yield* sitDown({ username: "bob_jones", password: Redacted.make("secret123") })
      yield* person.sees(PROMPT)
      person.type("QUERY storage\r")
      yield* person.sees("bytes used  1.5 KiB of 10.0 GiB")
      person.type(CTRL_D)
      yield* left
    }))
})
