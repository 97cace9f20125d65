/**
 * The settings of `fip serve`: flags before environment (`FIP_…`) before config file (TOML) before defaults, all decoded
 * by one `Config`, and where each came from.
 */
import {
  Config,
  ConfigProvider,
  Duration,
  Effect,
  type LogLevel,
  Option,
  Schema,
  SchemaIssue,
  SchemaTransformation
} from "effect"
import { homedir } from "node:os"
import { join, resolve } from "node:path"
import { didYouMean } from "../platform/nearest.ts"
import { defaults, type ServerSettings } from "../server/ServerConfig.ts"
import { type ConfigFile, readConfigFile, SettingsError } from "./settings/configFile.ts"
import {
  CHOICES,
  DEFAULTS,
  DURABILITIES,
  expected,
  LOG_FORMATS,
  LOG_LEVELS,
  REGISTRATIONS,
  snake
} from "./settings/values.ts"

const Count = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))

const count = <A>(key: keyof typeof defaults & string, fallback: A) =>
  Config.schema(Count, snake(key)).pipe(Config.withDefault(fallback))
/** `1000000`, `64MiB`, `10 GiB`. */
const Size = Schema.String.pipe(
  Schema.decodeTo(
    Schema.ByteSizeFromString,
    SchemaTransformation.transform({
      decode: (text) => /^\s*\d+\s*$/.test(text) ? `${text.trim()}B` : text,
      encode: (text) => text
    })
  )
)

const UNITS: Readonly<Record<string, string>> = {
  ms: "millis",
  s: "seconds",
  m: "minutes",
  h: "hours",
  d: "days",
  w: "weeks"
}

/** `30s`, `15m`, `2h`, `90d`, as the shell's commands have it, or `90 days`. */
const Time = Schema.String.pipe(
  Schema.decodeTo(
    Schema.DurationFromString,
    SchemaTransformation.transform({
      decode: (text) => text.replace(/^\s*(\d+)\s*(ms|[smhdw])\s*$/, (_, count, unit) => `${count} ${UNITS[unit]}`),
      encode: (text) => text
    })
  )
)

const size = <A>(key: string, fallback: A) =>
  Config.schema(Size, snake(key)).pipe(Config.map(Number), Config.withDefault(fallback))
const duration = <A>(key: string, fallback: A) => Config.schema(Time, snake(key)).pipe(Config.withDefault(fallback))

/** For ever is as good as some centuries, and those begin at an instant. */
const lasting = (key: string, fallback: Duration.Duration) =>
  Config.map(duration(key, fallback), (given) => Duration.min(given, Duration.days(300 * 366)))

const dataDir = Config.NonEmptyString("data_dir").pipe(
  Config.withDefault(undefined),
  Config.map((dir) => resolve(dir ?? join(process.env["XDG_DATA_HOME"] ?? join(homedir(), ".local", "share"), "fip")))
)

const folder = (key: string) =>
  Config.NonEmptyString(key).pipe(
    Config.withDefault(undefined),
    Config.map((dir) => dir === undefined ? undefined : resolve(dir))
  )

const environment = ConfigProvider.fromEnv().pipe(
  ConfigProvider.mapInput((path) => [`FIP_${path.join("_").toUpperCase()}`])
)

const settings = Config.all({
  host: Config.NonEmptyString("host").pipe(Config.withDefault(defaults.host)),
  port: count("port", defaults.port),
  workers: count("workers", defaults.workers),
  dataDir,
  segmentsDir: folder("segments_dir"),
  identityDir: folder("identity_dir"),
  databaseUrl: Config.NonEmptyString("database_url").pipe(Config.withDefault(undefined)),
  durability: Config.Literals(DURABILITIES, "durability").pipe(Config.withDefault(defaults.durability)),
  registration: Config.Literals(REGISTRATIONS, "registration").pipe(
    Config.withDefault(defaults.registration)
  ),
  bytesPerUser: size("bytesPerUser", defaults.bytesPerUser),
  filesPerUser: count("filesPerUser", defaults.filesPerUser),
  accessTokenLifetime: duration("accessTokenLifetime", defaults.accessTokenLifetime),
  refreshLifetime: duration("refreshLifetime", defaults.refreshLifetime),
  refreshGrace: duration("refreshGrace", defaults.refreshGrace),
  passwordConcurrency: count("passwordConcurrency", defaults.passwordConcurrency),
  passwordQueue: count("passwordQueue", defaults.passwordQueue),
  accountGuesses: count("accountGuesses", defaults.accountGuesses),
  deviceGuesses: count("deviceGuesses", defaults.deviceGuesses),
  addressGuesses: count("addressGuesses", defaults.addressGuesses),
  addressRegistrations: count("addressRegistrations", defaults.addressRegistrations),
  guessDelay: duration("guessDelay", defaults.guessDelay),
  guessDelayMax: duration("guessDelayMax", defaults.guessDelayMax),
  guessMemory: duration("guessMemory", defaults.guessMemory),
  rotateEvery: duration("rotateEvery", defaults.rotateEvery),
  maxConnections: count("maxConnections", defaults.maxConnections),
  connectionsPerAddress: count("connectionsPerAddress", defaults.connectionsPerAddress),
  connectionRate: count("connectionRate", defaults.connectionRate),
  maxGuests: count("maxGuests", defaults.maxGuests),
  guestsPerAddress: count("guestsPerAddress", defaults.guestsPerAddress),
  loginTimeout: duration("loginTimeout", defaults.loginTimeout),
  guestRequests: count("guestRequests", defaults.guestRequests),
  guestTimeout: duration("guestTimeout", defaults.guestTimeout),
  requestRate: count("requestRate", defaults.requestRate),
  byteRate: size("byteRate", defaults.byteRate),
  handshakeTimeout: duration("handshakeTimeout", defaults.handshakeTimeout),
  idleTimeout: duration("idleTimeout", defaults.idleTimeout),
  messageTimeout: duration("messageTimeout", defaults.messageTimeout),
  shutdownDeadline: duration("shutdownDeadline", defaults.shutdownDeadline),
  cacheBytes: size("cacheBytes", defaults.cacheBytes),
  cacheBytesPerUser: size("cacheBytesPerUser", defaults.cacheBytesPerUser),
  openSegments: count("openSegments", defaults.openSegments),
  cacheIdle: duration("cacheIdle", defaults.cacheIdle),
  uploadLifetime: duration("uploadLifetime", defaults.uploadLifetime),
  keepVersions: count("keepVersions", defaults.keepVersions),
  keepVersionsFor: lasting("keepVersionsFor", defaults.keepVersionsFor),
  keepDeletedFor: lasting("keepDeletedFor", defaults.keepDeletedFor),
  sweepEvery: lasting("sweepEvery", defaults.sweepEvery),
  keepChanges: count("keepChanges", defaults.keepChanges),
  keepChangesFor: lasting("keepChangesFor", defaults.keepChangesFor),
  metricsPort: count("metricsPort", defaults.metricsPort),
  metricsHost: Config.NonEmptyString("metrics_host").pipe(Config.withDefault(defaults.metricsHost)),
  activityKeptFor: lasting("activityKeptFor", defaults.activityKeptFor),
  denialsPerMinute: count("denialsPerMinute", defaults.denialsPerMinute),
  flushInterval: duration("flushInterval", defaults.flushInterval),
  flushCount: count("flushCount", defaults.flushCount),
  flushQueue: count("flushQueue", defaults.flushQueue)
})

const MAX_WORKERS = 256

const SEVERITIES: Readonly<Record<typeof LOG_LEVELS[number], LogLevel.LogLevel>> = {
  all: "All",
  trace: "Trace",
  debug: "Debug",
  info: "Info",
  warn: "Warn",
  error: "Error",
  fatal: "Fatal",
  none: "None"
}

const logging = Config.all({
  logLevel: Config.Literals(LOG_LEVELS, "log_level").pipe(
    Config.withDefault("info" as const),
    Config.map((level) => SEVERITIES[level])
  ),
  logFormat: Config.Literals(LOG_FORMATS, "log_format").pipe(Config.withDefault("pretty" as const))
})

/** Every key a config file may have. */
const KEYS: ReadonlySet<string> = new Set(["data_dir", "log_level", "log_format", ...DEFAULTS.keys()])

/** Where a setting came from. */
export type Origin =
  | { readonly source: "flag"; readonly name: string }
  | { readonly source: "environment"; readonly name: string }
  | { readonly source: "file"; readonly name: string; readonly line: number }
  | { readonly source: "default" }

const variableOf = (key: string): string => `FIP_${key.toUpperCase()}`

const originsOf = (flags: ServeFlags, file: ConfigFile | undefined) => (key: string): Origin => {
  if (flags[key] !== undefined) {
    return { source: "flag", name: key === "port" ? "[port]" : `--${key.replaceAll("_", "-")}` }
  }
  if (process.env[variableOf(key)] !== undefined) return { source: "environment", name: variableOf(key) }
  if (file !== undefined && Object.hasOwn(file.values, key)) {
    return { source: "file", name: file.path, line: file.lineOf(key) }
  }
  return { source: "default" }
}

/** As the beginning of a sentence about a setting, or what it is followed by in a listing. */
export const formatOrigin = (origin: Origin): string => {
  switch (origin.source) {
    case "flag":
    case "environment":
      return origin.name
    case "file":
      return `${origin.name}, line ${origin.line}`
    case "default":
      return "default"
  }
}

const describe = SchemaIssue.makeFormatterStandardSchemaV1()

/** What is wrong with which setting, where it is set, and what was perhaps meant. */
const settingsError = (error: Config.ConfigError, given: Given): SettingsError => {
  const { cause } = error
  if (cause._tag !== "SchemaError") return new SettingsError({ message: cause.message })
  const [issue] = describe(cause.issue).issues
  const key = issue?.path?.map(String)[0] ?? ""
  const value = given.valueOf(key)
  // A URL has a password in it.
  const shown = key === "database_url" || value === "" ? "" : `, not ${JSON.stringify(value)}`
  const choices = CHOICES.get(key) ?? []
  return new SettingsError({
    message: `${formatOrigin(given.originOf(key))}: ${key} ${expected(key)}${shown}${
      didYouMean(String(value), choices)
    }`
  })
}

/** What the environment has that looks like a setting and is none. */
const misspelt = (): ReadonlyArray<string> =>
  Object.keys(process.env).filter((name) => name.startsWith("FIP_") && !KEYS.has(name.slice(4).toLowerCase()))
    .flatMap((name) => {
      const near = didYouMean(name, Array.from(KEYS, variableOf))
      return near === "" ? [] : [`${name} in the environment is no setting${near}`]
    })

/** The data folder of the server that is meant: by a flag, `FIP_DATA_DIR`, or the default. */
export const dataDirOf = (flag: string | undefined): Effect.Effect<string> =>
  dataDir.parse(
    ConfigProvider.fromUnknown(flag === undefined ? {} : { data_dir: flag }).pipe(ConfigProvider.orElse(environment))
  ).pipe(Effect.orDie)

/** What `fip serve` was given on its command line; `undefined` where a flag is absent. */
export type ServeFlags = { readonly [key: string]: string | number | undefined }

interface Given {
  readonly originOf: (key: string) => Origin
  /** As it was written. */
  readonly valueOf: (key: string) => unknown
}

export interface Resolved {
  readonly server: ServerSettings
  readonly logLevel: LogLevel.LogLevel
  readonly logFormat: "pretty" | "json"
  readonly originOf: (key: string) => Origin
  /** What whoever starts the server should hear. */
  readonly notes: ReadonlyArray<string>
}

const givenOf = (flags: ServeFlags, file: ConfigFile | undefined): Given => ({
  originOf: originsOf(flags, file),
  valueOf: (key) => flags[key] ?? process.env[variableOf(key)] ?? file?.values[key]
})

/** Resolves all settings of the server. */
export const resolveSettings = Effect.fnUntraced(
  function*(flags: ServeFlags, configFile: Option.Option<string>): Effect.fn.Return<Resolved, SettingsError> {
    const file = Option.isSome(configFile) ? yield* readConfigFile(configFile.value, KEYS) : undefined
    const given = givenOf(flags, file)
    const refuse = (key: string, message: string) =>
      new SettingsError({ message: `${formatOrigin(given.originOf(key))}: ${message}` })
    for (const [key, value] of Object.entries(file?.values ?? {})) {
      // A list or a date would be taken for nothing.
      if (given.originOf(key).source === "file" && typeof value !== "string" && typeof value !== "number") {
        return yield* refuse(key, `${key} ${expected(key)}`)
      }
    }
    const provider = ConfigProvider.fromUnknown(
      Object.fromEntries(Object.entries(flags).filter(([, value]) => value !== undefined))
    ).pipe(
      ConfigProvider.orElse(environment),
      ConfigProvider.orElse(ConfigProvider.fromUnknown(file?.values ?? {}))
    )
    const parse = <A>(config: Config.Config<A>) =>
      Effect.mapError(config.parse(provider), (error) => settingsError(error, given))
    const server = yield* parse(settings)
    for (const [key, port] of [["port", server.port], ["metrics_port", server.metricsPort ?? 0]] as const) {
      if (port > 65_535) return yield* refuse(key, `port ${port} is out of range: 0 (any free one) to 65535`)
    }
    if (server.workers !== undefined && (server.workers < 1 || server.workers > MAX_WORKERS)) {
      return yield* refuse("workers", `workers ${server.workers} is out of range: 1 to ${MAX_WORKERS}`)
    }
    if (server.rotateEvery !== undefined && Duration.isLessThan(server.rotateEvery, Duration.minutes(1))) {
      return yield* refuse("rotate_every", "a key that is changed more than once a minute is none: raise rotate-every")
    }
    return { server, ...yield* parse(logging), originOf: given.originOf, notes: misspelt() }
  }
)

/** The same as flags, so that another process of this program resolves to the same, whatever has become of the file. */
export const toFlags = (
  { logFormat, logLevel, server }: Pick<Resolved, "logFormat" | "logLevel" | "server">
): ServeFlags => ({
  ...Object.fromEntries(
    Object.entries(server).map(([key, value]) => [
      snake(key),
      Duration.isDuration(value)
        ? Duration.isFinite(value) ? `${Duration.toMillis(value)} millis` : "Infinity"
        : value
    ])
  ),
  log_format: logFormat,
  log_level: logLevel.toLowerCase()
})
