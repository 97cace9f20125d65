/**
 * The client for programs without Effect: methods give promises, streams are async iterables, and what fails throws the
 * same error values that Effect programs branch on, each an `Error` with a `_tag`, refusals with a `code`.
 *
 * Nothing happens here but translation. A connection lives until `close`, or to the end of an `await using`.
 */
import { Effect, Exit, Layer, Option, Redacted, Scope, Stream } from "effect"
import type { SessionId, Username } from "../protocol/Identity.ts"
import { Refusal } from "../protocol/Refusal.ts"
import type { ReadHead, ResultOf, Written } from "../protocol/Request.ts"
import * as ClientErrors from "./ClientError.ts"
import { type ClientOptions, FipClient, type FipClientShape } from "./FipClient.ts"
import type { ReadOptions, WriteOptions } from "./methods/files.ts"
import type { ContentInput, FileInput } from "./methods/inputs.ts"

/** A server whose key is not known yet. */
type AskedAbout = Parameters<NonNullable<ClientOptions["confirmTrust"]>>[0]

export interface ConnectOptions extends Omit<ClientOptions, "confirmTrust" | "host"> {
  readonly host?: string | undefined
  /** Instead of `host`: a profile of one's own (`fip profile`), with the session that `fip login` has left for it. */
  readonly profile?: string | undefined
  /** Log in at once. */
  readonly username?: string | undefined
  readonly password?: string | undefined
  /** Asked on first use, before the key is pinned. Without it the key is pinned and `onNotice` told. */
  readonly confirmTrust?:
    | ((server: AskedAbout) => boolean | Promise<boolean>)
    | undefined
  /** Ends all that runs, and what is begun after it, when it is aborted. The connection stays until it is closed. */
  readonly signal?: AbortSignal | undefined
}

/** Content to send: bytes, text (as UTF-8), or bytes as they come. */
export type Sendable = Uint8Array | string | AsyncIterable<Uint8Array>

/** Content that is read: chunk by chunk, as fast as it is taken, or all at once. It can be read once. */
export interface Content extends AsyncIterable<Uint8Array> {
  readonly text: () => Promise<string>
  readonly bytes: () => Promise<Uint8Array>
}

type Promised<T> = {
  readonly [K in keyof T]: T[K] extends Effect.Effect<infer A, infer _> ? () => Promise<A>
    : T[K] extends (...args: infer P) => Effect.Effect<infer A, infer _> ? (...args: P) => Promise<A>
    : T[K] extends (...args: infer P) => Stream.Stream<infer A, infer _> ? (...args: P) => AsyncIterable<A>
    : T[K]
}

type AsTheyAre =
  | "host"
  | "port"
  | "fingerprint"
  | "heartbeat"
  | "refresh"
  | "logout"
  | "keepSession"
  | "delete"
  | "rename"
  | "copy"
  | "restore"
  | "upload"
  | "download"
  | "list"
  | "watch"
  | "queryStorage"
  | "queryUser"
  | "querySessions"
  | "queryFile"
  | "queryActivity"
  | "queryVersions"
  | "queryPermission"
  | "grant"
  | "revoke"
  | "publicise"
  | "hide"
  | "transfer"
  | "lock"
  | "unlock"

/** {@link FipClient} with promises. */
export interface Fip extends Promised<Pick<FipClientShape, AsTheyAre>>, AsyncDisposable {
  /** Who is logged in. */
  readonly session: () => Promise<{ readonly username: Username; readonly sessionId: SessionId } | undefined>
  readonly register: (
    username: string,
    password: string,
    options?: { readonly invite?: string | undefined }
  ) => Promise<ResultOf<"Register">>
  readonly login: (
    username: string,
    password: string
  ) => Promise<{ readonly username: Username; readonly sessionId: SessionId }>
  readonly changePassword: (
    current: string,
    next: string,
    options?: { readonly username?: string | undefined }
  ) => Promise<ResultOf<"ChangePassword">>
  readonly deleteUser: (username: string, password: string) => Promise<ResultOf<"DeleteUser">>

  readonly create: (file: FileInput, content?: Sendable) => Promise<Written>
  /** Makes the file or replaces its content. */
  readonly write: (file: FileInput, content: Sendable, options?: WriteOptions) => Promise<Written>
  /** Replaces the content of a file that exists. */
  readonly replace: (file: FileInput, content: Sendable, options?: WriteOptions) => Promise<Written>
  readonly append: (file: FileInput, content: Sendable, options?: WriteOptions) => Promise<Written>
  /** Overwrites bytes from `position` on. */
  readonly patch: (file: FileInput, position: number, content: Sendable, options?: WriteOptions) => Promise<Written>
  /** What is read, and the bytes. */
  readonly open: (
    file: FileInput,
    options?: ReadOptions
  ) => Promise<{ readonly head: ReadHead; readonly content: Content }>
  /** The bytes of a file, or of a part of it. A whole file is checked against its hash. */
  readonly read: (file: FileInput, options?: ReadOptions) => Content

  /** Closes the connection. The session lives on at the server until `logout`, or its expiry. Idempotent. */
  readonly close: () => Promise<void>
}

/** An error of a program's own content comes back to it as the `cause`; one of another file's is what it was. */
const asTransferError = (cause: unknown): ClientErrors.TransferError => {
  if (cause instanceof Refusal) return cause
  for (const known of Object.values(ClientErrors)) if (cause instanceof known) return cause
  const message = `the content to send failed: ${cause instanceof Error ? cause.message : String(cause)}`
  return new ClientErrors.LocalFileError({ path: "", message, cause })
}

const inputOf = (content: Sendable): ContentInput =>
  typeof content === "string" || content instanceof Uint8Array
    ? content
    : Stream.fromAsyncIterable(content, asTransferError)

/** Connects to `host`, to the server of `profile`, or without either of the default profile; logs in as `username`. */
export const connect = async (options: ConnectOptions): Promise<Fip> => {
  const { confirmTrust, host, password, profile, signal, username, ...others } = options
  const run = <A, E>(effect: Effect.Effect<A, E>): Promise<A> => Effect.runPromise(effect, { signal })
  const iterate = <A, E>(stream: Stream.Stream<A, E>): AsyncIterable<A> =>
    Stream.toAsyncIterable(signal === undefined ? stream : Stream.interruptWhen(stream, untilAborted(signal)))
  const contentOf = (stream: Stream.Stream<Uint8Array, ClientErrors.TransferError>): Content => ({
    [Symbol.asyncIterator]: () => iterate(stream)[Symbol.asyncIterator](),
    text: () => run(Stream.mkString(Stream.decodeText(stream))),
    bytes: () => run(Stream.mkUint8Array(stream))
  })

  const scope = Scope.makeUnsafe()
  const close = () => Effect.runPromise(Scope.close(scope, Exit.void))
  const rest = {
    ...others,
    confirmTrust: confirmTrust === undefined
      ? undefined
      : (server: AskedAbout) => Effect.promise(async () => await confirmTrust(server))
  }
  const layer = host === undefined ? FipClient.layerProfile(profile, rest) : FipClient.layer({ host, ...rest })
  const open = Effect.gen(function*() {
    const client = yield* Effect.provide(FipClient, yield* Layer.buildWithScope(layer, scope))
    if (username !== undefined) yield* client.login(username, Redacted.make(password ?? ""))
    return client
  })
  const client = await run(Effect.onError(open, () => Scope.close(scope, Exit.void)))

  return {
    host: client.host,
    port: client.port,
    fingerprint: () => run(client.fingerprint),
    session: () => run(Effect.map(client.session, Option.getOrUndefined)),
    heartbeat: () => run(client.heartbeat),
    register: (username, password, options) => run(client.register(username, Redacted.make(password), options)),
    login: (username, password) => run(client.login(username, Redacted.make(password))),
    refresh: () => run(client.refresh),
    logout: (session) => run(client.logout(session)),
    keepSession: () => run(client.keepSession),
    changePassword: (current, next, options) =>
      run(client.changePassword(Redacted.make(current), Redacted.make(next), options)),
    deleteUser: (username, password) => run(client.deleteUser(username, Redacted.make(password))),

    create: (file, content = "") => run(client.create(file, inputOf(content))),
    write: (file, content, options) => run(client.write(file, inputOf(content), options)),
    replace: (file, content, options) => run(client.replace(file, inputOf(content), options)),
    append: (file, content, options) => run(client.append(file, inputOf(content), options)),
    patch: (file, position, content, options) => run(client.patch(file, position, inputOf(content), options)),
    open: async (file, options) => {
      const { content, head } = await run(client.open(file, options))
      return { head, content: contentOf(content) }
    },
    read: (file, options) => contentOf(client.read(file, options)),
    delete: (file, options) => run(client.delete(file, options)),
    rename: (file, newName, options) => run(client.rename(file, newName, options)),
    copy: (file, newName, options) => run(client.copy(file, newName, options)),
    restore: (file, version, options) => run(client.restore(file, version, options)),
    upload: (localPath, file, options) => run(client.upload(localPath, file, options)),
    download: (file, localPath, options) => run(client.download(file, localPath, options)),

    list: (options) => iterate(client.list(options)),
    watch: (options) => iterate(client.watch(options)),
    queryStorage: () => run(client.queryStorage),
    queryUser: () => run(client.queryUser),
    querySessions: () => run(client.querySessions),
    queryFile: (file, options) => run(client.queryFile(file, options)),
    queryActivity: (options) => run(client.queryActivity(options)),
    queryVersions: (file) => run(client.queryVersions(file)),
    queryPermission: (file) => run(client.queryPermission(file)),

    grant: (username, file, role, options) => run(client.grant(username, file, role, options)),
    revoke: (username, file) => run(client.revoke(username, file)),
    publicise: (file) => run(client.publicise(file)),
    hide: (file) => run(client.hide(file)),
    transfer: (username, file, options) => run(client.transfer(username, file, options)),
    lock: (file, options) => run(client.lock(file, options)),
    unlock: (file, options) => run(client.unlock(file, options)),

    close,
    [Symbol.asyncDispose]: close
  }
}

/** Ends when the signal is aborted. */
const untilAborted = (signal: AbortSignal): Effect.Effect<void> =>
  Effect.callback((resume) => {
    const abort = () => resume(Effect.interrupt)
    if (signal.aborted) return abort()
    signal.addEventListener("abort", abort, { once: true })
    return Effect.sync(() => signal.removeEventListener("abort", abort))
  })
