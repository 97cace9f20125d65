import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { type Call, runCommand, runLines } from "../support/ShellHarness.ts"

/** Lines, and the call that each must make. */
const LINES: ReadonlyArray<readonly [line: string, call: Call]> = [
  // The seed's own lines.
  ["UNEW foobar_user foobar_password -bye", ["register", "foobar_user", "foobar_password"]],
  ["CREATE myfile.txt -bye", ["create", "myfile.txt", ""]],
  ["GRANT foobar_user myfile READ -bye", ["grant", "foobar_user", "myfile", "READ", {}]],

  ["STERM", ["logout"]],
  ["STERM 0193a7c2-4e6b-4c1d-9f0a-2b3c4d5e6f70", ["logout", "0193a7c2-4e6b-4c1d-9f0a-2b3c4d5e6f70"]],
  ["SREF", ["refresh"]],
  ["HEARTBEAT", ["heartbeat"]],
  ["UDEL alice_smith secret123", ["deleteUser", "alice_smith", "secret123"]],
  ["UPASS old-secret new-secret", ["changePassword", "old-secret", "new-secret"]],

  ["CREATE docs/a.txt bob_jones", ["create", "~bob_jones/docs/a.txt", ""]],
  ["READ notes.txt", ["open", "notes.txt", {}]],
  ["READ notes.txt bob_jones", ["open", "~bob_jones/notes.txt", {}]],
  ["READ ~bob_jones/notes.txt --position 3 --limit=10 --version 2", ["open", "~bob_jones/notes.txt", {
    position: 3,
    limit: 10,
    version: 2
  }]],
  ["READ notes.txt --position 5368709120", ["open", "notes.txt", { position: 5368709120 }]],
  ["WRITE notes.txt hello", ["write", "notes.txt", "hello", {}]],
  [`WRITE notes.txt "Hello  World"`, ["write", "notes.txt", "Hello  World", {}]],
  [`WRITE notes.txt ""`, ["write", "notes.txt", "", {}]],
  ["WRITE notes.txt x --if-version 7", ["write", "notes.txt", "x", { expectedVersion: 7 }]],
  ["REPLACE notes.txt x --if-version=7", ["replace", "notes.txt", "x", { expectedVersion: 7 }]],
  ["APPEND notes.txt x", ["append", "notes.txt", "x", {}]],
  ["PATCH notes.txt x --position 0", ["patch", "notes.txt", 0, "x", {}]],
  ["PATCH --position 4 notes.txt x", ["patch", "notes.txt", 4, "x", {}]],
  ["DELETE notes.txt", ["delete", "notes.txt", {}]],
  ["DELETE ~bob_jones/notes.txt --if-version 2", ["delete", "~bob_jones/notes.txt", { expectedVersion: 2 }]],
  ["RENAME notes.txt docs/b.txt", ["rename", "notes.txt", "docs/b.txt"]],
  ["COPY ~bob_jones/a.txt b.txt", ["copy", "~bob_jones/a.txt", "b.txt"]],
  ["RESTORE notes.txt --version 3", ["restore", "notes.txt", 3]],
  ["WATCH", ["watch", {}]],
  ["WATCH ~bob_jones/docs/ --since 41 --changes 1", ["watch", { owner: "bob_jones", prefix: "docs/", since: 41 }]],
  ["RESTORE notes.txt", ["restore", "notes.txt", undefined]],
  ["RENAME notes.txt b.txt --if-version 3", ["rename", "notes.txt", "b.txt", { expectedVersion: 3 }]],
  ["COPY notes.txt b.txt --if-version 3", ["copy", "notes.txt", "b.txt", { expectedVersion: 3 }]],
  ["RESTORE notes.txt --version 2 --if-version 3", ["restore", "notes.txt", 2, { expectedVersion: 3 }]],

  ["REPLACEFROM local.bin notes.txt", ["upload", "local.bin", "notes.txt", { mode: "replace" }]],
  ["APPENDFROM local.bin notes.txt bob_jones", ["upload", "local.bin", "~bob_jones/notes.txt", { mode: "append" }]],
  ["PATCHFROM local.bin notes.txt --position 9", ["upload", "local.bin", "notes.txt", { mode: "patch", position: 9 }]],
  ["UPLOAD package.json", ["upload", "package.json", "package.json", { mode: "write" }]],
  ["UPLOAD ./package.json docs/", ["upload", "./package.json", "docs/package.json", { mode: "write" }]],
  ["UPLOAD package.json ~bob_jones/", ["upload", "package.json", "~bob_jones/package.json", { mode: "write" }]],
  ["UPLOAD package.json a/b.json --if-version 4", ["upload", "package.json", "a/b.json", {
    mode: "write",
    expectedVersion: 4
  }]],
  ["DOWNLOAD docs/notes.txt", ["download", "docs/notes.txt", "notes.txt", {}]],
  ["DOWNLOAD docs/notes.txt test --version 2", ["download", "docs/notes.txt", "test/notes.txt", { version: 2 }]],
  ["DOWNLOAD docs/notes.txt Other.TXT", ["download", "docs/notes.txt", "Other.TXT", {}]],

  ["GRANT bob_jones a.txt editor --duration 7d", ["grant", "bob_jones", "a.txt", "EDIT", { durationMs: 604_800_000 }]],
  ["GRANT bob_jones a.txt Manage --duration permanent", ["grant", "bob_jones", "a.txt", "MANAGE", {}]],
  ["GRANT bob_jones a.txt read --duration 30s", ["grant", "bob_jones", "a.txt", "READ", { durationMs: 30_000 }]],
  ["GRANT bob_jones a.txt read --duration 2H", ["grant", "bob_jones", "a.txt", "READ", { durationMs: 7_200_000 }]],
  ["REVOKE bob_jones a.txt", ["revoke", "bob_jones", "a.txt"]],
  ["REVOKE bob_jones a.txt carol", ["revoke", "bob_jones", "~carol/a.txt"]],
  ["PUBLICISE a.txt", ["publicise", "a.txt"]],
  ["HIDE a.txt", ["hide", "a.txt"]],
  ["TRANSFER bob_jones a.txt", ["transfer", "bob_jones", "a.txt", {}]],
  ["TRANSFER bob_jones a.txt --as b.txt", ["transfer", "bob_jones", "a.txt", { newName: "b.txt" }]],

  ["LIST", ["list", { recursive: false, scope: "own" }]],
  ["LIST docs/ --deleted", ["list", { prefix: "docs/", recursive: false, scope: "own", deleted: true }]],
  ["LIST docs/ --recursive", ["list", { prefix: "docs/", recursive: true, scope: "own" }]],
  ["LIST docs -r -l", ["list", { prefix: "docs/", recursive: true, scope: "own" }]],
  ["LIST ~bob_jones", ["list", { owner: "bob_jones", prefix: "", recursive: false, scope: "own" }]],
  ["LIST ~bob_jones/docs/", ["list", { owner: "bob_jones", prefix: "docs/", recursive: false, scope: "own" }]],
  ["LIST --shared", ["list", { recursive: false, scope: "shared" }]],
  ["LIST --public --long", ["list", { recursive: false, scope: "public" }]],
  ["LIST --long yes", ["list", { prefix: "yes/", recursive: false, scope: "own" }]],
  ["QUERY storage", ["queryStorage"]],
  ["QUERY user", ["queryUser"]],
  ["QUERY sessions", ["querySessions"]],
  ["QUERY file f", ["queryFile", "f"]],
  ["QUERY file f --verbose", ["queryFile", "f", { verbose: true }]],
  ["QUERY activity", ["queryActivity"]],
  ["QUERY activity ~bob_jones/f --limit 5 --before 12", ["queryActivity", "~bob_jones/f", { limit: 5, before: 12 }]],
  ["QUERY permission f bob_jones", ["queryPermission", "~bob_jones/f"]],
  ["QUERY versions ~bob_jones/f", ["queryVersions", "~bob_jones/f"]],
  ["QUERY uploads", ["queryUploads"]],
  ["ABORT 4f9d2c1e-8a70-4b6c-9f3d-1c2b3a4d5e6f", ["abortUpload", "4f9d2c1e-8a70-4b6c-9f3d-1c2b3a4d5e6f"]],

  // Names and flags in any case, one dash or two; arguments and data as typed.
  ["create MyFile.TXT", ["create", "MyFile.TXT", ""]],
  ["Write Notes.TXT HELLO -IF-VERSION 7", ["write", "Notes.TXT", "HELLO", { expectedVersion: 7 }]],
  ["patch f DATA --POSITION 3 -BYE", ["patch", "f", 3, "DATA", {}]],
  ["query STORAGE --Bye", ["queryStorage"]],
  ["create f -bYe", ["create", "f", ""]],

  // Data that looks like a flag.
  ["WRITE f -- -x", ["write", "f", "-x", {}]],
  [`WRITE f "-x"`, ["write", "f", "-x", {}]],
  ["WRITE f \\-bye", ["write", "f", "-bye", {}]],
  ["APPEND f --if-version 2 -- --if-version", ["append", "f", "--if-version", { expectedVersion: 2 }]],
  ["WRITE -- -f -x", ["write", "-f", "-x", {}]],
  ["WRITE f -- --", ["write", "f", "--", {}]],
  ["WRITE f -5", ["write", "f", "-5", {}]],
  ["WRITE f -", ["write", "f", "-", {}]]
]

describe("a line of the shell", () => {
  for (const [line, call] of LINES) {
    it.effect(`${line} calls ${call[0]}`, () =>
      Effect.gen(function*() {
        const run = yield* runLines([line])
        // Whoever is still logged in is logged out at the end.
        const ended = call[0] === "logout" && call.length === 1
        assert.deepStrictEqual(run.calls, ended ? [call] : [call, ["logout"]], run.stderr)
        assert.strictEqual(run.status, 0, run.stderr)
      }))
  }

  it.effect("takes the words after -- as they are", () =>
    Effect.gen(function*() {
      const run = yield* runCommand(["WRITE", "my notes.txt", "it's \"quoted\" \\ and # kept", "--if-version", "3"])
      assert.deepStrictEqual(run.calls[0], [
        "write",
        "my notes.txt",
        "it's \"quoted\" \\ and # kept",
        { expectedVersion: 3 }
      ])
      const dashed = yield* runCommand(["WRITE", "f", "--", "-x"])
      assert.deepStrictEqual(dashed.calls[0], ["write", "f", "-x", {}])
    }))
})
