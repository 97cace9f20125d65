/**
 * Headers: exactly 256 bytes, one JSON object in UTF-8, padded right with spaces (docs/protocol.md, section 2).
 *
 * Unknown fields are ignored. A header that cannot be parsed is a fault of the connection, not of a request: what
 * follows it cannot be found.
 */
import { Effect, Option, Schema } from "effect"
import { Code } from "./Code.ts"
import { HEADER_BYTES, PROTOCOL_VERSION } from "./Limits.ts"

const Size = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }))
const Flag = Schema.Boolean.pipe(Schema.withDecodingDefaultKey(Effect.succeed(false)))
const ZeroSize = Size.pipe(Schema.withDecodingDefaultKey(Effect.succeed(0)))
const SemVer = Schema.String.check(Schema.isPattern(/^\d{1,5}\.\d{1,5}\.\d{1,5}$/))

export const RequestHeader = Schema.Struct({
  version: SemVer,
  /** Chosen by the client; unique among this connection's requests in flight. */
  id: Size,
  category: Size,
  subcategory: Size,
  auth_size: ZeroSize,
  body_size: ZeroSize,
  data_size: ZeroSize,
  /** Another message of this request follows. */
  more: Flag,
  /** Close the connection after the reply. */
  finish: Flag,
  /** The client takes data that is compressed (section 2.6). */
  zstd: Flag,
  /** The data is compressed, and has so many bytes when it is not. */
  raw_size: Schema.optionalKey(Size)
})
export type RequestHeader = typeof RequestHeader.Type

export const ReplyHeader = Schema.Struct({
  version: SemVer,
  /** Of the request; 0 when the server speaks unasked (refusing a header, shutting down). */
  id: Size,
  code: Code,
  body_size: ZeroSize,
  data_size: ZeroSize,
  /** Another message of this reply follows. */
  more: Flag,
  /** The server closes the connection after this message. */
  ended_connection: Flag,
  /** The server's clock, in milliseconds since 1970. */
  timestamp: Size,
  /** The server takes data that is compressed (section 2.6). */
  zstd: Flag,
  /** The data is compressed, and has so many bytes when it is not. */
  raw_size: Schema.optionalKey(Size)
})
export type ReplyHeader = typeof ReplyHeader.Type

/** How much content a message carries, compressed or not. */
export const contentBytes = (header: { readonly data_size: number; readonly raw_size?: number }): number =>
  header.raw_size ?? header.data_size

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
const encoder = new TextEncoder()
const decodeRequest = Schema.decodeUnknownOption(RequestHeader)
const decodeReply = Schema.decodeUnknownOption(ReplyHeader)

const QUOTE = 0x22
const BACKSLASH = 0x5c
const COLON = 0x3a
const OPENING: ReadonlySet<number> = new Set([0x5b, 0x7b])
const CLOSING: ReadonlySet<number> = new Set([0x5d, 0x7d])

/** How many fields the object in `text` names, counting repeated ones. `text` is valid JSON. */
const countFields = (text: string): number => {
  let fields = 0
  let depth = 0
  let quoted = false
  for (let at = 0; at < text.length; at++) {
    const char = text.charCodeAt(at)
    if (quoted) {
      if (char === BACKSLASH) at++
      else quoted = char !== QUOTE
    } else if (char === QUOTE) quoted = true
    else if (char === COLON && depth === 1) fields++
    else if (OPENING.has(char)) depth++
    else if (CLOSING.has(char) && --depth === 0) break
  }
  return fields
}

/**
 * The JSON object in `bytes`. One that names a field twice is refused: `JSON.parse` takes the last, another reader the
 * first, and with two sizes they would no longer agree on where the next message begins.
 */
const json = (bytes: Uint8Array): unknown => {
  try {
    const text = utf8.decode(bytes)
    const value: unknown = JSON.parse(text)
    return typeof value === "object" && value !== null && Object.keys(value).length === countFields(text)
      ? value
      : undefined
  } catch {
    return undefined
  }
}

/** Decodes a request header from 256 bytes; `undefined` when they are none. */
export const parseRequestHeader = (bytes: Uint8Array): RequestHeader | undefined =>
  Option.getOrUndefined(decodeRequest(json(bytes)))

/** Decodes a reply header from 256 bytes; `undefined` when they are none. */
export const parseReplyHeader = (bytes: Uint8Array): ReplyHeader | undefined =>
  Option.getOrUndefined(decodeReply(json(bytes)))

const pad = (text: string): Uint8Array => {
  const bytes = new Uint8Array(HEADER_BYTES).fill(0x20)
  encoder.encodeInto(text, bytes)
  return bytes
}

// The fields are all numbers, booleans and codes of our own, so the text is written, not stringified: it is the only
// encoding on the path of every message.

/** What is said only where it is so: most messages have none of it. */
interface Compression {
  readonly zstd?: boolean
  readonly raw_size?: number
}

const compression = ({ raw_size, zstd = false }: Compression): string =>
  (zstd ? ",\"zstd\":true" : "") + (raw_size === undefined ? "" : `,"raw_size":${raw_size}`)

export const encodeRequestHeader = (
  header: Omit<RequestHeader, "version" | keyof Compression> & Compression
): Uint8Array =>
  pad(
    `{"version":"${PROTOCOL_VERSION}","id":${header.id},"category":${header.category},"subcategory":${header.subcategory},"auth_size":${header.auth_size},"body_size":${header.body_size},"data_size":${header.data_size},"more":${header.more},"finish":${header.finish}${
      compression(header)
    }}`
  )

export const encodeReplyHeader = (
  header: Omit<ReplyHeader, "version" | keyof Compression> & Compression
): Uint8Array =>
  pad(
    `{"version":"${PROTOCOL_VERSION}","id":${header.id},"code":"${header.code}","body_size":${header.body_size},"data_size":${header.data_size},"more":${header.more},"ended_connection":${header.ended_connection},"timestamp":${header.timestamp}${
      compression(header)
    }}`
  )

/** True when a peer that speaks `version` can be understood: the major numbers are equal. */
export const isCompatible = (version: string): boolean =>
  version.slice(0, version.indexOf(".")) === PROTOCOL_VERSION.slice(0, PROTOCOL_VERSION.indexOf("."))
