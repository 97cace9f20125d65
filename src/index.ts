/**
 * The client library: programs that work with files on a FIP server.
 *
 * **When to use**
 *
 * For scripts and services that keep, fetch or share files. A person at a terminal uses `fip connect`.
 *
 * **Details**
 *
 * {@link FipClient} is a service; its `layer` connects, checks the server's key against the known-hosts file, connects
 * again when it has to, and closes the connection with its scope. Every failure is a value with a `_tag`, and its
 * `message` is a sentence that a person can act on. Content goes in and comes out as `Stream`s of bytes of any length,
 * in constant memory, and a whole file is checked by hash on both ends.
 *
 * `FipClient.layerProfile` takes the server from the profiles of whoever runs the program, and the session that `fip login`
 * has left; `fip/promise` has the same client for programs without Effect, `fip/testing` a server for tests.
 *
 * **Gotchas**
 *
 * A session begins with `login` and lives on at the server when the client closes, until `logout` or its expiry.
 *
 * **Example** (Writing and reading a file)
 *
 * ```ts
 * import { Effect, Redacted, Stream } from "effect"
 * import { FipClient } from "fip"
 *
 * const program = Effect.gen(function*() {
 *   const fip = yield* FipClient
 *   yield* fip.login("foobar_user", Redacted.make("foobar_password"))
 *   yield* fip.write("notes.txt", "hello")
 *   return yield* fip.read("notes.txt").pipe(Stream.decodeText, Stream.mkString)
 * })
 *
 * await Effect.runPromise(Effect.provide(program, FipClient.layer({ host: "localhost" }))) // => "hello"
 * ```
 */
export {
  type ClientError,
  ConnectError,
  ConnectionLost,
  IntegrityError,
  LocalFileError,
  NotLoggedIn,
  ProtocolError,
  type RequestError,
  type TransferError,
  TrustError
} from "./client/ClientError.ts"
export {
  FileFailed,
  type FileSetOptions,
  type FileToFetch,
  type FileToSend,
  type MovedFile
} from "./client/fileSetTypes.ts"
export {
  type ClientOptions,
  type ContentInput,
  type ContentOptions,
  type DownloadOptions,
  type FileInput,
  type FileToDownload,
  type FileToUpload,
  FipClient,
  type FipClientShape,
  type ListEntry,
  type ListOptions,
  type OnProgress,
  type ReadOptions,
  type RetryPolicy,
  type SessionIdentity,
  type ShareableInput,
  type Transferred,
  type UploadOptions,
  type WatchOptions,
  type WriteOptions
} from "./client/FipClient.ts"
export { type RefusalCode } from "./protocol/Code.ts"
export {
  type FileName,
  type FileRef,
  type FolderPrefix,
  formatFileRef,
  parseFileName,
  parseFileRef,
  parseShareableRef,
  type Shareable,
  type ShareableRef
} from "./protocol/FileName.ts"
export { Fingerprint, type SessionId, type Sha256, type Timestamp, Username } from "./protocol/Identity.ts"
export { type GrantRole, type Role } from "./protocol/Permission.ts"
export { Refusal } from "./protocol/Refusal.ts"
export {
  type Attributes,
  type ChangeInfo,
  type ChangeKind,
  type FileInfo,
  type GrantInfo,
  type ReadHead,
  type SessionInfo,
  type Storage,
  type UploadMode,
  type UserInfo,
  type VersionInfo,
  type Written
} from "./protocol/Request.ts"
