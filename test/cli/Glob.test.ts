import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import path from "node:path"
import { isGlob, parseGlob, quoteGlob, unquoteGlob } from "../../src/cli/shell/Glob.ts"

const matches = (pattern: string, name: string, dot = false) => parseGlob(pattern, { dot }).matches(name.split("/"))

/** Names of few characters, so that patterns meet them. */
const name = fc.array(fc.string({ unit: fc.constantFrom("a", "b", ".", "-"), minLength: 1, maxLength: 3 }), {
  minLength: 1,
  maxLength: 4
}).map((parts) => parts.map((part) => /^\.+$/.test(part) ? "a" : part).join("/"))

const piece = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom("a", "b", ".", "-") },
  { weight: 2, arbitrary: fc.constantFrom("*", "?", "[ab]", "[!a]", "[^b]", "[a-b]", "[]a]", "[b-]") }
)
const pattern = fc.array(
  fc.oneof(
    { weight: 1, arbitrary: fc.constant("**") },
    { weight: 4, arbitrary: fc.array(piece, { minLength: 1, maxLength: 4 }).map((pieces) => pieces.join("")) }
  ).filter((part) => part === "**" || !/\*\*|^\.+$/.test(part)),
  { minLength: 1, maxLength: 4 }
).map((parts) => parts.join("/"))

describe("a pattern", () => {
  it("matches what Node's own matcher matches, where the two mean the same", () => {
    fc.assert(
      fc.property(pattern, name, (pattern, name) => {
        // Node lets a class match a leading dot.
        fc.pre(!name.split("/").some((part) => part.startsWith(".")) || !pattern.includes("["))
        // For Node a folder is a match of `folder/**`.
        fc.pre(!pattern.endsWith("/**"))
        assert.strictEqual(matches(pattern, name), path.posix.matchesGlob(name, pattern), `${pattern} and ${name}`)
      }),
      { numRuns: 3000 }
    )
  })

  it("takes everything else for itself", () => {
    for (const name of ["a{b,c}", "photo (1).jpg", "+(a)", "!a", "#a", "a\\b", "$x^", "a|b", "]", "[", "a[", "ü.txt"]) {
      assert.isTrue(matches(name, name), name)
      assert.isFalse(matches(name, `${name}x`), name)
    }
    assert.isFalse(matches("a.c", "abc"))
    assert.isTrue(matches("?.txt", "😀.txt"))
    assert.isTrue(matches("[😀-😂].txt", "😁.txt"))
    assert.isTrue(matches("*تقرير*", "تقرير نهائي.txt"))
  })

  it("finds hidden names only where it says so", () => {
    assert.isFalse(matches("*", ".a"))
    assert.isFalse(matches("**/a", ".b/a"))
    assert.isTrue(matches(".*", ".a"))
    assert.isTrue(matches("*", ".a", true))
    assert.isTrue(matches("**/a", ".b/a", true))
  })

  it("that was quoted matches the text and nothing else", () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom("a", "*", "?", "[", "]", "!", "-"), minLength: 1 }), (text) => {
        const quoted = quoteGlob(text)
        assert.isFalse(isGlob(quoted))
        assert.strictEqual(unquoteGlob(quoted), text)
        assert.isTrue(matches(quoted, text))
        assert.isFalse(matches(quoted, `${text}a`))
      })
    )
  })

  it("knows the folders that its matches are in", () => {
    const { base, reaches } = parseGlob("docs/a[*]/20*/**/x?")
    assert.deepStrictEqual(base, ["docs", "a*"])
    const folders = ["docs", "docs/a*", "docs/a*/2026", "docs/a*/2026/b/c", "", "docs/b", "docs/a*/19"]
    assert.deepStrictEqual(folders.map((folder) => reaches(folder === "" ? [] : folder.split("/"))), [
      true,
      true,
      true,
      true,
      true,
      false,
      false
    ])
  })

  it("leads to every folder that a match is in", () => {
    fc.assert(
      fc.property(pattern, name, (pattern, name) => {
        const glob = parseGlob(pattern)
        const parts = name.split("/")
        if (!glob.matches(parts)) return
        for (let depth = 0; depth < parts.length; depth++) assert.isTrue(glob.reaches(parts.slice(0, depth)))
      }),
      { numRuns: 2000 }
    )
  })
})
