/**
 * What is between a server and its PostgreSQL: passes everything on, until it is told to let one kind of connection go
 * silent, without closing it, as a firewall does that has forgotten it.
 */
import { Effect, type Scope } from "effect"
import { mkdtemp, rm } from "node:fs/promises"
import { connect, createServer, type Socket } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"

export interface PostgresProxy {
  /** Of the same database, by this way. */
  readonly url: string
  /** Lets the connections that listen for notifications go silent. New ones are not concerned. */
  readonly silenceListeners: () => void
}

const SOCKET = ".s.PGSQL.5432"

/** For a PostgreSQL that is reached over its Unix socket. */
export const make = (databaseUrl: string): Effect.Effect<PostgresProxy, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(async () => {
        const url = new URL(databaseUrl)
        const target = join(url.searchParams.get("host") ?? "", SOCKET)
        const folder = await mkdtemp(join(tmpdir(), "fip-proxy-"))
        const listeners = new Set<Socket>()
        const sockets = new Set<Socket>()
        const silent = new Set<Socket>()
        const server = createServer((client) => {
          const database = connect(target)
          for (const socket of [client, database]) {
            sockets.add(socket)
            socket.on("error", () => undefined)
          }
          client.on("data", (chunk) => {
            if (chunk.includes("LISTEN")) listeners.add(database)
            database.write(chunk)
          })
          database.on("data", (chunk) => {
            if (!silent.has(database)) client.write(chunk)
          })
          client.on("close", () => database.destroy())
          database.on("close", () => client.destroy())
        })
        await new Promise<void>((resolve) => server.listen(join(folder, SOCKET), resolve))
        url.searchParams.set("host", folder)
        return { folder, listeners, silent, sockets, server, url: url.href }
      }),
      ({ folder, server, sockets }) =>
        Effect.promise(async () => {
          for (const socket of sockets) socket.destroy()
          await new Promise((resolve) => server.close(resolve))
          await rm(folder, { recursive: true, force: true })
        })
    ),
    ({ listeners, silent, url }) => ({
      url,
      silenceListeners: () => {
        for (const listener of listeners) silent.add(listener)
      }
    })
  )
