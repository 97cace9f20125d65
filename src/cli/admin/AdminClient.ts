/** The other end of the admin socket: one connection, one request, its reply. */
import { Data, Effect, Result } from "effect"
import { connect } from "node:net"
import { systemErrorCode, systemErrorReason } from "../../platform/systemError.ts"
import { encodeJson } from "../../protocol/Json.ts"
import { Refusal, refuse } from "../../protocol/Refusal.ts"
import {
  type AdminCommandName,
  type AdminInput,
  type AdminResult,
  decodeAdminResult
} from "../../server/admin/Commands.ts"
import { type AdminProgress, decodeAdminProgress, decodeAdminReply, socketPath } from "../../server/admin/Wire.ts"

/** Nobody answers for this data folder. */
export class NoServer extends Data.TaggedError("NoServer")<{ readonly message: string }> {}

const noServer = (dataDir: string, error: Error): NoServer => {
  switch (systemErrorCode(error)) {
    case "ENOENT":
    case "ECONNREFUSED":
    case "ENOTDIR":
      return new NoServer({
        message: `no FIP server is running on ${dataDir}: start it, or name its folder with --data-dir`
      })
    case "EACCES":
    case "EPERM":
      return new NoServer({
        message: `only the user that runs the server on ${dataDir} (and root) can administer it`
      })
    default:
      return new NoServer({ message: `cannot reach the server on ${dataDir}: ${systemErrorReason(error)}` })
  }
}

const NEWLINE = 0x0a

/** Sends one line, passes on all but the last of those that come, and takes what comes then until the server closes. */
const exchange = (
  dataDir: string,
  line: string,
  onMore: (progress: AdminProgress) => void
): Effect.Effect<Uint8Array, NoServer> =>
  Effect.callback((resume) => {
    let rest: Buffer = Buffer.alloc(0)
    const socket = connect(socketPath(dataDir), () => socket.write(line))
    socket.on("data", (chunk: Buffer) => {
      rest = Buffer.concat([rest, chunk])
      for (let end = rest.indexOf(NEWLINE); end >= 0; end = rest.indexOf(NEWLINE)) {
        const reply = decodeAdminReply(rest.subarray(0, end))
        if (Result.isFailure(reply) || !reply.success.ok || !reply.success.more) break
        const progress = decodeAdminProgress(encodeJson(reply.success.result))
        if (Result.isSuccess(progress)) onMore(progress.success)
        rest = rest.subarray(end + 1)
      }
    })
    socket.on("error", (error) => resume(Effect.fail(noServer(dataDir, error))))
    socket.on("end", () => resume(Effect.succeed(rest)))
    return Effect.sync(() => socket.destroy())
  })

/** Asks the server that uses a data folder. Interrupting it stops what can be stopped. */
export const ask = Effect.fnUntraced(function*<K extends AdminCommandName>(
  dataDir: string,
  command: K,
  input: AdminInput<K>,
  onProgress: (progress: AdminProgress) => void = () => {}
): Effect.fn.Return<AdminResult<K>, NoServer | Refusal> {
  const bytes = yield* exchange(dataDir, `${JSON.stringify({ command, input })}\n`, onProgress)
  if (bytes.length === 0) {
    return yield* new NoServer({ message: `the server on ${dataDir} stopped before it answered: look at its log` })
  }
  const reply = yield* Effect.fromResult(decodeAdminReply(bytes))
  if (!reply.ok) {
    const { ok: _, ...refusal } = reply
    return yield* new Refusal(refusal)
  }
  return yield* Effect.fromResult(Result.mapError(
    decodeAdminResult(command, encodeJson(reply.result)),
    () => refuse("3:?", "the server's answer is not one that this fip understands: use the fip that runs the server")
  ))
})
