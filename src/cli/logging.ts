/** What a server writes to standard error. */
import { Layer, Logger, type LogLevel, References } from "effect"
import { printableJson } from "../platform/unsafeText.ts"
import { LogThreshold } from "../server/LogThreshold.ts"

/** Loggers that show what `isShown` lets through, whatever the level was at the start. */
export const loggingLayer = (format: "pretty" | "json", isShown: (level: LogLevel.LogLevel) => boolean) => {
  const logger = format === "json"
    ? Logger.withConsoleError(Logger.map(Logger.formatJson, printableJson))
    : Logger.consolePretty()
  return Layer.mergeAll(
    Logger.layer([Logger.make((options) => isShown(options.logLevel) ? logger.log(options) : undefined)]),
    Layer.succeed(Logger.LogToStderr, true),
    Layer.succeed(LogThreshold, isShown),
    Layer.succeed(References.MinimumLogLevel, "All")
  )
}
