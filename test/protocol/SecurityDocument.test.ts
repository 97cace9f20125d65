/** docs/security.md tells the truth: an example is read by its tables alone, and its limits are the program's. */
import { assert, describe, it } from "@effect/vitest"
import { Duration } from "effect"
import { createHash, createPublicKey, verify } from "node:crypto"
import { readFileSync } from "node:fs"
import { decodeRecord, decodeStatement, EXPORTER_LABEL } from "../../src/protocol/Continuity.ts"
import { MAX_CONTINUITY_RECORDS } from "../../src/protocol/Limits.ts"
import { defaults } from "../../src/server/ServerConfig.ts"
import { examples } from "./examples.ts"

const markdown = readFileSync(new URL("../../docs/security.md", import.meta.url), "utf8")

/** The rows of the table whose head has this last cell. */
const rows = (title: string): ReadonlyArray<ReadonlyArray<string>> => {
  const [, table = ""] = new RegExp(`\\| ${title} \\|\\n\\| --- .*\\n((?:\\|.*\\n)+)`).exec(markdown) ?? []
  return table.trim().split("\n").map((line) => line.slice(2, -2).split(" | "))
}

/** Takes bytes apart as a table says; letters are lengths that were read before. */
const take = (title: string, bytes: Buffer): ReadonlyMap<string, Buffer> => {
  const fields = new Map<string, Buffer>()
  let at = 0
  for (const [size = "", what = ""] of rows(title)) {
    const length = size === "n" ?
      fields.get("length of the new key's SPKI")?.[0] ?? 0
      : size === "m" ?
      fields.get("length of the signer's SPKI")?.[0] ?? 0
      : Number(size)
    fields.set(what.split(/[:,;]/)[0] ?? "", bytes.subarray(at, at += length))
  }
  assert.strictEqual(at, bytes.length, `${title}: the table has all bytes`)
  return fields
}

const [question, answer] = examples.find(({ name }) => name === "Credentials")?.messages ?? []
const pinned: string = JSON.parse(question?.body ?? "").pinned
const proof: { readonly statement: string; readonly pinned_key: string; readonly records: ReadonlyArray<string> } = JSON
  .parse(answer?.body ?? "")

const split = (text: string) => {
  const bytes = Buffer.from(text, "base64")
  return { content: bytes.subarray(0, -64), signature: bytes.subarray(-64) }
}
const fingerprint = (spki: Buffer) => createHash("sha256").update(spki).digest()
const label = (what: string): Buffer => {
  const [, text = ""] = new RegExp(`Signed is the ASCII text \`(FIP ${what} 1)\``).exec(markdown) ?? []
  return Buffer.from(`${text}\0`)
}
const isSigned = (spki: Buffer, message: Buffer, signature: Buffer): boolean =>
  verify("sha256", message, {
    key: createPublicKey({ key: spki, format: "der", type: "spki" }),
    dsaEncoding: "ieee-p1363"
  }, signature)

describe("docs/security.md", () => {
  it("describes records so that the protocol's example can be read and verified by it", () => {
    const { content, signature } = split(proof.records[0] ?? "")
    const fields = take("record", content)
    const known = decodeRecord(content) ?? assert.fail()
    assert.strictEqual(fields.get("server id")?.toString("hex"), known.serverId)
    assert.strictEqual(fields.get("generation")?.readUInt32BE(), known.generation)
    assert.strictEqual(Number(fields.get("sequence")?.readBigUInt64BE()), known.sequence)
    assert.strictEqual(Number(fields.get("not before")?.readBigUInt64BE()), known.notBefore)
    assert.deepStrictEqual(fields.get("SPKI of the new key"), Buffer.from(known.newKey))
    const key = Buffer.from(proof.pinned_key, "base64")
    assert.deepStrictEqual(fields.get("fingerprint of the key before"), fingerprint(key))
    assert.strictEqual(`SHA256:${fingerprint(key).toString("base64").replace("=", "")}`, pinned)
    assert.isTrue(isSigned(key, Buffer.concat([label("continuity record"), content]), signature))
  })

  it("describes statements so that the protocol's example can be read and verified by it", () => {
    const { content, signature } = split(proof.statement)
    const fields = take("statement", content)
    const known = decodeStatement(content) ?? assert.fail()
    assert.strictEqual(fields.get("server id")?.toString("hex"), known.serverId)
    assert.strictEqual(Number(fields.get("time")?.readBigUInt64BE()), known.time)
    const key = split(proof.records.at(-1) ?? "").content.subarray(-91)
    assert.deepStrictEqual(fields.get("fingerprint of the live key"), fingerprint(key))
    const exporter = Buffer.from(Array.from({ length: 32 }, (_, index) => index))
    assert.isTrue(isSigned(key, Buffer.concat([label("session statement"), content, exporter]), signature))
    assert.include(markdown, `under the label \`${EXPORTER_LABEL}\``)
    assert.include(markdown, `at most ${MAX_CONTINUITY_RECORDS} records`)
  })

  it("gives the limits that the server has", () => {
    const settings = new Map<string, unknown>(Object.entries(defaults))
    const limits = rows("what").filter(([name]) => name?.startsWith("`") === true && !name.includes("/"))
    assert.isAtLeast(limits.length, 15)
    for (const [name = "", value] of limits) {
      const key = name.slice(1, -1).replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())
      assert.isTrue(settings.has(key), key)
      const setting = settings.get(key)
      const shown = setting === undefined
        ? "–"
        : Duration.isDuration(setting)
        ? `${Duration.toSeconds(setting)} s`
        : String(setting)
      assert.strictEqual(value, shown, key)
    }
  })

  it("links to places that exist", () => {
    const protocol = readFileSync(new URL("../../docs/protocol.md", import.meta.url), "utf8")
    const anchors = [...protocol.matchAll(/^#+ (.*)$/gm)].map(([, title = ""]) =>
      title.toLowerCase().replaceAll(/[^\w -]/g, "").replaceAll(" ", "-")
    )
    for (const [, anchor = ""] of markdown.matchAll(/\]\(protocol\.md#(.*?)\)/g)) assert.include(anchors, anchor)
  })
})
