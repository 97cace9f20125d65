/**
 * The limit: a file copied through a bare Node TLS stream, in two processes, without protocol, hash, sync or database.
 *
 * `node bareTls.ts send <port> <file>` connects and sends; `node bareTls.ts receive <file>` listens, prints its port,
 * and writes what comes.
 */
import { execFileSync, spawn } from "node:child_process"
import { createReadStream, createWriteStream, readFileSync } from "node:fs"
import { join } from "node:path"
import { pipeline } from "node:stream/promises"
import { connect, createServer } from "node:tls"
import { fileURLToPath } from "node:url"

const HIGH_WATER = 256 * 1024
const self = fileURLToPath(import.meta.url)

const [mode, first = "", second = ""] = process.argv.slice(2)
if (process.argv[1] === self && mode === "receive") {
  const server = createServer({ key: readFileSync(`${second}.key`), cert: readFileSync(`${second}.crt`) }, (socket) => {
    void pipeline(socket, createWriteStream(first, { highWaterMark: HIGH_WATER })).then(() => server.close())
  })
  server.listen(0, "127.0.0.1", () => {
    const address = server.address()
    if (address !== null && typeof address === "object") process.stdout.write(`${address.port}\n`)
  })
}
if (process.argv[1] === self && mode === "send") {
  const socket = connect({ port: Number(first), host: "127.0.0.1", rejectUnauthorized: false }, () => {
    void pipeline(createReadStream(second, { highWaterMark: HIGH_WATER }), socket)
  })
}

/** Copies `source` to `target` through a bare TLS stream. */
export const makeBareTls = (folder: string) => {
  const identity = join(folder, "bare")
  const request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=bench".split(" ")
  execFileSync("openssl", [...request, "-keyout", `${identity}.key`, "-out", `${identity}.crt`], { stdio: "ignore" })
  return (source: string, target: string): Promise<void> =>
    new Promise((resolve, reject) => {
      const receiver = spawn(process.execPath, [self, "receive", target, identity], {
        stdio: ["ignore", "pipe", "inherit"]
      })
      receiver.stdout.once("data", (port) => {
        spawn(process.execPath, [self, "send", String(port).trim(), source], { stdio: "inherit" }).on("error", reject)
      })
      receiver.on("error", reject)
      receiver.on("close", (code) => code === 0 ? resolve() : reject(new Error(`the receiver ended with ${code}`)))
    })
}
