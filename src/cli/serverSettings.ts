/**
 * The settings of `fip serve`: flags before environment (`FIP_…`) before config file (TOML) before defaults, all decoded
 * by one `Config`.
 */
import {
  Config,
  ConfigProvider,
  Data,
  Duration,
  Effect,
  Layer,
  type LogLevel,
  Option,
  Schema,
  SchemaIssue,
  SchemaTransformation
} from "effect"
import { readFile } from "node:fs/promises"
import { homedir } from "node:os"
import { join, resolve } from "node:path"
import { parse as parseToml, TomlError } from "smol-toml"
import { systemErrorReason } from "../platform/systemError.ts"
import { defaults, ServerConfig, type ServerSettings } from "../server/ServerConfig.ts"

/** A setting that cannot be used; `message` names it and says what is wrong. */
export class SettingsError extends Data.TaggedError("SettingsError")<{ readonly message: string }> {}

const count = (key: keyof typeof defaults & string, fallback: number) =>
  Config.Int(snake(key)).pipe(Config.withDefault(fallback))
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

/** `cacheBytes` in code is `cache_bytes` in a file and `FIP_CACHE_BYTES` in the environment. */
const snake = (key: string): string => key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)

const port = Config.Int("port").pipe(Config.withDefault(defaults.port))

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
  port,
  dataDir,
  segmentsDir: folder("segments_dir"),
  identityDir: folder("identity_dir"),
  databaseUrl: Config.NonEmptyString("database_url").pipe(Config.withDefault(undefined)),
  durability: Config.Literals(["full", "os"], "durability").pipe(Config.withDefault(defaults.durability)),
  registration: Config.Literals(["open", "invite", "closed"], "registration").pipe(
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
  metricsPort: Config.Int("metrics_port").pipe(Config.withDefault(defaults.metricsPort)),
  metricsHost: Config.NonEmptyString("metrics_host").pipe(Config.withDefault(defaults.metricsHost)),
  activityKeptFor: lasting("activityKeptFor", defaults.activityKeptFor),
  denialsPerMinute: count("denialsPerMinute", defaults.denialsPerMinute),
  flushInterval: duration("flushInterval", defaults.flushInterval),
  flushCount: count("flushCount", defaults.flushCount),
  flushQueue: count("flushQueue", defaults.flushQueue)
})

const LOG_LEVELS = ["all", "trace", "debug", "info", "warn", "error", "fatal", "none"] as const
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
  logFormat: Config.Literals(["pretty", "json"], "log_format").pipe(Config.withDefault("pretty" as const))
})

/** Every key a config file may have. */
const KEYS: ReadonlySet<string> = new Set(
  ["data_dir", "log_level", "log_format", ...Object.keys(defaults).map(snake)]
)

/** Settings that are flags of `fip serve` too. */
const FLAGS: ReadonlySet<string> = new Set([
  "host",
  "port",
  "data_dir",
  "database_url",
  "segments_dir",
  "identity_dir",
  "durability",
  "registration",
  "rotate_every",
  "metrics_port",
  "log_level",
  "log_format"
])

const readConfigFile = Effect.fnUntraced(function*(path: string) {
  const text = yield* Effect.tryPromise({
    try: () => readFile(path, "utf8"),
    catch: (error) =>
      new SettingsError({
        message: `cannot read the config file ${path}: ${systemErrorReason(error)}`
      })
  })
  const table = yield* Effect.try({
    try: () => parseToml(text),
    catch: (error) =>
      new SettingsError({
        message: error instanceof TomlError
          ? `${path}, line ${error.line}, column ${error.column}: ${error.message.split("\n")[0]}`
          : `${path} is not TOML`
      })
  })
  for (const key of Object.keys(table)) {
    if (!KEYS.has(key)) {
      return yield* new SettingsError({ message: `${path}: there is no setting "${key}"` })
    }
  }
  return ConfigProvider.fromUnknown(table)
})

const describe = SchemaIssue.makeFormatterStandardSchemaV1()

const settingsError = (error: Config.ConfigError): SettingsError => {
  const { cause } = error
  if (cause._tag !== "SchemaError") return new SettingsError({ message: cause.message })
  const first = describe(cause.issue).issues[0]
  const key = first?.path?.map(String).join(".") ?? ""
  return new SettingsError({
    message: `the setting ${key} (FIP_${key.toUpperCase()}${
      FLAGS.has(key) ? `, --${key.replaceAll("_", "-")}` : ""
    }): ${first?.message ?? ""}`
  })
}

/** The data folder of the server that is meant: by a flag, `FIP_DATA_DIR`, or the default. */
export const dataDirOf = (flag: string | undefined): Effect.Effect<string> =>
  dataDir.parse(
    ConfigProvider.fromUnknown(flag === undefined ? {} : { data_dir: flag }).pipe(ConfigProvider.orElse(environment))
  ).pipe(Effect.orDie)

/** What `fip serve` was given on its command line; `undefined` where a flag is absent. */
export type ServeFlags = { readonly [key: string]: string | number | undefined }

export interface Resolved {
  readonly server: ServerSettings
  readonly logLevel: LogLevel.LogLevel
  readonly logFormat: "pretty" | "json"
}

/** Resolves all settings of the server. */
export const resolveSettings = Effect.fnUntraced(
  function*(flags: ServeFlags, configFile: Option.Option<string>): Effect.fn.Return<Resolved, SettingsError> {
    const given = Object.fromEntries(Object.entries(flags).filter(([, value]) => value !== undefined))
    const file = Option.isSome(configFile) ? yield* readConfigFile(configFile.value) : ConfigProvider.fromUnknown({})
    const provider = ConfigProvider.fromUnknown(given).pipe(
      ConfigProvider.orElse(environment),
      ConfigProvider.orElse(file)
    )
    const server = yield* settings.parse(provider).pipe(Effect.mapError(settingsError))
    if (server.port < 0 || server.port > 65535) {
      return yield* new SettingsError({ message: `port ${server.port} is out of range: 0 (any free one) to 65535` })
    }
    if (server.metricsPort !== undefined && (server.metricsPort < 0 || server.metricsPort > 65535)) {
      return yield* new SettingsError({ message: `metrics port ${server.metricsPort} is out of range: 0 to 65535` })
    }
    if (server.rotateEvery !== undefined && Duration.isLessThan(server.rotateEvery, Duration.minutes(1))) {
      return yield* new SettingsError({
        message: "a key that is changed more than once a minute is none: raise rotate-every"
      })
    }
    const { logFormat, logLevel } = yield* logging.parse(provider).pipe(Effect.mapError(settingsError))
    return { server, logLevel, logFormat }
  }
)

/** The settings as a layer. */
export const settingsLayer = (resolved: Resolved): Layer.Layer<ServerConfig> =>
  Layer.succeed(ServerConfig, resolved.server)
