/**
 * HTTP for whoever watches the server: `/metrics` for Prometheus, `/healthz` (the process answers), `/readyz` (it serves:
 * the listener is up, the database answers, no shutdown has begun). Plain HTTP without login, on the loopback unless told
 * otherwise; there are no names in it.
 */
import { Data, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { createServer, type RequestListener } from "node:http"
import { monitorEventLoopDelay } from "node:perf_hooks"
import { systemErrorReason } from "../../platform/systemError.ts"
import { ServerConfig } from "../ServerConfig.ts"
import { ShutdownCoordinator } from "../ShutdownCoordinator.ts"
import { Metrics } from "./Metrics.ts"
import { withParts } from "./parts.ts"

/** The endpoint cannot be had. */
export class MetricsError extends Data.TaggedError("MetricsError")<{ readonly message: string }> {}

const PATIENCE = "2 seconds"

/** What a process costs. */
export const observeProcess = Effect.gen(function*() {
  const { observe } = yield* Metrics
  const delay = yield* Effect.acquireRelease(
    Effect.sync(() => {
      const delay = monitorEventLoopDelay({ resolution: 20 })
      delay.enable()
      return delay
    }),
    (delay) => Effect.sync(() => delay.disable())
  )
  yield* observe({
    name: "fip_event_loop_delay_seconds",
    description: "How long the event loop was busy at a stretch, 99th percentile since it was asked last",
    kind: "gauge",
    read: () => {
      const seconds = delay.percentile(99) / 1e9
      delay.reset()
      return seconds
    }
  })
  yield* observe({
    name: "fip_resident_memory_bytes",
    description: "Memory of the process",
    kind: "gauge",
    read: () => process.memoryUsage.rss()
  })
  yield* observe({
    name: "fip_uptime_seconds",
    description: "Since the process began",
    kind: "gauge",
    read: () => process.uptime()
  })
})

export const endpointLayer = Layer.effectDiscard(Effect.gen(function*() {
  const { metricsHost, metricsPort } = yield* ServerConfig
  const { context, parts } = yield* Metrics
  if (metricsPort === undefined || context === undefined) return
  // Loaded only when somebody wants it.
  const { formatUnsafe } = yield* Effect.promise(() => import("effect/observability/PrometheusMetrics"))
  const { isBegun, open } = yield* ShutdownCoordinator
  const sql = yield* SqlClient
  yield* observeProcess

  const notReady = Effect.gen(function*() {
    if (yield* isBegun) return "shutting down"
    if (!open().includes("Server")) return "starting"
    if (parts.size > 0 && ![...parts].some((part) => part.isReady())) return "no worker is ready"
    const isThere = yield* sql`select 1`.pipe(
      Effect.timeout(PATIENCE),
      Effect.match({ onSuccess: () => true, onFailure: () => false })
    )
    return isThere ? undefined : "the database does not answer"
  })

  const run = Effect.runForkWith(yield* Effect.context())
  const answer: RequestListener = ({ method, url }, response) => {
    const send = (status: number, body: string) => {
      response.writeHead(status, {
        "content-type": "text/plain; version=0.0.4; charset=utf-8",
        "cache-control": "no-store"
      })
      response.end(body)
    }
    if (method !== "GET" && method !== "HEAD") return send(405, "only GET\n")
    switch (url?.split("?")[0]) {
      case "/metrics":
        return void run(Effect.map(withParts(context, parts), (all) => send(200, formatUnsafe(all))))
      case "/healthz":
        return send(200, "ok\n")
      case "/readyz":
        return void run(Effect.map(notReady, (reason) => {
          send(reason === undefined ? 200 : 503, `${reason ?? "ready"}\n`)
        }))
      default:
        return send(404, "there are /metrics, /healthz and /readyz\n")
    }
  }

  const server = createServer({ requestTimeout: 10_000, headersTimeout: 10_000 }, answer)
  server.maxConnections = 100
  yield* Effect.acquireRelease(
    Effect.callback<void, MetricsError>((resume) => {
      server.once("error", (error) =>
        resume(Effect.fail(
          new MetricsError({
            message: `cannot listen on port ${metricsPort} of ${metricsHost} for metrics: ${systemErrorReason(error)}`
          })
        )))
      server.listen(metricsPort, metricsHost, () => resume(Effect.void))
    }),
    () =>
      Effect.callback<void>((resume) => {
        server.close(() => resume(Effect.void))
        server.closeAllConnections()
      })
  )
  const bound = server.address()
  const port = bound === null || typeof bound === "string" ? metricsPort : bound.port
  yield* Effect.annotateLogs(Effect.logInfo("metrics are served"), { host: metricsHost, port })
}))
