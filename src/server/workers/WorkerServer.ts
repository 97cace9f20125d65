/**
 * The layers of a worker, wired: those of a server that serve requests, and none of those that there is one of (the admin
 * socket, the endpoint for numbers, background work on the store). Finalizers run as in Server.ts.
 */
import { Context, Effect, Layer } from "effect"
import { Metric } from "effect"
import { AccessStatistics } from "../AccessStatistics.ts"
import { ActivityQueries } from "../activity/ActivityQueries.ts"
import { ActivityLog } from "../ActivityLog.ts"
import { Cluster } from "../Cluster.ts"
import { Entrance } from "../connections/Entrance.ts"
import { Database } from "../Database.ts"
import { Feed } from "../Feed.ts"
import { FileBufferCache } from "../FileBufferCache.ts"
import { SegmentStore } from "../files/SegmentStore.ts"
import { FileStore } from "../FileStore.ts"
import { requestHandlers } from "../handlers/all.ts"
import { ServerIdentity } from "../Identity.ts"
import { Listener } from "../Listener.ts"
import { observeProcess } from "../metrics/endpoint.ts"
import { Metrics, metricsLayer } from "../metrics/Metrics.ts"
import { Notifications } from "../Notifications.ts"
import { Permissions } from "../Permissions.ts"
import { ShutdownCoordinator } from "../ShutdownCoordinator.ts"
import { UserManager } from "../UserManager.ts"
import type { Parent } from "./Parent.ts"
import { Places } from "./Places.ts"

export class WorkerServer extends Context.Service<WorkerServer, {
  /** What it is called among the servers on the database. */
  readonly node: string
  /** To be run before the layer is closed. */
  readonly beginShutdown: Effect.Effect<void>
}>()("fip/server/workers/WorkerServer") {
  static readonly layer = (parent: Parent, onFailure: (message: string) => void) =>
    Layer.effect(
      WorkerServer,
      Effect.gen(function*() {
        yield* Listener
        const { node } = yield* Notifications
        const coordinator = yield* ShutdownCoordinator
        const identity = yield* ServerIdentity
        const { context } = yield* Metrics
        const run = Effect.runForkWith(yield* Effect.context())
        parent.onIdentity((reloaded) =>
          void run(Effect.match(identity.reload, {
            onSuccess: reloaded,
            // Nobody may be shown a key that the server has given up.
            onFailure: ({ message }) => onFailure(message)
          }))
        )
        if (context !== undefined) parent.onMetrics(() => Metric.snapshotUnsafe(context))
        yield* observeProcess
        return WorkerServer.of({ node, beginShutdown: coordinator.begin })
      })
    ).pipe(
      Layer.provide(Layer.unwrap(Effect.gen(function*() {
        const users = yield* UserManager
        return Listener.layer(yield* requestHandlers, users.authenticate)
      }))),
      Layer.provide(
        Layer.mergeAll(
          UserManager.layer,
          Permissions.layer,
          FileStore.layer,
          ActivityQueries.layer,
          Feed.layer,
          Notifications.layer
        )
      )
    ).pipe(
      Layer.provide(FileBufferCache.layer),
      Layer.provide(SegmentStore.layer),
      Layer.provide(Cluster.layer),
      Layer.provide(Layer.mergeAll(ActivityLog.layer, AccessStatistics.layer)),
      Layer.provide(Database.layerWorker),
      Layer.provide(ServerIdentity.layer),
      Layer.provide(metricsLayer),
      Layer.provide(ShutdownCoordinator.layer),
      Layer.provide(Layer.succeed(Entrance, parent.entrance)),
      Layer.provide(Layer.succeed(Places, parent.places))
    )
}
