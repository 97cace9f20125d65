/**
 * The one mapping from what went wrong to what the user gets: an exit status, a code and a sentence for `--json`, and
 * the same sentence for people. docs/commands.md lists the codes.
 */
import { Data } from "effect"
import type { ClientError } from "../../client/ClientError.ts"
import type { OutputClosed } from "./Output.ts"

/** The command line is wrong, or something it needs is missing. Nothing was sent. */
export class UsageError extends Data.TaggedError("UsageError")<{ readonly message: string }> {}

/** A transfer that failed: one file, or one of many. */
export class TransferFailed extends Data.TaggedError("TransferFailed")<{
  /** Which of several. */
  readonly file?: string | undefined
  /** Something had moved already: losing the connection interrupted it. */
  readonly moved: boolean
  /** The same command goes on where this one ended. */
  readonly goesOn: boolean
  readonly cause: ClientError
}> {}

/** The login that a command needed first. */
export class LoginFailed extends Data.TaggedError("LoginFailed")<{ readonly cause: ClientError | UsageError }> {}

/** A line or a job that this command ran or waited for has failed, and was reported by itself. */
export class InnerFailed extends Data.TaggedError("InnerFailed")<{
  readonly status: ExitStatus
  readonly message: string
}> {}

/** Everything a command can fail with. */
export type CommandError = ClientError | UsageError | TransferFailed | LoginFailed | InnerFailed | OutputClosed

/** What a command does, as far as its failures go. */
export type CommandKind = "request" | "login" | "transfer"

export const ExitStatus = {
  DONE: 0,
  REFUSED: 1,
  USAGE: 2,
  NO_CONNECTION: 3,
  TRUST: 4,
  AUTHENTICATION: 5,
  TRANSFER: 6,
  CANCELLED: 130
} as const
export type ExitStatus = typeof ExitStatus[keyof typeof ExitStatus]

export interface Failure {
  readonly status: ExitStatus
  /** The wire's code where the server refused, else one that begins with `local:`. */
  readonly code: string
  readonly message: string
  readonly field?: string | undefined
  readonly retry_after_ms?: number | undefined
  readonly current_version?: number | undefined
  /** What the server's log calls the request that it failed at. */
  readonly request_id?: string | undefined
  readonly locked_by?: string | undefined
  readonly locked_until?: string | undefined
}

const NOT_AUTHENTICATED = new Set(["2:auth", "2:exp"])
// The server stopped, or the content arrived damaged: the transfer can be tried again as it is.
const BROKEN_TRANSFER = new Set(["2:sum", "3:s"])

/** A refusal's status depends on what it refused: at a login, whatever the client did wrong is a failed login. */
const refusalStatus = (code: string, kind: CommandKind): ExitStatus => {
  if (NOT_AUTHENTICATED.has(code)) return ExitStatus.AUTHENTICATION
  if (kind === "login" && code.startsWith("2:")) return ExitStatus.AUTHENTICATION
  if (kind === "transfer" && BROKEN_TRANSFER.has(code)) return ExitStatus.TRANSFER
  return ExitStatus.REFUSED
}

export const failureOf = (error: Exclude<CommandError, OutputClosed>, kind: CommandKind): Failure => {
  if (error._tag === "TransferFailed") {
    const failure = failureOf(error.cause, kind)
    const interrupted = error.moved && failure.code === "local:connection"
    const message = interrupted && error.goesOn
      ? `${failure.message}${/[.?!]$/.test(failure.message) ? "" : "."} The same command again goes on where it was`
      : failure.message
    return {
      ...failure,
      status: interrupted ? ExitStatus.TRANSFER : failure.status,
      message: error.file === undefined ? message : `${error.file}: ${message}`
    }
  }
  if (error._tag === "LoginFailed") return failureOf(error.cause, "login")
  const { message } = error
  switch (error._tag) {
    case "Refusal":
      return {
        status: refusalStatus(error.code, kind),
        code: error.code,
        message,
        field: error.field,
        retry_after_ms: error.retry_after_ms,
        current_version: error.current_version,
        locked_by: error.locked_by,
        locked_until: error.locked_until,
        request_id: error.request_id
      }
    case "InnerFailed":
      return { status: error.status, code: "local:failed", message }
    case "UsageError":
      return { status: ExitStatus.USAGE, code: "local:usage", message }
    case "LocalFileError":
      return { status: ExitStatus.USAGE, code: "local:file", message }
    case "ConnectError":
      return { status: ExitStatus.NO_CONNECTION, code: "local:connection", message }
    case "ConnectionLost":
      return {
        status: kind === "transfer" ? ExitStatus.TRANSFER : ExitStatus.NO_CONNECTION,
        code: "local:connection",
        message
      }
    case "ProtocolError":
      return { status: ExitStatus.NO_CONNECTION, code: "local:protocol", message }
    case "TrustError":
      return { status: ExitStatus.TRUST, code: "local:trust", message }
    case "NotLoggedIn":
      return { status: ExitStatus.AUTHENTICATION, code: "local:login", message }
    case "IntegrityError":
      return { status: ExitStatus.TRANSFER, code: "local:integrity", message }
  }
}

/** The person pressed Ctrl-C. */
export const cancelled: Failure = { status: ExitStatus.CANCELLED, code: "local:cancelled", message: "cancelled" }

/** A defect of this program: the shell lives on, the command has failed. */
export const internalFailure = (defect: unknown): Failure => ({
  status: ExitStatus.REFUSED,
  code: "local:internal",
  message: `this is a defect of fip, please report it: ${defect instanceof Error ? defect.message : String(defect)}`
})
