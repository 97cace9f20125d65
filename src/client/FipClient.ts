/**
 * The client: one server, at most one session, typed methods. The library surface (src/index.ts) and the shell both use
 * this and nothing below it. What it can do is declared and built in methods/: what is one request and nothing else from
 * the table of requests, the rest in one file for each subject.
 *
 * A file is named by a string as in the shell, `notes.txt` or `~alice/notes.txt`, or by a `FileRef`.
 */
import { Context, type Duration, Effect, Layer } from "effect"
import type { Fingerprint } from "../protocol/Identity.ts"
import { optionsOf } from "./ClientConfig.ts"
import type { ConnectError, LocalFileError, RequestError, TrustError } from "./ClientError.ts"
import { makeClient } from "./makeClient.ts"
import type { AccountMethods } from "./methods/account.ts"
import type { FileMethods } from "./methods/files.ts"
import type { QueryMethods } from "./methods/queries.ts"
import type { RequestMethods } from "./methods/requests.ts"
import type { SharingMethods } from "./methods/sharing.ts"
import type { TransferMethods } from "./methods/transfers.ts"
import type { RetryPolicy } from "./Retry.ts"

export type { ContentOptions, ReadOptions, WriteOptions } from "./methods/files.ts"
export type { ContentInput, FileInput, ShareableInput } from "./methods/inputs.ts"
export type { ActivityOptions, ListEntry, ListOptions, WatchOptions } from "./methods/queries.ts"
export type {
  DownloadOptions,
  FileToDownload,
  FileToUpload,
  OnProgress,
  Transferred,
  UploadOptions
} from "./methods/transfers.ts"
export type { RetryPolicy } from "./Retry.ts"
export type { SessionIdentity } from "./Session.ts"

export interface FipClientShape
  extends RequestMethods, AccountMethods, FileMethods, TransferMethods, QueryMethods, SharingMethods
{
  readonly host: string
  readonly port: number
  /** Of the key that the server proved to have. */
  readonly fingerprint: Effect.Effect<Fingerprint, RequestError>
}

export interface ClientOptions {
  readonly host: string
  readonly port?: number | undefined
  /** Default: `$XDG_CONFIG_HOME/fip/known_hosts`. */
  readonly knownHosts?: string | undefined
  /** Where sessions, and notes on transfers under way, are kept. Default: `$XDG_STATE_HOME/fip`. */
  readonly stateFolder?: string | undefined
  /**
   * Begin with the session that `keepSession` has left on this machine: of this user, or of the one who logged in last.
   * Only a server that was pinned before is told of it. Nobody is logged in where there is none, or none any more.
   */
  readonly takeUpSession?: { readonly username?: string | undefined } | undefined
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
  /** The connection for requests is gone, whoever ended it; the next request makes another. */
  readonly onLost?: (() => void) | undefined
  /**
   * Connections for requests, all of one session: 1 unless given. More are made when there are many requests at once,
   * so that those do not wait for each other; content that is read has connections of its own in any case.
   */
  readonly connections?: number | undefined
  /**
   * Whether what failed for now is tried again: servers that cannot be reached or are leaving, refusals for the number of
   * requests (after the pause that they name, up to a minute), connections that broke. Only where it is safe: a change
   * that may have been carried out is not sent twice. Without it, requests go again at once, three times in all, when
   * their connection breaks and that is safe; nothing else does.
   */
  readonly retry?: RetryPolicy | undefined
  /** How long the server may be silent while it owes an answer, before the connection is given up. One minute. */
  readonly replyTimeout?: Duration.Input | undefined
  /**
   * Whether content is compressed on its way: `auto`, where a round trip takes 10 ms or more, unless given. What does
   * not shrink goes as it is, and so does everything to a server that does not know of it.
   */
  readonly compression?: "auto" | "always" | "never" | undefined
}

export class FipClient extends Context.Service<FipClient, FipClientShape>()("fip/client/FipClient") {
  /**
   * Connects when it is built, and again whenever a request finds the connection gone. Closes it with its scope; the
   * session lives on at the server until it is ended or expires.
   */
  static readonly layer = (
    options: ClientOptions
  ): Layer.Layer<FipClient, ConnectError | TrustError | LocalFileError> => Layer.effect(FipClient, makeClient(options))

  /**
   * Connects to the server of a profile, or of the default one, with its known hosts, and with the session that
   * `fip login` has left for it: a program then needs no password. `options` go before what the profile says.
   */
  static readonly layerProfile = (
    name?: string,
    options: Omit<ClientOptions, "host" | "port"> = {}
  ): Layer.Layer<FipClient, ConnectError | TrustError | LocalFileError> =>
    Layer.effect(
      FipClient,
      Effect.flatMap(optionsOf(name), (profile) => makeClient({ ...profile, ...options }))
    )
}
