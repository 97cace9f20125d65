/** `timestamptz` columns, which go over the wire as they are. */
import { Schema, SchemaTransformation } from "effect"
import { Timestamp } from "../../protocol/Identity.ts"

/** A row's Date as the wire's timestamp. */
export const Instant = Schema.Date.pipe(
  Schema.decodeTo(
    Timestamp,
    SchemaTransformation.transform({
      decode: (date: Date) => date.toISOString(),
      encode: (text: string) => new Date(text)
    })
  )
)
