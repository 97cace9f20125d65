import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { writeAtomically } from "../../src/platform/AtomicFile.ts"
import { temporaryFolder } from "../support/temporaryFolder.ts"

const contentOf = (path: string) => Effect.promise(() => readFile(path, "utf8"))
const namesIn = (folder: string) => Effect.promise(() => readdir(folder))

it.live("makes a file private to its owner, and replaces it", () =>
  Effect.gen(function*() {
    const folder = yield* temporaryFolder
    const path = join(folder, "file")
    yield* writeAtomically(path, "first")
    assert.strictEqual((yield* Effect.promise(() => stat(path))).mode & 0o777, 0o600)
    yield* writeAtomically(path, new TextEncoder().encode("second"), 0o644)
    assert.strictEqual(yield* contentOf(path), "second")
    assert.strictEqual((yield* Effect.promise(() => stat(path))).mode & 0o777, 0o644)
    assert.deepStrictEqual(yield* namesIn(folder), ["file"])
  }).pipe(Effect.scoped))

it.live("shows readers one whole content while writers race", () =>
  Effect.gen(function*() {
    const path = join(yield* temporaryFolder, "file")
    const contents = Array.from({ length: 8 }, (_, index) => String(index).repeat(200_000))
    yield* writeAtomically(path, contents[0] ?? "")
    yield* Effect.forEach(contents, (content) =>
      Effect.gen(function*() {
        yield* writeAtomically(path, content)
        assert.include(contents, yield* contentOf(path))
      }), { concurrency: "unbounded" })
  }).pipe(Effect.scoped))

it.live("leaves one whole content when its process is killed with -9", () =>
  Effect.gen(function*() {
    const folder = yield* temporaryFolder
    const path = join(folder, "file")
    for (const rounds of [1, 3, 4]) {
      const child = spawn(process.execPath, [join(import.meta.dirname, "writeForever.ts"), path], {
        stdio: ["ignore", "pipe", "inherit"]
      })
      const exit = once(child, "exit")
      for (let round = 0; round < rounds; round++) yield* Effect.promise(() => once(child.stdout, "data"))
      child.kill("SIGKILL")
      yield* Effect.promise(() => exit)
      const content = yield* contentOf(path)
      assert.strictEqual(content, content.slice(0, 1).repeat(1_000_000))
    }
  }).pipe(Effect.scoped))

it.live("says why it cannot write, and leaves what was there", () =>
  Effect.gen(function*() {
    const folder = yield* temporaryFolder
    const missing = yield* Effect.flip(writeAtomically(join(folder, "none", "file"), "x"))
    assert.strictEqual(missing.message, `cannot write ${folder}/none/file: no such file or directory`)

    const occupied = join(folder, "occupied")
    yield* Effect.promise(() => mkdir(occupied))
    yield* Effect.promise(() => writeFile(join(occupied, "kept"), ""))
    const refused = yield* Effect.flip(writeAtomically(occupied, "x"))
    assert.include(refused.message, `cannot write ${occupied}: `)
    assert.deepStrictEqual(yield* namesIn(folder), ["occupied"])
    assert.deepStrictEqual(yield* namesIn(occupied), ["kept"])
  }).pipe(Effect.scoped))
