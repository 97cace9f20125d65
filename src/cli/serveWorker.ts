/**
 * The program of a worker of `fip serve --workers`: started by its parent, served by it, and gone with it.
 *
 * Signals are the parent's business: a terminal sends them to all processes at once, and who is told to stop by one and
 * by the other would stop before its turn.
 */
import { Cause, Effect, Exit, Layer, Option, References } from "effect"
import type { Socket } from "node:net"
import { ServerConfig } from "../server/ServerConfig.ts"
import type { FromWorker, ToWorker } from "../server/workers/Channel.ts"
import { makeParent } from "../server/workers/Parent.ts"
import { shareOf } from "../server/workers/share.ts"
import { WorkerServer } from "../server/workers/WorkerServer.ts"
import { loggingLayer } from "./logging.ts"
import { resolveSettings } from "./serverSettings.ts"
import { makeLiveSettings } from "./settings/liveSettings.ts"
import { tracingLayer } from "./tracing.ts"

// Without its parent a worker has no connections, no limits and, embedded, no database: what was not acknowledged is
// as it is after a crash.
process.on("disconnect", () => process.exit(1))
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => {})

const send = (message: FromWorker): void => {
  if (process.connected) process.send?.(message)
}

/** Says why, and ends. */
const fail = (message: string): void => {
  const failed: FromWorker = { type: "failed", message }
  process.send?.(failed, undefined, undefined, () => process.exit(1))
}

const work = Effect.fnUntraced(function*({ number, settings }: Extract<ToWorker, { readonly type: "begin" }>) {
  let flags = settings
  const mine = Effect.suspend(() => resolveSettings(flags, Option.none())).pipe(
    Effect.map((resolved) => ({ ...resolved, server: shareOf(resolved.server) }))
  )
  const started = yield* mine
  const live = makeLiveSettings(started, mine)
  const parent = makeParent({ send, port: live.server.port })
  parent.onSettings((changed) => {
    flags = changed
    // The parent has said what has changed.
    Effect.runFork(Effect.provideService(live.reload, References.MinimumLogLevel, "Warn"))
  })
  process.on("message", (message: ToWorker, socket: Socket | undefined) => parent.hear(message, socket))
  const serving = Effect.gen(function*() {
    const { beginShutdown, node } = yield* WorkerServer
    send({ type: "ready", node })
    yield* parent.ended
    yield* beginShutdown
  })
  return yield* Effect.provide(
    serving,
    WorkerServer.layer(parent, fail).pipe(
      Layer.provide(Layer.succeed(ServerConfig, live.server)),
      Layer.provide(tracingLayer),
      Layer.provideMerge(loggingLayer(started.logFormat, live.isShown)),
      Layer.provideMerge(Layer.succeed(References.CurrentLogAnnotations, { worker: number }))
    )
  )
})

process.once("message", (message: ToWorker) => {
  if (message.type !== "begin") return fail("it was not told how to begin")
  Effect.runFork(work(message)).addObserver((exit) => {
    if (Exit.isSuccess(exit)) process.exit(0)
    const failure = Cause.squash(exit.cause)
    fail(failure instanceof Error ? failure.message : String(failure))
  })
})
