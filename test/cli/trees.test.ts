import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema, Stream } from "effect"
import { TestClock } from "effect/testing"
import { createHash } from "node:crypto"
import { readFileSync } from "node:fs"
import { mkdir, readdir, readFile, symlink, truncate, writeFile } from "node:fs/promises"
import path from "node:path"
import { ConnectionLost } from "../../src/client/ClientError.ts"
import type { FipClientShape } from "../../src/client/FipClient.ts"
import { makeJournals } from "../../src/client/Journal.ts"
import { Sha256 } from "../../src/protocol/Identity.ts"
import { refuse } from "../../src/protocol/Refusal.ts"
import { FileInfo } from "../../src/protocol/Request.ts"
import { Capture, info, runCommand, sha256 } from "../support/ShellHarness.ts"
import { temporaryFolder } from "../support/temporaryFolder.ts"

const put = (file: string, content = "x") =>
  Effect.promise(async () => {
    await mkdir(path.dirname(file), { recursive: true })
    await writeFile(file, content)
  })

/** A server with files of these names, as it would claim them: a download writes the name into the file. */
const offering = (...names: ReadonlyArray<string>): Partial<FipClientShape> => ({
  list: () => Stream.fromIterable(names.map((name) => ({ _tag: "File" as const, file: claimed(name) }))),
  download: (file, local) =>
    Effect.promise(async () => {
      const name = typeof file === "string" ? file : file.name
      await writeFile(local, name)
      return { ...info("x"), name: claimed(name).name, sha256 }
    })
})

/** A name that no honest client lets through: it is not checked. */
const claimed = (name: string): FileInfo => ({ ...info("x"), name: unchecked(name) })
const unchecked = Schema.decodeSync(Schema.String.pipe(Schema.brand("FileName")))

const everything = (folder: string) =>
  Effect.promise(async () =>
    (await readdir(folder, { recursive: true, withFileTypes: true }))
      .filter((entry) => entry.isFile())
      .map((entry) => path.relative(folder, path.join(entry.parentPath, entry.name)))
      .sort()
  )

describe("UPLOAD --recursive", () => {
  it.effect("sends every file below the folder, and none that is a link", () =>
    Effect.gen(function*() {
      const folder = yield* temporaryFolder
      yield* put(path.join(folder, "photos", "a.txt"), "a")
      yield* put(path.join(folder, "photos", "deep", "er", "ü.txt"), "abc")
      yield* put(path.join(folder, "photos", "empty"), "")
      yield* Effect.promise(() => symlink("/etc/passwd", path.join(folder, "photos", "link")))
      const local = path.join(folder, "photos")
      const run = yield* runCommand(["UPLOAD", local, "--recursive"], { json: true })
      assert.deepStrictEqual(run.calls.slice(0, -1), [
        ["upload", path.join(local, "a.txt"), "photos/a.txt", { mode: "write", hash: true }],
        ["upload", path.join(local, "deep/er/ü.txt"), "photos/deep/er/ü.txt", { mode: "write", hash: true }],
        ["upload", path.join(local, "empty"), "photos/empty", { mode: "write", hash: true }]
      ])
      const { result } = JSON.parse(run.stdout)
      assert.strictEqual(result.files.length, 3)
      assert.deepStrictEqual(result.totals, { files: 3, bytes: 15 })
      assert.strictEqual(result.files[0].local, path.join(local, "a.txt"))
      assert.include(run.stderr, "left out 1 under")
    }))

  it.effect("puts them under the place that is given, with or without a / at its end", () =>
    Effect.gen(function*() {
      const folder = yield* temporaryFolder
      yield* put(path.join(folder, "a.txt"))
      const to = Effect.fnUntraced(function*(place: string) {
        const run = yield* runCommand(["UPLOAD", folder, place, "-r"])
        return run.calls[0]?.[2]
      })
      assert.strictEqual(yield* to("docs"), "docs/a.txt")
      assert.strictEqual(yield* to("docs/"), "docs/a.txt")
      assert.strictEqual(yield* to("/"), "a.txt")
      assert.strictEqual(yield* to("~bob_jones"), "~bob_jones/a.txt")
      assert.strictEqual(yield* to("~bob_jones/docs"), "~bob_jones/docs/a.txt")
    }))

  it.effect("goes on where it was interrupted, with what has not arrived or has changed since", () =>
    Effect.gen(function*() {
      const folder = yield* temporaryFolder
      const local = path.join(folder, "tree")
      yield* Effect.promise(() => mkdir(local))
      for (const name of ["a", "b", "c", "d"]) yield* put(path.join(local, name), name)
      const journals = makeJournals(path.join(folder, "state"), "localhost:6090", () => {})
      const remote = new Map<string, FileInfo>()
      const answers = (fails: string): Partial<FipClientShape> => ({
        transferNotes: (key) => journals.open(key),
        list: () => Stream.fromIterable([...remote.values()].map((file) => ({ _tag: "File", file }))),
        upload: (local, file) => {
          const name = typeof file === "string" ? file : file.name
          if (name === fails) return Effect.fail(new ConnectionLost({ message: "lost" }))
          return Effect.sync(() => {
            const { sha256: _, ...rest } = info(name)
            const sha256 = Sha256.make(createHash("sha256").update(readFileSync(local)).digest("hex"))
            remote.set(name, { ...rest, sha256 })
            return { ...rest, sha256 }
          })
        }
      })
      const run = (fails: string) => runCommand(["UPLOAD", local, "x", "-r"], { json: true, answers: answers(fails) })
      const first = yield* run("x/c")
      assert.strictEqual(first.status, 6)
      assert.deepStrictEqual([...remote.keys()].slice(0, 2), ["x/a", "x/b"])
      // Changed here, and there.
      yield* put(path.join(local, "a"), "A")
      remote.set("x/b", { ...info("x/b"), sha256 })
      remote.delete("x/d")
      yield* Effect.promise(() => writeFile(path.join(local, "e"), "e"))
      remote.set("x/e", info("x/e"))
      const again = yield* run("x/e")
      assert.strictEqual(again.status, 6)
      const before = new Map(remote)
      const third = yield* run("")
      assert.strictEqual(third.status, 0)
      assert.match(third.stderr, /going on: 4 of 5 files moved before the interruption/)
      for (const name of ["x/a", "x/b", "x/c", "x/d"]) assert.strictEqual(remote.get(name), before.get(name), name)
      const { result } = JSON.parse(third.stdout)
      assert.deepStrictEqual(result.files.map(({ name }: FileInfo) => name), ["x/a", "x/b", "x/c", "x/d", "x/e"])
      assert.deepStrictEqual(
        result.files.map(({ sha256 }: FileInfo) => sha256),
        ["A", "b", "c", "d", "e"].map((text) => createHash("sha256").update(text).digest("hex"))
      )
      // Done: the next one is a new one.
      remote.clear()
      assert.notInclude((yield* run("")).stderr, "going on")
      assert.strictEqual(remote.size, 5)
    }))

  it.effect("that fails names the file, and starts no more", () =>
    Effect.gen(function*() {
      const folder = yield* temporaryFolder
      for (let index = 0; index < 100; index++) yield* put(path.join(folder, `f${String(index).padStart(3, "0")}`))
      let started = 0
      const run = yield* runCommand(["UPLOAD", folder, "x", "-r"], {
        answers: {
          upload: () =>
            Effect.suspend(() => {
              started++
              return started === 3 ? Effect.fail(refuse("2:quota", "your storage is full")) : Effect.never
            })
        }
      })
      assert.strictEqual(run.status, 1)
      assert.strictEqual(run.stderr, "UPLOAD: x/f002: your storage is full (2:quota)\n")
      assert.isBelow(started, 20)
    }))

  it.effect("sends nothing when a name cannot be stored", () =>
    Effect.gen(function*() {
      const folder = yield* temporaryFolder
      yield* put(path.join(folder, "a\nb"))
      yield* put(path.join(folder, "a"))
      const run = yield* runCommand(["UPLOAD", folder, "x", "-r"])
      assert.strictEqual(run.status, 2)
      assert.include(run.stderr, "must not contain control characters")
      assert.deepStrictEqual(run.calls, [["logout"]])
    }))
})

describe("DOWNLOAD --recursive", () => {
  it.effect("writes every file below the target, in folders that it makes", () =>
    Effect.gen(function*() {
      const folder = yield* temporaryFolder
      const target = path.join(folder, "new", "target")
      const run = yield* runCommand(["DOWNLOAD", "docs/", target, "--recursive"], {
        json: true,
        answers: offering("docs/a.txt", "docs/deep/er/b.txt", "docs/deep/c.txt")
      })
      assert.strictEqual(run.status, 0, run.stdout)
      assert.deepStrictEqual(yield* everything(target), ["a.txt", "deep/c.txt", "deep/er/b.txt"])
      assert.strictEqual(
        yield* Effect.promise(() => readFile(path.join(target, "deep/er/b.txt"), "utf8")),
        "docs/deep/er/b.txt"
      )
      assert.strictEqual(JSON.parse(run.stdout).result.totals.files, 3)
    }))

  it.effect("never writes outside its target, whatever names the server sends", () =>
    Effect.gen(function*() {
      for (
        const name of [
          "docs/../../escaped",
          "docs/..",
          "docs/a/../../../escaped",
          "docs//etc/escaped",
          "/etc/escaped",
          "other/escaped",
          "docs/",
          "docs/a\u0000b",
          "escaped"
        ]
      ) {
        const folder = yield* temporaryFolder
        const target = path.join(folder, "a", "target")
        const run = yield* runCommand(["DOWNLOAD", "docs/", target, "-r"], { answers: offering("docs/ok", name) })
        assert.strictEqual(run.status, 2, name)
        assert.include(run.stderr, "the server sent a name that is not safe")
        assert.deepStrictEqual(yield* everything(folder), [], name)
      }
    }))

  it.effect("never writes through a link that is in the target", () =>
    Effect.gen(function*() {
      const folder = yield* temporaryFolder
      const target = path.join(folder, "target")
      const outside = path.join(folder, "outside")
      yield* Effect.promise(async () => {
        await mkdir(target)
        await mkdir(outside)
        await symlink(outside, path.join(target, "link"))
      })
      const run = yield* runCommand(["DOWNLOAD", "docs/", target, "-r"], { answers: offering("docs/link/a.txt") })
      assert.strictEqual(run.status, 2)
      assert.include(run.stderr, "is in the way: it is not a folder")
      assert.deepStrictEqual(yield* everything(outside), [])
    }))

  it.effect("says so when there is nothing under that name", () =>
    Effect.gen(function*() {
      const run = yield* runCommand(["DOWNLOAD", "docs", "-r"], { answers: offering() })
      assert.strictEqual(run.status, 1)
      assert.strictEqual(run.stderr, "DOWNLOAD: there are no files under docs/ (2:nf)\n")
    }))
})

describe("progress", () => {
  const upload: Partial<FipClientShape> = {
    upload: (_local, _file, options) =>
      Effect.gen(function*() {
        options?.onProgress?.({ bytes: 512 * 1024, total: 1024 * 1024 })
        yield* Effect.sleep("250 millis")
        options?.onProgress?.({ bytes: 1024 * 1024, total: 1024 * 1024 })
        return { ...info("f"), sha256 }
      })
  }

  it.live("is one line on stderr, gone at the end, when that is a terminal", () =>
    Effect.gen(function*() {
      const stderr = new Capture(true)
      yield* runCommand(["REPLACEFROM", "a", "f"], { stderr, answers: upload })
      assert.include(stderr.text, "\r\u001b[K512 KiB of 1.0 MiB (50%)")
      assert.include(stderr.text, "\r\u001b[Kuploaded a to f")
    }))

  it.live("is as wide as the terminal, with the file that is under way", () =>
    Effect.gen(function*() {
      const folder = yield* temporaryFolder
      const name = `${"a long name ".repeat(8)}end.txt`
      yield* put(path.join(folder, name))
      yield* Effect.promise(() => truncate(path.join(folder, name), 1024 * 1024))
      const stderr = new Capture(true)
      yield* runCommand(["UPLOAD", folder, "x", "-r"], { stderr, answers: upload })
      const lines = stderr.text.split("\r\u001b[K").filter((line) => line.includes(" of 1 files"))
      assert.match(lines[0] ?? "", /^0 of 1 files {2}512 KiB of 1\.0 MiB \(50%\).* {2}x\/a l.*…\S*txt 50%$/)
      for (const line of lines) assert.isAtMost(line.length, 79)
    }))

  it.effect("is a line now and then when that is none, of what takes long", () =>
    Effect.gen(function*() {
      const stderr = new Capture()
      const answers: Partial<FipClientShape> = {
        upload: (_local, _file, options) =>
          Effect.gen(function*() {
            for (let second = 1; second <= 100; second++) {
              yield* Effect.sleep("1 second")
              options?.onProgress?.({ bytes: second * 1024, total: 102_400 })
            }
            return { ...info("f"), sha256 }
          })
      }
      const run = yield* Effect.forkChild(runCommand(["REPLACEFROM", "a", "f"], { stderr, answers }))
      yield* Effect.yieldNow
      while (run.pollUnsafe() === undefined) yield* TestClock.adjust("1 second")
      const lines = stderr.text.split("\n").filter((line) => line.includes(" of 100 KiB"))
      assert.strictEqual(lines.length, 3)
      assert.match(lines[1] ?? "", /^\d+\.\d KiB of 100 KiB \(\d\d%\), 1\.0 KiB\/s, 1:0\d left$/)
      assert.notInclude(stderr.text, "\r")
    }))

  it.live("is silent with --json", () =>
    Effect.gen(function*() {
      const stderr = new Capture(true)
      yield* runCommand(["REPLACEFROM", "a", "f"], { stderr, answers: upload, json: true })
      assert.strictEqual(stderr.text, "")
    }))

  it.live("is silent when it is none", () =>
    Effect.gen(function*() {
      const run = yield* runCommand(["REPLACEFROM", "a", "f"], { answers: upload })
      assert.notInclude(run.stderr, "\r")
      assert.notInclude(run.stdout + run.stderr, "512 KiB")
    }))
})
