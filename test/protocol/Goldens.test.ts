/** Bytes that never change unasked: every request and reply of the document, encoded and decoded. */
import { assert, describe, it } from "@effect/vitest"
import { type Message, Parser } from "../../src/protocol/Frame.ts"
import {
  parseReplyHeader,
  parseRequestHeader,
  type ReplyHeader,
  type RequestHeader
} from "../../src/protocol/Header.ts"
import { requestNames, requestOf } from "../../src/protocol/Request.ts"
import { goldens } from "../fixtures/goldens.ts"
import { encode } from "./encode.ts"
import { bytesOf, type ExampleMessage, examples } from "./examples.ts"

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex")

/** The one message that `golden` is. */
const decode = (from: ExampleMessage["from"], golden: string): Message<RequestHeader | ReplyHeader> => {
  const messages: Array<Message<RequestHeader | ReplyHeader>> = []
  const parser = new Parser<RequestHeader | ReplyHeader>({
    parseHeader: from === "client" ? parseRequestHeader : parseReplyHeader,
    onMessage: (message) => void messages.push(message),
    onFault: () => assert.fail("not a header")
  })
  parser.push(Buffer.from(golden, "hex"))
  const [message, ...others] = messages
  assert.isTrue(parser.idle)
  assert.lengthOf(others, 0)
  return message ?? assert.fail("no message")
}

describe("goldens", () => {
  it("are what the document shows and what the program encodes", () => {
    assert.deepStrictEqual(Object.keys(goldens), examples.map(({ name }) => name))
    for (const { messages, name } of examples) {
      assert.deepStrictEqual(messages.map((message) => hex(bytesOf(message))), goldens[name], `${name}, as shown`)
      assert.deepStrictEqual(messages.map((message) => hex(encode(message))), goldens[name], `${name}, as encoded`)
    }
  })

  it("decode to the values that the document shows", () => {
    for (const { messages, name } of examples) {
      for (const [index, message] of messages.entries()) {
        const decoded = decode(message.from, goldens[name]?.[index] ?? "")
        assert.deepStrictEqual(decoded.header, { zstd: false, ...JSON.parse(message.header) }, name)
        assert.strictEqual(Buffer.from(decoded.auth).toString(), message.auth, name)
        assert.strictEqual(Buffer.from(decoded.body).toString(), message.body, name)
        assert.strictEqual(Buffer.concat(decoded.data).toString(), message.data, name)
      }
    }
  })

  it("contain every request and an answer to it", () => {
    const asked = new Set<string | undefined>()
    for (const { messages } of examples) {
      for (const { from, header } of messages) {
        const parsed = from === "client" ? parseRequestHeader(Buffer.from(header)) : undefined
        if (parsed !== undefined) asked.add(requestOf(parsed.category, parsed.subcategory))
      }
    }
    assert.deepStrictEqual(requestNames.filter((name) => !asked.has(name)), [])
  })
})
