/** `fip serve`: the server until a signal ends it. */
import { Console, Data, Duration, Effect, Layer, Option, Result, Runtime } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { availableParallelism } from "node:os"
import { extname, join } from "node:path"
import { DEFAULT_PORT } from "../protocol/Limits.ts"
import { ServerConfig } from "../server/ServerConfig.ts"
import { loggingLayer } from "./logging.ts"
import { type Resolved, resolveSettings, toFlags } from "./serverSettings.ts"
import { tellReady, tellStopping } from "./serviceManager.ts"
import { makeLiveSettings, reloadOnHangup } from "./settings/liveSettings.ts"
import { configJson, configText } from "./settings/printConfig.ts"
import { parseDuration } from "./shell/inputs.ts"
import { tracingLayer } from "./tracing.ts"

/** The server could not start; the sentence is all that a person needs. */
export class ServeError extends Data.TaggedError("ServeError")<{ readonly message: string }> {}

/** The command line, the environment or the config file ask for something that cannot be. */
export class UsageError extends Data.TaggedError("UsageError")<{ readonly message: string }> {
  override readonly [Runtime.errorExitCode] = 2
}

const flags = {
  port: Argument.Int("port").pipe(
    Argument.withDescription(`port to listen on (default ${DEFAULT_PORT}; 0 picks a free one)`),
    Argument.optional
  ),
  host: Flag.String("host").pipe(
    Flag.withDescription("address to listen on (default 127.0.0.1; 0.0.0.0 or :: to be reached from elsewhere)"),
    Flag.optional
  ),
  workers: Flag.Int("workers").pipe(
    Flag.withMetavar("n"),
    Flag.withDescription("processes that serve connections (default: one less than the machine has cores)"),
    Flag.optional
  ),
  dataDir: Flag.String("data-dir").pipe(
    Flag.withDescription("folder for everything the server keeps (default $XDG_DATA_HOME/fip)"),
    Flag.optional
  ),
  databaseUrl: Flag.String("database-url").pipe(
    Flag.withDescription("PostgreSQL URL; without it the database is embedded in the data folder"),
    Flag.optional
  ),
  segmentsDir: Flag.String("segments-dir").pipe(
    Flag.withDescription("folder for the content of files, which servers may share (default <data-dir>/segments)"),
    Flag.optional
  ),
  identityDir: Flag.String("identity-dir").pipe(
    Flag.withDescription("folder for the server's key, which servers may share (default <data-dir>/identity)"),
    Flag.optional
  ),
  durability: Flag.String("durability").pipe(
    Flag.withDescription(
      "full: a change is acknowledged when it is on disk; os: when the operating system has it (default full)"
    ),
    Flag.optional
  ),
  registration: Flag.String("registration").pipe(
    Flag.withDescription(
      "who may register: open, invite (who has a code of fip admin invite) or closed (default open)"
    ),
    Flag.optional
  ),
  rotateEvery: Flag.String("rotate-every").pipe(
    Flag.withMetavar("time"),
    Flag.filterMap((text) => Result.getSuccess(parseDuration(text)), () => "a time such as 12h, 90d or 26w"),
    Flag.withDescription("change the server's key so often: 90d, 26w (default: only by fip admin certificate rotate)"),
    Flag.withDefault<number | undefined>(undefined)
  ),
  metricsPort: Flag.Int("metrics-port").pipe(
    Flag.withDescription("serve /metrics, /healthz and /readyz over HTTP on this port (default: not at all)"),
    Flag.optional
  ),
  config: Flag.String("config").pipe(Flag.withDescription("settings file (TOML)"), Flag.optional),
  logLevel: Flag.String("log-level").pipe(
    Flag.withDescription("all, trace, debug, info, warn, error, fatal or none (default info)"),
    Flag.optional
  ),
  logFormat: Flag.String("log-format").pipe(Flag.withDescription("pretty or json (default pretty)"), Flag.optional),
  printConfig: Flag.Boolean("print-config").pipe(
    Flag.withDescription("show every setting, its value and where it came from, and serve nothing"),
    Flag.withDefault(false)
  ),
  json: Flag.Boolean("json").pipe(
    Flag.withDescription("with --print-config: as one JSON object"),
    Flag.withDefault(false)
  )
}

/** One for each core but one, which is left to what is done once for all of them. */
const withWorkers = (resolved: Resolved): Resolved => ({
  ...resolved,
  server: { ...resolved.server, workers: resolved.server.workers ?? Math.max(1, availableParallelism() - 1) }
})

export const serveCommand = Command.make(
  "serve",
  flags,
  Effect.fnUntraced(function*(given) {
    const settings = resolveSettings({
      port: Option.getOrUndefined(given.port),
      host: Option.getOrUndefined(given.host),
      workers: Option.getOrUndefined(given.workers),
      data_dir: Option.getOrUndefined(given.dataDir),
      segments_dir: Option.getOrUndefined(given.segmentsDir),
      identity_dir: Option.getOrUndefined(given.identityDir),
      database_url: Option.getOrUndefined(given.databaseUrl),
      durability: Option.getOrUndefined(given.durability),
      registration: Option.getOrUndefined(given.registration),
      rotate_every: given.rotateEvery === undefined ? undefined : `${given.rotateEvery} millis`,
      metrics_port: Option.getOrUndefined(given.metricsPort),
      log_level: Option.getOrUndefined(given.logLevel),
      log_format: Option.getOrUndefined(given.logFormat)
    }, given.config).pipe(Effect.map(withWorkers))
    const resolved = yield* Effect.mapError(settings, ({ message }) => new UsageError({ message }))
    for (const note of resolved.notes) yield* Console.error(`fip: ${note}`)
    if (given.printConfig) return yield* Console.log(given.json ? configJson(resolved) : configText(resolved))
    if (given.json) {
      return yield* new UsageError({ message: "--json is for --print-config; logs are JSON with --log-format json" })
    }

    // The server's modules load here, so that the shell does not pay for them.
    const [{ Server }, { WorkerProgram }] = yield* Effect.promise(() =>
      Promise.all([import("../server/Server.ts"), import("../server/workers/Crew.ts")])
    )
    const live = makeLiveSettings(resolved, settings)
    const worker = {
      file: join(import.meta.dirname, `serveWorker${extname(import.meta.filename)}`),
      settings: () => toFlags(live.now()),
      onChange: live.onChange
    }

    return yield* Effect.gen(function*() {
      const server = yield* Server
      yield* reloadOnHangup(live)
      yield* Console.log(`listening on ${server.address} ${server.fingerprint}`)
      if (live.server.durability === "os") {
        yield* Console.error("durability os: should this machine crash or lose power, the latest changes may be lost")
      }
      const program = process.env["npm_lifecycle_event"] === undefined ? "fip" : "npx fip"
      yield* Console.error(`connect with: ${program} connect ${server.host} ${server.port}`)
      yield* tellReady(`listening on ${server.address}`)
      return yield* Effect.onInterrupt(Effect.never, () => {
        // Past the deadline the listener cuts its clients off; should something hang even so, the process ends.
        const patience = Duration.toMillis(live.server.shutdownDeadline) + 10_000
        setTimeout(() => {
          process.stderr.write(`fip: shutdown deadline: these did not close: ${server.shutdown.open().join(", ")}\n`)
          process.exit(1)
        }, patience).unref()
        return Effect.andThen(server.beginShutdown, tellStopping)
      })
    }).pipe(
      Effect.provide(
        Server.layer.pipe(
          Layer.provide(Layer.succeed(ServerConfig, live.server)),
          Layer.provide(tracingLayer),
          Layer.provide(Layer.succeed(WorkerProgram, worker)),
          Layer.provideMerge(loggingLayer(resolved.logFormat, live.isShown))
        )
      ),
      Effect.scoped,
      Effect.mapError((error) => new ServeError({ message: error.message }))
    )
  })
).pipe(
  Command.withDescription("Hold files and serve them"),
  Command.withExamples([
    { command: "fip serve", description: `Serve on 127.0.0.1:${DEFAULT_PORT} with an embedded database` },
    { command: "fip serve 7000 --host 0.0.0.0 --data-dir /srv/fip", description: "Serve the network" },
    {
      command: "fip serve --database-url postgres://fip@db.example/fip",
      description: "Keep names, versions and accounts in PostgreSQL"
    }
  ])
)
