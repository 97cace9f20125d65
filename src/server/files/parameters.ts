/** Array parameters for `unnest`. The element type is said, because a driver that infers it depends on the values. */
import { OID, type Parameter, ParameterTypeId } from "@effect/sql-pg/PgTypes"

const arrayOf = <A>(oid: number) => (values: ReadonlyArray<A | null>): Parameter => ({
  [ParameterTypeId]: ParameterTypeId,
  oid,
  value: values
})

export const bigints = arrayOf<number>(OID.int8Array)
export const texts = arrayOf<string>(OID.textArray)
export const uuids = arrayOf<string>(OID.uuidArray)
export const bytes = arrayOf<Uint8Array>(OID.byteaArray)
export const booleans = arrayOf<boolean>(OID.boolArray)
export const documents = arrayOf<unknown>(OID.jsonbArray)
export const instants = arrayOf<Date>(OID.timestamptzArray)
