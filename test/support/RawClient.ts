/**
 * A client of bytes: sends what a test tells it to, valid or not, and gives back the replies as they come.
 *
 * It shares only the header codec with the program, so that what it sends is what the test wrote.
 */
import { connect, type ConnectionOptions, type TLSSocket } from "node:tls"
import { Parser } from "../../src/protocol/Frame.ts"
import { encodeRequestHeader, parseReplyHeader, type ReplyHeader } from "../../src/protocol/Header.ts"
import { type RequestName, Requests } from "../../src/protocol/Request.ts"

export interface RawReply {
  readonly header: ReplyHeader
  readonly body: { readonly [key: string]: unknown }
  readonly data: Buffer
}

export interface RawRequest {
  readonly id: number
  readonly auth?: unknown
  readonly body?: unknown
  readonly data?: Uint8Array
  readonly more?: boolean
  readonly finish?: boolean
  readonly zstd?: boolean
  readonly raw_size?: number
}

const json = (value: unknown): Buffer => value === undefined ? Buffer.alloc(0) : Buffer.from(JSON.stringify(value))

/** The bytes of one request message. */
export const requestBytes = (name: RequestName, request: RawRequest): Buffer => {
  const auth = json(request.auth)
  const body = json(request.body)
  const data = request.data ?? new Uint8Array(0)
  const header = encodeRequestHeader({
    id: request.id,
    category: Requests[name].category,
    subcategory: Requests[name].subcategory,
    auth_size: auth.length,
    body_size: body.length,
    data_size: data.length,
    more: request.more ?? false,
    finish: request.finish ?? false,
    ...request.zstd === undefined ? {} : { zstd: request.zstd },
    ...request.raw_size === undefined ? {} : { raw_size: request.raw_size }
  })
  return Buffer.concat([header, auth, body, data])
}

export class RawClient {
  readonly socket: TLSSocket
  private readonly replies: Array<RawReply> = []
  private readonly waiting: Array<(reply: RawReply | undefined) => void> = []
  private ended = false
  /** What broke the connection, if it was not just closed. */
  error: Error | undefined
  /** Resolves when the server has closed the connection. */
  readonly closed: Promise<void>

  private constructor(socket: TLSSocket) {
    this.socket = socket
    const parser = new Parser<ReplyHeader>({
      parseHeader: parseReplyHeader,
      onMessage: ({ body, data, header }) => {
        const reply = {
          header,
          body: body.length === 0 ? {} : JSON.parse(Buffer.from(body).toString()),
          data: Buffer.concat(data)
        }
        const waiter = this.waiting.shift()
        if (waiter === undefined) this.replies.push(reply)
        else waiter(reply)
      },
      onFault: () => socket.destroy(new Error("the server sent something that is no header"))
    })
    socket.on("data", (chunk: Buffer) => parser.push(chunk))
    socket.on("error", (error) => {
      this.error = error
    })
    this.closed = new Promise((resolve) => {
      socket.on("close", () => {
        this.ended = true
        for (const waiter of this.waiting.splice(0)) waiter(undefined)
        resolve()
      })
    })
  }

  static open(port: number, options: ConnectionOptions & { readonly localAddress?: string } = {}): Promise<RawClient> {
    return new Promise((resolve, reject) => {
      const socket = connect({
        port,
        host: "127.0.0.1",
        rejectUnauthorized: false,
        ALPNProtocols: ["fip/1"],
        ...options
      }, () => {
        socket.off("error", reject)
        resolve(new RawClient(socket))
      })
      socket.once("error", reject)
    })
  }

  write(bytes: Uint8Array): void {
    this.socket.write(bytes)
  }

  send(name: RequestName, request: RawRequest): void {
    this.write(requestBytes(name, request))
  }

  /** The next reply in the order of arrival; `undefined` when the server closed instead. */
  next(): Promise<RawReply | undefined> {
    const reply = this.replies.shift()
    if (reply !== undefined) return Promise.resolve(reply)
    return this.ended ? Promise.resolve(undefined) : new Promise((resolve) => this.waiting.push(resolve))
  }

  /** Sends a request and takes the next reply, which must be its own. */
  async ask(name: RequestName, request: RawRequest): Promise<RawReply> {
    this.send(name, request)
    const reply = await this.next()
    if (reply === undefined) throw new Error(`the server closed instead of answering ${name}`)
    if (reply.header.id !== request.id) throw new Error(`reply ${reply.header.id} instead of ${request.id}`)
    return reply
  }

  /** Registers and logs in; the token. */
  async login(identity: string, password: string): Promise<string> {
    await this.ask("Register", { id: 9001, auth: { identity, password } })
    const reply = await this.ask("Login", {
      id: 9002,
      auth: { identity, password },
      body: { device: "raw-client-device" }
    })
    return String(reply.body["token"])
  }

  close(): void {
    this.socket.destroy()
  }
}
