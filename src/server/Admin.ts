/**
 * The admin socket: what `fip admin` asks of a running server (wire: admin/Wire.ts, commands: admin/Commands.ts).
 *
 * Nobody else can connect to it at any instant (platform/privateSocket.ts), and what a killed server left is replaced.
 * A lock that the kernel releases keeps two servers from answering for one data folder. The finalizer removes the
 * socket and waits for what is being answered.
 */
import { Cause, Context, Data, Deferred, Effect, FiberSet, Layer, Predicate, Result } from "effect"
import { rm } from "node:fs/promises"
import { createServer, type Socket } from "node:net"
import { join } from "node:path"
import * as FileLock from "../platform/FileLock.ts"
import { makeFolder } from "../platform/makeFolder.ts"
import { fitsSockets, publish, TOO_LONG } from "../platform/privateSocket.ts"
import { systemErrorReason } from "../platform/systemError.ts"
import { encodeJson } from "../protocol/Json.ts"
import { refuse } from "../protocol/Refusal.ts"
import { type Activity, type Detail, RecordActivity } from "./activity/Activity.ts"
import { type AdminCommandName, decodeAdminInput, isAdminCommandName, isStoppable } from "./admin/Commands.ts"
import type { AdminHandlers, Report } from "./admin/Handler.ts"
import { type AdminReply, decodeAdminRequest, MAX_REQUEST_BYTES, socketPath } from "./admin/Wire.ts"
import { SHUTTING_DOWN } from "./files/Batcher.ts"
import { ServerConfig } from "./ServerConfig.ts"
import { ShutdownCoordinator } from "./ShutdownCoordinator.ts"

/** The socket cannot be made. `message` is a sentence for the person who starts the server. */
export class AdminError extends Data.TaggedError("AdminError")<{ readonly message: string }> {}

const NEWLINE = 0x0a

const failed: AdminReply = {
  ok: false,
  code: "3:?",
  message: "the server failed at this command; its log says why"
}

/** Nobody reads this. */
const GONE = refuse("2:opcf", "whoever asked is gone: it was stopped")

/** Between two lines that say how far a command has got. */
const REPORT_EVERY_MILLIS = 100

/** Says on a connection how far a command has got, as often as somebody can read it. */
const reportOn = (socket: Socket): Report => {
  let next = 0
  return (progress) => {
    const now = performance.now()
    if (now < next || socket.writableNeedDrain || !socket.writable) return
    next = now + REPORT_EVERY_MILLIS
    const reply: AdminReply = { ok: true, more: true, result: progress }
    socket.write(`${JSON.stringify(reply)}\n`)
  }
}

/** A command in the activity log; whom it was about is the owner there. */
const adminActivity = (command: AdminCommandName, input: object, code: string, millis: number): Activity => {
  const detail: Detail = Object.fromEntries(
    Object.entries(input).filter(([, value]) => ["string", "number", "boolean"].includes(typeof value))
  )
  return {
    action: `admin ${command}`,
    code,
    says: "admin command",
    address: "",
    owner: Predicate.hasProperty(input, "username") && typeof input.username === "string" ? input.username : undefined,
    durationMillis: Math.round(millis),
    suspicious: false,
    notable: true,
    detail
  }
}

/** Collects one line; `onLine` is called once, with `undefined` when it is too long. */
const readLine = (socket: Socket, onLine: (line: Uint8Array | undefined) => void): void => {
  const chunks: Array<Buffer> = []
  let bytes = 0
  const onData = (chunk: Buffer): void => {
    const end = chunk.indexOf(NEWLINE)
    const part = end < 0 ? chunk : chunk.subarray(0, end)
    chunks.push(part)
    bytes += part.length
    if (end < 0 && bytes <= MAX_REQUEST_BYTES) return
    socket.off("data", onData)
    // What follows is dropped.
    socket.resume()
    onLine(bytes > MAX_REQUEST_BYTES ? undefined : Buffer.concat(chunks))
  }
  socket.on("data", onData)
}

export class Admin extends Context.Service<Admin, {
  /** Where the socket is. */
  readonly path: string
}>()("fip/server/Admin") {
  static readonly layer = (handlers: AdminHandlers) =>
    Layer.effect(
      Admin,
      Effect.gen(function*() {
        const config = yield* ServerConfig
        const { dataDir } = config
        const { begun } = yield* ShutdownCoordinator
        const record = yield* RecordActivity
        const path = socketPath(dataDir)
        const unusable = (reason: string) =>
          new AdminError({ message: `cannot make the socket for fip admin in ${dataDir}: ${reason}` })

        const answer = Effect.fnUntraced(function*<K extends AdminCommandName>(
          command: K,
          input: unknown,
          report: Report,
          gone: Effect.Effect<void>
        ) {
          const decoded = yield* Effect.fromResult(decodeAdminInput(command, encodeJson(input)))
          const before = performance.now()
          const work = handlers[command](decoded, report)
          const stopped = Effect.raceFirst(
            Effect.andThen(gone, Effect.fail(GONE)),
            Effect.andThen(begun, Effect.fail(SHUTTING_DOWN))
          )
          const result = yield* Effect.result(isStoppable(command) ? Effect.raceFirst(work, stopped) : work)
          const code = Result.isSuccess(result) ? "1:ok" : result.failure.code
          // Who follows the log would be all there is in it.
          if (command !== "log") record(adminActivity(command, decoded, code, performance.now() - before))
          return yield* Effect.fromResult(result)
        })

        const reply = Effect.fnUntraced(function*(
          line: Uint8Array | undefined,
          report: Report,
          gone: Effect.Effect<void>
        ) {
          if (line === undefined) return yield* refuse("2:big", `a request has at most ${MAX_REQUEST_BYTES} bytes`)
          const { command, input } = yield* Effect.fromResult(decodeAdminRequest(line))
          if (!isAdminCommandName(command)) {
            return yield* refuse("2:unop", `this server has no admin command "${command}"`, "command")
          }
          return yield* answer(command, input, report, gone)
        })

        const replyOrRefuse = (...request: Parameters<typeof reply>): Effect.Effect<AdminReply> =>
          reply(...request).pipe(
            Effect.map((result): AdminReply => ({ ok: true, more: false, result })),
            Effect.catchCause((cause): Effect.Effect<AdminReply> => {
              const failure = Result.getOrUndefined(Cause.findError(cause))
              return failure === undefined
                ? Effect.as(Effect.logError("an admin command failed", cause), failed)
                : Effect.succeed({ ok: false, code: failure.code, ...failure.body })
            })
          )

        yield* Effect.tryPromise({
          try: () => makeFolder(dataDir, 0o700),
          catch: (cause) => unusable(systemErrorReason(cause))
        })
        if (!fitsSockets(dataDir)) return yield* unusable(TOO_LONG)
        yield* FileLock.acquire(join(dataDir, "admin.lock")).pipe(Effect.mapError((error) =>
          unusable(error.reason === "held" ? "another FIP server is using this folder" : error.message)
        ))

        const answering = yield* FiberSet.make()
        const run = yield* FiberSet.runtime(answering)()
        const sockets = new Set<Socket>()
        // Those that have not asked anything yet.
        const asking = new Set<Socket>()
        const server = createServer((socket) => {
          sockets.add(socket)
          asking.add(socket)
          socket.on("close", () => {
            sockets.delete(socket)
            asking.delete(socket)
          })
          // A client that is gone does not hear what became of its request.
          socket.on("error", () => {})
          const gone = Deferred.makeUnsafe<void>()
          socket.on("close", () =>
            Deferred.doneUnsafe(gone, Effect.void))
          readLine(socket, (line) => {
            asking.delete(socket)
            run(Effect.map(replyOrRefuse(line, reportOn(socket), Deferred.await(gone)), (reply) => {
              socket.end(`${JSON.stringify(reply)}\n`)
            }))
          })
        })

        yield* Effect.acquireRelease(
          Effect.tryPromise({
            try: () => publish(server, path),
            catch: (cause) => unusable(systemErrorReason(cause))
          }),
          () =>
            Effect.gen(function*() {
              yield* Effect.promise(() => rm(path, { force: true }))
              const closed = Effect.callback<void>((resume) => {
                server.close(() => resume(Effect.void))
                for (const socket of asking) socket.destroy()
              })
              yield* Effect.timeoutOption(Effect.interruptible(closed), config.shutdownDeadline)
              for (const socket of sockets) socket.destroy()
            })
        )
        return Admin.of({ path })
      })
    )
}
