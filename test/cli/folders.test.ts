import { assert, describe, it } from "@effect/vitest"
import { Effect, Result, Stream } from "effect"
import * as fc from "fast-check"
import { mkdtemp, realpath, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import path from "node:path"
import { inFolder, TOP } from "../../src/cli/shell/Workspace.ts"
import { Username } from "../../src/protocol/Identity.ts"
import { info, runLines } from "../support/ShellHarness.ts"

const docs = { owner: undefined, prefix: "docs/2026/" }
const alices = { owner: Username.make("alice"), prefix: "docs/" }
const shown = (folder: typeof docs | typeof alices | typeof TOP, text: string): string =>
  Result.getOrElse(inFolder(folder, text), (fault) => `! ${fault}`)

/** What is in `docs/` alone. */
const list = (options: { readonly prefix?: string | undefined } = {}) =>
  options.prefix === "docs/" ? Stream.make({ _tag: "File" as const, file: info("docs/a.txt") }) : Stream.empty

describe("a name in a folder", () => {
  it("is relative to it, and understands . and ..", () => {
    assert.strictEqual(shown(docs, "a.txt"), "docs/2026/a.txt")
    assert.strictEqual(shown(docs, "./a.txt"), "docs/2026/a.txt")
    assert.strictEqual(shown(docs, "../a.txt"), "docs/a.txt")
    assert.strictEqual(shown(docs, "../../a.txt"), "a.txt")
    assert.strictEqual(shown(docs, ".."), "docs/")
    assert.strictEqual(shown(docs, "."), "docs/2026/")
    assert.strictEqual(shown(docs, "../.."), "/")
    assert.strictEqual(shown(docs, "sub/"), "docs/2026/sub/")
    assert.strictEqual(shown(docs, "../../.."), "! there is nothing above /")
    assert.strictEqual(shown(alices, "a.txt"), "~alice/docs/a.txt")
    assert.strictEqual(shown(alices, ".."), "~alice/")
    assert.strictEqual(shown(alices, "../../x"), "! there is nothing above ~alice/")
  })

  it("is one's own from the top with /, ~/ or ~me/, and somebody's with ~user/", () => {
    for (const folder of [docs, alices, TOP]) {
      for (const text of ["/a/b", "~/a/b", "~me/a/b"]) assert.strictEqual(shown(folder, text), "a/b")
      for (const text of ["/", "~", "~/", "~me", "~me/"]) assert.strictEqual(shown(folder, text), "/")
      assert.strictEqual(shown(folder, "~bob_jones/a"), "~bob_jones/a")
      assert.strictEqual(shown(folder, "~mexico/a"), "~mexico/a")
    }
  })

  it("without . and .. is the folder and the name, whatever they are", () => {
    const part = fc.string({ unit: "grapheme", minLength: 1 })
      .filter((text) => !/[/~]/.test(text) && text !== "." && text !== "..")
    fc.assert(fc.property(fc.array(part), fc.array(part, { minLength: 1 }), (folder, name) => {
      const prefix = folder.map((one) => `${one}/`).join("")
      assert.strictEqual(shown({ owner: undefined, prefix }, name.join("/")), prefix + name.join("/"))
      const ups = folder.map(() => "../").join("")
      assert.strictEqual(shown({ owner: undefined, prefix }, ups + name.join("/")), name.join("/"))
    }))
  })
})

describe("CD", () => {
  it.effect("changes what names mean, in every kind of argument", () =>
    Effect.gen(function*() {
      const { calls, status, stdout } = yield* runLines([
        "CD docs",
        "PWD",
        "CREATE a.txt",
        "CREATE a.txt bob_jones",
        "CREATE /top.txt",
        "RENAME a.txt b.txt",
        "RENAME ~bob_jones/a.txt b.txt",
        "COPY ~bob_jones/a.txt c.txt",
        "GRANT bob_jones . READ",
        "UPLOAD package.json",
        "UPLOAD package.json ../p.json",
        "CD -",
        "PWD"
      ], { answers: { list } })
      assert.strictEqual(status, 0)
      assert.strictEqual(stdout, "docs/\n/\n")
      const files = calls.filter(([method]) => method !== "logout").map(([method, first, second]) =>
        [
          method,
          first,
          ...(method === "rename" || method === "copy" || method === "grant" || method === "upload" ? [second] : [])
        ].join(" ")
      )
      assert.deepStrictEqual(files, [
        "create docs/a.txt",
        "create ~bob_jones/a.txt",
        "create top.txt",
        "rename docs/a.txt docs/b.txt",
        "rename ~bob_jones/a.txt b.txt",
        "copy ~bob_jones/a.txt docs/c.txt",
        "grant bob_jones docs/",
        "upload package.json docs/package.json",
        "upload package.json p.json"
      ])
    }))

  it.effect("goes to folders that are not there yet, and never to a file", () =>
    Effect.gen(function*() {
      const file = yield* runLines(["CD notes.txt"], { answers: { list } })
      assert.strictEqual(file.status, 2)
      assert.include(file.stderr, "notes.txt is a file, not a folder")
      const empty = yield* runLines(["CD new/", "PWD"], { answers: { list } })
      assert.include(empty.stderr, "there is nothing in new/ yet")
      assert.strictEqual(empty.stdout, "new/\n")
    }))

  it.effect("is what LIST lists", () =>
    Effect.gen(function*() {
      const { calls } = yield* runLines(["CD docs", "LIST", "LIST --shared", "LIST /"])
      assert.deepStrictEqual(calls.filter(([method]) => method === "list").slice(1).map(([, options]) => options), [
        { prefix: "docs/", recursive: false, scope: "own" },
        { recursive: false, scope: "shared" },
        { prefix: "", recursive: false, scope: "own" }
      ])
    }))
})

describe("LCD", () => {
  it.effect("changes what local names mean", () =>
    Effect.gen(function*() {
      const before = process.cwd()
      const folder = yield* Effect.acquireRelease(
        Effect.promise(async () => realpath(await mkdtemp(path.join(tmpdir(), "fip-lcd-")))),
        (folder) =>
          Effect.promise(() => {
            process.chdir(before)
            return rm(folder, { recursive: true })
          })
      )
      yield* Effect.promise(() => writeFile(path.join(folder, "here.txt"), "12345"))
      const run = yield* runLines([`LCD ${folder}`, "LPWD", "LLS", "LLS -l", "UPLOAD here.txt", "LCD no-such-folder"])
      assert.strictEqual(run.status, 2)
      assert.match(run.stderr, /uploaded here.txt/)
      assert.match(run.stderr, /cannot go to no-such-folder: no such file or directory/)
      assert.strictEqual(run.stdout.split("\n").slice(0, 2).join("\n"), `${folder}\nhere.txt`)
      assert.match(run.stdout, /5 B .* here\.txt/)
    }))
})
