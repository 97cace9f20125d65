import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fc from "fast-check"
import { mkdir, readdir, readFile, utimes, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { type Journal, makeJournals } from "../../src/client/Journal.ts"
import { temporaryFolder } from "../support/ScriptedServer.ts"

/** Runs `use` on a journal, as one run of a program does. */
const using = <A>(folder: string, key: string, use: (journal: Journal) => Effect.Effect<A>) =>
  Effect.scoped(
    Effect.flatMap(
      makeJournals(folder, "localhost:6090", (notice) => assert.fail(notice)).open([key]),
      (journal) => use(journal ?? assert.fail("no journal"))
    )
  )

const lines = (folder: string) => using(folder, "a", ({ found }) => Effect.succeed(found))
const path = (folder: string) =>
  Effect.promise(async () => {
    const name = (await readdir(folder)).find((name) => !name.endsWith(".lock"))
    return name === undefined ? undefined : join(folder, name)
  })

describe("a journal", () => {
  it.live("gives the next run what was written, until it is removed", () =>
    Effect.gen(function*() {
      const folder = join(yield* temporaryFolder, "some", "folder")
      yield* using(folder, "a", (journal) =>
        Effect.gen(function*() {
          assert.deepStrictEqual(journal.found, [])
          yield* journal.begin({ first: "ü\n" })
          journal.add([1, "x"])
        }))
      yield* using(folder, "b", ({ found }) => Effect.sync(() => assert.deepStrictEqual(found, [])))
      yield* using(folder, "a", (journal) => Effect.sync(() => journal.add(2)))
      assert.deepStrictEqual(yield* lines(folder), [{ first: "ü\n" }, [1, "x"], 2])
      // What was removed can be begun again by the same run.
      yield* using(folder, "a", (journal) => Effect.andThen(journal.remove, journal.begin("again")))
      assert.deepStrictEqual(yield* lines(folder), ["again"])
      yield* using(folder, "a", (journal) => journal.remove)
      assert.deepStrictEqual(yield* lines(folder), [])
      assert.isUndefined(yield* path(folder))
    }))

  it.live("belongs to one at a time", () =>
    Effect.gen(function*() {
      const folder = yield* temporaryFolder
      const journals = makeJournals(folder, "localhost:6090", (notice) => assert.fail(notice))
      yield* Effect.scoped(Effect.gen(function*() {
        assert.isDefined(yield* journals.open(["a"]))
        assert.isUndefined(yield* journals.open(["a"]))
        assert.isDefined(yield* journals.open(["b"]))
      }))
      assert.isDefined(yield* Effect.scoped(journals.open(["a"])))
    }))

  it.live("ends before what was damaged, and goes on from there", () =>
    Effect.gen(function*() {
      const folder = yield* temporaryFolder
      const written = ["one", { two: 2 }, [3, "three"], "four"]
      yield* Effect.promise(() =>
        fc.assert(
          fc.asyncProperty(fc.nat(), fc.constantFrom("cut", "flip"), (at, damage) =>
            Effect.runPromise(Effect.gen(function*() {
              yield* using(folder, "a", (journal) =>
                Effect.andThen(
                  journal.begin(written[0]),
                  Effect.sync(() => {
                    for (const line of written.slice(1)) journal.add(line)
                  })
                ))
              const file = (yield* path(folder)) ?? assert.fail()
              const bytes = yield* Effect.promise(() =>
                readFile(file)
              )
              const place = at % bytes.length
              if (damage === "flip") {
                bytes[place] = (bytes[place] ?? 0) ^ 1
              }
              yield* Effect.promise(() => writeFile(file, damage === "flip" ? bytes : bytes.subarray(0, place)))
              const whole = bytes.subarray(0, place).toString().split("\n").length - 1
              yield* using(folder, "a", (journal) => Effect.sync(() => journal.add("more")))
              assert.deepStrictEqual(yield* lines(folder), [...written.slice(0, whole), "more"])
            }))),
          { numRuns: 30 }
        )
      )
    }))

  it.live("is removed when nobody has touched it for a month, with what a download left", () =>
    Effect.gen(function*() {
      const folder = yield* temporaryFolder
      const state = join(folder, "state")
      yield* Effect.promise(() => mkdir(join(folder, "home")))
      const partial = join(folder, "home", ".fip-0123456789abcdef.part")
      const other = join(folder, "home", "thesis.txt")
      for (const [key, path] of [["a", partial], ["b", other]] as const) {
        yield* Effect.promise(() => writeFile(path, "x"))
        yield* using(state, key, (journal) => journal.begin({ partial: path }))
      }
      yield* using(state, "c", (journal) => journal.begin("young"))
      for (const name of yield* Effect.promise(() => readdir(state))) {
        const file = join(state, name)
        const isYoung = (yield* Effect.promise(() => readFile(file, "utf8"))).includes("young")
        if (!isYoung) yield* Effect.promise(() => utimes(file, 1, 1))
      }
      yield* using(state, "c", ({ found }) => Effect.sync(() => assert.deepStrictEqual(found, ["young"])))
      assert.strictEqual(
        (yield* Effect.promise(() => readdir(state))).filter((name) => !name.endsWith(".lock")).length,
        1
      )
      assert.deepStrictEqual(yield* Effect.promise(() => readdir(join(folder, "home"))), ["thesis.txt"])
    }))

  it.live("costs no transfer where it cannot be kept", () =>
    Effect.gen(function*() {
      const folder = yield* temporaryFolder
      yield* Effect.promise(() => writeFile(join(folder, "file"), ""))
      const notices: Array<string> = []
      const journals = makeJournals(join(folder, "file", "state"), "localhost:6090", (notice) => notices.push(notice))
      assert.isUndefined(yield* Effect.scoped(journals.open(["a"])))
      assert.match(notices.join(), /no notes on this transfer can be kept in .*: not a directory/)
    }))
})
