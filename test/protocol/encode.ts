/** Encodes an example of docs/protocol.md as the program would: values in, through the codecs of src/protocol. */
import {
  encodeReplyHeader,
  encodeRequestHeader,
  parseReplyHeader,
  parseRequestHeader
} from "../../src/protocol/Header.ts"
import { encodeJson } from "../../src/protocol/Json.ts"
import { HEADER_BYTES } from "../../src/protocol/Limits.ts"
import type { ExampleMessage } from "./examples.ts"

const padded = (header: string): Uint8Array => Buffer.from(header.padEnd(HEADER_BYTES, " "))

const component = (text: string): Uint8Array => text === "" ? encodeJson(undefined) : encodeJson(JSON.parse(text))

const header = ({ from, header }: ExampleMessage): Uint8Array => {
  if (from === "client") {
    const request = parseRequestHeader(padded(header))
    if (request !== undefined) return encodeRequestHeader(request)
  } else {
    const reply = parseReplyHeader(padded(header))
    if (reply !== undefined) return encodeReplyHeader(reply)
  }
  throw new Error(`not a header: ${header}`)
}

export const encode = (message: ExampleMessage): Uint8Array =>
  Buffer.concat([header(message), component(message.auth), component(message.body), Buffer.from(message.data)])
