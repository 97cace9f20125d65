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

const readInt8 = (bytes: Uint8Array, offset: number, size: number): Result.Result<number, CodecError> => {
  if (size !== INT8_BYTES) return Result.fail(new CodecError({ message: `a bigint has ${INT8_BYTES} bytes` }))
  const view = new DataView(bytes.buffer, bytes.byteOffset + offset, INT8_BYTES)
  const value = view.getInt32(0) * 2 ** 32 + view.getUint32(4)
  return Number.isSafeInteger(value)
    ? Result.succeed(value)
    : Result.fail(new CodecError({ message: "a bigint in the database is beyond the safe integers" }))
}

/** Parameters arrive as `bigint`s where the client inferred the type, as numbers as elements of an array. */
const int8: Codec<number | bigint> = {
  encode: (value) => {
    if (typeof value === "number" && !Number.isSafeInteger(value)) {
      return Result.fail(new CodecError({ message: `${value} is not a safe integer` }))
    }
    const bytes = new Uint8Array(INT8_BYTES)
    new DataView(bytes.buffer).setBigInt64(0, BigInt(value))
    return Result.succeed(bytes)
  },
  decode: (bytes) => readInt8(bytes, 0, bytes.length),
  read: readInt8
}

export const makeTypes = (): Registry => {
  const registry = makeRegistry()
  registry.register(OID.int8, int8, { arrayOid: OID.int8Array })
  return registry
}
