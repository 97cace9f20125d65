/** Answers reads of one file like a server does, or as wrongly as a test wants it. */
import { createHash } from "node:crypto"
import type { Received, Reply } from "./ScriptedServer.ts"

export interface FileScript {
  readonly content: Uint8Array
  readonly version?: number
  /** Where the hash of the whole is said. */
  readonly hash?: "head" | "tail" | "never" | "wrong"
  readonly messageBytes?: number
  /** Ends the connection when so many bytes of a reply were sent: one for each reply, in order. */
  readonly breaks?: Array<number | undefined>
}

/** Ends when the peer has taken it, or is gone. */
const write = (request: Received<"Read">, reply: Reply): Promise<void> =>
  new Promise((resolve) => {
    const { peer: { socket } } = request
    request.reply(reply)
    if (socket.destroyed || !socket.writableNeedDrain) return resolve()
    const done = () => {
      socket.off("drain", done).off("close", done)
      resolve()
    }
    socket.on("drain", done).on("close", done)
  })

/** Streams the range that was asked for, no faster than it is taken. */
export const serve = async (
  request: Received<"Read">,
  { breaks = [], content, hash = "head", messageBytes = 256 * 1024, version = 1 }: FileScript,
  onSent: (bytes: number) => void = () => {}
): Promise<void> => {
  const { limit = content.length, position = 0 } = request.body
  const range = content.subarray(position, position + limit)
  const whole = range.length === content.length
  const sha256 = createHash("sha256").update(hash === "wrong" ? "else" : content).digest("hex")
  const head = {
    owner: "alice",
    name: request.body.name,
    size: content.length,
    version,
    position,
    length: range.length,
    ...(hash === "head" || hash === "wrong" ? { sha256 } : {})
  }
  const tail = hash === "tail" && whole ? { sha256 } : undefined
  const breakAt = breaks.shift()
  let at = 0
  do {
    const data = range.subarray(at, at + messageBytes)
    if (breakAt !== undefined && at + data.length > breakAt) {
      // What was sent before arrives; then the connection ends.
      request.peer.socket.end()
      return
    }
    const first = at === 0
    at += data.length
    const more = at < range.length
    const body = first ? { ...head, ...(more ? {} : tail) } : more ? undefined : tail
    await write(request, { code: more ? "0:read" : "1:read", more, data, ...(body === undefined ? {} : { body }) })
    if (request.peer.socket.destroyed) return
    onSent(data.length)
  } while (at < range.length)
}

/** Bytes that differ from place to place, and are the same in every run. */
export const bytesOf = (length: number): Buffer => {
  const words = new Uint32Array(Math.ceil(length / 4))
  let state = length + 1
  for (let index = 0; index < words.length; index++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    words[index] = state
  }
  return Buffer.from(words.buffer, 0, length)
}
