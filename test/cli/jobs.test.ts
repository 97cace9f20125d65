import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect } from "effect"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import path from "node:path"
import { refuse } from "../../src/protocol/Refusal.ts"
import { runCommand, runLines, sha256, written } from "../support/ShellHarness.ts"

const transferred = { ...written, sha256 }

describe("a line that ends in &", () => {
  it.effect("runs beside the lines that follow, and the script waits for it", () =>
    Effect.gen(function*() {
      const created = yield* Deferred.make<void>()
      const run = yield* runLines(["UPLOAD package.json &", "CREATE a"], {
        answers: {
          upload: () => Effect.as(Deferred.await(created), transferred),
          create: () => Effect.as(Deferred.succeed(created, undefined), written)
        }
      })
      assert.strictEqual(run.status, 0)
      assert.match(run.stderr, /^\[1\] UPLOAD package.json\ncreated a .*\n\[1\] uploaded package.json/)
    }))

  it.effect("gives the script its status when it fails and nothing else does", () =>
    Effect.gen(function*() {
      const answers = { upload: () => Effect.fail(refuse("2:quota", "there is no room")) }
      const run = yield* runLines(["UPLOAD package.json &", "CREATE a"], { answers })
      assert.strictEqual(run.status, 1)
      assert.include(run.stderr, "[1] UPLOAD: there is no room")
      const waited = yield* runLines(["UPLOAD package.json &", "WAIT", "CREATE a"], { answers })
      assert.strictEqual(waited.status, 1)
      assert.include(waited.stderr, "WAIT: 1 job failed, of 1: the first was UPLOAD package.json")
      assert.notInclude(waited.stderr, "created")
      assert.strictEqual((yield* runCommand(["UPLOAD", "package.json", "&"], { answers })).status, 1)
    }))

  it.effect("is listed until it was told of, and can be cancelled", () =>
    Effect.gen(function*() {
      const run = yield* runLines(["UPLOAD package.json &", "JOBS", "CANCEL 1", "JOBS", "JOBS", "CANCEL 1"], {
        answers: { upload: () => Effect.never },
        json: true
      })
      const states = run.stdout.trimEnd().split("\n").map((line) => JSON.parse(line))
        .map(({ code, command, result }) =>
          `${command} ${result?.jobs?.map((job: { state: string }) => job.state) ?? code}`
        )
      assert.deepStrictEqual(states, [
        "JOBS running",
        "UPLOAD local:cancelled",
        "CANCEL local:ok",
        "JOBS cancelled",
        "JOBS ",
        "CANCEL local:usage"
      ])
    }))

  it.effect("is for transfers and WATCH, and a quoted & is data", () =>
    Effect.gen(function*() {
      const refused = yield* runLines(["AUTH alice_smith &"])
      assert.strictEqual(refused.status, 2)
      assert.include(refused.stderr, "AUTH does not run in the background")
      const data = yield* runLines(["WRITE notes.txt '&'"])
      assert.deepStrictEqual(data.calls[0], ["write", "notes.txt", "&", {}])
    }))
})

describe("ALIAS", () => {
  it.effect("makes a beginning of lines, in any case, and UNALIAS forgets it", () =>
    Effect.gen(function*() {
      const run = yield* runLines([
        "ALIAS mk='CREATE docs/'",
        "ALIAS w='WRITE \"my file\"'",
        "W hello",
        "alias",
        "UNALIAS mk",
        "mk"
      ])
      assert.deepStrictEqual(run.calls[0], ["write", "my file", "hello", {}])
      assert.match(run.stdout, /^mk +CREATE docs\/\nw +WRITE "my file"$/m)
      assert.include(run.stderr, `there is no command "MK"`)
    }))

  it.effect("cannot take the name of a command, and does not go round in circles", () =>
    Effect.gen(function*() {
      assert.include((yield* runLines(["ALIAS read=CREATE"])).stderr, "READ is a command")
      assert.include((yield* runLines(["ALIAS nothing"])).stderr, "write name=line")
      const run = yield* runLines(["ALIAS aa=bb", "ALIAS bb=aa", "aa x"])
      assert.include(run.stderr, `there is no command "AA"`)
    }))
})

const inFile = (text: string) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(() => mkdtemp(path.join(tmpdir(), "fip-source-"))),
      (folder) => Effect.promise(() => rm(folder, { recursive: true }))
    ),
    (folder) => path.join(folder, "script.fip")
  ).pipe(Effect.tap((file) => Effect.promise(() => writeFile(file, text.replaceAll("SELF", file)))))

describe("SOURCE", () => {
  it.effect("runs the lines of a file, with what they change staying changed", () =>
    Effect.gen(function*() {
      const file = yield* inFile("# a comment\nALIAS mk=CREATE\n\nmk a\nBYE\nmk never\n")
      const run = yield* runLines([`SOURCE ${file}`, "mk b"])
      assert.strictEqual(run.status, 0)
      assert.deepStrictEqual(run.calls.slice(0, 2), [["create", "a", ""], ["create", "b", ""]])
    }))

  it.effect("fails with the status of the line that failed, and says which", () =>
    Effect.gen(function*() {
      const file = yield* inFile("CREATE a\nREAD\nCREATE b\n")
      const run = yield* runLines([`SOURCE ${file}`])
      assert.strictEqual(run.status, 2)
      assert.include(run.stderr, `SOURCE: ${file} ended at line 2`)
      assert.notInclude(run.stderr, "created b")
      const missing = yield* runLines(["SOURCE no-such-file"])
      assert.include(missing.stderr, "cannot read no-such-file: no such file or directory")
    }))

  it.effect("of a file that runs itself comes to an end", () =>
    Effect.gen(function*() {
      const file = yield* inFile("SOURCE SELF\n")
      assert.include((yield* runLines([`SOURCE ${file}`])).stderr, "is run by 16 files already")
    }))
})
