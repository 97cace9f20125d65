import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { chmod, readFile, stat, writeFile } from "node:fs/promises"
import path from "node:path"
import { MAX_LINES, openHistory } from "../../src/cli/shell/History.ts"
import { Output } from "../../src/cli/shell/Output.ts"
import { Capture } from "../support/ShellHarness.ts"
import { temporaryFolder } from "../support/temporaryFolder.ts"

/** Opens the history for as long as `use` runs, as a shell does. */
const withHistory = <A>(file: string, use: (history: Effect.Success<ReturnType<typeof openHistory>>) => A) => {
  const stderr = new Capture()
  return Effect.map(openHistory(file), use).pipe(
    Effect.scoped,
    Effect.provide(Output.layerStreams({ stdout: new Capture(), stderr })),
    Effect.map((result) => ({ result, said: stderr.text }))
  )
}

const kept = (file: string) => Effect.promise(() => readFile(file, "utf8"))

describe("the history of lines", () => {
  it.live("is there for the next shell, the newest first, and for nobody else", () =>
    Effect.gen(function*() {
      const file = path.join(yield* temporaryFolder, "state", "fip", "history")
      yield* withHistory(file, (history) => ["LIST", "READ a", "READ a", "READ ä"].forEach(history.add))
      const { result, said } = yield* withHistory(file, (history) => history.lines())
      assert.deepStrictEqual(result, ["READ ä", "READ a", "LIST"])
      assert.strictEqual(said, "")
      const { mode } = yield* Effect.promise(() => stat(file))
      assert.strictEqual(mode & 0o777, 0o600)
      assert.strictEqual((yield* Effect.promise(() => stat(path.dirname(file)))).mode & 0o777, 0o700)
    }))

  it.live("loses no line of several shells at once", () =>
    Effect.gen(function*() {
      const file = path.join(yield* temporaryFolder, "history")
      const shells = Array.from({ length: 8 }, (_, shell) =>
        withHistory(file, (history) => {
          for (let line = 0; line < 20; line++) history.add(`READ ${shell}-${line}`)
        }))
      yield* Effect.all(shells, { concurrency: "unbounded" })
      const lines = (yield* kept(file)).trimEnd().split("\n")
      assert.strictEqual(new Set(lines).size, 160)
      assert.strictEqual(lines.length, 160)
    }))

  it.live("is cut to its newest lines, and is private again when it was not", () =>
    Effect.gen(function*() {
      const file = path.join(yield* temporaryFolder, "history")
      const old = Array.from({ length: 2 * MAX_LINES }, (_, index) => `READ ${index}`)
      yield* Effect.promise(() => writeFile(file, `${old.join("\n")}\n`))
      yield* Effect.promise(() => chmod(file, 0o644))
      yield* withHistory(file, (history) => history.add("LIST"))
      const lines = (yield* kept(file)).trimEnd().split("\n")
      assert.strictEqual(lines.length, MAX_LINES + 1)
      assert.deepStrictEqual(lines.slice(-2), [`READ ${2 * MAX_LINES - 1}`, "LIST"])
      assert.strictEqual((yield* Effect.promise(() => stat(file))).mode & 0o777, 0o600)
    }))

  it.live("that cannot be kept is said once, and the lines of this shell are there", () =>
    Effect.gen(function*() {
      const folder = yield* temporaryFolder
      yield* Effect.promise(() => writeFile(path.join(folder, "in-the-way"), ""))
      const { result, said } = yield* withHistory(path.join(folder, "in-the-way", "history"), (history) => {
        history.add("LIST")
        return history.lines()
      })
      assert.deepStrictEqual(result, ["LIST"])
      assert.match(said, /^the history of lines is not kept: .*\n$/)
    }))
})
