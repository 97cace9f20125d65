import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Queue } from "effect"
import { LineReader } from "../../src/cli/shell/LineReader.ts"
import { Output } from "../../src/cli/shell/Output.ts"
import { makePager } from "../../src/cli/shell/Pager.ts"
import { Capture } from "../support/ShellHarness.ts"

class Screen extends Capture {
  readonly rows: number

  constructor(rows: number) {
    super(true)
    this.rows = rows
  }
}

const MORE = /-- more .* --/g

/** Writes to a pager on a screen of so many rows and 80 columns, with somebody who presses these keys when asked. */
const read = Effect.fnUntraced(
  function*(rows: number, chunks: ReadonlyArray<string | Uint8Array>, ...keys: ReadonlyArray<string>) {
    const screen = new Screen(rows)
    const pressed = yield* Queue.unbounded<string>()
    yield* Queue.offerAll(pressed, keys)
    let written = 0
    const context = yield* Layer.build(Layer.merge(
      Output.layerStreams({ stdout: screen, stderr: screen }),
      Layer.mock(LineReader, { key: Queue.take(pressed), typing: () => false, aside: () => {} })
    ))
    yield* Effect.gen(function*() {
      const pager = makePager(yield* Output, yield* LineReader)
      const write = Effect.forEach(chunks, (chunk) => {
        written++
        return pager.output.write(chunk)
      })
      const fiber = yield* Effect.forkChild(Effect.raceFirst(write, pager.left))
      // It waits for a key that nobody presses, or has ended.
      yield* Effect.raceFirst(Fiber.await(fiber), waiting(pressed))
    }).pipe(Effect.provideContext(context))
    return { text: screen.text, asked: screen.text.match(MORE)?.length ?? 0, written }
  },
  Effect.scoped
)

/** Ends when all keys were taken and the reader has had the time to go on. */
const waiting = (pressed: Queue.Queue<string>) =>
  Effect.gen(function*() {
    for (let quiet = 0; quiet < 100; quiet = (yield* Queue.size(pressed)) === 0 ? quiet + 1 : 0) yield* Effect.yieldNow
  })

const lines = (count: number): string => Array.from({ length: count }, (_, index) => `line ${index + 1}\n`).join("")

describe("a long result at a terminal", () => {
  it.effect("is shown at once when it fits", () =>
    Effect.gen(function*() {
      const { asked, text } = yield* read(10, [lines(9)])
      assert.strictEqual(asked, 0)
      assert.strictEqual(text, lines(9))
    }))

  it.effect("stops at the end of the screen; blank goes a page on, Enter a line", () =>
    Effect.gen(function*() {
      const first = yield* read(10, [lines(30)])
      assert.strictEqual(first.asked, 1)
      assert.include(first.text, "line 9\n")
      assert.notInclude(first.text, "line 10\n")
      const page = yield* read(10, [lines(30)], "space")
      assert.include(page.text, "line 18\n")
      assert.notInclude(page.text, "line 19\n")
      const line = yield* read(10, [lines(30)], "space", "x", "return")
      assert.include(line.text, "line 19\n")
      assert.notInclude(line.text, "line 20\n")
      const all = yield* read(10, [lines(30)], "space", "space", "space")
      assert.include(all.text, "line 30\n")
    }))

  it.effect("counts what was written before, in however many pieces it comes", () =>
    Effect.gen(function*() {
      const pieces = lines(30).match(/.{1,7}|\n/gs) ?? []
      const { asked, text } = yield* read(10, pieces)
      assert.strictEqual(asked, 1)
      assert.include(text, "line 9\n")
      assert.notInclude(text, "line 10\n")
    }))

  it.effect("counts rows: a line that is wider than the screen takes several, one with wide characters too", () =>
    Effect.gen(function*() {
      const { text } = yield* read(10, [`${"x".repeat(161)}\n${"漢".repeat(41)}\n${lines(10)}`])
      assert.include(text, "line 4\n")
      assert.notInclude(text, "line 5\n")
      const colored = yield* read(10, [`\u001b[1;34m${"x".repeat(80)}\u001b[0m\n`.repeat(12)])
      assert.strictEqual(colored.text.match(/x{80}/g)?.length, 9)
    }))

  it.effect("ends with q, and what was not asked for is not fetched", () =>
    Effect.gen(function*() {
      for (const key of ["q", "ctrl-c"]) {
        const { text, written } = yield* read(10, [lines(5), lines(5), lines(5), lines(5)], key)
        assert.strictEqual(written, 2)
        assert.strictEqual(text.match(/line \d/g)?.length, 9)
      }
    }))

  it.effect("that is no text goes through as it is", () =>
    Effect.gen(function*() {
      const bytes = new TextEncoder().encode(lines(100))
      assert.strictEqual((yield* read(10, [bytes])).asked, 0)
    }))
})
