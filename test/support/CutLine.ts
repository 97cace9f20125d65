/**
 * The line between a server and its PostgreSQL, which can be cut at any statement, as a network or a crash does it.
 *
 * - `before`: PostgreSQL does not hear of the statement.
 * - `after`: PostgreSQL has answered, and the answer does not arrive.
 * - `late`, of a commit: PostgreSQL hears of it when the server tries again already.
 */
import { Effect } from "effect"
import { once } from "node:events"
import { createConnection, createServer, type Socket } from "node:net"

export type Cut = "before" | "after" | "late"

/** What the server says when it tries a group, again or for the first time (src/server/files/CommitMarks.ts). */
const CLAIM = "insert into commits"

const PARSE = 0x50
const BIND = 0x42

/** The statements that a connection is told to run, by the names that it has given them. */
class Statements {
  private readonly texts = new Map<string, string>()

  /** Of messages that are whole: those of a test are small. */
  runBy(chunk: Buffer): ReadonlyArray<string> {
    const run: Array<string> = []
    for (let at = 0; at + 5 <= chunk.length;) {
      const end = at + 1 + chunk.readUInt32BE(at + 1)
      const [first = "", second = ""] = chunk.subarray(at + 5, end).toString("latin1").split("\0")
      if (chunk[at] === PARSE) this.texts.set(first, second)
      if (chunk[at] === BIND) run.push(this.texts.get(second) ?? "")
      at = end
    }
    return run
  }
}

export class CutLine {
  /** Asked for each message with the statements that it runs; `undefined` lets it pass. */
  choose: (statements: ReadonlyArray<string>) => Cut | undefined = () => undefined
  private late: { readonly upstream: Socket; readonly commit: Buffer } | undefined
  private readonly sockets = new Set<Socket>()
  private readonly path: string

  constructor(socketPath: string) {
    this.path = socketPath
  }

  readonly accept = (client: Socket): void => {
    const upstream = createConnection(this.path)
    for (const socket of [client, upstream]) {
      this.sockets.add(socket)
      socket.on("error", () => {})
      socket.on("close", () => this.sockets.delete(socket))
    }
    let isAnswerLost = false
    const statements = new Statements()
    client.on("data", (chunk) => {
      const run = statements.runBy(chunk)
      const cut = isAnswerLost || client.destroyed ? undefined : this.choose(run)
      if (cut === "after") {
        isAnswerLost = true
      } else if (cut !== undefined) {
        if (cut === "late") this.late = { upstream, commit: chunk }
        else upstream.destroy()
        client.destroy()
        return
      }
      upstream.write(chunk)
      if (this.late !== undefined && this.late.upstream !== upstream && run.some((text) => text.includes(CLAIM))) {
        this.late.upstream.end(this.late.commit)
        this.late = undefined
      }
    })
    upstream.on("data", (chunk) => {
      if (!isAnswerLost) client.write(chunk)
      else {
        client.destroy()
        upstream.destroy()
      }
    })
    client.on("end", () => upstream.end())
    upstream.on("close", () => client.destroy())
  }

  destroy(): void {
    for (const socket of this.sockets) socket.destroy()
  }
}

/** A line to the PostgreSQL with this Unix socket, and the port where it begins. */
export const make = Effect.fnUntraced(function*(socketPath: string) {
  const line = new CutLine(socketPath)
  const server = yield* Effect.acquireRelease(
    Effect.promise(async () => {
      const server = createServer(line.accept).listen(0, "127.0.0.1")
      await once(server, "listening")
      return server
    }),
    (server) =>
      Effect.promise(async () => {
        line.destroy()
        server.close()
        await once(server, "close")
      })
  )
  const address = server.address()
  return { line, port: typeof address === "object" && address !== null ? address.port : 0 }
})
