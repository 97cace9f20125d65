/** Values of settings, as they are written: what is expected of one, and how one is shown so that it can be read again. */
import { Duration } from "effect"
import { defaults, type ServerSettings } from "../../server/ServerConfig.ts"

/** `cacheBytes` in code is `cache_bytes` in a file and `FIP_CACHE_BYTES` in the environment. */
export const snake = (key: string): string => key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)

export const LOG_LEVELS = ["all", "trace", "debug", "info", "warn", "error", "fatal", "none"] as const
export const LOG_FORMATS = ["pretty", "json"] as const
export const DURABILITIES = ["full", "os"] as const
export const REGISTRATIONS = ["open", "invite", "closed"] as const

/** Settings that are one of a few words. */
export const CHOICES: ReadonlyMap<string, ReadonlyArray<string>> = new Map<string, ReadonlyArray<string>>([
  ["log_level", LOG_LEVELS],
  ["log_format", LOG_FORMATS],
  ["durability", DURABILITIES],
  ["registration", REGISTRATIONS]
])

/** By its name in a file. */
export const DEFAULTS: ReadonlyMap<string, unknown> = new Map(
  Object.entries(defaults).map(([key, value]) => [snake(key), value])
)

const isSize = (key: string): boolean => /(^|_)bytes?(_|$)/.test(key)
const isTime = (key: string): boolean => key === "rotate_every" || Duration.isDuration(DEFAULTS.get(key))
const isCount = (key: string): boolean =>
  key === "metrics_port" || key === "workers" || key === "workers" || typeof DEFAULTS.get(key) === "number"

/** What a value must be, as the end of a sentence. */
export const expected = (key: string): string => {
  const choices = CHOICES.get(key)
  if (choices !== undefined) return `must be one of ${choices.join(", ")}`
  if (isSize(key)) return "must be a size such as \"512 KiB\" or \"10 GiB\""
  if (isTime(key)) return "must be a time such as \"30 seconds\", \"15 minutes\" or \"90d\""
  if (isCount(key)) return "must be a whole number from 0 on"
  return "must be a text that is not empty"
}

/** The largest unit that goes in without a rest. */
const inUnits = (value: number, units: ReadonlyArray<readonly [name: string, size: number]>) =>
  units.find(([, size]) => value % size === 0 && value > 0) ?? units.at(-1) ?? ["", 1] as const

const SIZES = [["GiB", 1024 ** 3], ["MiB", 1024 ** 2], ["KiB", 1024], ["B", 1]] as const
const TIMES = [["day", 86_400_000], ["hour", 3_600_000], ["minute", 60_000], ["second", 1000], ["milli", 1]] as const

const showTime = (millis: number): string => {
  const [unit, size] = inUnits(millis, TIMES)
  const count = millis / size
  return Number.isFinite(millis) ? `${count} ${unit}${count === 1 ? "" : "s"}` : "Infinity"
}

/** Without the password. */
const showUrl = (text: string): string => {
  if (!URL.canParse(text)) return "…"
  const url = new URL(text)
  if (url.password !== "") url.password = "***"
  if (url.searchParams.has("password")) url.searchParams.set("password", "***")
  return url.href
}

/** A value as a config file has it; `undefined` for a setting that is not set. */
export const show = (key: string, value: ServerSettings[keyof ServerSettings]): string | number | undefined => {
  if (Duration.isDuration(value)) return showTime(Duration.toMillis(value))
  if (typeof value === "number") {
    if (!isSize(key)) return value
    const [unit, size] = inUnits(value, SIZES)
    return `${value / size} ${unit}`
  }
  return key === "database_url" && value !== undefined ? showUrl(value) : value
}
