import { assert, describe, it } from "@effect/vitest"
import { DateTime } from "effect"
import * as fc from "fast-check"
import { formatBytes, formatPairs, formatSeconds, formatTable, formatTime } from "../../src/cli/shell/format.ts"
import { printable, printableJson, printableLine } from "../../src/cli/shell/printable.ts"

describe("sizes", () => {
  it("are shown in the unit that people would choose", () => {
    const shown = [0, 1, 1023, 1024, 1229, 1_048_575, 1_048_576, 125_829_120, 5 * 1024 ** 3, 10 * 1024 ** 3]
      .map(formatBytes)
    assert.deepStrictEqual(shown, [
      "0 B",
      "1 B",
      "1023 B",
      "1.0 KiB",
      "1.2 KiB",
      "1.0 MiB",
      "1.0 MiB",
      "120 MiB",
      "5.0 GiB",
      "10.0 GiB"
    ])
  })

  it("never have more than four digits", () => {
    fc.assert(fc.property(fc.nat({ max: Number.MAX_SAFE_INTEGER }), (bytes) => {
      assert.match(formatBytes(bytes), /^(\d{1,4} B|\d{1,4}(\.\d)? [KMGTP]iB)$/)
      assert.isAtMost(formatBytes(bytes).replaceAll(/\D/g, "").length, 4)
    }))
  })
})

describe("times", () => {
  it("are local and short", () => {
    assert.strictEqual(formatTime("2026-11-22T08:05:59.999Z", DateTime.zoneMakeOffset(3_600_000)), "2026-11-22 09:05")
  })

  it("left are minutes and seconds, and hours where there are any", () => {
    assert.deepStrictEqual([0, 7.4, 61, 3599.6, 3725].map(formatSeconds), [
      "0:00",
      "0:07",
      "1:01",
      "1:00:00",
      "1:02:05"
    ])
  })
})

describe("a table", () => {
  it("is aligned by what a terminal shows", () => {
    const table = formatTable([{ title: "NAME" }, { title: "SIZE", right: true }, { title: "BY" }], [
      ["ファイル", "1 B", "me"],
      ["a", "1.0 KiB", ""]
    ])
    assert.deepStrictEqual(table.split("\n"), [
      "NAME         SIZE  BY",
      "ファイル      1 B  me",
      "a         1.0 KiB"
    ])
  })

  it("has one line for a row, whatever is in it", () => {
    assert.strictEqual(formatTable([{ title: "" }], [["a\nb\u001b[2J"]]), "a\\nb\\x1b[2J")
  })
})

describe("printable text", () => {
  // oxlint-disable-next-line no-control-regex -- control characters must not be there
  const unsafe = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/

  it("holds nothing that a terminal obeys", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        assert.notMatch(printable(text), unsafe)
        assert.notMatch(printableLine(text), unsafe)
        assert.notInclude(printableLine(text), "\n")
        assert.notMatch(printableJson(JSON.stringify(text)), unsafe)
      }),
      { numRuns: 500 }
    )
  })

  it("is the text itself where that is safe", () => {
    const text = "Grüße, 日本語 🎉, ümlaut\n\tend"
    assert.strictEqual(printable(text), text)
  })

  it("is the same JSON", () => {
    fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => {
      assert.strictEqual(JSON.parse(printableJson(JSON.stringify(text))), text)
    }))
  })
})

describe("pairs in a terminal", () => {
  it("go on below themselves, and stay whole where a word is wider", () => {
    const pairs = [["a", "one two three four five six seven"], ["long", `x ${"y".repeat(30)} z`]] as const
    assert.strictEqual(
      formatPairs(pairs, 26),
      ["a     one two three four", "      five six seven", "long  x", `      ${"y".repeat(30)}`, "      z"].join("\n")
    )
    assert.strictEqual(formatPairs(pairs).split("\n").length, 2)
  })
})
