import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fc from "fast-check"
import { chmod, mkdir, readdir, readFile, rm, stat, symlink, utimes, writeFile } from "node:fs/promises"
import path from "node:path"
import { makeJournals } from "../../src/client/Journal.ts"
import { attributesOf } from "../../src/client/LocalFile.ts"
import type { Attributes } from "../../src/protocol/Request.ts"
import { RemoteFiles } from "../support/RemoteFiles.ts"
import { type HarnessOptions, runCommand } from "../support/ShellHarness.ts"
import { temporaryFolder } from "../support/temporaryFolder.ts"

interface Entry {
  readonly content: string
  readonly attributes: Attributes
}
type Tree = Readonly<Record<string, Entry>>

const write = async (root: string, tree: Tree) => {
  await mkdir(root, { recursive: true })
  for (const [name, { attributes, content }] of Object.entries(tree)) {
    const file = path.join(root, name)
    await mkdir(path.dirname(file), { recursive: true })
    await writeFile(file, content)
    await chmod(file, attributes.executable === true ? 0o755 : 0o644)
    const seconds = (attributes.modified_ms ?? 0) / 1000
    await utimes(file, seconds, seconds)
  }
}

const read = async (root: string): Promise<Record<string, Entry>> => {
  const tree: Record<string, Entry> = {}
  for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const file = path.join(entry.parentPath, entry.name)
    const attributes = attributesOf(await stat(file, { bigint: true }))
    tree[path.relative(root, file)] = { content: await readFile(file, "utf8"), attributes }
  }
  return tree
}

/** A machine and a server with a folder each, and a person who mirrors one to the other. */
const setUp = Effect.gen(function*() {
  const folder = yield* temporaryFolder
  const local = path.join(folder, "here")
  const remote = new RemoteFiles()
  const journals = makeJournals(path.join(folder, "state"), "localhost:6090", () => {})
  const options: HarnessOptions = { answers: { ...remote.answers, transferNotes: (key) => journals.open(key) } }
  return {
    local,
    remote,
    put: (tree: Tree) => Effect.promise(() => write(local, tree)),
    here: Effect.promise(() => read(local)),
    there: Effect.sync((): Record<string, Entry> =>
      Object.fromEntries(
        [...remote.files].filter(([name]) => name.startsWith("x/"))
          .map(([name, { attributes, content }]) => [name.slice(2), { attributes, content }])
      )
    ),
    up: (...flags: ReadonlyArray<string>) => runCommand(["MIRROR", local, "~me/x/", ...flags], options),
    down: (...flags: ReadonlyArray<string>) => runCommand(["MIRROR", "~me/x/", local, ...flags], options)
  }
})

const of = (content: string, modified_ms = 1_700_000_000_000, executable = false): Entry => ({
  content,
  attributes: { modified_ms, executable }
})

const name = fc.constantFrom("a", "b", "c d", "ü", "تقرير.txt", "e/f", "e/g", "e/h/i", "e/h/j", ".k", "l/m")
const CONTENTS = ["", "1", "2", "33"]
/** Different contents of one size have different times, as they have in practice; one content may have two. */
const entry = fc.tuple(fc.nat(CONTENTS.length - 1), fc.boolean(), fc.boolean()).map(([index, late, executable]) =>
  of(CONTENTS[index] ?? "", 1_600_000_000_123 + 2000 * index + (late ? 1000 : 0), executable)
)
const tree = fc.dictionary(name, entry, { maxKeys: 8 })

/** What a second one leaves as it is: contents decide, and on the server a time alone is nothing. */
const contents = (tree: Tree) =>
  Object.fromEntries(
    Object.entries(tree).map(([name, { attributes, content }]) => [name, [content, attributes.executable ?? false]])
  )

const directions = ["up", "down"] as const
const oneRun = (direction: "up" | "down", deletes: boolean, here: Tree, there: Tree) =>
  Effect.gen(function*() {
    const world = yield* setUp
    yield* world.put(here)
    for (const [name, { attributes, content }] of Object.entries(there)) {
      world.remote.put(`x/${name}`, content, attributes)
    }
    world.remote.put("y/other", "stays")
    const flags = deletes ? ["--delete", "--yes"] : ["--yes"]
    const first = yield* world[direction](...flags)
    assert.strictEqual(first.status, 0, first.stderr)
    const [from, to] = direction === "up" ? [here, there] : [there, here]
    const wanted = deletes ? from : { ...to, ...from }
    const after = yield* (direction === "up" ? world.there : world.here)
    assert.deepStrictEqual(contents(after), contents(wanted))
    // Here, times are set as well.
    if (direction === "down") {
      for (const name of Object.keys(there)) assert.deepStrictEqual(after[name], there[name], name)
    }
    // The other side is as it was.
    assert.deepStrictEqual(yield* (direction === "up" ? world.here : world.there), from)
    assert.strictEqual(world.remote.files.get("y/other")?.version, 1)
    const moved = world.remote.done.splice(0)
    const different = Object.keys(from).filter((name) => {
      const [one, other] = [from[name], to[name]]
      if (one === undefined || other?.content !== one.content) return true
      return direction === "up" && one.attributes.executable !== other.attributes.executable
    })
    assert.strictEqual(moved.filter((one) => !one.startsWith("delete")).length, different.length)
    const second = yield* world[direction](...flags)
    assert.include(second.stderr, "nothing to do")
    assert.deepStrictEqual(world.remote.done, [])
  }).pipe(Effect.scoped)

describe("MIRROR", () => {
  it("makes one side like the other, and finds nothing to do the second time", () =>
    fc.assert(
      fc.asyncProperty(fc.constantFrom(...directions), fc.boolean(), tree, tree, (direction, deletes, here, there) =>
        Effect.runPromise(oneRun(direction, deletes, here, there))),
      { numRuns: 60 }
    ))

  it.effect("shows what it would do, and does nothing, with --dry-run", () =>
    Effect.gen(function*() {
      const world = yield* setUp
      yield* world.put({ new: of("1"), changed: of("22"), same: of("3") })
      world.remote.put("x/changed", "2")
      world.remote.put("x/same", "3")
      world.remote.put("x/extra", "4")
      const run = yield* world.up("--dry-run", "--delete")
      assert.deepStrictEqual(world.remote.done, [])
      assert.deepStrictEqual(run.stdout.split("\n").slice(0, -2), [
        "replace  changed  2 B",
        "create   new      1 B",
        "delete   extra"
      ])
      assert.include(run.stdout, "2 files to send (3 B, 1 replaced), 1 to delete, 1 the same")
    }))

  it.effect("deletes nothing unless it is told to, and never all for the sake of an empty folder", () =>
    Effect.gen(function*() {
      const world = yield* setUp
      yield* world.put({})
      world.remote.put("x/a", "1")
      assert.include((yield* world.up()).stderr, "1 only there (--delete removes them)")
      const refused = yield* world.up("--delete")
      assert.strictEqual(refused.status, 2)
      assert.include(refused.stderr, "has no files, so --delete would remove all 1 of the other side")
      assert.strictEqual(world.remote.files.size, 1)
      assert.strictEqual((yield* world.up("--delete", "--yes")).status, 0)
      assert.strictEqual(world.remote.files.size, 0)
    }))

  it.effect("replaces and deletes only what it has seen", () =>
    Effect.gen(function*() {
      const world = yield* setUp
      yield* world.put({ a: of("1"), b: of("2") })
      world.remote.put("x/a", "old")
      world.remote.put("x/extra", "old")
      // Somebody changes both while it is at work.
      const { upload } = world.remote.answers
      const answers = {
        ...world.remote.answers,
        upload: (...args: Parameters<NonNullable<typeof upload>>) =>
          Effect.suspend(() => {
            world.remote.put("x/a", "theirs")
            return upload?.(...args) ?? Effect.die("no upload")
          })
      }
      const run = yield* runCommand(["MIRROR", world.local, "~me/x", "--delete", "--yes"], { answers })
      assert.strictEqual(run.status, 1)
      assert.include(run.stderr, "2:vcf")
      assert.strictEqual(world.remote.files.get("x/a")?.content, "theirs")
      assert.isTrue(world.remote.files.has("x/extra"))
    }))

  it.effect("leaves alone what is excluded, on both sides", () =>
    Effect.gen(function*() {
      const world = yield* setUp
      yield* world.put({ "a.txt": of("1"), "b.tmp": of("2"), "cache/c": of("3"), "d/cache/e": of("4"), "d/f": of("5") })
      world.remote.put("x/old.tmp", "6")
      world.remote.put("x/cache/old", "7")
      world.remote.put("x/old", "8")
      yield* world.up("--delete", "--yes", "--exclude", "*.tmp", "--exclude=cache/")
      assert.deepStrictEqual(Object.keys(yield* world.there).sort(), ["a.txt", "cache/old", "d/f", "old.tmp"])
    }))

  it.effect("reads a file only once to find that it is the same", () =>
    Effect.gen(function*() {
      const world = yield* setUp
      yield* world.put({ a: of("1") })
      world.remote.put("x/a", "1", { modified_ms: 5 })
      assert.include((yield* world.up()).stderr, "1 the same")
      // It cannot be read any more, but nobody asks.
      yield* Effect.promise(() => chmod(path.join(world.local, "a"), 0o644))
      const [before] = yield* Effect.promise(() => readdir(world.local))
      assert.strictEqual(before, "a")
      world.remote.put("x/a", "2", { modified_ms: 5 })
      assert.include((yield* world.up("--dry-run")).stdout, "replace")
    }))

  it.effect("gives a file here its time and its bit without fetching it", () =>
    Effect.gen(function*() {
      const world = yield* setUp
      yield* world.put({ a: of("1", 1_600_000_000_000) })
      world.remote.put("x/a", "1", { modified_ms: 1_700_000_000_000, executable: true })
      assert.include((yield* world.down()).stderr, "1 to get another time or executable bit")
      assert.deepStrictEqual(yield* world.here, { a: of("1", 1_700_000_000_000, true) })
      assert.deepStrictEqual(world.remote.done, [])
    }))

  it.effect("compares contents with --checksum, whatever the times say", () =>
    Effect.gen(function*() {
      const world = yield* setUp
      const { attributes } = of("1")
      yield* world.put({ a: of("1") })
      world.remote.put("x/a", "2", attributes)
      assert.include((yield* world.up()).stderr, "nothing to do")
      yield* world.up("--checksum")
      assert.strictEqual(world.remote.files.get("x/a")?.content, "1")
    }))

  it.effect("puts files where folders were, and folders where files were, when it may delete", () =>
    Effect.gen(function*() {
      const world = yield* setUp
      yield* world.put({ "a/b/c": of("1"), d: of("2") })
      world.remote.put("x/a", "file")
      world.remote.put("x/d/e", "file")
      assert.strictEqual((yield* world.down()).status, 2)
      const run = yield* world.down("--delete", "--yes")
      assert.strictEqual(run.status, 0, run.stderr)
      assert.deepStrictEqual(Object.keys(yield* world.here).sort(), ["a", "d/e"])
    }))

  it.effect("says which is which when it can tell, and asks when it cannot", () =>
    Effect.gen(function*() {
      const world = yield* setUp
      yield* world.put({ a: of("1") })
      const run = (...words: ReadonlyArray<string>) =>
        Effect.map(runCommand(["MIRROR", ...words], { answers: world.remote.answers }), ({ status, stderr }) =>
          [
            status,
            stderr
          ] as const)
      assert.strictEqual((yield* run(world.local, "x"))[0], 0)
      assert.strictEqual((yield* run("x", path.join(world.local, "new")))[0], 0)
      assert.deepStrictEqual(Object.keys(yield* world.here).sort(), ["a", "new/a"])
      const [status, stderr] = yield* run("docs", "x")
      assert.strictEqual(status, 2)
      assert.include(stderr, "which of docs and x is on the server?")
      assert.include((yield* run("~me/x", "~me/y"))[1], "which of")
      assert.include((yield* run("no-such-folder", "x", "--up"))[1], "cannot read no-such-folder: no such file")
    }))

  it.effect("moves what has another size, though the time is the same", () =>
    Effect.gen(function*() {
      const world = yield* setUp
      yield* world.put({ a: of("longer than there") })
      world.remote.put("x/a", "there", of("").attributes)
      yield* world.up()
      assert.strictEqual((yield* world.there)["a"]?.content, "longer than there")
      world.remote.put("x/a", "there again", of("").attributes)
      yield* world.down("--yes")
      assert.strictEqual((yield* world.here)["a"]?.content, "there again")
    }))

  it.effect("leaves links out and says so, and takes no part of an interrupted download for a file", () =>
    Effect.gen(function*() {
      const world = yield* setUp
      yield* world.put({ a: of("1"), ".fip-0123456789abcdef.part": of("half") })
      yield* Effect.promise(() => symlink("/etc/passwd", path.join(world.local, "link")))
      const run = yield* world.up()
      assert.include(run.stderr, "left out 1 under")
      assert.deepStrictEqual(Object.keys(yield* world.there), ["a"])
      world.remote.put("x/b", "2")
      yield* Effect.promise(() => rm(path.join(world.local, "a")))
      yield* world.down("--delete", "--yes")
      assert.deepStrictEqual(Object.keys(yield* world.here).sort(), [".fip-0123456789abcdef.part", "a", "b"])
    }))

  it.effect("never writes outside the folder, whatever names the server sends", () =>
    Effect.gen(function*() {
      const world = yield* setUp
      world.remote.files.set("x/../../escaped", { content: "1", version: 1, attributes: {} })
      const run = yield* world.down()
      assert.notStrictEqual(run.status, 0)
      assert.deepStrictEqual(world.remote.done, [])
    }))
})
