import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { info, runCommand, runLines, sha256 } from "../support/ShellHarness.ts"

const json = (stdout: string) => JSON.parse(stdout)

/** The code that each command ends with, and the fields of its result. */
const SHAPES: ReadonlyArray<readonly [line: string, code: string, fields: ReadonlyArray<string>]> = [
  ["AUTH alice_smith secret123", "1:auth", ["username", "session_id"]],
  ["SREF", "1:ref", ["username", "session_id"]],
  ["HEARTBEAT", "1:hb", ["server_version", "round_trip_ms"]],
  ["CLEAR", "local:ok", []],
  ["HELP", "local:ok", ["commands"]],
  ["UNEW bob_jones secret123", "1:unew", ["username"]],
  ["UDEL bob_jones secret123", "1:udel", ["username", "files_deleted", "bytes_deleted"]],
  ["UPASS old-secret new-secret", "1:pw", ["username", "sessions_ended"]],
  ["CREATE f", "1:fnew", ["owner", "name", "size", "version"]],
  ["WRITE f x", "1:amnd", ["owner", "name", "size", "version"]],
  ["REPLACE f x", "1:amnd", ["owner", "name", "size", "version"]],
  ["APPEND f x", "1:amnd", ["owner", "name", "size", "version"]],
  ["PATCH f x --position 0", "1:amnd", ["owner", "name", "size", "version"]],
  ["DELETE f", "1:fdel", ["owner", "name"]],
  ["RENAME f g", "1:ren", ["owner", "name", "size", "version"]],
  ["COPY f g", "1:cpy", ["owner", "name", "size", "version"]],
  ["RESTORE f --version 1", "1:rst", ["owner", "name", "size", "version"]],
  ["READ f", "1:read", ["owner", "name", "size", "version", "position", "length", "text"]],
  ["UPLOAD package.json", "1:amnd", ["owner", "name", "size", "version", "sha256"]],
  ["DOWNLOAD f", "1:read", ["owner", "name", "size", "version", "sha256", "local"]],
  ["REPLACEFROM package.json f", "1:amnd", ["owner", "name", "size", "version", "sha256"]],
  ["GRANT bob_jones f READ", "1:gnt", ["owner", "name", "username", "role", "granted_by", "granted_at"]],
  ["REVOKE bob_jones f", "1:rvk", ["owner", "name", "username", "role"]],
  ["PUBLICISE f", "1:pub", ["owner", "name", "public"]],
  ["HIDE f", "1:hide", ["owner", "name", "public"]],
  ["TRANSFER bob_jones f", "1:sft", ["owner", "name", "size", "version"]],
  ["LIST", "1:qa", ["files", "folders"]],
  ["QUERY storage", "1:qa", ["bytes_used", "bytes_limit", "files_used", "files_limit"]],
  ["QUERY user", "1:qa", [
    "username",
    "created_at",
    "sessions",
    "bytes_used",
    "bytes_limit",
    "files_used",
    "files_limit"
  ]],
  ["QUERY file f", "1:qa", [
    "owner",
    "name",
    "size",
    "version",
    "created_at",
    "modified_at",
    "role",
    "public"
  ]],
  ["QUERY permission f", "1:qa", ["owner", "name", "public", "grants"]],
  ["QUERY sessions", "1:qa", ["sessions"]],
  ["QUERY versions f", "1:qa", ["owner", "name", "versions"]],
  ["STERM", "1:bye", ["session_id"]],
  ["BYE", "local:ok", []]
]

describe("--json", () => {
  for (const [line, code, fields] of SHAPES) {
    it.effect(`prints one object for ${line}, and nothing else`, () =>
      Effect.gen(function*() {
        const run = yield* runLines([line], { json: true })
        assert.strictEqual(run.stdout.indexOf("\n"), run.stdout.length - 1)
        const { command, message, ok, result, ...rest } = json(run.stdout)
        assert.strictEqual(command, line.split(" ")[0])
        assert.strictEqual(ok, true)
        assert.strictEqual(typeof message, "string")
        assert.deepStrictEqual(rest, { code })
        assert.sameMembers(Object.keys(result), [...fields])
        assert.strictEqual(run.stderr, "")
      }))
  }

  it.effect("prints one line for each command of a script", () =>
    Effect.gen(function*() {
      const run = yield* runLines(["create a", "# nothing", "Read a", "REED b", "LIST"], { json: true })
      const lines = run.stdout.trimEnd().split("\n").map(json)
      assert.deepStrictEqual(lines.map(({ code, command, ok }) => [command, ok, code]), [
        ["CREATE", true, "1:fnew"],
        ["READ", true, "1:read"],
        ["REED", false, "local:usage"]
      ])
    }))

  it.effect("reports an unclosed quote", () =>
    Effect.gen(function*() {
      const run = yield* runLines([`write f "x`], { json: true })
      const { code, command, ok } = json(run.stdout)
      assert.deepStrictEqual([command, ok, code], ["WRITE", false, "local:usage"])
    }))

  it.effect("holds a whole listing, files and folders, in one object", () =>
    Effect.gen(function*() {
      const names = Array.from({ length: 2500 }, (_, index) => `file-${index}`)
      const run = yield* runCommand(["LIST"], {
        json: true,
        answers: {
          list: () => Stream.fromIterable(names.map((name) => ({ _tag: "File" as const, file: info(name) })))
        }
      })
      const { files, folders } = json(run.stdout).result
      assert.deepStrictEqual(files.map(({ name }: { readonly name: string }) => name), names)
      assert.deepStrictEqual(folders, [])
      assert.deepStrictEqual(files[0], info("file-0"))
    }))

  it.effect("has the hash of what was sent", () =>
    Effect.gen(function*() {
      const run = yield* runCommand(["UPLOAD", "package.json"], { json: true })
      assert.strictEqual(json(run.stdout).result.sha256, sha256)
    }))
})
