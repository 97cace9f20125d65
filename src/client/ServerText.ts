/**
 * Text that a server sent for people to read. It is not trusted: nothing in it may steer a terminal or pass for
 * something that the program says.
 */
import { Result, Schema } from "effect"
import { type Code, RefusalCode } from "../protocol/Code.ts"
import { decodeRefusalBody } from "../protocol/Json.ts"
import { Refusal, refuse } from "../protocol/Refusal.ts"

const MAX_CHARACTERS = 2000
// Control characters, line separators, lone surrogates, and the marks that reverse the order of what follows them.
// oxlint-disable-next-line no-control-regex -- control characters are what it looks for
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]|\p{Surrogate}/gu

/** The text on one line, without anything that a terminal would obey. */
export const plainText = (text: string): string => text.slice(0, MAX_CHARACTERS).replace(UNSAFE, "\uFFFD")

const isRefusalCode = Schema.is(RefusalCode)

/** The refusal that a reply's code and body say. */
export const decodeRefusal = (code: Code, bytes: Uint8Array): Refusal => {
  if (!isRefusalCode(code)) return refuse("3:?", `the server answered with ${code} where it had to answer or refuse`)
  const body = decodeRefusalBody(bytes)
  if (Result.isFailure(body)) return refuse(code, `the server refused with the code ${code} and gave no reason`)
  const { field, message, request_id, ...rest } = body.success
  return new Refusal({
    code,
    message: code === "2:unop"
      ? `this server cannot do that, for it runs an older version of fip; it says: ${plainText(message)}`
      : plainText(message),
    ...(field === undefined ? {} : { field: plainText(field) }),
    ...(request_id === undefined ? {} : { request_id: plainText(request_id) }),
    ...rest
  })
}
