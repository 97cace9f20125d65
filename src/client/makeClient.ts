/** Builds the service of FipClient.ts from its parts: link, session, requests, content, transfers. */
import { Cause, Duration, Effect, Option, Predicate, Redacted, Result, type Scope, Stream } from "effect"
import { join } from "node:path"
import {
  type FileName,
  type FileRef,
  parseFileName,
  parseFileRef,
  parseShareableRef,
  type ShareableRef
} from "../protocol/FileName.ts"
import { DEFAULT_PORT } from "../protocol/Limits.ts"
import { type Refusal, refuse } from "../protocol/Refusal.ts"
import type { UploadMode } from "../protocol/Request.ts"
import { makeApi } from "./Api.ts"
import { ofBytes, ofStream } from "./Blocks.ts"
import { ConnectError, IntegrityError, type LocalFileError, type TrustError } from "./ClientError.ts"
import { deviceFor } from "./Device.ts"
import { download } from "./Download.ts"
import type {
  ClientOptions,
  ContentInput,
  FileInput,
  FipClientShape,
  ShareableInput,
  WriteOptions
} from "./FipClient.ts"
import { formatHostPort, normalise } from "./HostPort.ts"
import { defaultFolder, makeJournals } from "./Journal.ts"
import { defaultPath } from "./KnownHosts.ts"
import { makeLink } from "./Link.ts"
import { listPages } from "./List.ts"
import { openReading, type Reading } from "./Reading.ts"
import { upload } from "./Transfer.ts"
import { makeTrust } from "./Trust.ts"
import { send, type Target } from "./Upload.ts"
import { watch } from "./Watch.ts"

const encoder = new TextEncoder()

const refOf = (file: FileInput): Effect.Effect<FileRef, Refusal> =>
  typeof file === "string"
    ? Effect.mapError(Effect.fromResult(parseFileRef(file)), (message) => refuse("2:ibv", message, "name"))
    : Effect.succeed(file)

const shareableOf = (file: ShareableInput): Effect.Effect<ShareableRef, Refusal> =>
  typeof file === "string"
    ? Effect.mapError(Effect.fromResult(parseShareableRef(file)), (message) => refuse("2:ibv", message, "name"))
    : Effect.succeed(file)

const nameOf = (name: string): Effect.Effect<FileName, Refusal> =>
  Effect.mapError(Effect.fromResult(parseFileName(name)), (message) => refuse("2:ibv", message, "new_name"))

/** The bytes of a reading, once. */
const contentOf = (reading: Reading): Stream.Stream<Uint8Array, Effect.Error<Reading["next"]>> => {
  let begun = false
  const next = Effect.filterOrElse(reading.next, Predicate.isNotUndefined, () => Cause.done())
  return Stream.fromPull(Effect.suspend(() => {
    if (begun) return Effect.fail(new IntegrityError({ message: "this content was read before: open the file again" }))
    begun = true
    return Effect.succeed(next)
  })).pipe(Stream.ensuring(Effect.sync(() => reading.close())))
}

export const makeClient = Effect.fnUntraced(function*(
  options: ClientOptions
): Effect.fn.Return<FipClientShape, ConnectError | TrustError | LocalFileError, Scope.Scope> {
  const { host, onNotice = () => {}, port = DEFAULT_PORT, replyTimeout = "1 minute" } = options
  const normalised = normalise(host, port)
  if (Result.isFailure(normalised)) return yield* new ConnectError({ host, port, message: normalised.failure })
  const address = normalised.success
  const link = yield* makeLink({
    address,
    trust: makeTrust(address, options),
    silenceMillis: Duration.toMillis(replyTimeout),
    onNotice
  })
  const api = yield* makeApi(link, yield* deviceFor(address, options.knownHosts ?? defaultPath()))
  const { call, session } = api
  const transfers = {
    api,
    link,
    journals: makeJournals(
      options.stateFolder === undefined ? defaultFolder() : join(options.stateFolder, "transfers"),
      formatHostPort(address),
      onNotice
    ),
    onNotice
  }

  const sendContent = Effect.fnUntraced(function*(target: Target, content: ContentInput) {
    const blocks = Stream.isStream(content)
      ? yield* ofStream(content)
      : ofBytes(typeof content === "string" ? encoder.encode(content) : content)
    return (yield* send(api, target, blocks)).written
  }, Effect.scoped)

  const writing = (mode: UploadMode) => (file: FileInput, content: ContentInput, options: WriteOptions = {}) =>
    Effect.flatMap(
      refOf(file),
      (file) => sendContent({ file, mode, expectedVersion: options.expectedVersion }, content)
    )

  return {
    host: address.host,
    port: address.port,
    fingerprint: Effect.map(link.connection, ({ fingerprint }) => fingerprint),

    session: session.identity,
    heartbeat: call("Heartbeat", {}),
    register: (username, password, options = {}) =>
      call("Register", { invite: options.invite }, {
        auth: { identity: username, password: Redacted.value(password) }
      }),
    login: (username, password) =>
      Effect.flatMap(
        call("Login", { device: session.device }, {
          auth: { identity: username, password: Redacted.value(password) }
        }),
        session.begin
      ),
    refresh: session.refresh,
    logout: (sessionId) =>
      Effect.tap(
        call("Logout", { session_id: sessionId }),
        ({ session_id }) =>
          Effect.flatMap(session.identity, (own) =>
            Option.isSome(own) && own.value.sessionId === session_id ? session.end : Effect.void)
      ),
    changePassword: (current, next, options = {}) => {
      const body = { new_password: Redacted.value(next) }
      if (options.username !== undefined) {
        return call("ChangePassword", body, { auth: { identity: options.username, password: Redacted.value(current) } })
      }
      return Effect.flatMap(
        session.active,
        ({ grant, username }) =>
          call("ChangePassword", body, {
            auth: { identity: username, password: Redacted.value(current), token: grant.token }
          })
      )
    },
    // The session's token says that the account knows this client, whatever strangers try meanwhile.
    deleteUser: (username, password) =>
      Effect.tap(
        Effect.flatMap(session.token, (token) =>
          call("DeleteUser", {}, {
            auth: { identity: username, password: Redacted.value(password), ...token }
          })),
        (deleted) =>
          Effect.flatMap(session.identity, (own) =>
            Option.isSome(own) && own.value.username === deleted.username ? session.end : Effect.void)
      ),

    create: (file, content = "") => writing("create")(file, content),
    write: writing("write"),
    replace: writing("replace"),
    append: writing("append"),
    patch: (file, position, content, options = {}) =>
      Effect.flatMap(
        refOf(file),
        (file) => sendContent({ file, mode: "patch", position, expectedVersion: options.expectedVersion }, content)
      ),
    open: (file, options) =>
      Effect.map(
        Effect.flatMap(refOf(file), (file) => openReading(api, link, file, options)),
        (reading) => ({ head: reading.head, content: contentOf(reading) })
      ),
    read: (file, options) =>
      Stream.unwrap(Effect.map(
        Effect.acquireRelease(
          Effect.flatMap(refOf(file), (file) => openReading(api, link, file, options)),
          (reading) => Effect.sync(() => reading.close()),
          { interruptible: true }
        ),
        contentOf
      )),
    delete: (file, options = {}) =>
      Effect.flatMap(refOf(file), (file) => call("Delete", { ...file, expected_version: options.expectedVersion })),
    rename: (file, newName, options = {}) =>
      Effect.flatMap(
        Effect.all([refOf(file), nameOf(newName)]),
        ([file, new_name]) => call("Rename", { ...file, new_name, expected_version: options.expectedVersion })
      ),
    copy: (file, newName, options = {}) =>
      Effect.flatMap(
        Effect.all([refOf(file), nameOf(newName)]),
        ([file, new_name]) => call("Copy", { ...file, new_name, expected_version: options.expectedVersion })
      ),
    restore: (file, version, options = {}) =>
      Effect.flatMap(
        refOf(file),
        (file) => call("Restore", { ...file, version, expected_version: options.expectedVersion })
      ),

    upload: (localPath, file, options) =>
      Effect.flatMap(refOf(file), (file) => upload(transfers, localPath, file, options)),
    download: (file, localPath, options) =>
      Effect.flatMap(refOf(file), (file) => download(transfers, file, localPath, options)),

    transferNotes: (key) =>
      Effect.flatMap(session.identity, (user) =>
        transfers.journals.open([
          "several",
          Option.match(user, { onNone: () => "", onSome: ({ username }) => username.toLowerCase() }),
          ...key
        ])),

    list: (options) => listPages(api, options),
    watch: (options) => watch(api, options),
    queryStorage: call("QueryStorage", {}),
    queryUser: call("QueryUser", {}),
    querySessions: call("QuerySessions", {}),
    queryFile: (file, options = {}) =>
      Effect.flatMap(refOf(file), (file) => call("QueryFile", { ...file, verbose: options.verbose })),
    queryActivity: ({ before, file, limit } = {}) =>
      file === undefined
        ? call("QueryActivity", { before, limit })
        : Effect.flatMap(refOf(file), (file) => call("QueryActivity", { ...file, before, limit })),
    queryVersions: (file) => Effect.flatMap(refOf(file), (file) => call("QueryVersions", file)),
    queryPermission: (file) => Effect.flatMap(shareableOf(file), (file) => call("QueryPermission", file)),

    grant: (username, file, role, options = {}) =>
      Effect.flatMap(
        shareableOf(file),
        (file) => call("Grant", { ...file, username, role, duration_ms: options.durationMs })
      ),
    revoke: (username, file) => Effect.flatMap(shareableOf(file), (file) => call("Revoke", { ...file, username })),
    publicise: (file) => Effect.flatMap(shareableOf(file), (file) => call("Publicise", file)),
    hide: (file) => Effect.flatMap(shareableOf(file), (file) => call("Hide", file)),
    transfer: Effect.fnUntraced(function*(username, file, options = {}) {
      const { newName } = options
      const new_name = newName === undefined ? undefined : yield* nameOf(newName)
      return yield* call("Transfer", { ...(yield* refOf(file)), username, new_name })
    }),
    lock: (file, options = {}) =>
      Effect.flatMap(refOf(file), (file) => call("Lock", { ...file, duration_ms: options.durationMs })),
    unlock: (file, options = {}) =>
      Effect.flatMap(refOf(file), (file) => call("Unlock", { ...file, force: options.force }))
  }
})
