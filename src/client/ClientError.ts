/** How a client method fails. Every one carries a sentence that a person can act on. */
import { Data } from "effect"
import type { Fingerprint } from "../protocol/Identity.ts"
import type { Refusal } from "../protocol/Refusal.ts"

/** No connection could be made. */
export class ConnectError extends Data.TaggedError("ConnectError")<{
  readonly host: string
  readonly port: number
  readonly message: string
  readonly cause?: unknown
}> {}

/** The connection ended while it was needed: a request may or may not have been carried out. */
export class ConnectionLost extends Data.TaggedError("ConnectionLost")<{ readonly message: string }> {}

/** The server is not the one that was pinned, or nobody vouched for it. No credential was sent. */
export class TrustError extends Data.TaggedError("TrustError")<{
  readonly host: string
  readonly port: number
  readonly pinned: Fingerprint | undefined
  readonly presented: Fingerprint
  readonly message: string
}> {}

/** The method needs a session and there is none: log in first. */
export class NotLoggedIn extends Data.TaggedError("NotLoggedIn")<{ readonly message: string }> {}

/** Something on this machine: a local file that is missing, a folder that cannot be written. */
export class LocalFileError extends Data.TaggedError("LocalFileError")<{
  readonly path: string
  readonly message: string
  readonly cause?: unknown
}> {}

/** Content did not arrive as it was sent. Nothing was published under its name. */
export class IntegrityError extends Data.TaggedError("IntegrityError")<{ readonly message: string }> {}

/** The server does not speak the protocol as documented. */
export class ProtocolError extends Data.TaggedError("ProtocolError")<{ readonly message: string }> {}

/** What a request on an established connection can fail with. */
export type RequestError = Refusal | ConnectError | ConnectionLost | TrustError | NotLoggedIn | ProtocolError

export type TransferError = RequestError | LocalFileError | IntegrityError

export type ClientError = TransferError
