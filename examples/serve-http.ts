/**
 * Shows a folder to browsers: `node examples/serve-http.ts <host> <port> <folder/> [http port]`, with FIP_USERNAME and
 * FIP_PASSWORD in the environment, until it is interrupted. With ranges, so that films can be wound forward and downloads
 * go on, and with ETags, so that what has not changed is not sent again.
 *
 * It is a program without Effect: `fip/promise` has the same client with promises and async iterables. What the browser
 * does not take is not read from the server, and what it gives up is not read on.
 */
import { connect, Refusal } from "fip/promise"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import { extname } from "node:path"
import { pipeline } from "node:stream/promises"

const [host = "localhost", port = "6090", root = "www/", httpPort = "8080"] = process.argv.slice(2)
const { FIP_PASSWORD: password, FIP_USERNAME: username } = process.env

const TYPES: Readonly<Record<string, string>> = {
  ".css": "text/css; charset=utf-8",
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".json": "application/json",
  ".mp4": "video/mp4",
  ".pdf": "application/pdf",
  ".png": "image/png",
  ".svg": "image/svg+xml",
  ".txt": "text/plain; charset=utf-8"
}

const fip = await connect({ host, port: Number(port), username, password, onNotice: console.error })

const escape = (text: string) => text.replaceAll(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`)

/** `from` and `to` of a file of `size` bytes; `undefined` for all of it, `"none"` where there is no such range. */
const rangeOf = (header: string | undefined, size: number) => {
  const [, first, last] = /^bytes=(\d*)-(\d*)$/.exec(header ?? "") ?? []
  if (first === undefined || last === undefined || first + last === "") return undefined
  const from = first === "" ? Math.max(0, size - Number(last)) : Number(first)
  const to = first === "" || last === "" ? size - 1 : Math.min(Number(last), size - 1)
  return from > to || from >= size ? "none" as const : { from, to }
}

const sendFile = async (name: string, request: IncomingMessage, response: ServerResponse) => {
  const { modified_at, size, version } = await fip.queryFile(name)
  const modified = new Date(modified_at)
  // A version has one content, and a file that was deleted and made again has another time.
  const etag = `"${version}-${modified.getTime().toString(36)}"`
  response.setHeader("ETag", etag)
  response.setHeader("Last-Modified", modified.toUTCString())
  response.setHeader("Accept-Ranges", "bytes")
  response.setHeader("X-Content-Type-Options", "nosniff")
  response.setHeader("Content-Type", TYPES[extname(name)] ?? "application/octet-stream")
  if (request.headers["if-none-match"]?.split(/, */).includes(etag) === true) {
    response.writeHead(304).end()
    return
  }
  const condition = request.headers["if-range"]
  const range = condition === undefined || condition === etag ? rangeOf(request.headers.range, size) : undefined
  if (range === "none") {
    response.writeHead(416, { "Content-Range": `bytes */${size}` }).end()
    return
  }
  const { from, to } = range ?? { from: 0, to: size - 1 }
  const headers = { "Content-Length": to - from + 1 }
  if (range === undefined) response.writeHead(200, headers)
  else response.writeHead(206, { ...headers, "Content-Range": `bytes ${from}-${to}/${size}` })
  if (request.method === "HEAD") response.end()
  else await pipeline(fip.read(name, { version, position: from, limit: to - from + 1 }), response)
}

const sendListing = async (folder: string, request: IncomingMessage, response: ServerResponse) => {
  const links: Array<string> = []
  for await (const entry of fip.list({ prefix: folder })) {
    const name = (entry._tag === "Folder" ? entry.name : entry.file.name).slice(folder.length)
    links.push(`<li><a href="${name.split("/").map(encodeURIComponent).join("/")}">${escape(name)}</a></li>`)
  }
  const page = `<!doctype html><meta charset="utf-8"><ul>${links.join("")}</ul>\n`
  response.writeHead(links.length === 0 ? 404 : 200, { "Content-Type": "text/html; charset=utf-8" })
  response.end(request.method === "HEAD" ? undefined : page)
}

const answer = async (request: IncomingMessage, response: ServerResponse) => {
  if (request.method !== "GET" && request.method !== "HEAD") {
    response.writeHead(405, { Allow: "GET, HEAD" }).end()
    return
  }
  const { pathname } = new URL(request.url ?? "/", "http://localhost")
  const name = root + decodeURIComponent(pathname).slice(1)
  await (name.endsWith("/") ? sendListing : sendFile)(name, request, response)
}

const server = createServer((request, response) => {
  answer(request, response).catch((error: unknown) => {
    if (response.headersSent) {
      response.destroy()
      return
    }
    // A name that cannot be one is not there either.
    const missing = error instanceof URIError || (error instanceof Refusal && ["2:nf", "2:ibv"].includes(error.code))
    if (!missing) console.error(error)
    response.writeHead(missing ? 404 : 502, { "Content-Type": "text/plain; charset=utf-8" })
    response.end(error instanceof Error ? `${error.message}\n` : undefined)
  })
})
server.listen(Number(httpPort), "127.0.0.1", () => {
  const address = server.address()
  console.log(`http://127.0.0.1:${typeof address === "object" ? address?.port : httpPort}/ shows ${root}`)
})
