/** Builds the service of FipClient.ts from its parts: link, session, requests, and the methods on them. */
import { Duration, Effect, Result, type Scope } from "effect"
import { join } from "node:path"
import { DEFAULT_PORT } from "../protocol/Limits.ts"
import { makeApi } from "./Api.ts"
import { ConnectError, type LocalFileError, type TrustError } from "./ClientError.ts"
import { deviceFor } from "./Device.ts"
import type { ClientOptions, FipClientShape } from "./FipClient.ts"
import { formatHostPort, normalise } from "./HostPort.ts"
import { defaultFolder, makeJournals } from "./Journal.ts"
import { makeKeeper, sessionsFolder, takeUp } from "./KeptSessions.ts"
import { defaultPath } from "./KnownHosts.ts"
import { makeLink } from "./Link.ts"
import { accountMethods } from "./methods/account.ts"
import { fileMethods } from "./methods/files.ts"
import type { ClientParts } from "./methods/parts.ts"
import { queryMethods } from "./methods/queries.ts"
import { requestMethods } from "./methods/requests.ts"
import { sharingMethods } from "./methods/sharing.ts"
import { transferMethods } from "./methods/transfers.ts"
import { makeTrust } from "./Trust.ts"

export const makeClient = Effect.fnUntraced(function*(
  options: ClientOptions
): Effect.fn.Return<FipClientShape, ConnectError | TrustError | LocalFileError, Scope.Scope> {
  const { host, onLost, onNotice = () => {}, port = DEFAULT_PORT, replyTimeout = "1 minute" } = options
  const normalised = normalise(host, port)
  if (Result.isFailure(normalised)) return yield* new ConnectError({ host, port, message: normalised.failure })
  const address = normalised.success
  const trust = makeTrust(address, options)
  const link = yield* makeLink({
    address,
    trust,
    silenceMillis: Duration.toMillis(replyTimeout),
    compression: options.compression ?? "auto",
    onNotice,
    onLost,
    connections: options.connections,
    retry: options.retry
  })
  const api = yield* makeApi(link, yield* deviceFor(address, options.knownHosts ?? defaultPath()))
  const keeping = { folder: sessionsFolder(options.stateFolder), address, device: api.session.device }
  const { takeUpSession } = options
  if (takeUpSession !== undefined && trust.isKnown()) {
    yield* takeUp(api.session, keeping, takeUpSession.username, onNotice)
  }
  const parts: ClientParts = {
    api,
    link,
    journals: makeJournals(
      options.stateFolder === undefined ? defaultFolder() : join(options.stateFolder, "transfers"),
      formatHostPort(address),
      onNotice
    ),
    keeperOf: (username) => makeKeeper(keeping, username),
    onNotice
  }

  return {
    host: address.host,
    port: address.port,
    fingerprint: Effect.map(link.connection, ({ fingerprint }) => fingerprint),
    ...requestMethods(api.ask),
    ...accountMethods(parts),
    ...fileMethods(parts),
    ...transferMethods(parts),
    ...queryMethods(parts),
    ...sharingMethods(parts)
  }
})
