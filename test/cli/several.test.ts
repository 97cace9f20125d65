import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { mkdir, readdir, readFile, utimes, writeFile } from "node:fs/promises"
import path from "node:path"
import { Refusal } from "../../src/protocol/Refusal.ts"
import { RemoteFiles } from "../support/RemoteFiles.ts"
import { runCommand, runLines } from "../support/ShellHarness.ts"
import { temporaryFolder } from "../support/temporaryFolder.ts"

const NAMES = ["a.txt", "b c.txt", "[x].txt", "d.md", ".hidden.txt", "sub/e.txt", "sub/deep/f.txt", "تقرير.txt"]

/** A folder with files here, and a server with the same under `docs/`. */
const setUp = Effect.gen(function*() {
  const folder = yield* temporaryFolder
  const remote = new RemoteFiles()
  for (const name of NAMES) {
    const file = path.join(folder, "in", name)
    yield* Effect.promise(async () => {
      await mkdir(path.dirname(file), { recursive: true })
      await writeFile(file, name)
    })
    remote.put(`docs/${name}`, `remote ${name}`, { modified_ms: 1_700_000_000_000 })
  }
  const here = (name: string) => path.join(folder, name)
  return {
    here,
    remote,
    line: (text: string) =>
      runLines([text.replaceAll("IN", here("in")).replaceAll("OUT", here("out"))], { answers: remote.answers }),
    done: Effect.sync(() => remote.done.splice(0).map((one) => one.replace(/^\w+ /, "")).sort()),
    out: Effect.promise(async () => {
      const entries = await readdir(here("out"), { recursive: true, withFileTypes: true }).catch(() => [])
      return entries.filter((entry) => entry.isFile())
        .map((entry) => path.relative(here("out"), path.join(entry.parentPath, entry.name))).sort()
    })
  }
})

const at = (file: string, millis: number) => Effect.promise(() => utimes(file, millis / 1000, millis / 1000))

describe("UPLOAD of a pattern", () => {
  it.effect("sends what it matches, under the path that its wildcards stand for", () =>
    Effect.gen(function*() {
      const { done, line } = yield* setUp
      yield* line("UPLOAD IN/*.txt x/")
      assert.deepStrictEqual(yield* done, ["x/[x].txt", "x/a.txt", "x/b c.txt", "x/تقرير.txt"])
      yield* line("UPLOAD IN/**/*.txt x/")
      assert.deepStrictEqual(yield* done, [
        "x/[x].txt",
        "x/a.txt",
        "x/b c.txt",
        "x/sub/deep/f.txt",
        "x/sub/e.txt",
        "x/تقرير.txt"
      ])
      yield* line("UPLOAD IN/[ad].* IN/su?/*.txt x/")
      assert.deepStrictEqual(yield* done, ["x/a.txt", "x/d.md", "x/sub/e.txt"])
      yield* line("UPLOAD IN/s* x/ -r")
      assert.deepStrictEqual(yield* done, ["x/sub/deep/f.txt", "x/sub/e.txt"])
    }))

  it.effect("takes several words, the last of which is the folder", () =>
    Effect.gen(function*() {
      const { done, line } = yield* setUp
      yield* line("UPLOAD IN/a.txt IN/d.md x/")
      assert.deepStrictEqual(yield* done, ["x/a.txt", "x/d.md"])
      assert.include((yield* line("UPLOAD IN/a.txt IN/d.md x")).stderr, "several files go into a folder: write x/")
      assert.include((yield* line("UPLOAD IN/a.txt IN/sub x/")).stderr, "is a folder: add --recursive")
      yield* line("UPLOAD IN/a.txt IN/sub x -r")
      assert.deepStrictEqual(yield* done, ["x/a.txt", "x/sub/deep/f.txt", "x/sub/e.txt"])
    }))

  it.effect("is an error when it matches nothing, and none when it is quoted", () =>
    Effect.gen(function*() {
      const { done, line } = yield* setUp
      const run = yield* line("UPLOAD IN/*.pdf x/")
      assert.strictEqual(run.status, 2)
      assert.match(run.stderr, /nothing matches .*\*\.pdf \(folders are matched with --recursive\)/)
      assert.include((yield* line("UPLOAD 'IN/*.txt' x/")).stderr, "no such file")
      yield* line("UPLOAD 'IN/[x].txt' x/")
      yield* line("UPLOAD IN/\\[x].txt y/")
      // A file of just that name comes before what it would match as a pattern.
      yield* line("UPLOAD IN/[x].txt z/")
      assert.deepStrictEqual(yield* done, ["x/[x].txt", "y/[x].txt", "z/[x].txt"])
    }))

  it.effect("sends nothing when two files would have one name", () =>
    Effect.gen(function*() {
      const { done, line } = yield* setUp
      assert.include((yield* line("UPLOAD IN/a.txt IN/sub/../sub/e.txt IN/sub/e.txt x/")).stderr, "uploaded 2 files")
      assert.strictEqual((yield* done).length, 2)
      assert.match((yield* line("UPLOAD IN/a.txt IN/*/../a.txt x/")).stderr, /nothing matches/)
    }))
})

describe("DOWNLOAD of a pattern", () => {
  it.effect("fetches what it matches, under the path that its wildcards stand for", () =>
    Effect.gen(function*() {
      const { done, line, out } = yield* setUp
      yield* line("DOWNLOAD docs/*.txt OUT/")
      assert.deepStrictEqual(yield* out, ["[x].txt", "a.txt", "b c.txt", "تقرير.txt"])
      yield* done
      yield* line("DOWNLOAD docs/**/[ef].txt d*/*.md OUT/")
      assert.deepStrictEqual(yield* done, ["docs/d.md", "docs/sub/deep/f.txt", "docs/sub/e.txt"])
      assert.includeMembers([...yield* out], ["docs/d.md", "sub/deep/f.txt", "sub/e.txt"])
    }))

  it.effect("is an error when it matches nothing, and none when it is quoted", () =>
    Effect.gen(function*() {
      const { here, line, out } = yield* setUp
      assert.include((yield* line("DOWNLOAD docs/*.pdf OUT/")).stderr, "nothing matches docs/*.pdf")
      yield* Effect.promise(() => mkdir(here("out")))
      yield* line("DOWNLOAD 'docs/[x].txt' OUT/")
      yield* line("DOWNLOAD docs/[x].txt OUT/")
      // A file of just that name comes before what it would match as a pattern.
      yield* line("DOWNLOAD docs/[x].txt OUT/y")
      assert.deepStrictEqual(yield* out, ["[x].txt", "y"])
      assert.strictEqual(
        yield* Effect.promise(() => readFile(path.join(here("out"), "[x].txt"), "utf8")),
        "remote [x].txt"
      )
    }))
})

describe("--exclude and --include", () => {
  it.effect("choose among names, paths and folders", () =>
    Effect.gen(function*() {
      const { done, line } = yield* setUp
      yield* line("UPLOAD IN x -r --exclude *.txt")
      assert.deepStrictEqual(yield* done, ["x/d.md"])
      yield* line("UPLOAD IN x -r --exclude sub/deep/ --exclude=[abx]* --exclude /تقرير.txt --exclude .*")
      assert.deepStrictEqual(yield* done, ["x/[x].txt", "x/d.md", "x/sub/e.txt"])
      yield* line("UPLOAD IN x -r --include sub/ --exclude f.txt")
      assert.deepStrictEqual(yield* done, ["x/sub/e.txt"])
      yield* line("DOWNLOAD docs OUT -r --include *.md")
      assert.deepStrictEqual(yield* done, ["docs/d.md"])
    }))
})

describe("--dry-run", () => {
  it.effect("says what would move, and moves nothing", () =>
    Effect.gen(function*() {
      const { done, here, line, out } = yield* setUp
      const run = yield* line("UPLOAD IN/s* x/ -r --dry-run")
      assert.match(run.stdout, /^14 B {2}\S+\/sub\/deep\/f\.txt {2}to {2}x\/sub\/deep\/f\.txt$/m)
      assert.include(run.stdout, "would upload 2 files (23 B)")
      assert.include((yield* line("DOWNLOAD docs/*.md OUT/ --dry-run")).stdout, "would download 1 file")
      assert.include((yield* line("UPLOAD IN/a.txt x.txt --dry-run")).stderr, "would upload")
      assert.include((yield* line("DOWNLOAD docs/a.txt --dry-run")).stderr, "would download docs/a.txt to a.txt")
      assert.deepStrictEqual(yield* done, [])
      assert.deepStrictEqual(yield* out, [])
      const json = yield* runCommand(["UPLOAD", here("in/a.txt"), "x.txt", "--dry-run"], { json: true })
      assert.deepInclude(JSON.parse(json.stdout).result, { dry_run: true, name: "x.txt", size: 5 })
    }))
})

describe("--overwrite", () => {
  const OLD = 1_600_000_000_000
  const NEW = 1_750_000_000_000

  it.effect("leaves what is there, or what is newer there, on the way up", () =>
    Effect.gen(function*() {
      const { done, here, line, remote } = yield* setUp
      remote.files.delete("docs/d.md")
      for (const name of NAMES) yield* at(here(`in/${name}`), name === "a.txt" ? NEW : OLD)
      assert.include((yield* line("UPLOAD IN docs -r --overwrite never")).stderr, "kept 7 that were there")
      assert.deepStrictEqual(yield* done, ["docs/d.md"])
      yield* line("UPLOAD IN docs -r --overwrite older")
      assert.deepStrictEqual(yield* done, ["docs/a.txt"])
      // The server has the time that came with it: it is not older any more.
      yield* line("UPLOAD IN docs -r --overwrite older")
      assert.deepStrictEqual(yield* done, [])
      assert.include((yield* line("UPLOAD IN/a.txt docs/ --overwrite never")).stderr, "kept what is there: docs/a.txt")
      yield* line("UPLOAD IN/a.txt docs/new.txt --overwrite never")
      yield* line("UPLOAD IN/a.txt docs/sub/e.txt --overwrite older")
      yield* line("UPLOAD IN/d.md docs/a.txt --overwrite older")
      assert.deepStrictEqual(yield* done, ["docs/new.txt", "docs/sub/e.txt"])
    }))

  it.effect("does so on the way down", () =>
    Effect.gen(function*() {
      const { done, here, line } = yield* setUp
      yield* line("DOWNLOAD docs OUT -r --exclude .*")
      yield* done
      yield* at(here("out/a.txt"), OLD)
      yield* at(here("out/d.md"), NEW)
      yield* line("DOWNLOAD docs OUT -r --overwrite never")
      assert.deepStrictEqual(yield* done, ["docs/.hidden.txt"])
      yield* line("DOWNLOAD docs OUT -r --overwrite older")
      assert.deepStrictEqual(yield* done, ["docs/a.txt"])
      assert.include((yield* line("DOWNLOAD docs/d.md OUT/ --overwrite older")).stderr, "kept what is there")
      yield* at(here("out/a.txt"), OLD)
      yield* line("DOWNLOAD docs/a.txt OUT/ --overwrite older")
      assert.deepStrictEqual(yield* done, ["docs/a.txt"])
    }))

  it.effect("replaces only what it has looked at", () =>
    Effect.gen(function*() {
      const { here, remote } = yield* setUp
      const answers = {
        ...remote.answers,
        queryFile: () => Effect.sync(() => remote.put("x", "theirs")).pipe(Effect.andThen(Effect.fail(notThere)))
      }
      const run = yield* runCommand(["UPLOAD", here("in/a.txt"), "x", "--overwrite", "never"], { answers })
      assert.include(run.stderr, "exists already")
      assert.strictEqual(remote.files.get("x")?.content, "theirs")
    }))

  it.effect("asks nobody where nobody is", () =>
    Effect.gen(function*() {
      const { done, line } = yield* setUp
      assert.include((yield* line("UPLOAD IN docs -r --overwrite ask")).stderr, "needs a terminal")
      assert.deepStrictEqual(yield* done, [])
    }))
})

const notThere = new Refusal({ code: "2:nf", message: "there is no such file" })
