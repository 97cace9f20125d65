/**
 * What a server and its workers tell each other, over the channel that Node gives a process and its children. Messages
 * come in the order in which they were sent, and connections among them.
 *
 * Both ends are this program; nothing that a peer sent is in here but its address.
 */
import type { Metric } from "effect"
import type { RefusalCode } from "../../protocol/Code.ts"
import type { Lane } from "../users/HashPlaces.ts"
import type { TurnsOf } from "./Places.ts"

/** What a worker is started with, as `fip serve` would be given it. */
export type WorkerSettings = Readonly<Record<string, string | number | undefined>>

/** Something that only so many may do at the same time. */
export type Place =
  | { readonly kind: "hashing"; readonly lane: Lane }
  | { readonly kind: "turn"; readonly of: TurnsOf; readonly key: string }

/** What became of the wish for a place: it is there, too many wait, or it is refused with a reason. */
export type Outcome =
  | { readonly kind: "granted" }
  | { readonly kind: "full" }
  | {
    readonly kind: "refused"
    readonly code: RefusalCode
    readonly message: string
    readonly retryAfterMs: number | undefined
  }

export type ToWorker =
  | { readonly type: "begin"; readonly number: number; readonly settings: WorkerSettings }
  /** Some of them have been changed. */
  | { readonly type: "settings"; readonly settings: WorkerSettings }
  /** Comes with the connection. */
  | { readonly type: "visit"; readonly visit: number }
  /** The visitor's place is needed for somebody else. */
  | { readonly type: "shed"; readonly visit: number }
  | { readonly type: "place"; readonly want: number; readonly outcome: Outcome }
  /** Users who were too fast, and for how many milliseconds. */
  | { readonly type: "slow"; readonly users: ReadonlyArray<readonly [userId: number, millis: number]> }
  /** The server's identity is another one: read it, and say so. */
  | { readonly type: "identity" }
  | { readonly type: "metrics"; readonly ask: number }
  /** Finish what has begun, and end. */
  | { readonly type: "end" }

/** Of one user, since the last time. */
export type Spent = readonly [userId: number, requests: number, bytes: number]

export type FromWorker =
  /** `node` is what it is called among the servers on the database. */
  | { readonly type: "ready"; readonly node: string }
  | { readonly type: "failed"; readonly message: string }
  | { readonly type: "welcome"; readonly visit: number }
  | { readonly type: "fault"; readonly visit: number }
  | { readonly type: "left"; readonly visit: number }
  | { readonly type: "want"; readonly want: number; readonly place: Place }
  /** The place is free again, or is not wanted any more. */
  | { readonly type: "done"; readonly want: number }
  | { readonly type: "spent"; readonly users: ReadonlyArray<Spent> }
  | { readonly type: "identity" }
  | { readonly type: "metrics"; readonly ask: number; readonly metrics: ReadonlyArray<Metric.Metric.Snapshot> }
