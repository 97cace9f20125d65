/**
 * A span for each request, when somebody collects them. A reference: without a collector nothing wraps a request.
 * Content has no spans of its own; the statements that a request runs have theirs below it.
 */
import { Context, Effect } from "effect"
import type { RequestName } from "../../protocol/Request.ts"

export type Trace = <A, E>(request: RequestName, requestId: string, work: Effect.Effect<A, E>) => Effect.Effect<A, E>

export const TraceRequests = Context.Reference<Trace | undefined>("fip/server/metrics/TraceRequests", {
  defaultValue: () => undefined
})

/** What is named by the id here is named by it in the log and in the client's message, too. */
export const traced: Trace = (request, requestId, work) =>
  Effect.withSpan(work, request, { kind: "server", root: true, attributes: { "fip.request_id": requestId } })
