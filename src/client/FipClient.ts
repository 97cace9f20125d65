/**
 * The client: one server, at most one session, typed methods. The library surface (src/index.ts) and the shell both use
 * this and nothing below it.
 *
 * A file is named by a string as in the shell, `notes.txt` or `~alice/notes.txt`, or by a `FileRef`.
 */
import { Context, type Duration, type Effect, Layer, type Option, type Redacted, type Scope, type Stream } from "effect"
import type { FileRef, ShareableRef } from "../protocol/FileName.ts"
import type { Fingerprint, SessionId, Username } from "../protocol/Identity.ts"
import type { GrantRole } from "../protocol/Permission.ts"
import type { ChangeInfo, FileInfo, ReadHead, ResultOf, UploadMode, Written } from "../protocol/Request.ts"
import type { ConnectError, LocalFileError, RequestError, TransferError, TrustError } from "./ClientError.ts"
import type { Journal } from "./Journal.ts"
import { makeClient } from "./makeClient.ts"

export type FileInput = string | FileRef

/** A file or a folder: a folder's name ends with `/`, and `/` alone is everything of one's own. */
export type ShareableInput = string | ShareableRef

/** Content to send: bytes, text (as UTF-8), or a stream of any length. */
export type ContentInput = Uint8Array | string | Stream.Stream<Uint8Array, TransferError>

export interface WriteOptions {
  /** Refused with `2:vcf` unless the file has this version. */
  readonly expectedVersion?: number | undefined
}

/** Called as bytes move; cheap to ignore. `total` is `undefined` while it is not known. */
export type OnProgress = (progress: { readonly bytes: number; readonly total: number | undefined }) => void

export interface UploadOptions extends WriteOptions {
  /** What becomes of the file; `write` (make or replace) unless given. */
  readonly mode?: UploadMode | undefined
  /** With `patch`: where the content goes. */
  readonly position?: number | undefined
  /** The result has a hash also where an upload was taken up and nobody knows it: the file is then read once more. */
  readonly hash?: boolean | undefined
  readonly onProgress?: OnProgress | undefined
}

export interface ReadOptions {
  readonly position?: number | undefined
  /** At most so many bytes; the whole rest unless given. */
  readonly limit?: number | undefined
  readonly version?: number | undefined
}

export interface DownloadOptions {
  readonly version?: number | undefined
  /** False: the caller makes the names in the folder durable, once for many files. */
  readonly syncFolder?: boolean | undefined
  readonly onProgress?: OnProgress | undefined
}

export interface ListOptions {
  readonly owner?: Username | undefined
  /** Names under this folder (`docs/`). */
  readonly prefix?: string | undefined
  readonly recursive?: boolean | undefined
  readonly scope?: "own" | "shared" | "public" | undefined
  /** One's own deleted files, those that can still be restored, instead of the others. */
  readonly deleted?: boolean | undefined
}

export interface ActivityOptions {
  readonly file?: FileInput | undefined
  /** At most so many; 100 unless given. */
  readonly limit?: number | undefined
  /** `next` of the page before. */
  readonly before?: number | undefined
}

/** One line of a listing. */
export type ListEntry =
  | { readonly _tag: "Folder"; readonly name: string }
  | { readonly _tag: "File"; readonly file: FileInfo }

export interface WatchOptions {
  /** Whose files; without it, one's own. */
  readonly owner?: string | undefined
  /** Only what is below this folder (`docs/`), or the file of this name; with neither, everything. */
  readonly prefix?: string | undefined
  readonly name?: string | undefined
  /** The last `sequence` that is known; without it, only what happens from now on. */
  readonly since?: number | undefined
  /** Told once, when nothing that happens from then on is missed: the number that the watch begins after. */
  readonly onReady?: ((since: number) => void) | undefined
}

/** A file that was fetched whole: its hash was computed on both ends and found equal. */
export interface Transferred extends Written {
  readonly sha256: Exclude<Written["sha256"], undefined>
}

export interface FipClientShape {
  readonly host: string
  readonly port: number
  /** Of the key that the server proved to have. */
  readonly fingerprint: Effect.Effect<Fingerprint, RequestError>

  // --- session and account
  /** Who is logged in. */
  readonly session: Effect.Effect<Option.Option<{ readonly username: Username; readonly sessionId: SessionId }>>
  readonly heartbeat: Effect.Effect<ResultOf<"Heartbeat">, RequestError>
  readonly register: (
    username: string,
    password: Redacted.Redacted,
    /** `invite`: where registration is by invitation. */
    options?: { readonly invite?: string | undefined }
  ) => Effect.Effect<ResultOf<"Register">, RequestError>
  /** Begins a session and keeps it; from here on tokens are refreshed by the client itself. */
  readonly login: (
    username: string,
    password: Redacted.Redacted
  ) => Effect.Effect<{ readonly username: Username; readonly sessionId: SessionId }, RequestError>
  /** Rotates the refresh digest now. */
  readonly refresh: Effect.Effect<{ readonly username: Username; readonly sessionId: SessionId }, RequestError>
  /** Ends this session, or another one of the same user. */
  readonly logout: (session?: SessionId) => Effect.Effect<ResultOf<"Logout">, RequestError>
  /** Of the session's user; with `username`, without a session: `current` may then be an administrator's reset code. */
  readonly changePassword: (
    current: Redacted.Redacted,
    next: Redacted.Redacted,
    options?: { readonly username?: string | undefined }
  ) => Effect.Effect<ResultOf<"ChangePassword">, RequestError>
  readonly deleteUser: (
    username: string,
    password: Redacted.Redacted
  ) => Effect.Effect<ResultOf<"DeleteUser">, RequestError>

  // --- files
  readonly create: (file: FileInput, content?: ContentInput) => Effect.Effect<Written, TransferError>
  /** Makes the file or replaces its content. */
  readonly write: (
    file: FileInput,
    content: ContentInput,
    options?: WriteOptions
  ) => Effect.Effect<Written, TransferError>
  /** Replaces the content of a file that exists. */
  readonly replace: (
    file: FileInput,
    content: ContentInput,
    options?: WriteOptions
  ) => Effect.Effect<Written, TransferError>
  readonly append: (
    file: FileInput,
    content: ContentInput,
    options?: WriteOptions
  ) => Effect.Effect<Written, TransferError>
  /** Overwrites bytes from `position` (at most the file's size), and makes the file longer where they reach past its end. */
  readonly patch: (
    file: FileInput,
    position: number,
    content: ContentInput,
    options?: WriteOptions
  ) => Effect.Effect<Written, TransferError>
  /** What is read, and the bytes. Nothing is requested before the effect runs; the stream can be run once. */
  readonly open: (
    file: FileInput,
    options?: ReadOptions
  ) => Effect.Effect<
    { readonly head: ReadHead; readonly content: Stream.Stream<Uint8Array, TransferError> },
    TransferError
  >
  /** The bytes of a file, or of a part of it. A whole file is checked against its hash. */
  readonly read: (file: FileInput, options?: ReadOptions) => Stream.Stream<Uint8Array, TransferError>
  readonly delete: (file: FileInput, options?: WriteOptions) => Effect.Effect<ResultOf<"Delete">, RequestError>
  readonly rename: (file: FileInput, newName: string, options?: WriteOptions) => Effect.Effect<Written, RequestError>
  /** The copy is the caller's own, under a name that is free; the expected version is that of what is copied. */
  readonly copy: (file: FileInput, newName: string, options?: WriteOptions) => Effect.Effect<Written, RequestError>
  /** Makes an earlier version the newest one; without a version, brings back the file that was deleted last. */
  readonly restore: (
    file: FileInput,
    version?: number,
    options?: WriteOptions
  ) => Effect.Effect<Written, RequestError>

  // --- transfers between this machine's disk and the server
  /**
   * Sends a local file. Constant memory, any size; what arrives is proven on both ends. One that is interrupted is taken
   * up by the next that sends the same file there, also in another process. `sha256` is of what was sent.
   */
  readonly upload: (
    localPath: string,
    file: FileInput,
    options?: UploadOptions
  ) => Effect.Effect<Written, TransferError>
  /** Fetches a file beside `localPath`, checks its hash, and renames it into place. */
  readonly download: (
    file: FileInput,
    localPath: string,
    options?: DownloadOptions
  ) => Effect.Effect<Transferred, TransferError>

  /**
   * Notes on a transfer of several files, under a key of one's own, that outlive the process; `undefined` where none can
   * be kept, or another process has them.
   */
  readonly transferNotes: (key: ReadonlyArray<string>) => Effect.Effect<Journal | undefined, never, Scope.Scope>

  // --- queries
  /** Folders and files, page by page. */
  readonly list: (options?: ListOptions) => Stream.Stream<ListEntry, RequestError>
  readonly queryStorage: Effect.Effect<ResultOf<"QueryStorage">, RequestError>
  readonly queryUser: Effect.Effect<ResultOf<"QueryUser">, RequestError>
  readonly querySessions: Effect.Effect<ResultOf<"QuerySessions">, RequestError>
  readonly queryFile: (
    file: FileInput,
    options?: { readonly verbose?: boolean | undefined }
  ) => Effect.Effect<ResultOf<"QueryFile">, RequestError>
  /** What was done, the newest first: to one file of one's own, or by oneself and to all of one's files. */
  readonly queryActivity: (
    options?: ActivityOptions
  ) => Effect.Effect<ResultOf<"QueryActivity">, RequestError>
  readonly queryVersions: (file: FileInput) => Effect.Effect<ResultOf<"QueryVersions">, RequestError>
  readonly queryPermission: (file: ShareableInput) => Effect.Effect<ResultOf<"QueryPermission">, RequestError>

  /**
   * Changes of files as they are committed: of one's own, and what one was granted; or of somebody else's, as far as one
   * may read them. Goes on by itself when the connection or the server was gone meanwhile. `sequence` of the last one
   * that was seen is where another watch can go on: none is lost, none comes twice. `2:gone` when that is too long ago.
   */
  readonly watch: (options?: WatchOptions) => Stream.Stream<ChangeInfo, RequestError>

  // --- sharing
  /** On a folder: on all that is under it, now and later. */
  readonly grant: (
    username: string,
    file: ShareableInput,
    role: GrantRole,
    options?: { readonly durationMs?: number | undefined }
  ) => Effect.Effect<ResultOf<"Grant">, RequestError>
  readonly revoke: (username: string, file: ShareableInput) => Effect.Effect<ResultOf<"Revoke">, RequestError>
  readonly publicise: (file: ShareableInput) => Effect.Effect<ResultOf<"Publicise">, RequestError>
  readonly hide: (file: ShareableInput) => Effect.Effect<ResultOf<"Hide">, RequestError>
  readonly transfer: (
    username: string,
    file: FileInput,
    options?: { readonly newName?: string | undefined }
  ) => Effect.Effect<Written, RequestError>
  /** Keeps others from changing the file, for 10 minutes unless given; again by its holder: from now on for so long. */
  readonly lock: (
    file: FileInput,
    options?: { readonly durationMs?: number | undefined }
  ) => Effect.Effect<ResultOf<"Lock">, RequestError>
  /** Ends one's own lock; with `force`, as the file's owner, anybody's. */
  readonly unlock: (
    file: FileInput,
    options?: { readonly force?: boolean | undefined }
  ) => Effect.Effect<ResultOf<"Unlock">, RequestError>
}

export interface ClientOptions {
  readonly host: string
  readonly port?: number | undefined
  /** Default: `$XDG_CONFIG_HOME/fip/known_hosts`. */
  readonly knownHosts?: string | undefined
  /** Where notes on transfers under way are kept. Default: `$XDG_STATE_HOME/fip`. */
  readonly stateFolder?: string | undefined
  /** Accept whatever key the server has, for this connection. An existing pin stays. */
  readonly blindTrust?: boolean | undefined
  /** Asked on first use, before the key is pinned. Without it the key is pinned and `onNotice` told. */
  readonly confirmTrust?:
    | ((server: { readonly host: string; readonly port: number; readonly fingerprint: Fingerprint }) => Effect.Effect<
      boolean
    >)
    | undefined
  /** Things that a person should know and that are no failures (a key pinned, blind trust used, reconnected). */
  readonly onNotice?: ((message: string) => void) | undefined
  /** How long the server may be silent while it owes an answer, before the connection is given up. One minute. */
  readonly replyTimeout?: Duration.Input | undefined
}

export class FipClient extends Context.Service<FipClient, FipClientShape>()("fip/client/FipClient") {
  /**
   * Connects when it is built, and again whenever a request finds the connection gone. Closes it with its scope; the
   * session lives on at the server until it is ended or expires.
   */
  static readonly layer = (
    options: ClientOptions
  ): Layer.Layer<FipClient, ConnectError | TrustError | LocalFileError> => Layer.effect(FipClient, makeClient(options))
}
