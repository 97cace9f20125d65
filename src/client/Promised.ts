/**
 * The client for programs without Effect: methods give promises, streams are async iterables, and what fails throws the
 * same error values that Effect programs branch on, each an `Error` with a `_tag`, refusals with a `code`.
 *
 * Nothing happens here but translation, and that of the methods by construction: whatever `FipClient` has is here, too.
 * Only those that take or give something of Effect itself (secrets, streams to send, options) are written down, in
 * `OwnMethods`. A connection lives until `close`, or to the end of an `await using`.
 */
import { Effect, Exit, Layer, Option, Redacted, Scope, Stream } from "effect"
import { Refusal } from "../protocol/Refusal.ts"
import type { ReadHead, ResultOf, Written } from "../protocol/Request.ts"
import * as ClientErrors from "./ClientError.ts"
import { FileFailed, type FileSetOptions, type MovedFile } from "./fileSetTypes.ts"
import { type ClientOptions, FipClient, type FipClientShape } from "./FipClient.ts"
import type { ReadOptions, WriteOptions } from "./methods/files.ts"
import type { ContentInput, FileInput } from "./methods/inputs.ts"
import type { FileToDownload, FileToUpload } from "./methods/transfers.ts"
import type { SessionIdentity } from "./Session.ts"

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
  /**
   * Ends all that runs, and what is begun after it, when it is aborted: both throw its `reason`. The connection stays
   * until it is closed. `until` is the same for some of what is done with it.
   */
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

/** Options for many files, whose callback gives no Effect. */
interface SetOptions extends Omit<FileSetOptions, "onMoved"> {
  /** Called for files when they have arrived, some at a time; the others wait for it. */
  readonly onMoved?: ((moved: ReadonlyArray<MovedFile>) => void | Promise<void>) | undefined
}

/** Notes on a transfer of one's own that outlive the process. Nobody else has them until they are closed. */
export interface Notes extends AsyncDisposable {
  /** What an earlier process wrote, line by line. */
  readonly found: ReadonlyArray<unknown>
  /** Forgets what was written, and begins with this line. */
  readonly begin: (line: unknown) => Promise<void>
  /** Writes another line, behind the others; nobody waits for it. */
  readonly add: (line: unknown) => void
  /** The transfer has ended: there is nothing to take up. */
  readonly remove: () => Promise<void>
  /** Lets others have them. Idempotent. */
  readonly close: () => Promise<void>
}

/** What is not simply the client's method with a promise. */
export interface OwnMethods extends AsyncDisposable {
  /** Who is logged in. */
  readonly session: () => Promise<SessionIdentity | undefined>
  readonly register: (
    username: string,
    password: string,
    options?: { readonly invite?: string | undefined }
  ) => Promise<ResultOf<"Register">>
  /** Begins a session; from here on its tokens are refreshed by the client itself. */
  readonly login: (username: string, password: string) => Promise<SessionIdentity>
  /** Of the session's user; with `username`, without a session: `current` may then be an administrator's reset code. */
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

  /**
   * Sends local files, small ones many at a time: for hundreds of them much faster than one by one. The results are in
   * their order. The first failure ends the others (`FileFailed`); what has arrived by then stays.
   */
  readonly uploadMany: (
    files: ReadonlyArray<FileToUpload>,
    options?: SetOptions
  ) => Promise<ReadonlyArray<Written>>
  /** Fetches files into folders that are there, in the same way. */
  readonly downloadMany: (
    files: ReadonlyArray<FileToDownload>,
    options?: SetOptions
  ) => Promise<ReadonlyArray<Written>>
  /**
   * Notes on a transfer of several files, under a key of one's own; `undefined` where none can be kept, or another process
   * has them.
   */
  readonly transferNotes: (key: ReadonlyArray<string>) => Promise<Notes | undefined>

  /**
   * The same client on the same connection, for what is to end when the signal is aborted: that throws its `reason`. What
   * was asked elsewhere goes on.
   */
  readonly until: (signal: AbortSignal) => Fip

  /** Closes the connection. The session lives on at the server until `logout`, or its expiry. Idempotent. */
  readonly close: () => Promise<void>
}

/** {@link FipClient} with promises. */
export interface Fip extends Promised<Omit<FipClientShape, keyof OwnMethods>>, OwnMethods {}

/** An error of a program's own content comes back to it as the `cause`; one of another file's is what it was. */
const asTransferError = (cause: unknown): ClientErrors.TransferError => {
  if (cause instanceof Refusal) return cause
  for (const known of Object.values(ClientErrors)) if (cause instanceof known) return cause
  if (cause instanceof FileFailed) return cause.cause
  const message = `the content to send failed: ${cause instanceof Error ? cause.message : String(cause)}`
  return new ClientErrors.LocalFileError({ path: "", message, cause })
}

const inputOf = (content: Sendable): ContentInput =>
  typeof content === "string" || content instanceof Uint8Array
    ? content
    : Stream.fromAsyncIterable(content, asTransferError)

/** How Effects run, and streams are taken. */
interface Runner {
  readonly run: <A, E>(effect: Effect.Effect<A, E>) => Promise<A>
  readonly iterate: <A, E>(stream: Stream.Stream<A, E>) => AsyncIterable<A>
}

/** What needs nothing: the methods of a client are built. */
const runs = (value: unknown): value is Effect.Effect<unknown, unknown> => Effect.isEffect(value)
const streams = (value: unknown): value is Stream.Stream<unknown, unknown> => Stream.isStream(value)

const promisedResult = ({ iterate, run }: Runner, result: unknown): unknown =>
  runs(result) ? run(result) : streams(result) ? iterate(result) : result

/** Each method as a promise, or as an async iterable. */
function promised<T extends object>(client: T, runner: Runner): Promised<T>
function promised(client: object, runner: Runner): object {
  return Object.fromEntries(
    Object.entries(client).map(([name, member]: [string, unknown]) => [
      name,
      runs(member)
        ? () => promisedResult(runner, member)
        : typeof member === "function"
        ? (...args: ReadonlyArray<unknown>) => promisedResult(runner, member(...args))
        : member
    ])
  )
}

const setOptionsOf = ({ onMoved, ...others }: SetOptions = {}): FileSetOptions => ({
  ...others,
  onMoved: onMoved === undefined ? undefined : (moved) => Effect.promise(async () => await onMoved(moved))
})

/** Connects to `host`, to the server of `profile`, or without either of the default profile; logs in as `username`. */
export const connect = async (options: ConnectOptions): Promise<Fip> => {
  const { confirmTrust, host, password, profile, signal, username, ...others } = options
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
  const client = await runnerOf(signal).run(Effect.onError(open, () => Scope.close(scope, Exit.void)))

  const view = (own: AbortSignal | undefined): Fip => {
    const runner = runnerOf(own)
    const { iterate, run } = runner
    const contentOf = (stream: Stream.Stream<Uint8Array, ClientErrors.TransferError>): Content => ({
      [Symbol.asyncIterator]: () => iterate(stream)[Symbol.asyncIterator](),
      text: () => run(Stream.mkString(Stream.decodeText(stream))),
      bytes: () => run(Stream.mkUint8Array(stream))
    })

    const transferNotes: Fip["transferNotes"] = async (key) => {
      const notes = await Effect.runPromise(Scope.fork(scope))
      const close = () => Effect.runPromise(Scope.close(notes, Exit.void))
      const journal = await run(
        Effect.onError(Scope.provide(client.transferNotes(key), notes), () => Effect.promise(close))
      )
      if (journal === undefined) {
        await close()
        return undefined
      }
      const { add, begin, found, remove } = journal
      return {
        found,
        begin: (line) => run(begin(line)),
        add,
        remove: () => run(remove),
        close,
        [Symbol.asyncDispose]: close
      }
    }

    return {
      ...promised(client, runner),
      session: () => run(Effect.map(client.session, Option.getOrUndefined)),
      register: (username, password, options) => run(client.register(username, Redacted.make(password), options)),
      login: (username, password) => run(client.login(username, Redacted.make(password))),
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

      uploadMany: (files, options) => run(client.uploadMany(files, setOptionsOf(options))),
      downloadMany: (files, options) => run(client.downloadMany(files, setOptionsOf(options))),
      transferNotes,

      until: (signal) => view(own === undefined ? signal : AbortSignal.any([own, signal])),
      close,
      [Symbol.asyncDispose]: close
    }
  }
  return view(signal)
}

/** Fails with its reason when the signal is aborted. */
const aborted = (signal: AbortSignal): Effect.Effect<never, unknown> =>
  Effect.callback((resume) => {
    const abort = () => resume(Effect.fail(signal.reason))
    if (signal.aborted) return abort()
    signal.addEventListener("abort", abort, { once: true })
    return Effect.sync(() => signal.removeEventListener("abort", abort))
  })

const runnerOf = (signal: AbortSignal | undefined): Runner =>
  signal === undefined ? { run: Effect.runPromise, iterate: Stream.toAsyncIterable } : {
    run: (effect) =>
      Effect.runPromise(
        Effect.suspend(() => signal.aborted ? aborted(signal) : Effect.raceFirst(effect, aborted(signal)))
      ),
    iterate: (stream) => Stream.toAsyncIterable(Stream.interruptWhen(stream, aborted(signal)))
  }
