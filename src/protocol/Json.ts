/** JSON components to and from typed values. A decoder is compiled once; what is wrong with its input is a `Refusal`. */
import { Predicate, Result, Schema, SchemaIssue } from "effect"
import type { RefusalCode } from "./Code.ts"
import { type Refusal, RefusalBody, refuse } from "./Refusal.ts"

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
const encoder = new TextEncoder()
const EMPTY = new Uint8Array(0)

/** A JSON component as bytes; `undefined` is no bytes at all. */
export const encodeJson = (value: unknown): Uint8Array =>
  value === undefined ? EMPTY : encoder.encode(JSON.stringify(value))

/** Parses a JSON component: an object, and no bytes mean `{}`. */
const parseJson = (bytes: Uint8Array, code: RefusalCode): Result.Result<object, Refusal> => {
  if (bytes.length === 0) return Result.succeed({})
  try {
    const value: unknown = JSON.parse(utf8.decode(bytes))
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? Result.succeed(value)
      : Result.fail(refuse(code, "expected a JSON object"))
  } catch {
    return Result.fail(refuse("2:njs", "a component of the message is not JSON in UTF-8"))
  }
}

const describe = SchemaIssue.makeFormatterStandardSchemaV1({
  leafHook: (issue) => issue._tag === "MissingKey" ? "this field is missing" : SchemaIssue.defaultLeafHook(issue)
})

/** The first thing wrong, as a sentence that names the field. */
const faultOf = (code: RefusalCode, issue: SchemaIssue.Issue): Refusal => {
  const first = describe(issue).issues[0]
  const field = first?.path?.map(String).join(".")
  const message = (first?.message ?? "the component does not have the right shape").replace(/^Expected/, "expected")
  return field === undefined || field === ""
    ? refuse(code, message)
    : refuse(code, `${field}: ${message}`, field)
}

/** Decodes a JSON component. */
export type Decoder<A> = (bytes: Uint8Array) => Result.Result<A, Refusal>

const hasNoFields = (schema: object): boolean =>
  Predicate.hasProperty(schema, "fields") && Predicate.isObject(schema.fields) &&
  Object.keys(schema.fields).length === 0

/** A decoder for `schema` that refuses what does not fit with `code`. What `schema` does not name is left out. */
export const makeDecoder = <A, E>(schema: Schema.Codec<A, E>, code: RefusalCode): Decoder<A> => {
  const decode = Schema.decodeUnknownResult(schema)
  // A struct without fields would let everything pass as it is.
  const isEmpty = hasNoFields(schema)
  return (bytes) =>
    Result.flatMap(
      parseJson(bytes, code),
      (value) => Result.mapError(decode(isEmpty ? {} : value), (error) => faultOf(code, error.issue))
    )
}

/** Decodes the body of a reply that refuses. */
export const decodeRefusalBody: Decoder<RefusalBody> = makeDecoder(RefusalBody, "3:?")
