/** Lines of text in a compressed file, written as fast as it takes them, and read without being held in memory. */
import { createReadStream, createWriteStream } from "node:fs"
import { pipeline } from "node:stream/promises"
import { createGunzip, createGzip } from "node:zlib"

const NEWLINE = 0x0a

/** Bytes that wait to be compressed before a writer has to. */
const WAITING_BYTES = 8 * 1024 * 1024

export interface LineWriter {
  readonly write: (lines: ReadonlyArray<string>) => Promise<void>
  /** Returns when everything is durable. */
  readonly end: () => Promise<void>
  /** Lets go of the file as it is. */
  readonly abort: () => void
}

export const writeLines = (path: string): LineWriter => {
  const compressor = createGzip({ level: 1 })
  const file = createWriteStream(path, { flags: "wx", mode: 0o600, flush: true })
  const written = pipeline(compressor, file)
  // Whoever writes or ends hears of it.
  written.catch(() => undefined)
  return {
    write: async (lines) => {
      if (compressor.destroyed) return written
      if (lines.length === 0 || compressor.write(`${lines.join("\n")}\n`)) return
      if (compressor.writableLength < WAITING_BYTES) return
      await Promise.race([new Promise<void>((resolve) => compressor.once("drain", resolve)), written])
    },
    end: () => {
      compressor.end()
      return written
    },
    abort: () => {
      compressor.destroy()
    }
  }
}

/** The lines of a file. Throws when it cannot be read, or is no such file. */
export async function* readLines(path: string): AsyncGenerator<string, void> {
  const source = createReadStream(path)
  const text = createGunzip()
  const read = pipeline(source, text)
  read.catch(() => undefined)
  let rest: Array<Buffer> = []
  try {
    for await (const chunk of text) {
      if (!Buffer.isBuffer(chunk)) continue
      let from = 0
      for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, from)) {
        yield Buffer.concat([...rest, chunk.subarray(from, end)]).toString("utf8")
        rest = []
        from = end + 1
      }
      if (from < chunk.length) rest.push(Buffer.from(chunk.subarray(from)))
    }
  } finally {
    source.destroy()
    text.destroy()
  }
}
