/** LIST, READ and DELETE of what a pattern matches, and of several files. */
import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Stream } from "effect"
import { Jobs } from "../../src/cli/shell/Jobs.ts"
import { Output } from "../../src/cli/shell/Output.ts"
import { Questions } from "../../src/cli/shell/Questions.ts"
import { runLine } from "../../src/cli/shell/Shell.ts"
import { FipClient, type FipClientShape } from "../../src/client/FipClient.ts"
import { refuse } from "../../src/protocol/Refusal.ts"
import { RemoteFiles } from "../support/RemoteFiles.ts"
import { Capture, recordingClient, runCommand, runLines } from "../support/ShellHarness.ts"

const NAMES = ["a.txt", "b c.txt", "d.md", "a*.txt", "docs/e.txt", "docs/f.md", "docs/deep/g.txt", "old/h.txt"]

const setUp = (names: ReadonlyArray<string> = NAMES) => {
  const remote = new RemoteFiles()
  for (const name of names) remote.put(name, `this is ${name}\n`)
  const answers: Partial<FipClientShape> = {
    ...remote.answers,
    open: (file) =>
      Effect.map(remote.answers.queryFile(file), (info) => ({
        head: { ...info, position: 0, length: info.size },
        content: Stream.make(new TextEncoder().encode(remote.files.get(info.name)?.content))
      }))
  }
  return {
    remote,
    answers,
    left: () => [...remote.files.keys()],
    line: (text: string) => runLines([text], { answers }),
    json: (words: ReadonlyArray<string>) =>
      Effect.map(runCommand(words, { answers, json: true }), ({ stdout }) => JSON.parse(stdout)),
    /** A person types it, who answers every question alike. */
    person: Effect.fnUntraced(function*(text: string, yes: boolean) {
      const asked: Array<string> = []
      const stderr = new Capture(true)
      const { status } = yield* runLine(text).pipe(
        Effect.provideService(FipClient, recordingClient([], answers)),
        Effect.provideService(
          Questions,
          Questions.of({
            attended: true,
            text: () => Effect.die("no text is asked for"),
            secret: () => Effect.die("no secret is asked for"),
            confirm: (question) => Effect.as(Effect.sync(() => asked.push(question)), yes)
          })
        ),
        Effect.provide(
          Layer.mergeAll(Output.layerStreams({ stdout: new Capture(true), stderr }), Jobs.layer, NodeServices.layer)
        )
      )
      return { status, asked, stderr: stderr.text }
    })
  }
}

describe("LIST of a pattern", () => {
  it.effect("shows the files and folders that it matches", () =>
    Effect.gen(function*() {
      const { line } = setUp()
      assert.strictEqual((yield* line("LIST *.txt")).stdout, "a*.txt\na.txt\nb c.txt\n")
      assert.strictEqual((yield* line("LIST d*")).stdout, "docs/\nd.md\n")
      assert.strictEqual((yield* line("LIST d*/")).stdout, "docs/\n")
      assert.strictEqual((yield* line("LIST d*/*")).stdout, "docs/deep/\ndocs/e.txt\ndocs/f.md\n")
      assert.strictEqual((yield* line("LIST d*/ -r")).stdout, "docs/deep/g.txt\ndocs/e.txt\ndocs/f.md\n")
      assert.strictEqual((yield* line("LIST **/*.txt")).stdout.split("\n").length, 7)
      assert.match((yield* line("LIST docs/*.txt --long")).stdout, /docs\/e\.txt\n1 file, /)
      assert.strictEqual(
        (yield* runLines(["CD docs", "LIST *.md"], { answers: setUp().answers })).stdout,
        "docs/f.md\n"
      )
    }))

  it.effect("is refused when it matches nothing, and is a name when it is quoted or there is one", () =>
    Effect.gen(function*() {
      const { json, line } = setUp()
      const run = yield* line("LIST *.pdf")
      assert.strictEqual(run.status, 1)
      assert.include(run.stderr, "nothing matches *.pdf (2:nf)")
      assert.strictEqual((yield* line("LIST 'a*.txt'")).stdout, "a*.txt\n")
      assert.strictEqual((yield* line("LIST a*.txt")).stdout, "a*.txt\n")
      assert.strictEqual((yield* line("LIST '*.txt'")).status, 1)
      const { result } = yield* json(["LIST", "docs/*"])
      assert.deepStrictEqual(result.folders, ["docs/deep/"])
      assert.deepStrictEqual(result.files.map(({ name }: { readonly name: string }) => name), [
        "docs/e.txt",
        "docs/f.md"
      ])
    }))
})

describe("READ of a pattern", () => {
  it.effect("writes what it matches, one after the other", () =>
    Effect.gen(function*() {
      const { json, line } = setUp()
      assert.strictEqual((yield* line("READ docs/**/*.txt")).stdout, "this is docs/deep/g.txt\nthis is docs/e.txt\n")
      assert.strictEqual((yield* line("READ a*.txt")).stdout, "this is a*.txt\n")
      assert.include((yield* line("READ *.md --limit 3")).stderr, "are for one file")
      assert.include((yield* line("READ *.pdf")).stderr, "nothing matches *.pdf")
      const { result } = yield* json(["READ", "docs/*.*"])
      assert.deepStrictEqual(result.files.map(({ text }: { readonly text: string }) => text), [
        "this is docs/e.txt\n",
        "this is docs/f.md\n"
      ])
    }))
})

describe("DELETE", () => {
  it.effect("takes several names, and deletes none of them unless all are there", () =>
    Effect.gen(function*() {
      const { json, left, line } = setUp()
      const before = left()
      assert.include((yield* line("DELETE a.txt docs/e.txt nothing.txt")).stderr, "there is no file nothing.txt")
      assert.deepStrictEqual(left(), before)
      const { result } = yield* json(["DELETE", "a.txt", "docs/e.txt", "a.txt"])
      assert.deepStrictEqual(result.totals, { files: 2, bytes: 33 })
      assert.notIncludeMembers(left(), ["a.txt", "docs/e.txt"])
    }))

  it.effect("never guesses whether a second word is a file or the owner of the first", () =>
    Effect.gen(function*() {
      const { left, line, remote } = setUp(["notes", "todo_list"])
      const run = yield* line("DELETE notes todo_list")
      assert.strictEqual(run.status, 2)
      assert.include(run.stderr, "may be a file or a user: write ./todo_list, or ~todo_list/notes")
      assert.lengthOf(left(), 2)
      const calls =
        (yield* runLines(["DELETE notes bob_jones"], { answers: { queryFile: remote.answers.queryFile } })).calls
      assert.deepInclude(calls, ["delete", "~bob_jones/notes", {}])
      yield* line("DELETE notes ./todo_list")
      assert.deepStrictEqual(left(), [])
    }))

  it.effect("shows with --dry-run what it would delete, and deletes nothing", () =>
    Effect.gen(function*() {
      const { json, left, line } = setUp()
      const run = yield* line("DELETE docs -r --dry-run")
      assert.include(run.stdout, "~alice_smith/docs/deep/g.txt  24 B\n")
      assert.include(run.stdout, "would delete 3 files (61 B)")
      assert.include((yield* line("DELETE a.txt --dry-run")).stdout, "would delete 1 file")
      assert.strictEqual((yield* json(["DELETE", "*.txt", "--dry-run"])).result.dry_run, true)
      assert.lengthOf(left(), NAMES.length)
    }))

  it.effect("asks before it deletes what a pattern or a folder holds, and a script must say --yes", () =>
    Effect.gen(function*() {
      const { left, line, person } = setUp()
      for (const text of ["DELETE *.md", "DELETE docs/ -r", "DELETE / --recursive"]) {
        const run = yield* line(text)
        assert.strictEqual(run.status, 2, text)
        assert.include(run.stderr, "--yes deletes", text)
        const no = yield* person(text, false)
        assert.lengthOf(no.asked, 1, text)
        assert.include(no.stderr, "nothing was deleted")
      }
      assert.lengthOf(left(), NAMES.length)
      const yes = yield* person("DELETE docs/ -r", true)
      assert.strictEqual(yes.status, 0)
      assert.deepStrictEqual(yes.asked, ["delete 3 files (61 B)?"])
      assert.include(yes.stderr, "docs/deep/g.txt")
      assert.strictEqual((yield* line("DELETE *.md --yes")).status, 0)
      assert.deepStrictEqual(left(), ["a.txt", "b c.txt", "a*.txt", "old/h.txt"])
      assert.include((yield* line("DELETE old/")).stderr, "is a folder: add --recursive")
    }))

  it.effect("deletes a file of just that name before what it would match as a pattern, also among others", () =>
    Effect.gen(function*() {
      const { left, line } = setUp()
      assert.strictEqual((yield* line("DELETE a*.txt d.md")).status, 0)
      assert.notIncludeMembers(left(), ["a*.txt", "d.md"])
      assert.include(left(), "a.txt")
    }))

  it.effect("says how far it came when the server refuses one of several", () =>
    Effect.gen(function*() {
      const { answers, left, remote } = setUp()
      const run = yield* runLines(["DELETE * --yes"], {
        answers: {
          ...answers,
          delete: (file, options) =>
            typeof file !== "string" && file.name === "d.md"
              ? Effect.fail(refuse("2:lock", "d.md is locked"))
              : remote.answers.delete(file, options)
        }
      })
      assert.strictEqual(run.status, 1)
      assert.include(run.stderr, "deleted 3 of 4 files")
      assert.include(run.stderr, "d.md: d.md is locked (2:lock")
      assert.include(left(), "d.md")
    }))
})
