/**
 * Accepts TCP connections and asks the door, by a server without TLS, so that whom the door refuses costs none.
 */
import { Data, Effect } from "effect"
import { createServer, type Server, type Socket } from "node:net"
import type { Door } from "./Door.ts"
import type { Visit } from "./Front.ts"

/** The server cannot listen where it was told to. */
export class ListenError extends Data.TaggedError("ListenError")<{ readonly message: string }> {}

const listenError = (host: string, port: number, error: NodeJS.ErrnoException): ListenError => {
  switch (error.code) {
    case "EADDRINUSE":
      return new ListenError({
        message:
          `port ${port} on ${host} is taken by another program: stop it, or choose another port (0 picks a free one)`
      })
    case "EACCES":
      return new ListenError({ message: `no permission to listen on port ${port}: choose one above 1023` })
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return new ListenError({ message: `${host} is not an address of this machine` })
    default:
      return new ListenError({ message: `cannot listen on ${host} port ${port}: ${error.message}` })
  }
}

export interface GateOptions {
  readonly door: Door
  readonly now: () => number
  /** True when nobody more may come in. */
  readonly isFull: () => boolean
  /** Reads nothing from the sockets that it gives: another process will. */
  readonly pauseOnConnect: boolean
  /** The pass is the taker's, and leaves when the connection ends. */
  readonly enter: (socket: Socket, visit: Visit) => void
}

/** To be listened with, and closed when nobody shall come in any more. */
export const makeGate = ({ door, enter, isFull, now, pauseOnConnect }: GateOptions): Server =>
  createServer({ pauseOnConnect }, (socket) => {
    let shed = (): void => void socket.destroy()
    const pass = isFull() ? undefined : door.enter(socket.remoteAddress ?? "", now, () => shed())
    // The newcomer may have been pushed out itself.
    if (pass === undefined || socket.destroyed) {
      pass?.leave()
      socket.destroy()
      return
    }
    enter(socket, { pass, onShed: (take) => void (shed = take) })
  })

/** Listens; gives the port that was bound, also when 0 was asked for. */
export const listen = (
  server: Server,
  { host, port }: { readonly host: string; readonly port: number },
  onError: (error: Error) => void
): Effect.Effect<number, ListenError> =>
  Effect.callback((resume) => {
    const onFailure = (error: Error) => resume(Effect.fail(listenError(host, port, error)))
    server.once("error", onFailure)
    server.listen(port, host, () => {
      server.off("error", onFailure)
      server.on("error", onError)
      const bound = server.address()
      resume(Effect.succeed(bound === null || typeof bound === "string" ? port : bound.port))
    })
  })
