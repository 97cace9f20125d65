/** The numbers of a server that is several processes, as those of one: each process's own bear its attributes. */
import { Context, Effect, Metric } from "effect"
import type { Part } from "./Metrics.ts"

/** A process that does not answer is left out. */
const PATIENCE = "1 second"

/** Whoever keeps the number changes it. */
const fixed = <State>(state: State) => ({ get: () => state, update: () => {}, modify: () => {} })

const keyOf = ({ attributes, id }: Pick<Metric.Metric.Snapshot, "attributes" | "id">): string =>
  `${id} ${JSON.stringify(attributes)}`

/** What is registered in `own`, and what the parts have now. */
export const withParts = Effect.fnUntraced(function*(own: Context.Context<never>, parts: ReadonlySet<Part>) {
  if (parts.size === 0) return own
  const registry: Metric.MetricRegistry = new Map(Context.get(own, Metric.MetricRegistry))
  const snapshots = yield* Effect.forEach(
    parts,
    ({ attributes, snapshot }) =>
      snapshot.pipe(
        Effect.timeoutOrElse({ duration: PATIENCE, orElse: () => Effect.succeed([]) }),
        Effect.map((metrics) =>
          metrics.map((metric) => ({ ...metric, attributes: { ...metric.attributes, ...attributes } }))
        )
      ),
    { concurrency: "unbounded" }
  )
  for (const { state, ...metadata } of snapshots.flat()) {
    registry.set(keyOf(metadata), { ...metadata, hooks: fixed(state) })
  }
  return Context.make(Metric.MetricRegistry, registry)
})
