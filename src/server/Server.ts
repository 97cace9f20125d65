/**
 * The server's layers, wired. Nothing else happens here.
 *
 * Finalizers run from the listener down: it drains first, while everything that its requests need is open, then the
 * services that queue work finish theirs, then files and database close.
 */
import { Context, Effect, Layer } from "effect"
import type { Fingerprint } from "../protocol/Identity.ts"
import { AccessStatistics } from "./AccessStatistics.ts"
import { ActivityQueries } from "./activity/ActivityQueries.ts"
import { ActivityLog } from "./ActivityLog.ts"
import { Admin } from "./Admin.ts"
import { certificateCommands } from "./admin/handlers/certificate.ts"
import { inviteCommands } from "./admin/handlers/invites.ts"
import { logCommands } from "./admin/handlers/log.ts"
import { storageCommands } from "./admin/handlers/storage.ts"
import { userCommands } from "./admin/handlers/users.ts"
import { Backup } from "./backup/Backup.ts"
import { Cluster } from "./Cluster.ts"
import { Database } from "./Database.ts"
import { upkeepLayer } from "./database/upkeep.ts"
import { Feed } from "./Feed.ts"
import { FileBufferCache } from "./FileBufferCache.ts"
import { Fsck } from "./files/Fsck.ts"
import { Reclaimer } from "./files/Reclaimer.ts"
import { SegmentStore } from "./files/SegmentStore.ts"
import { FileStore } from "./FileStore.ts"
import { requestHandlers } from "./handlers/all.ts"
import { ServerIdentity } from "./Identity.ts"
import { rotationLayer } from "./identity/Rotation.ts"
import { identitySharingLayer } from "./identity/Sharing.ts"
import { Listener } from "./Listener.ts"
import { endpointLayer } from "./metrics/endpoint.ts"
import { metricsLayer } from "./metrics/Metrics.ts"
import { Permissions } from "./Permissions.ts"
import { ServerConfig, workersOf } from "./ServerConfig.ts"
import { ShutdownCoordinator } from "./ShutdownCoordinator.ts"
import { UserManager } from "./UserManager.ts"
import { InviteRepo } from "./users/InviteRepo.ts"
import { UserAdmin } from "./users/UserAdmin.ts"
import { Crew } from "./workers/Crew.ts"
import { placesLayer } from "./workers/Places.ts"

/** A running server. */
export class Server extends Context.Service<Server, {
  readonly host: string
  readonly port: number
  /** As it is written in an address bar: `127.0.0.1:6090`, `[::1]:6090`. */
  readonly address: string
  readonly fingerprint: Fingerprint
  /** To be run before the layer is closed. */
  readonly beginShutdown: Effect.Effect<void>
  /** How far a shutdown has got. */
  readonly shutdown: Pick<ShutdownCoordinator["Service"], "running" | "open" | "closed">
}>()("fip/server/Server") {
  static readonly layer = Layer.effect(
    Server,
    Effect.gen(function*() {
      yield* Admin
      const { host, port } = yield* Listener
      const { fingerprint } = yield* (yield* ServerIdentity).live
      const coordinator = yield* ShutdownCoordinator
      yield* coordinator.opened("Server")
      return Server.of({
        host,
        port,
        address: host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`,
        fingerprint,
        beginShutdown: coordinator.begin,
        shutdown: coordinator
      })
    })
  ).pipe(
    Layer.provide(Layer.unwrap(Effect.gen(function*() {
      if (workersOf(yield* ServerConfig) === 1) {
        const users = yield* UserManager
        return Listener.layer(yield* requestHandlers, users.authenticate)
      }
      return Crew.layer
    }))),
    Layer.provide(ShutdownCoordinator.phase("Listener")),
    Layer.provide(Layer.unwrap(Effect.gen(function*() {
      return Admin.layer({
        ...yield* userCommands,
        ...yield* inviteCommands,
        ...yield* storageCommands,
        ...yield* logCommands,
        ...yield* certificateCommands
      })
    }))),
    Layer.provide(ShutdownCoordinator.phase("Admin")),
    Layer.provide(
      Layer.mergeAll(
        UserManager.layer,
        UserAdmin.layer,
        InviteRepo.layer,
        Permissions.layer,
        FileStore.layer,
        ActivityQueries.layer,
        Feed.layer,
        Reclaimer.layerBackground,
        Fsck.layer,
        Backup.layer,
        identitySharingLayer,
        upkeepLayer
      )
    ),
    Layer.provide(ShutdownCoordinator.phase("UserManager"))
  ).pipe(
    Layer.provide(FileBufferCache.layer),
    Layer.provide(ShutdownCoordinator.phase("FileBufferCache")),
    Layer.provide(SegmentStore.layer),
    Layer.provide(ShutdownCoordinator.phase("SegmentStore")),
    Layer.provide(Cluster.layer),
    Layer.provide(ShutdownCoordinator.phase("Cluster")),
    Layer.provide(Layer.mergeAll(ActivityLog.layer, AccessStatistics.layer, endpointLayer)),
    Layer.provide(ShutdownCoordinator.phase("ActivityLog")),
    Layer.provide(Database.layer),
    Layer.provide(ShutdownCoordinator.phase("Database")),
    Layer.provide(rotationLayer),
    Layer.provide(ShutdownCoordinator.phase("rotationLayer")),
    Layer.provide(ServerIdentity.layer),
    Layer.provide(ShutdownCoordinator.phase("ServerIdentity")),
    Layer.provide(Layer.mergeAll(metricsLayer, placesLayer)),
    Layer.provide(ShutdownCoordinator.phase("metricsLayer")),
    Layer.provide(ShutdownCoordinator.layer)
  )
}
