import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import * as fc from "fast-check"
import { tokenize } from "../../src/cli/shell/Tokenizer.ts"

const texts = (line: string): ReadonlyArray<string> =>
  Result.match(tokenize(line), {
    onSuccess: (words) => words.map((word) => word.text),
    onFailure: (fault) => [`${fault.position}: ${fault.message}`]
  })

const quotings: ReadonlyArray<(text: string) => string> = [
  (text) => `'${text.replaceAll("'", "'\\''")}'`,
  (text) => `"${text.replaceAll(/["\\]/g, "\\$&")}"`,
  (text) => text === "" ? "''" : text.replaceAll(/[^]/g, "\\$&")
]

describe("Tokenizer", () => {
  it("gives back the words that were quoted, however they were quoted", () => {
    const word = fc.tuple(
      fc.oneof(fc.string({ unit: "binary" }), fc.stringMatching(/^['"\\ \t\n#a-]*$/)),
      fc.constantFrom(...quotings)
    )
    const gap = fc.constantFrom(" ", "  ", "\t", " \t ")
    fc.assert(
      fc.property(fc.array(word), gap, (words, gap) => {
        const line = words.map(([text, quote]) => quote(text)).join(gap)
        assert.deepStrictEqual(texts(`${gap}${line}${gap}`), words.map(([text]) => text))
      }),
      { numRuns: 300 }
    )
  })

  it("joins quoted and bare parts that touch", () => {
    assert.deepStrictEqual(texts(`a'b c'"d e"\\ f g`), ["ab cd e f", "g"])
  })

  it("takes data as typed: case, inner blanks, #, and backslashes inside quotes", () => {
    assert.deepStrictEqual(texts(`WRITE Notes.TXT "Two  Words # \\n" '\\n'`), [
      "WRITE",
      "Notes.TXT",
      "Two  Words # \\n",
      "\\n"
    ])
  })

  it("keeps an empty word", () => {
    assert.deepStrictEqual(texts(`WRITE a ""`), ["WRITE", "a", ""])
  })

  it("finds no words in an empty line", () => {
    assert.deepStrictEqual(texts(" \t "), [])
  })

  it("says where an unclosed quote was opened", () => {
    assert.deepStrictEqual(texts(`WRITE a "b c`), [`9: the " at column 9 is never closed`])
    assert.deepStrictEqual(texts(`WRITE it's`), [`9: the ' at column 9 is never closed`])
    assert.deepStrictEqual(texts(`WRITE "a\\"`), [`7: the " at column 7 is never closed`])
  })

  it("says that nothing follows a last backslash", () => {
    assert.deepStrictEqual(texts(`WRITE a\\`), [`8: nothing follows the \\ at column 8`])
  })

  it("knows which words cannot be flags", () => {
    const words = Result.getOrElse(tokenize(`-a "-b" '-c' \\-d e`), () => [])
    assert.deepStrictEqual(words.map((word) => word.literal), [false, true, true, true, false])
  })
})
