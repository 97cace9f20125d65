/** The system's own words for a failed system call: "permission denied", "no such file or directory". */
import { Predicate } from "effect"
import { getSystemErrorMessage } from "node:util"

/** The code of a Node system error (`ENOENT`); `undefined` for any other value. */
export const systemErrorCode = (cause: unknown): string | undefined =>
  Predicate.hasProperty(cause, "code") && Predicate.isString(cause.code) ? cause.code : undefined

/** What went wrong, in words that follow a colon. Never a stack, never a path. */
export const systemErrorReason = (cause: unknown): string => {
  if (Predicate.hasProperty(cause, "errno") && Predicate.isNumber(cause.errno) && cause.errno < 0) {
    return getSystemErrorMessage(cause.errno)
  }
  return cause instanceof Error ? cause.message : String(cause)
}
