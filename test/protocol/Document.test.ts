/** docs/protocol.md tells the truth: its examples are decoded, its tables compared with the program. */
import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { createHash } from "node:crypto"
import { ClientFaultCode, isSuccess, ProgressCode, ServerFaultCode, SuccessCode } from "../../src/protocol/Code.ts"
import { parseReplyHeader, parseRequestHeader } from "../../src/protocol/Header.ts"
import { decodeRefusalBody } from "../../src/protocol/Json.ts"
import * as Limits from "../../src/protocol/Limits.ts"
import type { Refusal } from "../../src/protocol/Refusal.ts"
import {
  decodeAuth,
  decodeBody,
  decodeReadTail,
  decodeResult,
  type RequestName,
  requestNames,
  requestOf,
  Requests
} from "../../src/protocol/Request.ts"
import { blocks, bytesOf, type Example, type ExampleMessage, examples, protocolMarkdown } from "./examples.ts"

const bytes = (text: string): Uint8Array => Buffer.from(text)
const requestHeader = ({ header }: ExampleMessage) => parseRequestHeader(bytes(header)) ?? assert.fail(header)
const replyHeader = ({ header }: ExampleMessage) => parseReplyHeader(bytes(header)) ?? assert.fail(header)

/** The rows of the tables under a heading, as cells. */
const rows = (heading: string): ReadonlyArray<ReadonlyArray<string>> => {
  const from = protocolMarkdown.indexOf(`\n${heading}\n`)
  assert.isAtLeast(from, 0, heading)
  const section = protocolMarkdown.slice(from + heading.length + 2).split(/^#{1,4} /m)[0] ?? ""
  return section.split("\n").filter((line) => line.startsWith("| ")).map((line) =>
    line.slice(2, -2).split(" | ").map((cell) => cell.trim())
  )
}

/** The codes in the first column of the table under a heading. */
const codes = (heading: string): ReadonlyArray<string> =>
  rows(heading).flatMap(([cell = ""]) => /^`(\d:\S+)`$/.exec(cell)?.[1] ?? [])

/** The requests of an example by id. A message that continues one counts once. */
const requestsOf = ({ messages }: Example): ReadonlyMap<number, RequestName> =>
  new Map(
    messages.filter(({ from }) => from === "client").map(requestHeader).map((header) => [
      header.id,
      requestOf(header.category, header.subcategory) ??
        assert.fail(`no request ${header.category}/${header.subcategory}`)
    ])
  )

/** Decoded to exactly what the document shows: right in shape, and no field that the program does not know. */
const decodes = (text: string, decoded: Result.Result<unknown, Refusal>, where: string): void => {
  if (Result.isFailure(decoded)) return assert.fail(`${where}: ${decoded.failure.message}`)
  assert.deepStrictEqual(decoded.success, text === "" ? {} : JSON.parse(text), where)
}

const sha256 = (data: string): string => createHash("sha256").update(data).digest("hex")

describe("the examples", () => {
  it("announce the sizes that their components have", () => {
    for (const { messages, name } of examples) {
      for (const message of messages) {
        const { auth_size = 0, body_size, data_size } = message.from === "client"
          ? requestHeader(message)
          : { auth_size: 0, ...replyHeader(message) }
        assert.strictEqual(auth_size, Buffer.byteLength(message.auth), name)
        assert.strictEqual(body_size, Buffer.byteLength(message.body), name)
        assert.strictEqual(data_size, Buffer.byteLength(message.data), name)
      }
    }
  })

  it("of requests decode, and so do those that are refused for what they ask", () => {
    for (const example of examples.filter(({ name }) => name !== "A field at fault")) {
      const begun = new Set<number>()
      for (const message of example.messages.filter(({ from }) => from === "client")) {
        const header = requestHeader(message)
        const request = requestOf(header.category, header.subcategory) ?? assert.fail(example.name)
        const { auth, data } = Requests[request]
        if (data !== "in") assert.strictEqual(message.data, "", example.name)
        if (begun.has(header.id)) {
          assert.strictEqual(message.auth + message.body, "", `${example.name}: what continues carries data only`)
        } else {
          decodes(message.auth, decodeAuth[auth](bytes(message.auth)), `${example.name}, auth`)
          decodes(message.body, decodeBody(request, bytes(message.body)), `${example.name}, body`)
        }
        if (header.more) begun.add(header.id)
        else begun.delete(header.id)
      }
      assert.strictEqual(begun.size, 0, example.name)
    }
  })

  it("of replies decode: results, the runs of Read, and refusals", () => {
    for (const example of examples) {
      const requests = requestsOf(example)
      const running = new Set<number>()
      for (const message of example.messages.filter(({ from }) => from === "server")) {
        const { code, id, more } = replyHeader(message)
        const where = `${example.name}, ${code}`
        const request = requests.get(id)
        if (!isSuccess(code)) {
          assert.isFalse(more, where)
          decodes(message.body, decodeRefusalBody(bytes(message.body)), where)
        } else if (request === undefined) assert.fail(`${where}: answers nothing`)
        else if (!running.has(id) || request === "ReadMany") {
          decodes(message.body, decodeResult(request, bytes(message.body)), where)
        } else if (message.body !== "") decodes(message.body, decodeReadTail(bytes(message.body)), where)
        assert.strictEqual(code.startsWith("0:"), more, where)
        if (more) running.add(id)
        else running.delete(id)
      }
      assert.strictEqual(running.size, 0, example.name)
    }
  })

  it("of what the program refuses are refused in these words", () => {
    const example = examples.find(({ name }) => name === "A field at fault") ?? assert.fail("no such example")
    const [request, reply] = example.messages
    const refused = decodeBody("Create", bytes(request?.body ?? ""))
    if (Result.isSuccess(refused)) return assert.fail("accepted")
    assert.deepStrictEqual(refused.failure.body, JSON.parse(reply?.body ?? ""))
  })

  it("carry the hashes of their data", () => {
    const known = new Set(
      examples.flatMap(({ messages }) => {
        const sent = new Map<string, string>()
        for (const message of messages) {
          const { id } = message.from === "client" ? requestHeader(message) : replyHeader(message)
          sent.set(`${message.from} ${id}`, (sent.get(`${message.from} ${id}`) ?? "") + message.data)
        }
        return [...sent.values()].map(sha256)
      })
    )
    for (const { messages, name } of examples) {
      for (const { body } of messages) {
        for (const [, hash] of body.matchAll(/"sha256":"(.*?)"/g)) {
          assert.isTrue(known.has(hash ?? ""), `${name}: ${hash}`)
        }
      }
    }
  })

  it("in hexadecimal are the bytes of the others", () => {
    const dumps = blocks("hex")
    assert.lengthOf(dumps, 3)
    for (const { lines, title } of dumps) {
      const [, name, which] = /^(.*) (\d)$/.exec(title) ?? []
      const message = examples.find((example) => example.name === name)?.messages[Number(which) - 1]
      if (message === undefined) return assert.fail(title)
      let dumped = Buffer.alloc(0)
      for (const line of lines) {
        const [, offset = "", digits = "", ascii = ""] = /^([0-9a-f]{8}) {2}([0-9a-f ]+?) +\|(.*)\|$/.exec(line) ?? []
        assert.strictEqual(Number.parseInt(offset, 16), dumped.length, title)
        const row = Buffer.from(digits.replaceAll(" ", ""), "hex")
        assert.strictEqual(ascii, row.toString("latin1").replaceAll(/[^ -~]/g, "."), title)
        dumped = Buffer.concat([dumped, row])
      }
      assert.strictEqual(dumped.toString("hex"), Buffer.from(bytesOf(message)).toString("hex"), title)
    }
  })
})

describe("the tables", () => {
  it("have every code, each in its place, and no other", () => {
    assert.deepStrictEqual(
      codes("### 5.1 Codes of success"),
      [...ProgressCode.literals, ...SuccessCode.literals]
    )
    assert.deepStrictEqual(codes("### 5.2 Refusals by the client's fault"), [...ClientFaultCode.literals])
    assert.deepStrictEqual(codes("### 5.3 Refusals by the server's fault"), [...ServerFaultCode.literals])
    const mentioned = [...protocolMarkdown.matchAll(/`([0-3]:[a-z?]+)`/g)].map(([, code]) => code ?? "")
    const known = new Set<string>([
      ...ProgressCode.literals,
      ...SuccessCode.literals,
      ...ClientFaultCode.literals,
      ...ServerFaultCode.literals
    ])
    assert.deepStrictEqual(mentioned.filter((code) => !known.has(code)), [])
  })

  it("have every request with its numbers, its proof, its data, and whether it may be repeated", () => {
    const written = rows("## 6 Requests").slice(2).map(([link = "", category, subcategory, auth, data, repeatable]) => [
      /^\[(\w+)\]\(#(\w+)\)$/.exec(link)?.slice(1),
      [Number(category), Number(subcategory), auth, data, repeatable]
    ])
    const known = requestNames.map((name) => {
      const { auth, category, data, idempotent, subcategory } = Requests[name]
      return [
        [name, name.toLowerCase()],
        [category, subcategory, auth, data === "none" ? "–" : data, idempotent ? "yes" : "no"]
      ]
    })
    assert.deepStrictEqual(written, known)
  })

  it("name the code that each example is answered with", () => {
    const success = new Map(
      rows("## 6 Requests").slice(2).map((cells) => [/\w+/.exec(cells[0] ?? "")?.[0], cells[6] ?? ""])
    )
    const answered = new Set<string>()
    for (const example of examples) {
      const requests = requestsOf(example)
      for (const message of example.messages.filter(({ from }) => from === "server")) {
        const { code, id } = replyHeader(message)
        const request = requests.get(id)
        if (request === undefined || !isSuccess(code)) continue
        assert.include(success.get(request), `\`${code}\``, example.name)
        answered.add(request)
      }
    }
    assert.deepStrictEqual(requestNames.filter((name) => !answered.has(name)), [])
  })

  it("give the caps that the program has", () => {
    const caps = new Map<string | undefined, number>(
      rows("### 2.3 Caps").map(([name = "", value]) => [/^`(.*)`$/.exec(name)?.[1], Number(value)])
    )
    const known = Object.entries(Limits).filter(([name]) => name.startsWith("MAX_") || name === "HEADER_BYTES")
    for (const [name, value] of known) assert.strictEqual(caps.get(name), Number(value), name)
    assert.lengthOf(rows("### 2.3 Caps").slice(2), known.length)
    assert.include(protocolMarkdown, `port ${Limits.DEFAULT_PORT} `)
    assert.include(protocolMarkdown, `\`${Limits.ALPN}\``)
    assert.include(protocolMarkdown, `# FIP, the File Interaction Protocol: version ${Limits.PROTOCOL_VERSION}\n`)
  })

  it("and the text link to sections that exist", () => {
    const anchors = [...protocolMarkdown.matchAll(/^#+ (.*)$/gm)].map(([, title = ""]) =>
      `#${title.toLowerCase().replaceAll(/[^\w -]/g, "").replaceAll(" ", "-")}`
    )
    for (const [, anchor = ""] of protocolMarkdown.matchAll(/\]\((#.*?)\)/g)) assert.include(anchors, anchor)
    const sections = [...protocolMarkdown.matchAll(/^#+ ([\d.]+) /gm)].map(([, number]) => number)
    for (const [, number] of protocolMarkdown.matchAll(/sections? (\d+(?:\.\d+)?)/g)) assert.include(sections, number)
    for (const name of requestNames) assert.include(protocolMarkdown, `\n#### ${name}\n`)
  })
})
