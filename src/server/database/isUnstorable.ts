/** Tells records that a database will never take from a database that does not take records now. */
import { CodecError } from "@effect/sql-pg/PgTypes"
import { Predicate } from "effect"
import { isSqlError } from "effect/sql/SqlError"
import type { Refusal } from "../../protocol/Refusal.ts"

/** SQLSTATE classes: data exception, integrity constraint, program limit exceeded. */
const OF_DATA = new Set(["22", "23", "54"])

/** True when a statement failed for what was to be stored, and not for the state that the database is in. */
export const isUnstorable = (refusal: Refusal): boolean => {
  const cause = isSqlError(refusal.cause) ? refusal.cause.reason.cause : undefined
  if (cause instanceof CodecError) return true
  return Predicate.hasProperty(cause, "code") && typeof cause.code === "string" && OF_DATA.has(cause.code.slice(0, 2))
}
