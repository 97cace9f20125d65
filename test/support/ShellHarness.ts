/**
 * Runs the shell in this process with a client that answers as told and keeps what it was asked, so that a test sees
 * which call a line makes, what is printed where, and the status. Everything but the client is real.
 */
import { NodeServices } from "@effect/platform-node"
import { Effect, Layer, Option, Redacted, Stream } from "effect"
import { join } from "node:path"
import { Writable } from "node:stream"
import { type ClientLayer, openShell, type ShellInput, type ShellOptions } from "../../src/cli/shell/openShell.ts"
import { Output } from "../../src/cli/shell/Output.ts"
import type { TransferError } from "../../src/client/ClientError.ts"
import { FileFailed, type FileSetOptions } from "../../src/client/fileSetTypes.ts"
import type {
  ClientOptions,
  ContentInput,
  FileInput,
  FipClientShape,
  OnProgress,
  ShareableInput
} from "../../src/client/FipClient.ts"
import { FipClient } from "../../src/client/FipClient.ts"
import { requestMethods } from "../../src/client/methods/requests.ts"
import { FileName, formatFileRef } from "../../src/protocol/FileName.ts"
import { Fingerprint, SessionId, Sha256, Timestamp, Username } from "../../src/protocol/Identity.ts"
import type { FileInfo, Storage, Written } from "../../src/protocol/Request.ts"
import { temporaryFolder } from "./temporaryFolder.ts"

const me = Username.make("alice_smith")
export const session = { username: me, sessionId: SessionId.make("0193a7c2-4e6b-4c1d-9f0a-2b3c4d5e6f70"), kept: false }
export const fingerprint = Fingerprint.make(`SHA256:${"A".repeat(43)}`)
const at = Timestamp.make("2026-11-22T08:00:00.000Z")
export const sha256 = Sha256.make("ab".repeat(32))

export const written: Written = { owner: me, name: FileName.make("notes.txt"), size: 5, version: 2 }
const transferred = { ...written, sha256 }
export const info = (name: string, owner = "alice_smith"): FileInfo => ({
  owner: Username.make(owner),
  name: FileName.make(name),
  size: 1234,
  version: 3,
  created_at: at,
  modified_at: at,
  role: owner === "alice_smith" ? "OWNER" : "READ",
  public: false
})
const storage: Storage = { bytes_used: 1536, bytes_limit: 10 * 1024 ** 3, files_used: 3, files_limit: 100_000 }

/** A call as `method(arguments)`, with files, secrets and streams as one would write them. */
export type Call = readonly [method: string, ...args: ReadonlyArray<unknown>]

const shown = (value: ShareableInput): string => typeof value === "string" ? value : formatFileRef(value)
const secret = (value: Redacted.Redacted): string => Redacted.value(value)
const text = (content: ContentInput | undefined): string =>
  typeof content === "string" ? content : content === undefined ? "" : "(content)"

/** What options say, without what was left out. */
const said = (options: object | undefined): Readonly<Record<string, unknown>> =>
  Object.fromEntries(
    Object.entries(options ?? {}).filter(([, value]) => value !== undefined && typeof value !== "function")
  )

/** Options as an argument of a call, when they say something. */
const given = (options: object | undefined): ReadonlyArray<unknown> =>
  Object.values(said(options)).length === 0 ? [] : [said(options)]

/** Many files as single ones: by whatever a test says that those do. */
const eachOf = <F extends { readonly file: FileInput }>(
  files: ReadonlyArray<F>,
  options: FileSetOptions | undefined,
  move: (file: F, onProgress: OnProgress) => Effect.Effect<Written, TransferError>
) =>
  Effect.forEach(files, (one, index) =>
    move(one, (progress) => {
      options?.onProgress?.({ bytes: progress.bytes, total: undefined })
      options?.onFileProgress?.(index, progress)
    }).pipe(
      Effect.mapError((cause) => new FileFailed({ file: one.file, cause })),
      Effect.tap((written) => options?.onMoved?.([{ index, written }]) ?? Effect.void)
    ), { concurrency: 64 })

/** A client that answers everything with something, and notes every call. */
export const recordingClient = (calls: Array<Call>, answers: Partial<FipClientShape> = {}): FipClientShape => {
  let loggedIn = true
  const answer = <A>(result: A, ...call: Call): Effect.Effect<A> =>
    Effect.sync(() => {
      calls.push(call)
      return result
    })
  const client: FipClientShape = {
    ...requestMethods((name) => Effect.die(`the recording client has no answer to ${name}`)),
    host: "localhost",
    port: 6090,
    fingerprint: Effect.succeed(fingerprint),
    session: Effect.sync(() => loggedIn ? Option.some(session) : Option.none()),
    heartbeat: answer({ server_version: "0.1.0" }, "heartbeat"),
    register: (user, password, options) =>
      answer({ username: Username.make(user) }, "register", user, secret(password), ...given(options)),
    login: (user, password) => answer({ ...session }, "login", user, secret(password)),
    refresh: answer({ ...session }, "refresh"),
    keepSession: answer(undefined, "keepSession"),
    logout: (id) =>
      Effect.tap(
        answer({ session_id: id ?? session.sessionId }, "logout", ...(id === undefined ? [] : [id])),
        () =>
          Effect.sync(() => {
            loggedIn = loggedIn && id !== undefined
          })
      ),
    logoutOthers: answer({ sessions_ended: 2 }, "logoutOthers"),
    changePassword: (current, next, options) =>
      answer({ username: me, sessions_ended: 1 }, "changePassword", secret(current), secret(next), ...given(options)),
    deleteUser: (user, password) =>
      answer(
        { username: Username.make(user), files_deleted: 2, bytes_deleted: 10 },
        "deleteUser",
        user,
        secret(password)
      ),
    create: (file, content) => answer(written, "create", shown(file), text(content)),
    write: (file, content, options) => answer(written, "write", shown(file), text(content), said(options)),
    replace: (file, content, options) => answer(written, "replace", shown(file), text(content), said(options)),
    append: (file, content, options) => answer(written, "append", shown(file), text(content), said(options)),
    patch: (file, position, content, options) =>
      answer(written, "patch", shown(file), position, text(content), said(options)),
    open: (file, options) =>
      answer(
        {
          head: { ...written, position: 0, length: 5 },
          content: Stream.make(new TextEncoder().encode("hello"))
        },
        "open",
        shown(file),
        said(options)
      ),
    read: () => Stream.empty,
    delete: (file, options) => answer({ owner: me, name: written.name }, "delete", shown(file), said(options)),
    rename: (file, name, options) => answer(written, "rename", shown(file), name, ...given(options)),
    copy: (file, name, options) => answer(written, "copy", shown(file), name, ...given(options)),
    restore: (file, version, options) => answer(written, "restore", shown(file), version, ...given(options)),
    upload: (local, file, options) => answer(transferred, "upload", local, shown(file), said(options)),
    download: (file, local, options) => answer(transferred, "download", shown(file), local, said(options)),
    uploadMany: (files, options) =>
      eachOf(
        files,
        options,
        ({ expectedVersion, file, local, mode }, onProgress) =>
          all.upload(local, file, { mode, expectedVersion, hash: options?.hash, onProgress })
      ),
    downloadMany: (files, options) =>
      eachOf(
        files,
        options,
        ({ file, local }, onProgress) => all.download(file, local, { syncFolder: options?.syncFolders, onProgress })
      ),
    transferNotes: () => Effect.undefined,
    list: (options) =>
      Stream.fromIterableEffect(
        answer(
          [{ _tag: "Folder" as const, name: "docs/" }, { _tag: "File" as const, file: info("notes.txt") }],
          "list",
          said(options)
        )
      ),
    watch: (options) =>
      Stream.fromIterableEffect(
        answer(
          [{ sequence: 42, kind: "written" as const, owner: me, name: written.name, version: 2, size: 5, by: me, at }],
          "watch",
          said(options)
        )
      ),
    queryStorage: answer(storage, "queryStorage"),
    queryUser: answer({ username: me, created_at: at, sessions: 1, ...storage }, "queryUser"),
    querySessions: answer({ sessions: [] }, "querySessions"),
    queryFile: (file, options) =>
      answer(
        options?.verbose === true ? { ...info("notes.txt"), reads: 7, last_read_at: at } : info("notes.txt"),
        "queryFile",
        shown(file),
        ...given(options)
      ),
    queryActivity: (options = {}) =>
      answer(
        {
          activities: [{
            activity_id: 8,
            at,
            action: "Read",
            code: "1:read",
            username: "bob_jones",
            address: "192.0.2.9",
            owner: me,
            name: "notes.txt",
            times: 3,
            duration_ms: 2,
            suspicious: false,
            detail: {}
          }]
        },
        "queryActivity",
        ...(options.file === undefined ? [] : [shown(options.file)]),
        ...given({ ...options, file: undefined })
      ),
    queryVersions: (file) => answer({ owner: me, name: written.name, versions: [] }, "queryVersions", shown(file)),
    queryUploads: answer({ uploads: [] }, "queryUploads"),
    abortUpload: (upload) => answer({ upload_id: upload }, "abortUpload", upload),
    queryPermission: (file) =>
      answer({ owner: me, name: written.name, public: false, grants: [] }, "queryPermission", shown(file)),
    grant: (user, file, role, options) =>
      answer(
        {
          owner: me,
          name: written.name,
          username: Username.make(user),
          role,
          granted_by: me,
          granted_at: at
        },
        "grant",
        user,
        shown(file),
        role,
        said(options)
      ),
    revoke: (user, file) =>
      answer(
        { owner: me, name: written.name, username: Username.make(user), role: "READ" },
        "revoke",
        user,
        shown(file)
      ),
    publicise: (file) => answer({ owner: me, name: written.name, public: true }, "publicise", shown(file)),
    hide: (file) => answer({ owner: me, name: written.name, public: false }, "hide", shown(file)),
    transfer: (user, file, options) => answer(written, "transfer", user, shown(file), said(options)),
    lock: (file, options) =>
      answer(
        { owner: me, name: written.name, locked_by: me, locked_until: at },
        "lock",
        shown(file),
        said(options)
      ),
    unlock: (file, options) =>
      answer({ owner: me, name: written.name, unlocked: me }, "unlock", shown(file), said(options))
  }
  const all = { ...client, ...answers }
  return all
}

/** A stream that keeps what is written to it. */
export class Capture extends Writable {
  readonly isTTY: boolean
  readonly columns = 80
  #bytes: Array<Uint8Array> = []

  constructor(isTTY = false) {
    super()
    this.isTTY = isTTY
  }

  override _write(chunk: Uint8Array, _encoding: BufferEncoding, done: () => void): void {
    this.#bytes.push(Uint8Array.from(chunk))
    this.emit("shown")
    done()
  }

  get bytes(): Buffer {
    return Buffer.concat(this.#bytes)
  }

  get text(): string {
    return this.bytes.toString("utf8")
  }
}

export interface HarnessOptions extends Partial<Omit<ShellOptions, "client" | "input">> {
  readonly answers?: Partial<FipClientShape>
  readonly stdout?: Writable & { readonly isTTY?: boolean }
  readonly stderr?: Capture
  /** Instead of the recording client. */
  readonly clientLayer?: ClientLayer
  readonly client?: Partial<ClientOptions>
}

/** Runs the shell on an input. */
export const runShell = Effect.fnUntraced(function*(input: ShellInput, options: HarnessOptions = {}) {
  const calls: Array<Call> = []
  const capture = new Capture()
  const stderr = options.stderr ?? new Capture()
  const history = options.history ?? join(yield* temporaryFolder, "history")
  const status = yield* openShell(
    {
      client: { host: "localhost", ...options.client },
      username: options.username,
      password: options.password,
      json: options.json ?? false,
      keepGoing: options.keepGoing,
      history,
      aliases: options.aliases,
      input
    },
    options.clientLayer ?? (() => Layer.succeed(FipClient, recordingClient(calls, options.answers)))
  ).pipe(
    Effect.provide(
      Layer.merge(Output.layerStreams({ stdout: options.stdout ?? capture, stderr }), NodeServices.layer)
    )
  )
  return {
    status,
    calls,
    stdout: capture.text,
    bytes: capture.bytes,
    stderr: stderr.text
  }
}, Effect.scoped)

/** Runs a script, one line each. */
export const runLines = (lines: ReadonlyArray<string>, options?: HarnessOptions) =>
  runShell({ _tag: "Script", lines: Stream.fromIterable(lines) }, options)

/** Runs one command, as after `--`. */
export const runCommand = (words: ReadonlyArray<string>, options?: HarnessOptions) =>
  runShell({ _tag: "Command", words }, options)
