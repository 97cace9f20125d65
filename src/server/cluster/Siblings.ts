/**
 * What a server must know of the others that share its segments, to write and to remove some. By itself it is alone:
 * `Cluster` puts in its place what asks the others.
 */
import { Context, Effect } from "effect"
import type { Refusal } from "../../protocol/Refusal.ts"
import type { SegmentId } from "../files/Extent.ts"

export interface Siblings {
  /** Before anything is written to a segment that small writes share: from now on nobody else may take it for finished. */
  readonly open: (segment: SegmentId) => Effect.Effect<void, Refusal>
  /** Nothing more is written to it. Others may take it for finished when what was written is known. Synchronous. */
  readonly seal: (segment: SegmentId) => void
  /** Segments that some server is writing to, this one too. */
  readonly openSegments: Effect.Effect<ReadonlySet<SegmentId>, Refusal>
  /** True when this is the server that gives back space, and no other does. */
  readonly mayReclaim: Effect.Effect<boolean, Refusal>
  /** A number for the grace period that begins now, on every server. */
  readonly beginPeriod: Effect.Effect<number, Refusal>
  /** On every other server each read and write has ended that had begun before the period of this number. */
  readonly quiet: Effect.Effect<number, Refusal>
}

export const Siblings = Context.Reference<Siblings>("fip/server/cluster/Siblings", {
  defaultValue: () => ({
    open: () => Effect.void,
    seal: () => undefined,
    openSegments: Effect.succeed(new Set<SegmentId>()),
    mayReclaim: Effect.succeed(true),
    beginPeriod: Effect.succeed(0),
    quiet: Effect.succeed(0)
  })
})
