/**
 * The settings of a server that runs: SIGHUP reads the config file again.
 *
 * What can be changed while it runs (`RELOADABLE`, and the log level) is, all at once; what needs a restart is said in
 * the log and stays as it is. Settings that cannot be read leave everything as it was.
 */
import { Effect, Equal, LogLevel, type Scope, Semaphore } from "effect"
import { RELOADABLE, type ServerSettings } from "../../server/ServerConfig.ts"
import type { Resolved } from "../serverSettings.ts"
import type { SettingsError } from "./configFile.ts"
import { show, snake } from "./values.ts"

type Mutable<A> = { -readonly [K in keyof A]: A[K] }

export interface LiveSettings {
  /** To be read where they are used. */
  readonly server: ServerSettings
  readonly isShown: (level: LogLevel.LogLevel) => boolean
  readonly reload: Effect.Effect<void>
  /** All as they are now. */
  readonly now: () => Pick<Resolved, "server" | "logLevel" | "logFormat">
  /** Is called after each change, until the scope closes. */
  readonly onChange: (use: () => void) => Effect.Effect<void, never, Scope.Scope>
}

const isReloadable = (key: string): boolean => RELOADABLE.some((one) => one === key)

export const makeLiveSettings = (
  started: Resolved,
  resolve: Effect.Effect<Resolved, SettingsError>
): LiveSettings => {
  const server: Mutable<ServerSettings> = { ...started.server }
  let { logLevel } = started
  const observers = new Set<() => void>()
  const turn = Semaphore.makeUnsafe(1)

  const take = <K extends keyof ServerSettings>(key: K, next: ServerSettings): void => {
    server[key] = next[key]
  }

  const reload = Effect.gen(function*() {
    const next = yield* resolve
    const changed = new Map<string, string>()
    const waiting: Array<string> = []
    for (const [key, value] of Object.entries(next.server)) {
      const was: unknown = Reflect.get(server, key)
      if (Equal.equals(was, value)) continue
      if (!isReloadable(key)) waiting.push(snake(key))
    }
    for (const key of RELOADABLE) {
      if (Equal.equals(server[key], next.server[key])) continue
      const [was, is] = [server[key], next.server[key]].map((value) => show(snake(key), value) ?? "not set")
      changed.set(snake(key), `${was} -> ${is}`)
      take(key, next.server)
    }
    if (next.logLevel !== logLevel) {
      changed.set("log_level", `${logLevel.toLowerCase()} -> ${next.logLevel.toLowerCase()}`)
      logLevel = next.logLevel
    }
    if (next.logFormat !== started.logFormat) waiting.push("log_format")
    if (changed.size > 0) { for (const observer of observers) observer() }
    yield* Effect.annotateLogs(
      Effect.logInfo(changed.size === 0 ? "settings read again: nothing to change" : "settings changed"),
      Object.fromEntries(changed)
    )
    if (waiting.length > 0) {
      yield* Effect.logWarning(`these settings are taken over by a restart alone: ${waiting.join(", ")}`)
    }
  }).pipe(
    Effect.catch((error) => Effect.logError(`settings stay as they are: ${error.message}`)),
    turn.withPermits(1)
  )

  return {
    server,
    isShown: (level) => LogLevel.isGreaterThanOrEqualTo(level, logLevel),
    reload,
    now: () => ({ server, logLevel, logFormat: started.logFormat }),
    onChange: (use) =>
      Effect.acquireRelease(Effect.sync(() => observers.add(use)), () => Effect.sync(() => observers.delete(use)))
  }
}

/** Until the scope closes, SIGHUP reads the settings again; without it the signal would end the process. */
export const reloadOnHangup = (live: LiveSettings): Effect.Effect<void, never, Scope.Scope> =>
  Effect.flatMap(Effect.context(), (context) => {
    const run = Effect.runForkWith(context)
    const onHangup = () => void run(live.reload)
    return Effect.acquireRelease(
      Effect.sync(() => void process.on("SIGHUP", onHangup)),
      () => Effect.sync(() => void process.off("SIGHUP", onHangup))
    )
  })
