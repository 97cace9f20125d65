/** `fip serve --print-config`: every setting, its value, and where it came from. The text is a config file itself. */
import { Duration, type LogLevel } from "effect"
import type { Origin, Resolved } from "../serverSettings.ts"
import { formatOrigin } from "../serverSettings.ts"
import { DEFAULTS, show, snake } from "./values.ts"

export interface ShownSetting {
  readonly key: string
  /** As a config file has it; `null` for what is not set. */
  readonly value: string | number | null
  readonly origin: Origin
}

const lower = (level: LogLevel.LogLevel): string => level.toLowerCase()

/** In the order of the documentation. */
export const shownSettings = ({ logFormat, logLevel, originOf, server }: Resolved): ReadonlyArray<ShownSetting> => {
  const values = new Map<string, string | number | undefined>(
    Object.entries(server).map(([key, value]: [string, string | number | Duration.Duration | undefined]) => [
      snake(key),
      show(snake(key), value)
    ])
  )
  values.set("log_level", lower(logLevel)).set("log_format", logFormat)
  const first = ["host", "port", "data_dir"]
  const keys = [...first, ...[...DEFAULTS.keys()].filter((key) => !first.includes(key)), "log_level", "log_format"]
  return keys.map((key) => ({ key, value: values.get(key) ?? null, origin: originOf(key) }))
}

const line = ({ key, origin, value }: ShownSetting): readonly [setting: string, origin: string] =>
  value === null
    ? [`# ${key} =`, "not set"]
    // A password that is not shown is none: the line must not be taken for the setting.
    : [`${/\*\*\*/.test(String(value)) ? "# " : ""}${key} = ${JSON.stringify(value)}`, formatOrigin(origin)]

export const configText = (resolved: Resolved): string => {
  const lines = shownSettings(resolved).map(line)
  const width = Math.max(...lines.map(([setting]) => setting.length).filter((length) => length <= 50))
  return lines.map(([setting, origin]) => `${setting.padEnd(width)}  # ${origin}`).join("\n")
}

export const configJson = (resolved: Resolved): string =>
  JSON.stringify({
    settings: shownSettings(resolved).map(({ key, origin, value }) => Object.assign({ key, value }, origin))
  })
