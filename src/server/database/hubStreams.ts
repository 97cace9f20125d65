/** How clients reach the hub of the embedded database: the server's own in its memory, those of its workers by a socket. */
import { Data, Effect, type Scope } from "effect"
import { rm } from "node:fs/promises"
import { connect, createServer } from "node:net"
import { join } from "node:path"
import { Duplex } from "node:stream"
import { publish } from "../../platform/privateSocket.ts"
import type { EngineHub, HubClient } from "./EngineHub.ts"

/** Within the data folder, while a server with workers runs. */
const pathIn = (dataDir: string): string => join(dataDir, "db.sock")

class HubStream extends Duplex {
  private readonly client: HubClient

  constructor(hub: EngineHub) {
    super()
    this.client = hub.connect({
      onBytes: (bytes) => {
        if (!this.destroyed) this.push(bytes)
      },
      onEnd: () => void this.destroy()
    })
  }

  override _write(bytes: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.client.write(bytes)
    done()
  }

  override _read(): void {
    // Answers are pushed as they come.
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.client.end()
    done(error)
  }
}

export const ownStream = (hub: EngineHub) => (): Duplex => new HubStream(hub)

export const workerStream = (dataDir: string) => (): Duplex => connect(pathIn(dataDir))

/** The socket for workers cannot be had. */
export class HubUnreachable extends Data.TaggedError("HubUnreachable")<{ readonly cause: unknown }> {}

/** Lets workers reach the hub until the scope closes. They have ended by then, or are cut off. */
export const serveWorkers = (hub: EngineHub, dataDir: string): Effect.Effect<void, HubUnreachable, Scope.Scope> =>
  Effect.suspend(() => {
    const server = createServer((socket) => {
      const client = hub.connect({
        onBytes: (bytes) => {
          if (socket.writable) socket.write(bytes)
        },
        onEnd: () => void socket.end()
      })
      socket.on("data", client.write.bind(client))
      socket.on("close", () => client.end())
      socket.on("error", () => void socket.destroy())
    })
    const path = pathIn(dataDir)
    return Effect.asVoid(Effect.acquireRelease(
      Effect.tryPromise({
        try: () => publish(server, path),
        catch: (cause) => new HubUnreachable({ cause })
      }),
      () =>
        Effect.promise(() => {
          server.close()
          return rm(path, { force: true })
        })
    ))
  })
