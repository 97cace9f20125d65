/**
 * Whether the log shows what is of a level, where that may change while the server runs. `undefined`: as
 * `MinimumLogLevel` says. For those who would rather not make what nobody sees.
 */
import { Context, type LogLevel } from "effect"

export const LogThreshold = Context.Reference<((level: LogLevel.LogLevel) => boolean) | undefined>(
  "fip/server/LogThreshold",
  { defaultValue: () => undefined }
)
