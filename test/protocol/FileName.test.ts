/** File names, folders and references: what a person may type, what may travel, and why not. */
import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import * as fc from "fast-check"
import { FileName, FolderPrefix, formatFileRef, parseFileName, parseFileRef } from "../../src/protocol/FileName.ts"
import { anyText } from "./arbitrary.ts"

const isFileName = Schema.is(FileName)
const isFolder = Schema.is(FolderPrefix)
const bytes = (text: string): number => Buffer.byteLength(text)

/** The sentence a name is refused with. */
const why = (text: string): string => Result.match(parseFileName(text), { onSuccess: () => "", onFailure: String })

const CONTROL = /[\p{Cc}\p{Zl}\p{Zp}]/u

/** The rules of docs/protocol.md, section 4, read a second time. */
const plain = (name: string): boolean =>
  name.isWellFormed() && bytes(name) <= 1024 && name === name.normalize("NFC") &&
  !CONTROL.test(name) &&
  name.split("/").every((part) => part !== "" && part !== "." && part !== ".." && bytes(part) <= 255)

const parsed = (text: string): unknown =>
  Result.match(parseFileRef(text), { onSuccess: (ref) => ref, onFailure: String })

const accepted = [
  "a",
  "notes.txt",
  "docs/2026/report.tar.gz",
  "no extension",
  " spaces around ",
  "~home",
  "...",
  "..a/.b/c..",
  "-rf",
  "back\\slash",
  "semi;colon'quote\"$(x)",
  "отчёт/квартал.txt",
  "文件/報告.pdf",
  "ملف",
  "फ़ाइल",
  "파일",
  "🗂️/👩‍👩‍👧.png",
  "É".normalize("NFC"),
  "constructor/__proto__/toString"
]

describe("a file name", () => {
  it("may be written in any script, with any signs but control characters", () => {
    for (const name of accepted) {
      assert.strictEqual(Result.getOrElse(parseFileName(name), String), name.normalize("NFC"))
      assert.isTrue(isFileName(name.normalize("NFC")), name)
    }
  })

  it("is the same however the system that typed it composes its letters", () => {
    const composed = "café/\u00c5ngström/\ud55c\uae00.txt"
    const decomposed = composed.normalize("NFD")
    assert.notStrictEqual(decomposed, composed)
    assert.deepStrictEqual(parseFileName(decomposed), parseFileName(composed))
  })

  it("travels in NFC only, and so does the name of a folder", () => {
    const decomposed = "cafe\u0301.txt"
    assert.isFalse(isFileName(decomposed))
    assert.isFalse(isFolder("cafe\u0301/"))
    assert.isTrue(isFolder("caf\u00e9/"))
  })

  it("has no part that walks about, and no empty part", () => {
    for (const name of ["..", ".", "../x", "a/..", "a/../b", "a/./b", "./a"]) {
      assert.match(why(name), /must not contain the part "\.\.?"/, name)
    }
    for (const name of ["a//b", "a/", "a/b/"]) assert.match(why(name), /empty part/, name)
    for (const name of ["/", "/etc/passwd", "//a"]) assert.match(why(name), /relative/, name)
    assert.match(why(""), /must not be empty/)
  })

  it("has no control character: NUL, C0, DEL, C1, line and paragraph separators", () => {
    const controls = [...Array.from({ length: 0x20 }, (_, code) => code), 0x7f, 0x80, 0x85, 0x9b, 0x9f, 0x2028, 0x2029]
    for (const code of controls) {
      const name = `a${String.fromCharCode(code)}b`
      assert.match(why(name), /control characters/, code.toString(16))
      assert.isFalse(isFileName(name))
      assert.isFalse(isFolder(`${name}/`))
    }
  })

  it("is well-formed Unicode: half a surrogate pair is no character", () => {
    for (const name of ["\ud83d", "a\udc00b", "\udc00\ud800", "x/\ud83d/y"]) {
      assert.match(why(name), /well-formed Unicode/, JSON.stringify(name))
      assert.isFalse(isFileName(name))
      assert.isFalse(isFolder(`${name}/`))
    }
  })

  it("has parts of at most 255 and in all at most 1024 bytes of UTF-8", () => {
    for (const letter of ["a", "é", "文", "🗂"]) {
      const part = (limit: number) => letter.repeat(Math.floor(limit / bytes(letter)))
      const atLimit = part(255).padEnd(part(255).length + 255 % bytes(letter), "a")
      assert.strictEqual(bytes(atLimit), 255)
      assert.isTrue(isFileName(atLimit))
      assert.match(why(`${atLimit}a`), /a part of a file name has at most 255 bytes/)
      assert.match(why(`x/${atLimit}a/y`), /a part of a file name has at most 255 bytes/)

      const longest = `${[atLimit, atLimit, atLimit].join("/")}/${"b".repeat(253)}/c`
      assert.strictEqual(bytes(longest), 1023)
      assert.isTrue(isFileName(longest))
      assert.isTrue(isFileName(`${longest}d`))
      assert.match(why(`${longest}de`), /at most 1024 bytes/)
      assert.isTrue(isFolder(`${longest}d/`), "the slash of a folder does not count")
    }
  })

  it("is measured in NFC, not as it was typed", () => {
    const composed = "é".repeat(127)
    assert.strictEqual(bytes(composed.normalize("NFD")), 381)
    assert.isTrue(Result.isSuccess(parseFileName(composed.normalize("NFD"))))
    // These letters grow when they are composed: U+FB2C becomes three.
    assert.isTrue(Result.isFailure(parseFileName("\ufb2c".repeat(85))))
  })

  it("is accepted exactly when a second reading of the rules accepts it", () => {
    const character = fc.oneof(
      fc.constantFrom("/", ".", "..", "a", "é", "e\u0301", "\0", "\u0085", "\u2028", "~", " ", "\ud800"),
      anyText(1)
    )
    fc.assert(
      fc.property(fc.array(character, { maxLength: 12 }).map((parts) => parts.join("")), (name) => {
        assert.strictEqual(isFileName(name), plain(name))
        assert.strictEqual(isFolder(`${name}/`), plain(name))
        const parsed = parseFileName(name)
        assert.strictEqual(Result.isSuccess(parsed), name.isWellFormed() && plain(name.normalize("NFC")))
        if (Result.isSuccess(parsed)) assert.isTrue(isFileName(parsed.success))
        else assert.match(parsed.failure, /^a (part of a )?file name /)
      }),
      { numRuns: 1000 }
    )
  })
})

describe("a folder", () => {
  it("is everything, or a name with a slash at its end", () => {
    for (const folder of ["", "docs/", "docs/2026/", "文件/"]) assert.isTrue(isFolder(folder), folder)
    for (const folder of ["docs", "/", "//", "docs//", "/docs/", "../", "docs/../", "./"]) {
      assert.isFalse(isFolder(folder), folder)
    }
  })
})

describe("a reference", () => {
  it("without a tilde is one's own file, with one somebody's", () => {
    assert.deepStrictEqual(parsed("docs/a.txt"), { owner: undefined, name: "docs/a.txt" })
    assert.deepStrictEqual(parsed("~alice/docs/a.txt"), { owner: "alice", name: "docs/a.txt" })
    assert.deepStrictEqual(parsed("~A-l_ice9/~x"), { owner: "A-l_ice9", name: "~x" })
    assert.deepStrictEqual(parsed("a~alice/x"), { owner: undefined, name: "a~alice/x" })
    assert.deepStrictEqual(parsed("~alice/cafe\u0301"), { owner: "alice", name: "caf\u00e9" })
  })

  it("is refused by a sentence that names what is wrong", () => {
    assert.match(String(parsed("~alice")), /"~alice" names no file: write ~user\/file/)
    assert.match(String(parsed("~")), /names no file/)
    for (const owner of ["", "abc", "a b c d", "älice", "..", "a".repeat(65)]) {
      assert.include(String(parsed(`~${owner}/x`)), `"${owner}" is not a user name`)
    }
    assert.match(String(parsed("~alice/")), /must not be empty/)
    assert.match(String(parsed("~alice/../bob/x")), /must not contain the part "\.\."/)
    assert.match(String(parsed("~alice//x")), /relative/)
  })

  it("is written as it is read", () => {
    const owner = fc.stringMatching(/^[A-Za-z0-9_-]{4,64}$/)
    const part = fc.stringMatching(/^[^/~.]{1,20}$/)
    const text = fc.tuple(fc.option(owner, { nil: undefined }), fc.array(part, { minLength: 1, maxLength: 3 })).map(
      ([owner, parts]) => `${owner === undefined ? "" : `~${owner}/`}${parts.join("/").normalize("NFC")}`
    )
    fc.assert(fc.property(text, (text) => {
      const ref = parseFileRef(text)
      fc.pre(Result.isSuccess(ref))
      assert.strictEqual(formatFileRef(ref.success), text)
    }))
  })

  it("never throws, whatever is typed", () => {
    fc.assert(fc.property(anyText(40), (text) => {
      for (const typed of [text, `~${text}`, `~alice/${text}`, `${text}\ud800`]) {
        const ref = parseFileRef(typed)
        if (Result.isFailure(ref)) assert.isAbove(ref.failure.length, 10)
      }
    }))
  })
})
