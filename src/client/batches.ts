/** What WriteMany and ReadMany have in common for a client. */
import type { FileName } from "../protocol/FileName.ts"
import { encodeJson } from "../protocol/Json.ts"
import { Refusal } from "../protocol/Refusal.ts"
import type { FileRefused } from "../protocol/Request.ts"
import { ProtocolError } from "./ClientError.ts"
import { decodeRefusal } from "./ServerText.ts"

/** What a name takes in a request's body. */
export const namesBytes = (name: FileName): number => Buffer.byteLength(JSON.stringify(name)) + 1

/** The server is older than the request. */
export const isUnknownRequest = (error: { readonly _tag: string }): boolean =>
  error instanceof Refusal && error.code === "2:unop"

/** The refusal of one file, as a method about it alone would fail with. */
export const refusalIn = ({ code, ...body }: FileRefused): Refusal => decodeRefusal(code, encodeJson(body))

export const mismatch = (request: string): ProtocolError =>
  new ProtocolError({ message: `the server's answer to ${request} is about other files than it was asked for` })
