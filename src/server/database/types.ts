/**
 * How PostgreSQL's types appear in rows, on both databases.
 *
 * `bigint` is a number, alone and in arrays; a value beyond the safe integers fails the query. The rest is the client's
 * own: `integer` a number, `text` and `uuid` a string, `boolean` a boolean, `timestamptz` a Date, `bytea` a Uint8Array,
 * `jsonb` the value, `numeric` a string (so `sum` of a `bigint` needs `::bigint`; `count` does not). Parameters are the
 * same: a number, a string, a Date, a Uint8Array, an array of them, `null`.
 */
import { type Codec, CodecError, makeRegistry, OID, type Registry } from "@effect/sql-pg/PgTypes"
import { Result } from "effect"

const INT8_BYTES = 8

/** What the upper half of a bigint counts. */
const HALF = 2 ** 32

// Thousands of them go with every group of changes: no view, and nothing that would have to be collected.
const readInt8 = (bytes: Uint8Array, offset: number, size: number): Result.Result<number, CodecError> => {
  if (size !== INT8_BYTES) return Result.fail(new CodecError({ message: `a bigint has ${INT8_BYTES} bytes` }))
  const half = (at: number): number =>
    ((bytes[at] ?? 0) << 24) | ((bytes[at + 1] ?? 0) << 16) | ((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0)
  const value = half(offset) * HALF + (half(offset + 4) >>> 0)
  return Number.isSafeInteger(value)
    ? Result.succeed(value)
    : Result.fail(new CodecError({ message: "a bigint in the database is beyond the safe integers" }))
}

/** The safe integer that the parameter is: the client infers a `bigint` for some, elements of arrays are numbers. */
const safeOf = (value: number | bigint): Result.Result<number, CodecError> => {
  const number = Number(value)
  return Number.isSafeInteger(number)
    ? Result.succeed(number)
    : Result.fail(new CodecError({ message: `${value} is not a safe integer` }))
}

const int8: Codec<number | bigint> = {
  encode: (value) =>
    Result.map(safeOf(value), (number) => {
      const bytes = Buffer.alloc(INT8_BYTES)
      bytes.writeInt32BE(Math.floor(number / HALF), 0)
      bytes.writeUInt32BE(number >>> 0, 4)
      return bytes
    }),
  write: (sink, value) => {
    const safe = safeOf(value)
    if (Result.isFailure(safe)) return Result.fail(safe.failure)
    sink.int32(Math.floor(safe.success / HALF))
    sink.int32(safe.success | 0)
    return Result.void
  },
  decode: (bytes) => readInt8(bytes, 0, bytes.length),
  read: readInt8
}

export const makeTypes = (): Registry => {
  const registry = makeRegistry()
  registry.register(OID.int8, int8, { arrayOid: OID.int8Array })
  return registry
}
