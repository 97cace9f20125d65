/**
 * What can be counted. A reference, so that whoever counts needs no endpoint: without `--metrics-port` nothing is kept,
 * and a request pays for one empty call.
 *
 * Names are `fip_…`, in seconds and bytes, as Prometheus wants them. Numbers that somebody keeps anyway are read when they
 * are asked for (`observe`), and cost nothing in between.
 */
import { Context, Effect, Layer, Metric, type Scope } from "effect"
import type { RequestName } from "../../protocol/Request.ts"
import { ServerConfig } from "../ServerConfig.ts"

export interface Counted {
  /** `undefined`: it was refused before it was known what it asks. */
  readonly request: RequestName | undefined
  readonly code: string
  readonly millis: number
  readonly bytesIn: number
  readonly bytesOut: number
}

export interface Observed {
  readonly name: string
  readonly description: string
  /** `counter` for what only grows. */
  readonly kind: "counter" | "gauge"
  readonly attributes?: Readonly<Record<string, string>>
  readonly read: () => number
}

export interface Metrics {
  readonly request: (counted: Counted) => void
  /** Until the scope closes. */
  readonly observe: (observed: Observed) => Effect.Effect<void, never, Scope.Scope>
  /** Where the numbers are; `undefined` when nobody wants them. */
  readonly context: Context.Context<never> | undefined
  /** Processes that are parts of this server, until the scope closes. */
  readonly attach: (part: Part) => Effect.Effect<void, never, Scope.Scope>
  readonly parts: ReadonlySet<Part>
}

/** Another process that does a part of the work: it counts for itself. */
export interface Part {
  /** What distinguishes its numbers from those of others. */
  readonly attributes: Readonly<Record<string, string>>
  readonly snapshot: Effect.Effect<ReadonlyArray<Metric.Metric.Snapshot>>
  readonly isReady: () => boolean
}

export const Metrics = Context.Reference<Metrics>("fip/server/metrics/Metrics", {
  defaultValue: () => ({
    request: () => {},
    observe: () => Effect.void,
    context: undefined,
    attach: () => Effect.void,
    parts: new Set()
  })
})

/** From a tenth of a millisecond to half a minute. */
const SECONDS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]

/** Whoever keeps the number changes it. */
const UNCHANGED = { update: () => {}, modify: () => {} }

/** What `make` finds or makes, by its key. */
const cached = <K, V>(make: (key: K) => V): (key: K) => V => {
  const known = new Map<K, V>()
  return (key) => {
    const found = known.get(key)
    if (found !== undefined) return found
    const made = make(key)
    known.set(key, made)
    return made
  }
}

const makeMetrics = (): Metrics => {
  const context = Context.make(Metric.MetricRegistry, new Map())
  const countOf = cached((request: string) =>
    cached((code: string) =>
      Metric.counter("fip_requests_total", {
        description: "Requests that were answered, by what they asked and the code they were answered with",
        attributes: { request, code },
        incremental: true
      })
    )
  )
  const secondsOf = cached((request: string) =>
    Metric.histogram("fip_request_duration_seconds", {
      description: "From the last byte of a request to the last of its answer",
      attributes: { request },
      boundaries: SECONDS
    })
  )
  const bytes = cached((direction: string) =>
    Metric.counter("fip_content_bytes_total", {
      description: "Content of files in requests and answers",
      attributes: { direction },
      incremental: true
    })
  )
  const parts = new Set<Part>()
  return {
    parts,
    attach: (part) =>
      Effect.asVoid(Effect.acquireRelease(
        Effect.sync(() => parts.add(part)),
        () => Effect.sync(() => parts.delete(part))
      )),
    request: ({ bytesIn, bytesOut, code, millis, request }) => {
      countOf(request ?? "")(code).updateUnsafe(1, context)
      if (request === undefined) return
      secondsOf(request).updateUnsafe(millis / 1000, context)
      if (bytesIn > 0) bytes("in").updateUnsafe(bytesIn, context)
      if (bytesOut > 0) bytes("out").updateUnsafe(bytesOut, context)
    },
    observe: ({ attributes = {}, description, kind, name, read }) =>
      Effect.asVoid(Effect.acquireRelease(
        Effect.sync(() =>
          kind === "gauge"
            ? Metric.registerUnsafe(Metric.gauge(name, { description, attributes }), context, {
              ...UNCHANGED,
              get: () => ({ value: read() })
            })
            : Metric.registerUnsafe(Metric.counter(name, { description, attributes, incremental: true }), context, {
              ...UNCHANGED,
              get: () => ({ count: read(), incremental: true })
            })
        ),
        (registration) => Effect.sync(() => registration.remove())
      )),
    context
  }
}

/** Counts when there is a port to ask for the numbers at. */
export const metricsLayer = Layer.unwrap(
  Effect.map(
    ServerConfig,
    ({ metricsPort }) => metricsPort === undefined ? Layer.empty : Layer.succeed(Metrics, makeMetrics())
  )
)
