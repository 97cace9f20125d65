/**
 * The admin socket's wire, for both of its ends: a Unix socket in the server's data folder, one request per connection,
 * one JSON object per line. A request is answered by lines of which all but the last have `more: true` and say how far
 * it has got. Whoever closes the connection before the last one has had enough: what can be stopped is.
 *
 * Whoever may open the socket (mode 0600) is an administrator.
 */
import { Schema } from "effect"
import { join } from "node:path"
import { RefusalCode } from "../../protocol/Code.ts"
import { makeDecoder } from "../../protocol/Json.ts"
import { RefusalBody } from "../../protocol/Refusal.ts"
import { Count } from "../../protocol/Request.ts"

/** Where the server that uses a data folder listens. */
export const socketPath = (dataDir: string): string => join(dataDir, "admin.sock")

export const MAX_REQUEST_BYTES = 64 * 1024

export const decodeAdminRequest = makeDecoder(
  Schema.Struct({ command: Schema.String, input: Schema.Unknown }),
  "2:ibv"
)

const AdminReply = Schema.Union([
  Schema.Struct({ ok: Schema.Literal(true), more: Schema.Boolean, result: Schema.Unknown }),
  Schema.Struct({ ok: Schema.Literal(false), code: RefusalCode, ...RefusalBody.fields })
])
export type AdminReply = typeof AdminReply.Type

export const decodeAdminReply = makeDecoder(AdminReply, "3:?")

/** How far a command has got that takes its time. */
const AdminProgress = Schema.Struct({ doing: Schema.String, done: Count, of: Schema.optionalKey(Count) })
export type AdminProgress = typeof AdminProgress.Type

export const decodeAdminProgress = makeDecoder(AdminProgress, "3:?")
