import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import {
  type ClientError,
  ConnectError,
  ConnectionLost,
  IntegrityError,
  LocalFileError,
  NotLoggedIn,
  ProtocolError,
  TrustError
} from "../../src/client/ClientError.ts"
import { Refusal, refuse } from "../../src/protocol/Refusal.ts"
import { fingerprint, runCommand, runLines } from "../support/ShellHarness.ts"

const address = { host: "localhost", port: 6090 }
const lost = new ConnectionLost({ message: "the connection was lost" })
const unreachable = new ConnectError({ ...address, message: "nothing listens there" })
const untrusted = new TrustError({
  ...address,
  pinned: fingerprint,
  presented: fingerprint,
  message: "the key has changed"
})

/** What a client's method failed with, the status of LIST, and of UPLOAD. */
const STATUSES: ReadonlyArray<readonly [what: string, error: ClientError, request: number, transfer: number]> = [
  ["a file that is not there", refuse("2:nf", "there is no file x"), 1, 1],
  ["a missing right", refuse("2:perm", "you may not"), 1, 1],
  ["a full disk of the server", refuse("3:disk", "the disk is full"), 1, 1],
  ["a session that has ended", refuse("2:auth", "the session has ended"), 5, 5],
  ["nobody logged in", new NotLoggedIn({ message: "log in first" }), 5, 5],
  ["no connection", unreachable, 3, 3],
  ["a server gone in mid-command", lost, 3, 6],
  ["a server that does not speak the protocol", new ProtocolError({ message: "nonsense" }), 3, 3],
  ["a server that shuts down", refuse("3:s", "the server is shutting down"), 1, 6],
  ["another key than the one pinned", untrusted, 4, 4],
  ["damaged content", new IntegrityError({ message: "the hashes differ" }), 6, 6],
  ["content that the server found damaged", refuse("2:sum", "the checksum is wrong"), 1, 6],
  ["a missing local file", new LocalFileError({ path: "x", message: "there is no x" }), 2, 2]
]

describe("the exit status", () => {
  for (const [what, error, request, transfer] of STATUSES) {
    it.effect(`of ${what} is ${request}, in a transfer ${transfer}`, () =>
      Effect.gen(function*() {
        const asked = yield* runCommand(["CREATE", "x"], { answers: { create: () => Effect.fail(error) } })
        const sent = yield* runCommand(["REPLACEFROM", "x", "y"], { answers: { upload: () => Effect.fail(error) } })
        const received = yield* runCommand(["READ", "x"], { answers: { open: () => Effect.fail(error) } })
        assert.strictEqual(asked.status, request)
        assert.strictEqual(sent.status, transfer)
        assert.strictEqual(received.status, transfer)
        assert.include(sent.stderr, error.message)
      }))
  }

  it.effect("of a connection that cannot be made again once a transfer has begun is 6", () =>
    Effect.gen(function*() {
      const run = yield* runCommand(["REPLACEFROM", "x", "y"], {
        answers: {
          upload: (_local, _file, options) =>
            Effect.andThen(
              Effect.sync(() => options?.onProgress?.({ bytes: 10, total: 20 })),
              Effect.fail(unreachable)
            )
        }
      })
      assert.strictEqual(run.status, 6)
    }))

  it.effect("of a login that the server refuses is 5, whatever the client did wrong", () =>
    Effect.gen(function*() {
      for (const code of ["2:auth", "2:rlex", "2:ibv"] as const) {
        const answers = { login: () => Effect.fail(refuse(code, "no")) }
        const typed = yield* runCommand(["AUTH", "alice_smith", "wrong-password"], { answers })
        assert.strictEqual(typed.status, 5)
        const given = yield* runCommand(["LIST"], {
          answers: { ...answers, session: Effect.succeedNone },
          username: "alice_smith",
          password: Redacted.make("wrong-password")
        })
        assert.strictEqual(given.status, 5)
        assert.deepStrictEqual(given.calls.filter(([method]) => method === "list"), [])
      }
    }))

  it.effect("of a connection that is refused or not trusted is 3 or 4, before any command", () =>
    Effect.gen(function*() {
      for (const [error, status] of [[unreachable, 3], [untrusted, 4]] as const) {
        const run = yield* runLines(["LIST"], {
          json: true,
          clientLayer: () => Layer.effectContext(Effect.fail(error))
        })
        assert.strictEqual(run.status, status)
        assert.strictEqual(JSON.parse(run.stdout).command, "CONNECT")
        const one = yield* runCommand(["list"], {
          json: true,
          clientLayer: () => Layer.effectContext(Effect.fail(error))
        })
        assert.strictEqual(one.status, status)
        assert.strictEqual(JSON.parse(one.stdout).command, "LIST")
      }
    }))
})

/** A line that must end with status 2 and say these things. */
const usage = (line: string, ...sentences: ReadonlyArray<string>) =>
  it.effect(`${line} says ${sentences.join(", ")}`, () =>
    Effect.gen(function*() {
      const run = yield* runLines([line])
      assert.strictEqual(run.status, 2)
      assert.strictEqual(run.stdout, "")
      for (const sentence of sentences) assert.include(run.stderr, sentence)
      // Nothing was asked of the server: original.md, defect 34.
      assert.deepStrictEqual(run.calls, [["logout"]])
    }))

describe("a line that is wrong", () => {
  usage("REED notes.txt", `there is no command "REED": did you mean READ?`)
  usage("xyzzy", `there is no command "XYZZY": HELP lists them all`)
  usage("-x LIST", `"-x" is no command`)
  usage(`""`, "there is no command")
  usage("QUERY", "say what: storage, user, file, permission, sessions, versions")
  usage("QUERY storge", `there is no command "QUERY STORGE": did you mean STORAGE?`)
  usage("CREATE", "<file> is missing: CREATE <file> [owner]")
  usage("WRITE notes.txt", "<data> is missing: WRITE <file> <data> [--if-version n]")
  usage("GRANT bob_jones notes.txt", "<role> is missing")
  usage("PATCH f x", "--position is missing")
  usage("READ f --position", "--position needs a value")
  usage("READ f --position --limit 3", "--position needs a value")
  usage("READ f --position x", `--position must be a whole number, 0 or more, not "x"`)
  usage("READ f --position -5", `--position must be a whole number, 0 or more, not "-5"`)
  usage("READ f --version 0", "--version must be a whole number, 1 or more")
  usage("READ f --positon 3", "there is no flag --positon: did you mean --position?")
  usage("LIST --foo", "there is no flag --foo: LIST [path]")
  usage("WRITE notes.txt hello world", `"world" is one word too many (what has blanks goes in quotes)`)
  usage("GRANT bob_jones f OWNER", "<role> must be READ, EDIT or MANAGE")
  usage("GRANT bob_jones f READ --duration soon", "--duration must be a time such as 30s")
  usage("GRANT bob_jones f READ --duration 0s", "--duration must be a time such as 30s")
  usage("CREATE ../x", `"../x": there is nothing above /`)
  usage("CREATE ~bob_jones/../x", `a file name must not contain the part ".."`)
  usage("CREATE a\u0000b", "a file name must not contain control characters")
  usage("CREATE //x", "a file name is relative")
  usage("CREATE ~bob_jones", "write ~user/file")
  usage("READ ~bob_jones/f carol_doe", "name the owner once")
  usage("READ f x", "<owner> must be a user name")
  usage("RENAME f ~bob_jones/g", "write the name without ~user/")
  usage(`WRITE f "never closed`, `the " at column 9 is never closed`)
  usage("WRITE f it's", "the ' at column 11 is never closed")
  usage("LIST --shared --public", "choose one of --shared, --public and --deleted")
  usage("UPLOAD test", "test is a folder: add --recursive")
  usage("UPLOAD package.json --recursive", "package.json is a file: leave out --recursive")
  usage("UPLOAD test --recursive --if-version 3", "--if-version is for one file")
  usage("UPLOAD no/such/folder --recursive", "cannot read no/such/folder: no such file or directory")
  usage("DOWNLOAD docs/", "docs/ is a folder: add --recursive")
  usage("DOWNLOAD docs/ -r --version 3", "--version is for one file")
  usage("STERM 12", "<session> must be a session's id")
  usage("HELP FROBNICATE", `there is no command "FROBNICATE"`)

  // Nobody is there to ask: a usage error, never a wait.
  usage("AUTH", "the user name is missing")
  usage("AUTH alice_smith", "the password is missing")
  usage("UNEW alice_smith", "the password is missing")
  usage("UDEL alice_smith", "the password is missing")
  usage("UPASS", "the current password is missing")
})

describe("a refusal", () => {
  it.effect("is shown with its code", () =>
    Effect.gen(function*() {
      const run = yield* runCommand(["READ", "x"], {
        answers: { open: () => Effect.fail(refuse("2:nf", "there is no file x")) }
      })
      assert.strictEqual(run.stderr, "READ: there is no file x (2:nf)\n")
      assert.strictEqual(run.stdout, "")
    }))

  it.effect("has in JSON what the server said with it", () =>
    Effect.gen(function*() {
      const refusal = new Refusal({
        code: "2:vcf",
        message: "the file has changed",
        field: "expected_version",
        current_version: 9
      })
      const run = yield* runCommand(["WRITE", "x", "y", "--if-version", "3"], {
        json: true,
        answers: { write: () => Effect.fail(refusal) }
      })
      assert.deepStrictEqual(JSON.parse(run.stdout), {
        command: "WRITE",
        ok: false,
        code: "2:vcf",
        message: "the file has changed",
        field: "expected_version",
        current_version: 9
      })
      assert.strictEqual(run.stderr, "")
      assert.strictEqual(run.status, 1)
    }))

  it.effect("cannot steer the terminal", () =>
    Effect.gen(function*() {
      const message = "\u001b[2Jall\u0007 is \u202eflow\nFORGED: ok"
      const run = yield* runCommand(["READ", "x"], { answers: { open: () => Effect.fail(refuse("2:nf", message)) } })
      assert.strictEqual(run.stderr, "READ: \\x1b[2Jall\\x07 is \\u202eflow\\nFORGED: ok (2:nf)\n")
      const json = yield* runCommand(["READ", "x"], {
        json: true,
        answers: { open: () => Effect.fail(refuse("2:nf", `${message}\u009b`)) }
      })
      assert.match(json.stdout, /^[\u0020-\u007e]*\n$/)
      assert.strictEqual(JSON.parse(json.stdout).message, `${message}\u009b`)
    }))

  it.effect("that is a defect of the client ends the command, not the shell", () =>
    Effect.gen(function*() {
      const run = yield* runCommand(["DELETE", "x"], {
        json: true,
        answers: { delete: () => Effect.die(new Error("boom")) }
      })
      assert.strictEqual(JSON.parse(run.stdout).code, "local:internal")
      assert.strictEqual(run.status, 1)
    }))
})
