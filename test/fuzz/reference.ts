/** Where messages begin and end in a stream, by sections 2 and 3 of docs/protocol.md and nothing of the parser's code. */
import { parseRequestHeader, type RequestHeader } from "../../src/protocol/Header.ts"
import { HEADER_BYTES } from "../../src/protocol/Limits.ts"

export interface Whole {
  readonly header: RequestHeader
  readonly auth: Buffer
  readonly body: Buffer
  readonly data: Buffer
}

export interface Reading {
  readonly messages: ReadonlyArray<Whole>
  /** Where the stream ends: between two messages, at what is no header, or with so many bytes still to come. */
  readonly end: "boundary" | "fault" | { readonly header: RequestHeader | undefined; readonly missing: number }
}

export const readStream = (stream: Buffer): Reading => {
  const messages: Array<Whole> = []
  let at = 0
  while (at < stream.length) {
    if (stream.length - at < HEADER_BYTES) {
      return { messages, end: { header: undefined, missing: HEADER_BYTES - (stream.length - at) } }
    }
    const header = parseRequestHeader(stream.subarray(at, at + HEADER_BYTES))
    if (header === undefined) return { messages, end: "fault" }
    at += HEADER_BYTES
    const { auth_size, body_size, data_size } = header
    const missing = at + auth_size + body_size + data_size - stream.length
    if (missing > 0) return { messages, end: { header, missing } }
    messages.push({
      header,
      auth: stream.subarray(at, at += auth_size),
      body: stream.subarray(at, at += body_size),
      data: stream.subarray(at, at += data_size)
    })
  }
  return { messages, end: "boundary" }
}
