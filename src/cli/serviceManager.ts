/**
 * Tells systemd how the server is: ready, stopping, and, where the unit has a watchdog, that its event loop turns.
 *
 * systemd listens on a datagram socket of the Unix domain, which Node does not have: its own `systemd-notify` is asked to
 * tell. Without `NOTIFY_SOCKET`, which systemd sets, nothing happens here.
 */
import { Effect, Schedule, type Scope } from "effect"
import { execFile } from "node:child_process"

/** So long may it take to tell. */
const PATIENCE_MILLIS = 5000

/** Has it told; it never fails, for a server is as ready as it is. */
const notify = (...words: ReadonlyArray<string>): Effect.Effect<void> =>
  process.env["NOTIFY_SOCKET"] === undefined ? Effect.void : Effect.callback<Error | null>((resume) => {
    execFile("systemd-notify", [...words], { timeout: PATIENCE_MILLIS }, (error) => resume(Effect.succeed(error)))
  }).pipe(
    Effect.flatMap((error) =>
      error === null ? Effect.void : Effect.logWarning(`systemd was not told: ${error.message}`)
    )
  )

/** How often the watchdog wants to hear; `undefined` without one, or when it is another process's. */
const watchdogMillis = (): number | undefined => {
  const micros = Number(process.env["WATCHDOG_USEC"])
  const pid = process.env["WATCHDOG_PID"]
  return micros > 0 && (pid === undefined || Number(pid) === process.pid) ? micros / 1000 : undefined
}

/** Says that the server is ready, and from then on, until the scope closes, that it lives. */
export const tellReady = (status: string): Effect.Effect<void, never, Scope.Scope> =>
  Effect.gen(function*() {
    yield* notify("READY=1", `STATUS=${status}`)
    const every = watchdogMillis()
    if (every !== undefined) {
      yield* notify("WATCHDOG=1").pipe(Effect.repeat(Schedule.spaced(every / 3)), Effect.forkScoped)
    }
  })

export const tellStopping: Effect.Effect<void> = notify("STOPPING=1", "STATUS=shutting down")
